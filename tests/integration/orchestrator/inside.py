"""What a test may look at inside a running orchestrator."""

from mwfs_chassis.grpc_server import GrpcServer
from mwfs_orchestrator.api import OrchestratorApi
from mwfs_orchestrator.engine import Engine
from mwfs_orchestrator.history import History
from mwfs_orchestrator.shard.store import ShardStore

from .conftest import World


def history_of(world: World) -> tuple[History, list[ShardStore]]:
    history = next(part for part in world.parts if isinstance(part, History))
    return history, list(history.stores.values())


def engine_of(world: World) -> Engine:
    server = next(part for part in world.parts if isinstance(part, GrpcServer))
    (api,) = (one.servicer for one in server._services if isinstance(one.servicer, OrchestratorApi))
    return api._reading._engine


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
