"""Slots move from shard to shard while their runs go on; what kills the mover loses nothing."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import pytest
from invariants.run_invariants import check_run

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import shards_pb2
from mwfs_orchestrator.model import slot_of
from mwfs_orchestrator.shard.moves import Superseded
from mwfs_orchestrator.shard.store import SLOT_LOST, ShardStore
from mwfs_orchestrator.shard.tables import RUN_TABLES
from mwfs_orchestrator.sharding.mover import Mover

from .conftest import World
from .dags import chain, fanout
from .inside import kill, part_of
from .neighbours import succeed
from .test_shards import add, listed, name_of, shards_of

A, B = "orchestrator-0", "orchestrator-1"
DRAINED = shards_pb2.SHARD_STATE_DRAINED


async def drain(world: World, shard: int) -> shards_pb2.Shard:
    request = shards_pb2.DrainShardRequest(shard=str(shard))
    response: shards_pb2.DrainShardResponse = await shards_of(world).DrainShard(request, metadata=world.metadata())
    return response.shard


async def moved(world: World, shard: int) -> list[shards_pb2.WatchMovesResponse]:
    """All that is told of a shard's moves until none is left."""
    request = shards_pb2.WatchMovesRequest(shard=str(shard))
    return [each async for each in shards_of(world).WatchMoves(request, metadata=world.metadata())]


