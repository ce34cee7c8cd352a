"""What a test may look at inside a running orchestrator."""

import asyncio
from typing import TypeVar

from mwfs_chassis.grpc_server import GrpcServer
from mwfs_orchestrator.api import OrchestratorApi
from mwfs_orchestrator.automations.firing import Firing
from mwfs_orchestrator.engine import Engine
from mwfs_orchestrator.gate import Gate
from mwfs_orchestrator.history import History
from mwfs_orchestrator.host_links import HostLinks
from mwfs_orchestrator.retention.archiver import Archiver
from mwfs_orchestrator.reuse import ResultCache
from mwfs_orchestrator.scheduler_link import SchedulerLink
from mwfs_orchestrator.shard.store import ShardStore
from mwfs_orchestrator.sharding.mover import Mover

from .conftest import World

_Part = TypeVar("_Part")


def history_of(world: World) -> tuple[History, list[ShardStore]]:
    history = next(part for part in world.parts if isinstance(part, History))
    return history, list(history.stores.values())


def archiver_of(world: World) -> Archiver:
    return next(part for part in world.parts if isinstance(part, Archiver))


def engine_of(world: World) -> Engine:
    return _api_of(world)._reading._engine


def gate_of(world: World) -> Gate:
    return _api_of(world)._intake._gate


def _api_of(world: World) -> OrchestratorApi:
    server = next(part for part in world.parts if isinstance(part, GrpcServer))
    (api,) = (one.servicer for one in server._services if isinstance(one.servicer, OrchestratorApi))
    return api


async def fold_all(world: World) -> None:
    """History has everything that is committed."""
    history, stores = history_of(world)
    for store in stores:
        for row in await store.pool.fetch("SELECT lease_id, max(position) AS newest FROM outbox GROUP BY lease_id"):
            while (await store.history_position(row["lease_id"]))[0] < row["newest"]:
                await history.fold(store, row["lease_id"])


async def empty_outbox(world: World) -> None:
    await fold_all(world)
    history, stores = history_of(world)
    for store in stores:
        await history.trim(store)
        assert await store.pool.fetchval("SELECT count(*) FROM outbox") == 0


def part_of(world: World, replica: str, kind: type[_Part]) -> _Part:
    return next(part for part in world.replicas[replica].parts if isinstance(part, kind))


async def kill(world: World, replica: str) -> None:
    """As by SIGKILL: nothing is committed, given back or told any more."""
    victim = world.replicas.pop(replica)
    mover = next(part for part in victim.parts if isinstance(part, Mover))
    tasks = [
        task for each in mover._shards.open.values() for task in (*each.keeper._tasks, each.committer._task) if task
    ]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await mover.stop()
    await mover._shards._stop_following()
    for part in reversed(victim.parts):
        if isinstance(part, GrpcServer | HostLinks | SchedulerLink | History | Firing | ResultCache):
            await part.stop()
    for pool in (mover._catalogue.pool, *(each.store.pool for each in mover._shards.open.values())):
        pool.terminate()
    await victim.channel.close()
