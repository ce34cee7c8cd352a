"""Follows the orchestrator's events and stores them, each commit exactly once, many commits to a transaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import grpc

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.identity import Identity
from mwfs_chassis.streams import keep_open
from mwfs_observability.metrics import Metrics
from mwfs_observability.projection import Batch
from mwfs_observability.store import Store

log = logging.getLogger(__name__)

#: How long commits are gathered into one transaction. Nobody waits for a timeline for as long as this.
LINGER_S = 0.05
#: A batch of this size is stored at once, and until it is, nothing more is read: the stream's flow control does the rest.
FULL_BYTES = 8 << 20


class Follower:
    """Keeps one FollowEvents stream open, and goes on from the stored cursors whenever it breaks."""

    def __init__(
        self,
        store: Store,
        *,
        orchestrator: str,
        identity: Identity,
        clock: Clock,
        metrics: Metrics,
        linger_s: float = LINGER_S,
        full_bytes: int = FULL_BYTES,
    ) -> None:
        self._store = store
        self._orchestrator = orchestrator
        self._identity = identity
        self._clock = clock
        self._metrics = metrics
        self._linger_s = linger_s
        self._full_bytes = full_bytes
        self._following: asyncio.Task[None] | None = None
        self._away = True
        #: Stream → last position stored.
        self._positions: dict[str, int] = {}
        self._stored = asyncio.Condition()

    async def start(self) -> None:
        if self._following is None:
            self._following = asyncio.create_task(self._keep_following(), name="follower")

    async def stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def wait_stored(self, stream: str, position: int) -> None:
        """Until that position is stored: the signal that tests wait for."""
        async with self._stored:
            while self._positions.get(stream, 0) < position:
                await self._stored.wait()

    async def _keep_following(self) -> None:
        async with open_channel(self._orchestrator) as channel:
            stub = OrchestratorServiceStub(channel)
            await keep_open("events", lambda: self._follow(stub), ended=self._ended)

    def _ended(self) -> None:
        self._metrics.following.set(0)
        self._metrics.breaks.inc()
        if not self._away:  # once, and not for each time that it is tried again
            self._away = True
            log.info("not following events; trying again until it works")

    async def _follow(self, stub: OrchestratorServiceStub) -> None:
        """One stream, from where the database says we are until it breaks."""
        positions = await self._store.positions()
        request = orchestrator_pb2.FollowEventsRequest(
            positions=[
                orchestrator_pb2.StreamPosition(stream=stream, position=position)
                for stream, position in positions.items()
            ]
        )
        self._positions = dict(positions)
        call = stub.FollowEvents(request, metadata=self._identity.metadata)
        inbox = _Inbox(positions, self._full_bytes)
        reading = asyncio.create_task(self._read(call, inbox), name="follower-read")
        try:
            while (batch := await inbox.take(self._linger_s)) is not None:
                await self._save(batch)
            await reading
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                log.warning("was away for longer than events are kept; beginning anew", extra={"why": error.details()})
                await self._store.forget()
            raise
        finally:
            reading.cancel()
            call.cancel()
            # Its error, if it had one, was raised above; here it only has to have ended.
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, call: Any, inbox: _Inbox) -> None:
        try:
            async for response in call:
                if self._away:
                    self._away = False
                    self._metrics.following.set(1)
                    log.info("following events")
                await inbox.put(response)
        finally:
            inbox.close()

    async def _save(self, batch: Batch) -> None:
        if batch.commits:
            await self._store.save(batch)
            self._positions |= batch.moved
            self._metrics.lag.set(max(0.0, (self._clock.now_us() - batch.newest_us) / 1e6))
        self._metrics.events.inc(batch.events)
        self._metrics.commits.inc(batch.commits)
        self._metrics.batches.inc()
        self._metrics.duplicates.inc(batch.duplicates)
        if batch.gaps:
            self._metrics.gaps.inc(batch.gaps)
            log.error("a stream skipped positions", extra={"gaps": batch.gaps})
        if batch.malformed:
            self._metrics.malformed.inc(batch.malformed)
            log.error("events that cannot be read were ignored", extra={"batches": batch.malformed})
        async with self._stored:
            self._stored.notify_all()


class _Inbox:
    """Commits on their way from the stream to the next transaction."""

    def __init__(self, positions: dict[str, int], full_bytes: int) -> None:
        self._positions = positions
        self._full_bytes = full_bytes
        self._batch = Batch(positions)
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    async def put(self, response: orchestrator_pb2.FollowEventsResponse) -> None:
        """Add what arrived; waits while the batch is full."""
        await self._room.wait()
        for commit in response.commits:
            self._batch.add(commit)
        self._arrived.set()
        if self._batch.size >= self._full_bytes:
            self._full.set()
            self._room.clear()

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._arrived.set()
        self._full.set()

    async def take(self, linger_s: float) -> Batch | None:
        """All that has arrived, once something has and a moment has passed for more; None when nothing more will come."""
        await self._arrived.wait()
        if not self._full.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s):
                    await self._full.wait()
        batch = self._batch
        if self._closed and not (batch.commits or batch.duplicates):
            return None
        self._batch = Batch(self._positions)
        if not self._closed:
            self._arrived.clear()
            self._full.clear()
        self._room.set()
        return batch