async def rows_of(dsn: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def in_tables(dsn: str) -> int:
    """Rows of runs on a shard, and slots."""
    names = [*(table.name for table in RUN_TABLES), "slots"]
    counts = await rows_of(dsn, " UNION ALL ".join(f"SELECT count(*) AS rows FROM {name}" for name in names))
    return sum(row["rows"] for row in counts)


async def check_whole(world: World, run_id: str, dag: Any, dsns: list[str]) -> None:
    """Events and rows of an ended run tell one story, and one shard has them."""
    rows = [
        row
        for dsn in dsns
        for row in await rows_of(dsn, f"SELECT node, state, attempt FROM nodes WHERE run_id = '{run_id}'")
    ]
    nodes = {row["node"]: (row["state"], row["attempt"]) for row in rows}
    assert len(nodes) == len(rows), "on two shards"
    assert check_run(await world.events_of(run_id), nodes=nodes, dag=dag) == []


async def watch_events(world: World, run_id: str) -> list[int]:
    """The numbers of all events, as a client sees them that goes on where it was whenever the owner changes."""
    numbers: list[int] = []
    while True:
        request = pb.WatchEventsRequest(run_id=run_id, first_number=len(numbers) + 1)
        try:
            async for response in world.stub.WatchEvents(request, metadata=world.metadata()):
                for batch in response.batches:
                    every = range(batch.first_number, batch.first_number + len(batch.kind))
                    numbers += [number for number in every if number > len(numbers)]
            return numbers
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise


async def test_all_tables_of_runs_move(world: World) -> None:
    rows = await rows_of(
        world.shards[0],
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relkind IN ('r', 'p') AND a.attname = 'run_id' AND c.relnamespace = 'public'::regnamespace",
    )
    assert sorted(row["relname"] for row in rows) == sorted(table.name for table in RUN_TABLES)
    for table in RUN_TABLES:
        unique = await rows_of(
            world.shards[0],
            "SELECT array_agg(a.attname::text) AS names FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
            f" WHERE i.indrelid = '{table.name}'::regclass AND i.indisunique GROUP BY i.indexrelid",
        )
        assert sorted(table.key) in [sorted(row["names"]) for row in unique], table.name


async def test_a_shard_is_drained_while_its_runs_go_on(world: World) -> None:
    await world.start_orchestrator(B)
    waiting: list[action_pb2.Launch] = []

    def hold_every_third(launch: action_pb2.Launch) -> action_pb2.Outcome | None:
        if launch.key.node % 3 == 1:
            waiting.append(launch)
            return None
        return succeed(launch)

    world.host.answer = hold_every_third
    dags = [fanout(60) for _ in range(6)]
    answers = await world.submit(*dags, tags={"kind": "moving"})
    await world.submit(*[chain(1)] * 4, request_ids=[f"before-{number}" for number in range(4)])
    await world.host.until(lambda: len(waiting) >= 100)
    ids = [answer.accepted.run_id for answer in answers]
    watches = [asyncio.create_task(world.wait(run_id)) for run_id in ids]
    watching = {run_id: asyncio.create_task(watch_events(world, run_id)) for run_id in ids}

    await rows_of(
        world.shards[0], f"INSERT INTO watched_ends VALUES ('red', 'sample:other', '{UUID(int=7)}', 1, false)"
    )
    begun = await drain(world, 0)
    assert (begun.state, begun.slots + begun.slots_to_move > 0) == (shards_pb2.SHARD_STATE_DRAINING, True)
    telling = asyncio.create_task(moved(world, 0))
    while not telling.done():  # lists are whole all the time
        found = await world.stub.ListRuns(pb.ListRunsRequest(page_size=4), metadata=world.metadata())
        more = await world.stub.ListRuns(
            pb.ListRunsRequest(page_size=20, page_token=found.next_page_token), metadata=world.metadata()
        )
        assert len({run.run_id for run in [*found.runs, *more.runs]}) == len(found.runs) + len(more.runs) == 10
        if waiting:
            launch = waiting.pop()
            key = (launch.key.run_id, launch.key.node, launch.key.attempt)
            if key in world.host.live:
                world.host.finish(key, succeed(launch))
    told = telling.result()
    assert told[-1].shard.state == DRAINED
    assert (told[-1].planned, told[-1].shard.slots) == (2048, 0)
    assert await in_tables(world.shards[0]) == 0
    watched = await rows_of(world.shards[1], "SELECT workflow FROM watched_ends")
    assert [row["workflow"] for row in watched] == ["sample:other"], "ends that somebody waits for are known there too"

    world.host.answer = succeed
    for key, launch in list(world.host.live.items()):
        world.host.finish(key, succeed(launch))
    for run, dag in zip(await asyncio.gather(*watches), dags, strict=True):
        assert run.state == ev.RUN_STATE_SUCCEEDED
        await check_whole(world, run.run_id, dag, world.shards)
        assert await watching[run.run_id] == list(range(1, run.last_event_number + 1))
    assert len(world.host.launched) == len(set(world.host.launched)) == 6 * 62 + 4, "nothing ran twice"
    # It is drained for ever: replicas that start now do not ask for it.
    await world.stop_orchestrator(B)
    await world.start_orchestrator(B)
    assert [(each.shard, each.slots) for each in await listed(world)] == [(0, 0), (1, 4096)]
    again = await drain(world, 0)
    assert again.state == DRAINED


async def test_a_new_shard_gets_its_share(world: World, databases: Callable[..., list[str]]) -> None:
    world.host.answer = lambda launch: None
    answers = await world.submit(*[chain(2)] * 30)
    await world.host.until(lambda: len(world.host.live) == 30)
    (empty,) = databases(1)
    await add(world, empty, balance=True)
    await moved(world, 2)
    assert sorted(each.slots for each in await listed(world)) == [1365, 1365, 1366]
    assert (await listed(world))[2].runs_going_on > 0
    world.host.answer = succeed
    for key, launch in list(world.host.live.items()):
        world.host.finish(key, succeed(launch))
    for answer in answers:
        assert (await world.wait(answer.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
        await check_whole(world, answer.accepted.run_id, chain(2), [*world.shards, empty])
    assert not any(answer.accepted.created for answer in await world.submit(*[chain(2)] * 30))


STEPS = ("begun", "copied", "followed", "let go", "sealed", "verified", "flipped", "arrived", "cleared")


async def test_a_mover_that_is_killed_at_any_step_is_gone_on_with(world: World) -> None:
    """The same slots go to and fro; each time the replica dies at another step, and the one after it ends the move."""
    world.host.answer = lambda launch: None
    dag = chain(len(STEPS))
    answers = await world.submit(*[dag] * 4)
    ids = [answer.accepted.run_id for answer in answers]
    for number, step in enumerate(STEPS):
        await world.host.until(lambda: len(world.host.live) == len(ids))
        mover = part_of(world, A, Mover)
        died = asyncio.Event()

        async def die(reached: str, step: str = step, died: asyncio.Event = died) -> None:
            if reached == step:
                died.set()
                await asyncio.Event().wait()

        mover.reached = die
        target = number % 2
        slots = {slot_of(UUID(run_id)) for run_id in ids} | {100 * number, 100 * number + 1}
        async with mover._catalogue.change() as change:
            await change.want({slot: target for slot in slots if change.map.shard_of_slot[slot] != target})
        await died.wait()
        for key, launch in list(
            world.host.live.items()
        ):  # at the worst moment; the host keeps what nobody acknowledges
            world.host.finish(key, succeed(launch))
        await kill(world, A)
        await world.start_orchestrator(A)
        await moved(world, 0)
        held = await rows_of(world.shards[1 - target], "SELECT run_id FROM nodes")
        assert held == [], f"left behind after a death at {step!r}"
    for run_id in ids:
        assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
        await check_whole(world, run_id, dag, world.shards)


async def test_a_shard_without_slots_is_drained_as_well(world: World, databases: Callable[..., list[str]]) -> None:
    (empty,) = databases(1)
    await add(world, empty)
    await drain(world, 2)
    assert (await moved(world, 2))[-1].shard.state == DRAINED
    assert [each.slots for each in await listed(world)] == [2048, 2048, 0]


async def test_a_past_owner_is_refused_and_a_drain_that_cannot_be_is_too(world: World) -> None:
    (answer,) = await world.submit(chain(1))
    await world.wait(answer.accepted.run_id)
    mover = part_of(world, A, Mover)
    leases = {number: each.lease for number, each in mover._shards.open.items()}
    epochs = {number: dict(lease.epochs) for number, lease in leases.items()}
    await drain(world, 0)
    await moved(world, 0)
    pool = await asyncpg.create_pool(world.shards[0], min_size=1, max_size=1)
    try:
        with pytest.raises(asyncpg.PostgresError) as caught:
            await pool.execute(
                ShardStore(0, pool)._sql["commit_changes"],
                leases[0].lease_id, 1_000_000, b"", [(0, epochs[0][0])], *[[]] * 14, 1,
            )  # fmt: skip
        assert caught.value.sqlstate == SLOT_LOST
    finally:
        await pool.close()
    for shard, code, words in [
        (1, grpc.StatusCode.FAILED_PRECONDITION, "Shard 1 is the last one"),
        (7, grpc.StatusCode.NOT_FOUND, "There is no shard '7'"),
    ]:
        with pytest.raises(grpc.aio.AioRpcError, match=words) as refused:
            await drain(world, shard)
        assert refused.value.code() == code
    # The same database may be used again.
    again = await add(world, name_of(world.shards[0]), balance=True)
    assert (again.created, again.shard.shard) == (True, 0)
    await moved(world, 0)
    assert [each.slots for each in await listed(world)] == [2048, 2048]
    assert (await world.get(answer.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert slot_of(UUID(answer.accepted.run_id)) < 4096


async def cancel(world: World, shard: int) -> shards_pb2.Shard:
    request = shards_pb2.CancelDrainRequest(shard=str(shard))
    return (await shards_of(world).CancelDrain(request, metadata=world.metadata())).shard


def stop_at(mover: Mover, step: str) -> tuple[asyncio.Event, asyncio.Event]:
    """The next time that it reaches a step it says so, and waits."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(now: str) -> None:
        if now == step and not reached.is_set():
            reached.set()
            await go_on.wait()

    mover.reached = wait
    return reached, go_on


@pytest.mark.parametrize(
    ("step", "killed"),
    [("begun", False), ("copied", True), ("verified", False), ("verified", True), ("flipped", False)],
)
async def test_a_drain_is_called_off_at_any_step(world: World, step: str, killed: bool) -> None:
    """What has moved stays there, all else stays here, and nothing is left of what was copied. Runs do not notice."""
    world.host.answer = lambda launch: None
    dag = chain(2)
    ids = [answer.accepted.run_id for answer in await world.submit(*[dag] * 40)]
    await world.host.until(lambda: len(world.host.live) == len(ids))
    reached, go_on = stop_at(part_of(world, A, Mover), step)
    await drain(world, 0)
    await reached.wait()
    called_off = [await cancel(world, 0) for _ in range(2)]
    assert {each.state for each in called_off} == {shards_pb2.SHARD_STATE_ACTIVE}
    left = 64 if step == "flipped" else 0  # the one batch that was moved by then
    assert {each.slots for each in called_off} == {2048 - left}
    if killed:
        await kill(world, A)
        await world.start_orchestrator(A)
    else:
        go_on.set()
    assert [each.shard.slots_to_move for each in await moved(world, 0)][-1] == 0
    assert [(each.state, each.slots) for each in await listed(world)] == [
        (shards_pb2.SHARD_STATE_ACTIVE, 2048 - left),
        (shards_pb2.SHARD_STATE_ACTIVE, 2048 + left),
    ]
    for number, dsn in enumerate(world.shards):
        slots = {row["slot"]: row["place"] for row in await rows_of(dsn, "SELECT slot, place FROM slots")}
        assert set(slots.values()) == {1}, "nothing is on its way"
        assert len(slots) == [2048 - left, 2048 + left][number]
        there = {slot_of(row["run_id"]) for row in await rows_of(dsn, "SELECT run_id FROM runs")}
        assert there <= slots.keys(), "a copy is left"
    world.host.answer = succeed
    for key, launch in list(world.host.live.items()):
        world.host.finish(key, succeed(launch))
    for run_id in ids:
        assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
        await check_whole(world, run_id, dag, world.shards)


async def test_a_drain_that_is_called_off_and_on_again_takes_what_was_being_undone(world: World) -> None:
    mover = part_of(world, A, Mover)
    reached, go_on = stop_at(mover, "copied")
    await drain(world, 0)
    await reached.wait()
    await cancel(world, 0)
    undoing, undo = stop_at(mover, "copies removed")
    go_on.set()
    await undoing.wait()
    await drain(world, 0)
    undo.set()
    assert (await moved(world, 0))[-1].shard.state == DRAINED
    assert await in_tables(world.shards[0]) == 0
    with pytest.raises(grpc.aio.AioRpcError, match="is drained already") as refused:
        await cancel(world, 0)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_process_that_was_paused_removes_nothing_and_leaves_nothing(world: World) -> None:
    (answer,) = await world.submit(chain(1))
    await world.wait(answer.accepted.run_id)
    slot = slot_of(UUID(answer.accepted.run_id))
    mover = part_of(world, A, Mover)
    await mover.stop()
    async with mover._catalogue.change() as change:
        holder = change.map.shard_of_slot[slot]
        await change.want({slot: 1 - holder})
    source, target = (mover._shards.open[number] for number in (holder, 1 - holder))
    # It had begun when the move was called off, and all that was left of it was removed.
    attempts = await mover._catalogue.begin({slot: 0})
    async with mover._catalogue.change() as change:
        await change.call_off(holder)
    assert await mover._step()
    assert await mover._catalogue.moves() == []
    await target.lease.moves.expect(attempts)
    with pytest.raises(Superseded):
        await mover._check_wanted(target, attempts)
    assert await rows_of(world.shards[1 - holder], f"SELECT 1 FROM slots WHERE slot = {slot}") == []
    # It had begun to clear up what had moved, and the slot is back.
    with pytest.raises(Superseded):
        await source.lease.moves.clear({slot: source.lease.epochs[slot]})
    await check_whole(world, answer.accepted.run_id, chain(1), world.shards)


async def test_another_replica_goes_on_once_the_lease_of_a_mover_has_run_out(world: World) -> None:
    """The slots of the dead are sealed, copied or moved; whoever claims them next ends the move."""
    world.host.answer = lambda launch: None
    steps = ("copied", "let go", "sealed", "flipped", "cleared")
    dag = chain(len(steps))
    ids = [answer.accepted.run_id for answer in await world.submit(*[dag] * 8)]
    for number, step in enumerate(steps):
        victim, heir = (A, B) if number % 2 == 0 else (B, A)
        source, target = number % 2, 1 - number % 2
        await world.host.until(lambda: len(world.host.live) == len(ids))
        await world.start_orchestrator(heir)
        mover = part_of(world, victim, Mover)
        reached, _never = stop_at(mover, step)
        async with mover._catalogue.change() as change:
            slots = [slot_of(UUID(run_id)) for run_id in ids]
            ours = [
                slot for slot in mover._shards.open[source].lease.epochs if change.map.shard_of_slot[slot] == source
            ]
            wanted = {*(slot for slot in ours if slot in slots), *ours[:2]}
            await change.want(dict.fromkeys(wanted, target))
        await reached.wait()
        await kill(world, victim)
        for dsn in world.shards:
            await rows_of(dsn, f"UPDATE leases SET expires_at = now() WHERE replica = '{victim}'")
        await moved(world, source)
        assert await rows_of(world.shards[source], f"SELECT 1 FROM slots WHERE slot = ANY(ARRAY{[*wanted]})") == []
        gone = [slot_of(row["run_id"]) for row in await rows_of(world.shards[source], "SELECT run_id FROM nodes")]
        assert wanted.isdisjoint(gone), f"left behind after a death at {step!r}"
        for key, launch in list(world.host.live.items()):
            world.host.finish(key, succeed(launch))
    for run_id in ids:
        assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
        await check_whole(world, run_id, dag, world.shards)
