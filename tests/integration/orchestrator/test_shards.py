"""Shards come while orchestrators run, are listed, and bad requests about them are refused with words."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import grpc
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import shards_pb2 as pb
from mwfs_api.orchestrator.v1 import shards_pb2_grpc

from .conftest import World
from .dags import chain

B = "orchestrator-1"
ACTIVE = pb.SHARD_STATE_ACTIVE


def shards_of(world: World) -> Any:
    return shards_pb2_grpc.ShardServiceStub(world.channel)


async def listed(world: World) -> list[pb.Shard]:
    return list((await shards_of(world).ListShards(pb.ListShardsRequest(), metadata=world.metadata())).shards)


async def add(world: World, database: str, *, balance: bool = False) -> pb.AddShardResponse:
    request = pb.AddShardRequest(database=database, no_balance=not balance)
    response: pb.AddShardResponse = await shards_of(world).AddShard(request, metadata=world.metadata())
    return response


def name_of(dsn: str) -> str:
    return dsn.rpartition("/")[2]


async def replicas_on(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row["replica"] for row in await connection.fetch("SELECT replica FROM leases WHERE expires_at > now()")}
    finally:
        await connection.close()


async def test_the_shards_of_the_settings_are_listed_with_what_is_in_them(world: World) -> None:
    world.host.answer = lambda launch: None
    await world.submit(*[chain(1)] * 5)
    first, second = await listed(world)
    assert [(each.shard, each.state, each.slots) for each in (first, second)] == [(0, ACTIVE, 2048), (1, ACTIVE, 2048)]
    assert [first.database, second.database] == [name_of(dsn) for dsn in world.shards], "beside the catalogue: no DSN"
    assert first.runs_going_on + second.runs_going_on == 5
    assert min(first.size_bytes, second.size_bytes) > 1_000_000


async def test_a_shard_is_added_once_and_all_replicas_use_it(world: World, databases: Callable[..., list[str]]) -> None:
    await world.start_orchestrator(B)
    (empty,) = databases(1)
    added = await add(world, empty)
    assert (added.created, added.shard.shard, added.shard.state, added.shard.slots) == (True, 2, ACTIVE, 0)
    again = await add(world, name_of(empty))
    assert (again.created, again.shard.shard) == (False, 2)
    while True:
        if await replicas_on(empty) == set(world.replicas):
            break
        await asyncio.sleep(0.05)
    # It is remembered, although the settings do not name it.
    await world.stop_orchestrator(B)
    await world.start_orchestrator(B)
    assert [each.shard for each in await listed(world)] == [0, 1, 2]
    assert (await world.run(chain(3))).state == ev.RUN_STATE_SUCCEEDED


async def test_databases_that_cannot_be_a_shard_are_refused(world: World, databases: Callable[..., list[str]]) -> None:
    strange, other, full = databases(3)
    first = world.shards[0]
    connection = await asyncpg.connect(full)
    await connection.execute("CREATE TABLE theirs (id integer)")
    await connection.close()
    codes = grpc.StatusCode
    cases = [
        ("drop table;", codes.INVALID_ARGUMENT, "neither a DSN nor the name"),
        ("mysql://h/x", codes.INVALID_ARGUMENT, "neither a DSN nor the name"),
        (strange.replace(name_of(strange), "no_such_db"), codes.INVALID_ARGUMENT, "cannot be reached"),
        ("postgresql://u:geheim@127.0.0.1:1/x", codes.INVALID_ARGUMENT, "127.0.0.1:1/x cannot be reached"),
        (full, codes.FAILED_PRECONDITION, "is not empty: it has a table theirs"),
        (first.replace("127.0.0.1", "localhost"), codes.ALREADY_EXISTS, "is shard 0 already"),
    ]
    assert "127.0.0.1" in first
    for database, code, words in cases:
        with pytest.raises(grpc.aio.AioRpcError, match=words) as caught:
            await add(world, database)
        assert caught.value.code() == code
        assert "geheim" not in str(caught.value.details())
    theirs = World(catalogue=databases(1)[0], shards=[other], home=world.home)
    await theirs.open()
    try:
        with pytest.raises(grpc.aio.AioRpcError, match="a shard of another platform"):
            await add(world, other)
    finally:
        await theirs.close()
    assert len(await listed(world)) == 2
