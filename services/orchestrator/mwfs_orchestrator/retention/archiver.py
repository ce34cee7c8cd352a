"""Moves runs that ended long ago from their shard to the archive, a few at a time. Each replica does so with the slots that it owns.

artifact in the object store → row in the catalogue → run gone from the shard → its other rows gone. Killed between any two, whoever owns the slot then
does the step before again, which changes nothing, or goes on. See adr/0011-archive.md.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from prometheus_client import Counter

from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import ResourceExhausted
from mwfs_orchestrator.contents import Contents
from mwfs_orchestrator.shard.ended import EMPTIED, EndedRuns, SlotsLost
from mwfs_orchestrator.sharding.in_use import OpenShard, Shards

from .archive_files import trouble
from .archiving import keep_batch, read_batch
from .model import EndedRun, Terms, month_of
from .store import RetentionStore

log = logging.getLogger(__name__)

ARCHIVED = Counter(
    "mwfs_orchestrator_runs_archived", "Runs that went to the archive and were removed from their shard."
)
FAILED = Counter("mwfs_orchestrator_archiving_failed", "Times that archiving was given up, to be tried again.")

#: After a start, so that nothing competes with taking up runs.
_FIRST_S: Final = 60.0
_EVERY_S: Final = 3600.0
_RETRY_S: Final = 300.0
#: Between two steps, so that commits have the shard to themselves most of the time.
PAUSE_S: Final = 0.1
_BATCH_RUNS: Final = 200
#: Of all runs of a batch, unless one alone has more.
_BATCH_NODES: Final = 100_000


class Owner(Protocol):
    """What keeps runs in memory."""

    def hold_ended(self, run_ids: Iterable[UUID]) -> list[UUID]: ...
    def release_ended(self, run_ids: Iterable[UUID]) -> None: ...


async def _nothing(step: str) -> None:
    """Tests do something else here."""


class Archiver:
    """One loop for all shards."""

    def __init__(
        self,
        *,
        shards: Shards,
        owner: Owner,
        store: RetentionStore,
        contents: Contents,
        clock: Clock,
        folder: Path,
        default_days: int,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.default_days = default_days
        #: Called after each step, with its name.
        self.reached: Callable[[str], Awaitable[None]] = _nothing
        self._shards = shards
        self._owner = owner
        self._store = store
        self._contents = contents
        self._clock = clock
        self._folder = folder
        self._pause_s = pause_s
        #: Runs that may be gone from their shard: nobody revives them. When removing them fails, they stay here until we look again.
        self._held: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="archiver")

    async def stop(self) -> None:
        """What is half done, the next one goes on with."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def terms(self) -> Terms:
        return Terms(default=self.default_days, of_team=await self._store.settings())

    async def _work(self) -> None:
        pause = _FIRST_S
        while True:
            await asyncio.sleep(pause)
            pause = _EVERY_S
            try:
                await self.look(self._clock.now_us())
            except Exception as error:
                FAILED.inc()
                log.warning("could not archive runs; will try again", extra={"error": repr(error)})
                pause = _RETRY_S

    async def look(self, now_us: int) -> int:
        """Archives and removes all runs that are old enough now; how many."""
        self._release()
        terms = await self.terms()
        shutil.rmtree(self._folder, ignore_errors=True)
        archived = 0
        failure: Exception | None = None
        for shard in list(self._shards.open.values()):
            try:
                archived += await self._look_at(shard, terms, now_us)
            except SlotsLost as error:
                log.info("others have slots of ours", extra={"shard": shard.store.shard, "error": str(error)})
            except Exception as error:
                failure = error  # after the other shards had their turn
        if failure is not None:
            raise failure
        return archived

    async def _look_at(self, shard: OpenShard, terms: Terms, now_us: int) -> int:
        ended = EndedRuns(shard.store.pool)
        # While slots move, their rows are compared: what is removed meanwhile would make a difference.
        if self._shards.map.moves:
            return 0
        await self._finish(ended, sorted(shard.lease.epochs))
        archived = 0
        for team, oldest_us in (await ended.oldest_ends()).items():
            cutoff_us = terms.cutoff_us(team, now_us)
            if oldest_us >= cutoff_us:
                continue
            why = trouble()
            if why:
                log.warning("runs that are old enough are not archived", extra={"reason": why})
                return archived
            after = (0, UUID(int=0))
            while batch := await self._next(ended, shard, team, cutoff_us, after):
                try:
                    archived += await self._archive(ended, shard, team, batch, now_us)
                except ResourceExhausted as error:
                    FAILED.inc()
                    log.warning(
                        "runs are too large for the object store, and stay",
                        extra={"shard": shard.store.shard, "runs": len(batch), "error": str(error)},
                    )
                after = (batch[-1].end_us, batch[-1].run_id)
                await asyncio.sleep(self._pause_s)
        return archived

    async def _next(
        self, ended: EndedRuns, shard: OpenShard, team: str, cutoff_us: int, after: tuple[int, UUID]
    ) -> list[EndedRun]:
        """Runs of one month, that are not too much together."""
        if self._shards.map.moves:
            return []
        found = await ended.older(team, cutoff_us, after, sorted(shard.lease.epochs), _BATCH_RUNS)
        batch: list[EndedRun] = []
        nodes = 0
        for run in found:
            nodes += run.node_count
            if batch and (nodes > _BATCH_NODES or month_of(run.end_us) != month_of(batch[0].end_us)):
                break
            batch.append(run)
        return batch

    async def _archive(
        self, ended: EndedRuns, shard: OpenShard, team: str, batch: Sequence[EndedRun], now_us: int
    ) -> int:
        """How many of the runs are gone from their shard."""
        self._folder.mkdir(parents=True, exist_ok=True)
        epochs = dict(shard.lease.epochs)
        async with ended.snapshot() as snapshot:
            read = await read_batch(snapshot, [run.run_id for run in batch], self._folder)
        rows = await keep_batch(read, team=team, folder=self._folder, contents=self._contents, now_us=now_us)
        await self.reached("artifact")
        if not rows:
            return 0
        await self._store.note(rows)
        await self.reached("catalogue")
        self._held = set(self._owner.hold_ended(row.run_id for row in rows))
        removed = await ended.remove(
            [run for run in batch if run.run_id in self._held and run.slot in epochs], shard.lease.lease_id, epochs
        )
        self._release()
        ARCHIVED.inc(len(removed))
        await self.reached("removed")
        await self._finish(ended, sorted(epochs))
        log.info("archived runs", extra={"shard": shard.store.shard, "team": team, "runs": len(removed)})
        return len(removed)

    def _release(self) -> None:
        self._owner.release_ended(self._held)
        self._held = set()

    async def _finish(self, ended: EndedRuns, slots: Sequence[int]) -> None:
        """No table has rows of runs any more that are gone."""
        while run_ids := await ended.half_removed(slots, _BATCH_RUNS):
            kept = await ended.with_checkpoints(run_ids)
            if kept:
                await self._contents.drop_checkpoints((), kept)
                await self.reached("checkpoints removed")
            for table in EMPTIED:
                async for _ in ended.remove_rows(table, run_ids):
                    await asyncio.sleep(self._pause_s)
                await self.reached(table.name)
            await ended.end_removal(run_ids)
