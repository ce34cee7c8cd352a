"""Hands commits on, in order, from the outbox. A stream has one writer and no gaps, so a position is a safe cursor."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from prometheus_client import Counter

from mwfs_api.events.v1 import events_pb2

from .shard.store import ShardStore

RELAYED = Counter("mwfs_orchestrator_commits_relayed", "Commits handed to followers of events.")

#: Read and sent at once.
_BATCH_COMMITS: Final = 200
_BATCH_BYTES: Final = 8 * 1024 * 1024
#: After news, so that a burst is read in one go. Events are not on the critical path.
_GATHER_S: Final = 0.02
#: Streams written by other replicas bring no news here; they are looked at this often.
_LOOK_EVERY_S: Final = 1.0


class Relay:
    """Reads the outboxes of all shards for any number of followers."""

    def __init__(self, stores: list[ShardStore]) -> None:
        self._stores = stores
        self._news = asyncio.Event()

    def notify(self) -> None:
        """Something was committed here."""
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, positions: Mapping[str, int]) -> AsyncIterator[list[events_pb2.Commit]]:
        """Commits after `positions` (stream → position), then new ones as they happen, without end."""
        cursors = dict(positions)
        while True:
            news = self._news
            found = False
            async for batch in self._unread(cursors):
                found = True
                yield batch
            if not found:
                try:
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await news.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(_GATHER_S)

    async def _unread(self, cursors: dict[str, int]) -> AsyncIterator[list[events_pb2.Commit]]:
        for store in self._stores:
            for lease_id in await store.list_streams():
                stream = f"{store.shard}/{lease_id}"
                while rows := await store.read_commits(lease_id, cursors.get(stream, 0), _BATCH_COMMITS):
                    batch: list[events_pb2.Commit] = []
                    size = 0
                    for row in rows:
                        batch.append(events_pb2.Commit.FromString(row["payload"]))
                        cursors[stream] = row["position"]
                        size += len(row["payload"])
                        if size > _BATCH_BYTES:
                            break
                    RELAYED.inc(len(batch))
                    yield batch
                    if len(rows) < _BATCH_COMMITS:
                        break
