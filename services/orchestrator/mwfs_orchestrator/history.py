"""Moves the events of each run from the outbox into its history, a moment after their commit, and empties the outbox behind itself."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import asyncpg
from prometheus_client import Counter

from mwfs_api.events.v1 import events_pb2

from .recent_commits import RecentCommit, RecentCommits
from .shard.store import HistoryRow, ShardStore

log = logging.getLogger(__name__)

FOLDED = Counter("mwfs_orchestrator_commits_folded", "Commits whose events were moved from the outbox to history.")
TRIMMED = Counter("mwfs_orchestrator_outbox_parts_emptied", "Parts of the outbox that were emptied.")

OUTBOX_PARTS: Final = 4
#: Commits of so long go into history together: one row for a short run, few for a long one.
GATHER_S: Final = 1.0
_BATCH_COMMITS: Final = 500
#: Of one row, about.
_ROW_BYTES: Final = 1024 * 1024
_TRIM_EVERY_S: Final = 30.0
#: Streams of replicas that are gone are looked for this often.
_LOOK_EVERY_S: Final = 10.0
_RETRY_S: Final = 2.0


def fold_commits(commits: Iterable[events_pb2.Commit], size: int) -> list[HistoryRow]:
    """Commits of one stream, in order, as rows of their runs. Together they have `size` bytes, which mostly is less than one row may have."""
    size_of = events_pb2.RunEvents.ByteSize if size >= _ROW_BYTES else _nothing
    rows: list[HistoryRow] = []
    open_rows: dict[str, tuple[events_pb2.RunHistory, int]] = {}
    for commit in commits:
        for batch in commit.runs:
            history, has = open_rows.get(batch.run_id) or (events_pb2.RunHistory(), 0)
            has += size_of(batch)
            history.batches.append(batch)
            history.positions.append(commit.position)
            if has < _ROW_BYTES:
                open_rows[batch.run_id] = (history, has)
            else:
                open_rows.pop(batch.run_id, None)
                rows.append(_row(history))
    rows.extend(_row(history) for history, _ in open_rows.values())
    return rows


def _nothing(batch: events_pb2.RunEvents) -> int:
    return 0


def _row(history: events_pb2.RunHistory) -> HistoryRow:
    first, last = history.batches[0], history.batches[-1]
    return (
        UUID(first.run_id),
        first.first_number,
        last.first_number + len(last.kind) - 1,
        history.SerializeToString(),
    )


class History:
    """The history of all shards. Each replica moves what it has committed itself, and what replicas left that are gone."""

    def __init__(self, stores: Mapping[int, ShardStore], recent: RecentCommits, *, gather_s: float = GATHER_S) -> None:
        self.stores = stores
        self._recent = recent
        self._gather_s = gather_s
        self._streams: defaultdict[int, set[int]] = defaultdict(set)
        self._news: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._tasks: dict[int, list[asyncio.Task[None]]] = {}

    async def start(self) -> None:
        for store in self.stores.values():
            self.add(store)

    async def stop(self) -> None:
        """What is not moved yet, another replica moves, or this one when it is back."""
        for shard in list(self._tasks):
            await self.remove(shard)

    def add(self, store: ShardStore) -> None:
        """From now on this shard's too."""
        if store.shard not in self._tasks:
            self._tasks[store.shard] = [
                asyncio.create_task(work(store), name=f"{name}-{store.shard}")
                for name, work in (("history", self._keep), ("outbox-trimmer", self._trim))
            ]

    async def remove(self, shard: int) -> None:
        """No longer this shard's."""
        tasks = self._tasks.pop(shard, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def publish(self, commit: events_pb2.Commit) -> None:
        """This was committed here."""
        shard, _, lease_id = commit.stream.partition("/")
        self._streams[int(shard)].add(int(lease_id))
        self._news[int(shard)].set()

    async def _keep(self, store: ShardStore) -> None:
        news, streams = self._news[store.shard], self._streams[store.shard]
        looked_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await news.wait()
                await asyncio.sleep(self._gather_s)
            except TimeoutError:
                pass
            news.clear()
            try:
                mine = sorted(streams)
                streams.clear()
                for lease_id in mine:
                    await self.fold(store, lease_id)
                if loop.time() > looked_at + _LOOK_EVERY_S:
                    looked_at = loop.time()
                    for lease_id in await store.list_unfolded():
                        await self.fold(store, lease_id)
            except Exception as error:
                # Nothing is lost: the outbox keeps it.
                log.warning(
                    "could not write history; will try again", extra={"shard": store.shard, "error": repr(error)}
                )
                streams.update(mine)
                news.set()
                await asyncio.sleep(_RETRY_S)

    async def fold(self, store: ShardStore, lease_id: int) -> None:
        """Moves all that a stream has."""
        after, _ = await store.history_position(lease_id)
        while found := await self._after(store, lease_id, after):
            rows = fold_commits([one.commit for one in found], sum(one.size for one in found))
            to = found[-1].commit.position
            if not await store.keep_history(lease_id, after, to, rows):
                return  # another replica is at it
            FOLDED.inc(len(found))
            after = to

    async def _after(self, store: ShardStore, lease_id: int, position: int) -> list[RecentCommit]:
        """Some of what a stream has after a position, from its first on; none when that is all."""
        found = self._recent.after(f"{store.shard}/{lease_id}", position)
        if found is None:
            rows = await store.read_commits(lease_id, position, _BATCH_COMMITS)
            found = [RecentCommit(events_pb2.Commit.FromString(row["payload"]), len(row["payload"])) for row in rows]
        return found

    async def _trim(self, store: ShardStore) -> None:
        while True:
            await asyncio.sleep(_TRIM_EVERY_S)
            await self.trim(store)

    async def trim(self, store: ShardStore) -> int:
        """Empties the parts of the outbox that can be; how many."""
        emptied = 0
        for part in range(OUTBOX_PARTS):
            try:
                emptied += await store.trim_outbox(part)
            except asyncpg.LockNotAvailableError:
                log.info("a part of the outbox is being read; it is emptied later", extra={"part": part})
            except Exception as error:
                log.warning("could not empty the outbox", extra={"shard": store.shard, "error": repr(error)})
        TRIMMED.inc(emptied)
        return emptied
