"""An orchestrator that says what the test tells it, and an observability service that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1.observability_pb2_grpc import (
    ObservabilityServiceStub,
    add_ObservabilityServiceServicer_to_server,
)
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.orchestrator.v1.orchestrator_pb2_grpc import (
    OrchestratorServiceServicer,
    add_OrchestratorServiceServicer_to_server,
)
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.postgres import load_queries, open_pool
from mwfs_observability.api import ObservabilityServicer
from mwfs_observability.app import SERVICE
from mwfs_observability.follower import Follower
from mwfs_observability.metrics import Metrics
from mwfs_observability.store import Store

IDENTITY = Identity(token="secret", principal="ann", team="ads")


class FakeOrchestrator(OrchestratorServiceServicer):
    """Streams of commits, as the relay would hand them on. `misbehave` changes what is sent, not what is true."""

    def __init__(self) -> None:
        self.streams: dict[str, list[events_pb2.Commit]] = {}
        self.cursors_seen: list[dict[str, int]] = []
        #: Commits before the client's cursor that are sent again, as after a lost acknowledgement.
        self.repeat = 0
        #: stream → commits up to there are gone: who was in the middle of them must begin anew.
        self.removed_to: dict[str, int] = {}
        self._news = asyncio.Condition()
        self._generation = 0

    async def commit(self, *runs: events_pb2.RunEvents, stream: str = "0/1") -> int:
        """One more commit; its position."""
        commits = self.streams.setdefault(stream, [])
        commits.append(events_pb2.Commit(stream=stream, position=len(commits) + 1, runs=runs))
        async with self._news:
            self._news.notify_all()
        return len(commits)

    async def break_streams(self) -> None:
        """All followers lose their stream."""
        async with self._news:
            self._generation += 1
            self._news.notify_all()

    async def FollowEvents(  # type: ignore[override]
        self, request: orchestrator_pb2.FollowEventsRequest, context: Any
    ) -> AsyncIterator[orchestrator_pb2.FollowEventsResponse]:
        cursors = {one.stream: one.position for one in request.positions}
        self.cursors_seen.append(dict(cursors))
        for stream, removed_to in self.removed_to.items():
            if 0 < cursors.get(stream, 0) < removed_to:
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "begin anew")
            cursors.setdefault(stream, removed_to)
        cursors = {stream: max(0, position - self.repeat) for stream, position in cursors.items()}
        generation = self._generation
        while True:
            unread = []
            for stream, commits in self.streams.items():
                unread += commits[cursors.get(stream, 0) :]
                cursors[stream] = len(commits)
            if unread:
                yield orchestrator_pb2.FollowEventsResponse(commits=unread)
            async with self._news:
                while generation == self._generation and all(
                    cursors.get(stream) == len(commits) for stream, commits in self.streams.items()
                ):
                    await self._news.wait()
            if generation != self._generation:
                await context.abort(14, "as the test asked")


class Observability:
    """A running service, without a process of its own."""

    def __init__(
        self, store: Store, follower: Follower, server: GrpcServer, registry: CollectorRegistry, dsn: str
    ) -> None:
        self.dsn = dsn
        self.store = store
        self.follower = follower
        self.server = server
        self.registry = registry
        self.channel = open_channel(server.address)
        self.stub = ObservabilityServiceStub(self.channel)

    async def stop(self) -> None:
        await self.channel.close()
        await self.follower.stop()
        await self.server.stop()
        await self.store.close()

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(name) or 0.0


@pytest.fixture
async def orchestrator() -> AsyncIterator[tuple[FakeOrchestrator, str]]:
    """The orchestrator and its address."""
    fake = FakeOrchestrator()
    registration = Registration(
        add=add_OrchestratorServiceServicer_to_server,
        servicer=fake,
        name="mwfs_api.orchestrator.v1.OrchestratorService",
    )
    server = GrpcServer(listen="127.0.0.1:0", token="secret", services=[registration], stop_grace_s=0)
    await server.start()
    yield fake, server.address
    await server.stop()


Start = Callable[..., Awaitable[Observability]]


@pytest.fixture
async def start(
    orchestrator: tuple[FakeOrchestrator, str], databases: Callable[..., list[str]]
) -> AsyncIterator[Start]:
    """Starts services that share one database and follow the orchestrator."""
    [dsn] = databases(1, package="mwfs_observability")
    running: list[Observability] = []

    async def begin(**knobs: Any) -> Observability:
        registry = CollectorRegistry()
        store = Store(await open_pool(dsn), load_queries("mwfs_observability"))
        follower = Follower(
            store,
            orchestrator=orchestrator[1],
            identity=IDENTITY,
            clock=SystemClock(),
            metrics=Metrics(registry),
            linger_s=0.001,
            **knobs,
        )
        registration = Registration(
            add=add_ObservabilityServiceServicer_to_server, servicer=ObservabilityServicer(store), name=SERVICE
        )
        server = GrpcServer(listen="127.0.0.1:0", token="secret", services=[registration], stop_grace_s=0)
        await follower.start()
        await server.start()
        running.append(Observability(store, follower, server, registry, dsn))
        return running[-1]

    yield begin
    for service in running:
        await service.stop()
