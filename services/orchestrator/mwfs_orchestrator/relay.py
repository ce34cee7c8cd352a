"""Hands commits on, in order. A stream has one writer and no gaps, so a position is a safe cursor.

Followers that keep up get commits from memory; those who come later, or fall behind, read the outbox, and before that history.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from prometheus_client import Counter

from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.errors import OutOfRange

from .recent_commits import RecentCommits
from .shard.store import ShardStore

RELAYED = Counter("mwfs_orchestrator_commits_relayed", "Commits handed to followers of events.")

#: Read and sent at once.
_BATCH_COMMITS: Final = 200
_BATCH_EVENTS: Final = 50_000
#: After news, so that a burst goes out in one message. Events are not on the critical path.
_GATHER_S: Final = 0.02
#: Streams of other replicas bring no news here; they are looked at this often.
_LOOK_EVERY_S: Final = 1.0


class Cursors(dict[str, int]):
    """Where a follower is in each stream."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        super().__init__(positions)
        #: Stream → up to where the follower knows that events may be missing: who begins at 0 knows what was removed before.
        self._known_removed = {stream: 0 for stream, position in positions.items() if position > 0}

    def misses(self, stream: str, removed_to: int) -> bool:
        """Whether events that the follower has still to get were removed, and it may have had some of the same runs."""
        cursor = self.get(stream, 0)
        if cursor == 0:
            self._known_removed[stream] = removed_to
        return cursor < removed_to and removed_to > self._known_removed.setdefault(stream, 0)


class Relay:
    """The commits of all shards, for any number of followers."""

    def __init__(self, stores: Mapping[int, ShardStore], recent: RecentCommits) -> None:
        self._stores = stores
        self._recent = recent
        self._news = asyncio.Event()

    def publish(self) -> None:
        """There are new ones among the recent commits."""
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, positions: Mapping[str, int]) -> AsyncIterator[list[events_pb2.Commit]]:
        """Commits after `positions` (stream → position), then new ones as they happen, without end."""
        cursors = Cursors(positions)
        loop = asyncio.get_running_loop()
        news = self._news
        looked_at = loop.time()
        async for batch in self._stored(cursors, all_streams=True):
            yield batch
        while True:
            for stream in self._recent.streams():
                async for batch in self._tail(stream, cursors):
                    yield batch
            if loop.time() > looked_at + _LOOK_EVERY_S:
                looked_at = loop.time()
                async for batch in self._stored(cursors, all_streams=False):
                    yield batch
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await news.wait()
                await asyncio.sleep(_GATHER_S)
            except TimeoutError:
                pass
            news = self._news

    async def _tail(self, stream: str, cursors: Cursors) -> AsyncIterator[list[events_pb2.Commit]]:
        """What a stream of ours has after the cursor: from memory when it reaches back that far."""
        new = self._recent.after(stream, cursors.get(stream, 0))
        if new is None:
            shard, lease_id = stream.split("/")
            store = self._stores.get(int(shard))
            if store is None:  # drained: all that it had is on other shards
                self._recent.forget(stream)
                return
            async for batch in self._read(store, int(lease_id), cursors):
                yield batch
        elif new:
            cursors[stream] = new[-1].commit.position
            RELAYED.inc(len(new))
            yield [one.commit for one in new]

    async def _stored(self, cursors: Cursors, *, all_streams: bool) -> AsyncIterator[list[events_pb2.Commit]]:
        for store in list(self._stores.values()):
            for lease_id in await store.list_streams(all_streams=all_streams):
                async for batch in self._read(store, lease_id, cursors):
                    yield batch

    async def _read(self, store: ShardStore, lease_id: int, cursors: Cursors) -> AsyncIterator[list[events_pb2.Commit]]:
        stream = f"{store.shard}/{lease_id}"
        while True:
            rows = await store.read_commits(lease_id, cursors.get(stream, 0), _BATCH_COMMITS)
            if not rows or rows[0]["position"] > cursors.get(stream, 0) + 1:
                older = await self._older(store, lease_id, cursors)
                if older:
                    yield older
                    continue
            if not rows:
                return
            batch: list[events_pb2.Commit] = []
            events = 0
            for row in rows:
                commit = events_pb2.Commit.FromString(row["payload"])
                batch.append(commit)
                cursors[stream] = row["position"]
                events += sum(len(run.kind) for run in commit.runs)
                if events > _BATCH_EVENTS:
                    break
            RELAYED.inc(len(batch))
            yield batch
            if len(batch) < _BATCH_COMMITS and len(batch) == len(rows):
                return

    async def _older(self, store: ShardStore, lease_id: int, cursors: Cursors) -> list[events_pb2.Commit]:
        """Commits after the cursor that have left the outbox, put together again from history; none when there are none. Raises OutOfRange."""
        stream = f"{store.shard}/{lease_id}"
        cursor = cursors.get(stream, 0)
        position, removed_to = await store.history_position(lease_id)
        if position <= cursor:
            return []
        if cursors.misses(stream, removed_to):
            raise OutOfRange(
                f"Events of the stream {stream} after position {cursor} are gone, with runs that were removed up to position {removed_to}.",
                "Forget everything and follow from the start.",
            )
        last, rows = await store.read_history(lease_id, cursor)
        commits: dict[int, events_pb2.Commit] = {}
        for row in rows:
            for position, batch in zip(row.positions, row.batches, strict=True):
                if position > cursor:
                    commit = commits.setdefault(position, events_pb2.Commit(stream=stream, position=position))
                    commit.runs.append(batch)
        if last:
            cursors[stream] = last
        RELAYED.inc(len(commits))
        return [commits[position] for position in sorted(commits)]
