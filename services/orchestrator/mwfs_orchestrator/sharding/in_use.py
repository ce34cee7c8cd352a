"""The shards that this replica works with: opened when the catalogue names them, closed when they are drained.

The catalogue announces changes of shards and slot map; what was missed while the connection was away is read when it is back.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from mwfs_chassis.errors import Unavailable
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.postgres import is_cut, migrate, open_pool
from mwfs_orchestrator.committer import Committer
from mwfs_orchestrator.history import History
from mwfs_orchestrator.shard.ends import ShardEnds
from mwfs_orchestrator.shard.store import ShardStore
from mwfs_orchestrator.slots import LeaseKeeper, ShardLease

from .databases import dsn_of, same_place, shown
from .model import Shard, ShardMap
from .store import MapStore

log = logging.getLogger(__name__)

_RETRY_S: Final = 1.0
_CLOSE_S: Final = 2.0
#: A connection that died without a word is found out after so long.
_ALIVE_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShard:
    """What works on one shard."""

    store: ShardStore
    ends: ShardEnds
    lease: ShardLease
    keeper: LeaseKeeper
    committer: Committer


class Shards:
    """The shards by number, and which of them holds a slot."""

    def __init__(
        self,
        *,
        catalogue: MapStore,
        first: ShardMap,
        dsns: Sequence[str],
        catalogue_dsn: str,
        stores: dict[int, ShardStore],
        history: History,
    ) -> None:
        self.map = first
        self.open: dict[int, OpenShard] = {}
        #: Those of `open`, for who needs no more: changed in place.
        self.stores = stores
        self.ends: dict[int, ShardEnds] = {}
        #: Set, and another one put in its place, whenever the catalogue has announced something.
        self.news = asyncio.Event()
        #: A shard is new: it must know what all wait for before it has slots.
        self.prepare: Callable[[], Awaitable[None]] = _nothing
        self.make: Callable[[ShardStore], OpenShard]
        self._catalogue = catalogue
        self._dsns = dsns
        self._catalogue_dsn = catalogue_dsn
        self._history = history
        self._changing = asyncio.Lock()
        self._running = False
        self._stale = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    # Looking up.

    def shard_of(self, slot: int) -> ShardStore:
        """Raises Unavailable for a shard that this replica could not open so far."""
        store = self.stores.get(self.map.shard_of_slot[slot])
        if store is None:
            raise Unavailable(f"Shard {self.map.shard_of_slot[slot]} is being opened.", "Try again in a moment.")
        return store

    def holder_of(self, slot: int) -> int:
        """The number of its shard."""
        return self.map.shard_of_slot[slot]

    def committer_of(self, slot: int) -> Committer:
        return self.open[self.map.shard_of_slot[slot]].committer

    def any_committer(self) -> Committer:
        """For what concerns no shard."""
        return next(iter(self.open.values())).committer

    def delay_s(self) -> float:
        """How long what happens takes to be committed, on the slowest of them."""
        return max((shard.committer.delay_s for shard in self.open.values()), default=0.0)

    # Following the catalogue.

    async def refresh(self) -> None:
        """Everything that the catalogue says now is so here as well, when this is done."""
        async with self._changing:
            found = await self._catalogue.read()
            if found.version == self.map.version and self._is_open(found):
                self.map = found
                self._tell()
                return
            if self._running:
                for shard in found.in_use:
                    if shard.shard not in self.open:
                        await self._open(shard)
                        await self._start(self.open[shard.shard])
            self.map = found
            for number in set(self.open) - {shard.shard for shard in found.in_use} if self._running else ():
                self._close(number)
            self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def _is_open(self, found: ShardMap) -> bool:
        return {shard.shard for shard in found.in_use} == set(self.open)

    async def open_all(self) -> None:
        """Before anything is started."""
        for shard in self.map.in_use:
            await self._open(shard)

    async def _open(self, shard: Shard) -> None:
        known = same_place(self._dsns, shard.database, self._catalogue_dsn)
        dsn = known or dsn_of(shard.database, self._catalogue_dsn)
        await migrate(dsn, "mwfs_orchestrator.shard")
        pool = await open_pool(dsn, max_size=6, name="mwfs-orchestrator")
        store = ShardStore(shard.shard, pool)
        identity, _ = await store.identify(self.map.platform)
        if identity != shard.identity:
            await pool.close()
            raise RuntimeError(f"the database {shown(dsn)} is not the one that was shard {shard.shard}")
        await store.first_slots(self.map.slots_of(shard.shard))
        opened = self.make(store)
        self.open[shard.shard] = opened
        self.stores[shard.shard] = store
        self.ends[shard.shard] = opened.ends

    async def _start(self, shard: OpenShard) -> None:
        """One that has come while we run."""
        number = shard.store.shard
        try:
            await self.prepare()
            await shard.committer.start()
            await shard.keeper.start()
            self._history.add(shard.store)
        except BaseException:
            self._close(number)
            raise
        log.info("opened a shard", extra={"shard": number})

    def _close(self, number: int) -> None:
        """From now on nobody finds it here; what works on it ends in its own time."""
        shard = self.open.pop(number)
        del self.stores[number], self.ends[number]
        closing = asyncio.create_task(self._end(shard), name=f"closing-{number}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _end(self, shard: OpenShard) -> None:
        await self._history.remove(shard.store.shard)
        await shard.committer.stop()
        await shard.keeper.stop()
        shard.store.pool.terminate()
        log.info("closed a shard", extra={"shard": shard.store.shard})

    async def _follow(self) -> None:
        connection: asyncpg.pool.PoolConnectionProxy | None = None
        refreshed = False
        while True:
            try:
                if connection is None or is_cut(connection):
                    await self._hang_up(connection)
                    connection = None
                    connection = await self._catalogue.pool.acquire()
                    await connection.add_listener("mwfs_shards", lambda *_: self._stale.set())
                    refreshed = False
                else:
                    await connection.execute("SELECT 1")
                if self._stale.is_set() or not refreshed:
                    self._stale.clear()
                    await self.refresh()
                    refreshed = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ALIVE_EVERY_S):
                        await self._stale.wait()
            except asyncio.CancelledError:
                await self._hang_up(connection)
                raise
            except Exception as error:
                log.warning("cannot follow the slot map; will try again", extra={"error": repr(error)})
                self._stale.set()
                await asyncio.sleep(_RETRY_S)

    async def _hang_up(self, connection: Any) -> None:
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()
                await self._catalogue.pool.release(connection)

    # Starting and stopping, in the order of the composition root.

    def pools(self) -> Part:
        """They are open already; closed when nothing uses them any more."""
        return _Stage(stop=self._close_pools)

    def leases(self) -> Part:
        return _Stage(start=self._start_keepers, stop=self._stop_keepers)

    def committers(self) -> Part:
        return _Stage(start=self._start_committers, stop=self._stop_committers)

    def following(self) -> Part:
        return _Stage(start=self._start_following, stop=self._stop_following)

    async def _close_pools(self) -> None:
        pools = [store.pool for store in self.stores.values()]
        try:
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*(pool.close() for pool in pools))
        except TimeoutError:
            log.warning("connections are cut that something has not given back")
            for pool in pools:
                pool.terminate()

    async def _start_keepers(self) -> None:
        for shard in list(self.open.values()):
            await shard.keeper.start()

    async def _stop_keepers(self) -> None:
        await asyncio.gather(*(shard.keeper.stop() for shard in self.open.values()))

    async def _start_committers(self) -> None:
        for shard in list(self.open.values()):
            await shard.committer.start()

    async def _stop_committers(self) -> None:
        await asyncio.gather(*(shard.committer.stop() for shard in self.open.values()))

    async def _start_following(self) -> None:
        self._running = True
        self._following = asyncio.create_task(self._follow(), name="slot-map")

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, *self._closing, return_exceptions=True)


class _Stage:
    """A moment of the life of all shards, as a part."""

    def __init__(
        self, *, start: Callable[[], Awaitable[None]] | None = None, stop: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._start = start or _nothing
        self._stop = stop or _nothing

    async def start(self) -> None:
        await self._start()

    async def stop(self) -> None:
        await self._stop()


async def _nothing() -> None:
    """Nobody asked for more."""
