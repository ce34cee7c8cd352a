"""Hands commits on, in order. A stream has one writer and no gaps, so a position is a safe cursor.

Followers that keep up get commits from memory; those who come later, or fall behind, read the outbox.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final

from prometheus_client import Counter

from mwfs_api.events.v1 import events_pb2

from .shard.store import ShardStore

RELAYED = Counter("mwfs_orchestrator_commits_relayed", "Commits handed to followers of events.")

#: Read and sent at once.
_BATCH_COMMITS: Final = 200
_BATCH_EVENTS: Final = 50_000
#: Commits of each stream of ours that are kept in memory.
_RECENT_COMMITS: Final = 256
#: After news, so that a burst goes out in one message. Events are not on the critical path.
_GATHER_S: Final = 0.02
#: Streams of other replicas bring no news here; they are looked at this often.
_LOOK_EVERY_S: Final = 1.0


class Relay:
    """The commits of all shards, for any number of followers."""

    def __init__(self, stores: list[ShardStore]) -> None:
        self._stores = stores
        self._recent: dict[str, deque[events_pb2.Commit]] = {}
        self._news = asyncio.Event()

    def publish(self, commit: events_pb2.Commit) -> None:
        """This was committed here."""
        recent = self._recent.get(commit.stream)
        if recent is None:
            recent = self._recent[commit.stream] = deque(maxlen=_RECENT_COMMITS)
        recent.append(commit)
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, positions: Mapping[str, int]) -> AsyncIterator[list[events_pb2.Commit]]:
        """Commits after `positions` (stream → position), then new ones as they happen, without end."""
        cursors = dict(positions)
        loop = asyncio.get_running_loop()
        news = self._news
        looked_at = loop.time()
        async for batch in self._stored(cursors, all_streams=True):
            yield batch
        while True:
            for stream in list(self._recent):
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

    async def _tail(self, stream: str, cursors: dict[str, int]) -> AsyncIterator[list[events_pb2.Commit]]:
        """What a stream of ours has after the cursor: from memory when it reaches back that far."""
        recent = self._recent[stream]
        cursor = cursors.get(stream, 0)
        if recent[-1].position <= cursor:
            return
        if recent[0].position > cursor + 1:
            shard, lease_id = stream.split("/")
            async for batch in self._read(self._stores[int(shard)], int(lease_id), cursors):
                yield batch
            return
        new = [commit for commit in recent if commit.position > cursor]
        cursors[stream] = new[-1].position
        RELAYED.inc(len(new))
        yield new

    async def _stored(self, cursors: dict[str, int], *, all_streams: bool) -> AsyncIterator[list[events_pb2.Commit]]:
        for store in self._stores:
            for lease_id in await store.list_streams(all_streams=all_streams):
                async for batch in self._read(store, lease_id, cursors):
                    yield batch

    async def _read(
        self, store: ShardStore, lease_id: int, cursors: dict[str, int]
    ) -> AsyncIterator[list[events_pb2.Commit]]:
        stream = f"{store.shard}/{lease_id}"
        while rows := await store.read_commits(lease_id, cursors.get(stream, 0), _BATCH_COMMITS):
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
