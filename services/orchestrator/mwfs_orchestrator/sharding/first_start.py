"""The shards that the settings name become those of the catalogue, when it has none yet."""

import logging
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import FailedPrecondition, ServiceError
from mwfs_chassis.postgres import migrate, open_pool
from mwfs_orchestrator.model import SLOT_COUNT
from mwfs_orchestrator.shard.store import ShardStore

from .databases import same_place, shown, written
from .model import ShardMap, ShardState, first_map
from .store import MapStore

log = logging.getLogger(__name__)


async def settle_shards(store: MapStore, dsns: Sequence[str], catalogue_dsn: str, clock: Clock) -> ShardMap:
    """The map as it is, filled if this is the first start. Databases of the settings that are shards already are found where the settings say that they are.

    Raises FailedPrecondition for a database that belongs to another platform, or is named twice.
    """
    map_ = await store.read()
    gone = [shard.database for shard in map_.shards.values() if shard.state is ShardState.DRAINED]
    named = [dsn for dsn in dsns if not any(same_place([dsn], database, catalogue_dsn) for database in gone)]
    found: dict[UUID, str] = {}
    for dsn in named:
        identity = await identity_of(dsn, map_.platform)
        if identity in found:
            raise FailedPrecondition(
                f"The shards {shown(found[identity])} and {shown(dsn)} are the same database.", "Name each once."
            )
        found[identity] = dsn
    async with store.change() as change:
        if not change.map.shards:
            for identity, dsn in found.items():
                await change.add(written(dsn, catalogue_dsn), identity, clock.now_us())
            await change.fill(first_map(len(found), SLOT_COUNT))
        else:
            known = {shard.identity: shard.shard for shard in change.map.shards.values()}
            for identity, dsn in found.items():
                if identity in known:
                    await change.set_database(known[identity], written(dsn, catalogue_dsn))
                else:
                    log.warning(
                        "a database of the settings is no shard; add it with `mwfs shards add`",
                        extra={"database": shown(dsn)},
                    )
    return await store.read()


async def identity_of(dsn: str, platform: UUID) -> UUID:
    """Makes a shard of the database, if it is none yet, and says which database it is. Raises FailedPrecondition when it is another platform's."""
    await migrate(dsn, "mwfs_orchestrator.shard")
    pool: asyncpg.Pool = await open_pool(dsn, max_size=1, name="mwfs-orchestrator")
    try:
        identity, owner = await ShardStore(-1, pool).identify(platform)
    finally:
        await pool.close()
    if owner != platform:
        raise OtherPlatform(dsn)
    return identity


class OtherPlatform(FailedPrecondition):
    """The database is a shard of another catalogue."""

    def __init__(self, dsn: str) -> None:
        ServiceError.__init__(
            self, f"The database {shown(dsn)} is a shard of another platform.", "Name a database of its own."
        )
