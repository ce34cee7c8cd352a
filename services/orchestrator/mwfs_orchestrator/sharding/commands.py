"""What an operator of the platform asks for: listing, adding and draining shards."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import asyncpg

from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

from .databases import check_database, dsn_of, is_name, name_of, shown, written
from .first_start import identity_of
from .in_use import Shards
from .model import Moving, Shard, ShardMap, ShardState, balance_plan, drain_plan
from .store import MapStore

log = logging.getLogger(__name__)

_CONNECT_S: Final = 5.0
#: How late a watcher sees what was not announced.
_LOOK_AGAIN_S: Final = 1.0
_PREFIX: Final = "shard_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """A shard as an operator of the platform sees it."""

    shard: Shard
    slots: int
    moving: Moving
    runs_going_on: int = 0
    size_bytes: int = 0
    #: Why the last two are not known.
    trouble: str = ""


class ShardCommands:
    """All are safe to repeat."""

    def __init__(self, *, store: MapStore, shards: Shards, catalogue_dsn: str, clock: Clock) -> None:
        self._store = store
        self._shards = shards
        self._catalogue_dsn = catalogue_dsn
        self._clock = clock

    async def list(self) -> list[ShardView]:
        map_ = await self._store.read()
        return list(await asyncio.gather(*(self._view(map_, shard) for shard in map_.shards.values())))

    async def add(self, database: str, *, balance: bool) -> tuple[ShardView, bool]:
        """The shard, and whether it is new. Raises InvalidArgument, AlreadyExists, FailedPrecondition."""
        if not database:
            database = _next_name(await self._store.read())
        check_database(database)
        dsn = dsn_of(database, self._catalogue_dsn)
        kept = written(dsn, self._catalogue_dsn)
        if is_name(database):
            await self._create(database)
        await self._check_reachable(dsn)
        identity = await identity_of(dsn, self._shards.map.platform)
        async with self._store.change() as change:
            known = next((each for each in change.map.shards.values() if each.identity == identity), None)
            if known is None:
                number, created = await change.add(kept, identity, self._clock.now_us()), True
            elif shown(known.database) != shown(kept):
                raise AlreadyExists(
                    f"The database {shown(kept)} is shard {known.shard} already, as {shown(known.database)}.",
                    "Name another database.",
                )
            elif known.state is ShardState.DRAINING:
                raise FailedPrecondition(
                    f"Shard {known.shard} is being drained.",
                    "Add it again once `mwfs shards list` shows it as DRAINED.",
                )
            else:
                number, created = known.shard, known.state is ShardState.DRAINED
            if created:
                moving = {move.slot for move in await change.moves()}
                plan = balance_plan(change.map.shard_of_slot, number, change.map.active, moving) if balance else {}
                await change.set_state(number, ShardState.ACTIVE, planned=len(plan))
                await change.want(plan)
                log.info("a shard is added", extra={"shard": number, "database": shown(kept), "slots": len(plan)})
        await self._shards.refresh()
        return await self._one(number), created

    async def drain(self, name: str) -> ShardView:
        """Its slots are to be elsewhere. Raises NotFound, FailedPrecondition."""
        async with self._store.change() as change:
            shard = _find(change.map, name)
            if shard.state is ShardState.ACTIVE:
                targets = [number for number in change.map.active if number != shard.shard]
                if not targets:
                    raise FailedPrecondition(
                        f"Shard {shard.shard} is the last one: nothing could take its slots.",
                        "Add another with `mwfs shards add` first.",
                    )
                moves = await change.moves()
                if any(move.target == shard.shard for move in moves):
                    raise FailedPrecondition(
                        f"Slots are still moving to shard {shard.shard}.",
                        "Wait until `mwfs shards list` shows none that moves.",
                    )
                moving = {move.slot for move in moves}
                plan = drain_plan(change.map.shard_of_slot, shard.shard, targets, moving)
                leaving = sum(move.source == shard.shard for move in moves)
                await change.set_state(shard.shard, ShardState.DRAINING, planned=len(plan) + leaving)
                await change.call_on(shard.shard)
                await change.want(plan)
                log.info("a shard is drained", extra={"shard": shard.shard, "slots": len(plan)})
        await self._shards.refresh()
        return await self._one(shard.shard)

    async def cancel_drain(self, name: str) -> ShardView:
        """The slots that it still holds stay. Raises NotFound, FailedPrecondition."""
        async with self._store.change() as change:
            shard = _find(change.map, name)
            if shard.state is ShardState.DRAINED:
                raise FailedPrecondition(
                    f"Shard {shard.shard} is drained already: its slots are on other shards.",
                    "Use it again with `mwfs shards add`.",
                )
            if shard.state is ShardState.DRAINING:
                tried = await change.call_off(shard.shard)
                await change.set_state(shard.shard, ShardState.ACTIVE)
                log.info("a drain is called off", extra={"shard": shard.shard, "slots_tried": tried})
        await self._shards.refresh()
        return await self._one(shard.shard)

    async def watch(self, name: str) -> AsyncGenerator[ShardView, None]:
        """The shard now and as its moves go on, until none is left. Raises NotFound."""
        number = _find(await self._store.read(), name).shard
        last: ShardView | None = None
        while True:
            news = self._shards.news
            map_ = await self._store.read()
            view = await self._view(map_, map_.shards[number])
            if last is None or (view.shard, view.moving) != (last.shard, last.moving):
                yield view
            last = view
            if not view.moving.moves and view.shard.state is not ShardState.DRAINING:
                return
            try:
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await news.wait()
            except TimeoutError:
                pass

    async def _one(self, number: int) -> ShardView:
        map_ = await self._store.read()
        return await self._view(map_, map_.shards[number])

    async def _view(self, map_: ShardMap, shard: Shard) -> ShardView:
        slots = len(map_.slots_of(shard.shard))
        moving = await self._store.moving(shard.shard)
        store = self._shards.stores.get(shard.shard)
        if shard.state is ShardState.DRAINED:
            return ShardView(shard=shard, slots=slots, moving=moving)
        if store is None:
            return ShardView(shard=shard, slots=slots, moving=moving, trouble="this replica has not opened it yet")
        try:
            runs, size = await store.figures()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            return ShardView(shard=shard, slots=slots, moving=moving, trouble=f"away: {type(error).__name__}")
        return ShardView(shard=shard, slots=slots, moving=moving, runs_going_on=runs, size_bytes=size)

    async def _create(self, name: str) -> None:
        async with self._store.pool.acquire() as connection:
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
                try:
                    await connection.execute(f'CREATE DATABASE "{name}"')  # a name of letters, digits and _
                except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                    pass  # by somebody else, at this moment
                except asyncpg.InsufficientPrivilegeError:
                    raise FailedPrecondition(
                        f"There is no database {name} beside the catalogue, and the platform may not create one.",
                        "Create it, or let the platform's role do so.",
                    ) from None

    async def _check_reachable(self, dsn: str) -> None:
        """Raises InvalidArgument for a database that is not there, and for one that holds something else."""
        try:
            connection = await asyncpg.connect(dsn, timeout=_CONNECT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
            raise InvalidArgument(
                f"The database {shown(dsn)} cannot be reached: {_why(error)}.", "Correct the DSN, or start its server."
            ) from None
        try:
            tables = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        finally:
            await connection.close()
        names = {row["tablename"] for row in tables}
        if names and "shard_identity" not in names:
            raise FailedPrecondition(
                f"The database {shown(dsn)} is not empty: it has a table {min(names)}.", "Name one that is empty."
            )


def _next_name(map_: ShardMap) -> str:
    """For a database beside the catalogue: after all that shards are called."""
    taken = {shard.database for shard in map_.shards.values()}
    number = max(map_.shards) + 1
    while f"{_PREFIX}{number}" in taken:
        number += 1
    return f"{_PREFIX}{number}"


def _find(map_: ShardMap, name: str) -> Shard:
    """By number, or by the name of the database. Raises NotFound, InvalidArgument."""
    if name.isascii() and name.isdecimal() and len(name) < 9 and int(name) in map_.shards:
        return map_.shards[int(name)]
    found = [
        shard
        for shard in map_.shards.values()
        if name in (shard.database, shown(shard.database), name_of(shard.database))
    ]
    if len(found) > 1:
        raise InvalidArgument(f"Several shards have a database {name[:100]!r}.", "Give the number of one.")
    if not found:
        raise NotFound(f"There is no shard {name[:100]!r}.", "List them with `mwfs shards list`.")
    return found[0]


def _why(error: Exception) -> str:
    return "it did not answer in time" if isinstance(error, TimeoutError) else (str(error) or type(error).__name__)
