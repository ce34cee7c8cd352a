"""A running scheduler over real gRPC and a real catalogue, and streams to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from mwfs_api.dags.v1.dag_pb2 import Resources
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub, add_SchedulerServiceServicer_to_server
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.postgres import load_queries, open_pool
from mwfs_scheduler.api import SchedulerServicer
from mwfs_scheduler.app import SERVICE
from mwfs_scheduler.engine import Engine
from mwfs_scheduler.leading.store import LeaderStore
from mwfs_scheduler.metrics import Metrics
from mwfs_scheduler.store import Store

IDENTITY = Identity(token="secret", principal="tester", team="ads")
NEVER_S = 3600.0
AT_ONCE_S = 0.0


class Service:
    """A running scheduler, and streams to it."""

    def __init__(self, engine: Engine, server: GrpcServer, registry: CollectorRegistry) -> None:
        self.engine = engine
        self.server = server
        self.registry = registry
        self.channel = open_channel(server.address)
        self.stub = SchedulerServiceStub(self.channel)

    async def stop(self) -> None:
        await self.channel.close()
        await self.engine.stop()
        await self.server.stop()

    def stream(self) -> Any:
        return self.stub.Request(metadata=IDENTITY.metadata)

    async def hello(self, replica: str = "orchestrator-0", held: list[pb.HeldGrant] | None = None) -> Any:
        """An open stream that has been greeted."""
        stream = self.stream()
        await stream.write(pb.RequestRequest(hello=pb.Hello(replica=replica, held=held or [])))
        greeting = await stream.read()
        assert greeting.epoch == self.engine.epoch
        assert greeting.HasField("hosts")
        return stream

    async def offer(self, host: str = "local", cpu_millis: int = 400) -> Any:
        stream: Any = self.stub.Offer(metadata=IDENTITY.metadata)
        await stream.write(inventory(host, cpu_millis))
        assert (await stream.read()).epoch == self.engine.epoch
        return stream

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(name) or 0.0


Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start(databases: Callable[..., list[str]]) -> AsyncIterator[Start]:
    """Starts schedulers that share one catalogue."""
    [dsn] = databases(1, package="mwfs_scheduler")
    running: list[Service] = []

    async def begin(grace_s: float = NEVER_S, clock: Clock | None = None) -> Service:
        registry = CollectorRegistry()
        pool, queries = await open_pool(dsn, max_size=2), load_queries("mwfs_scheduler")
        store = Store(pool, queries)
        engine = Engine(store, Metrics(registry), grace_s=grace_s, clock=clock)
        servicer = SchedulerServicer(engine)
        registration = Registration(add=add_SchedulerServiceServicer_to_server, servicer=servicer, name=SERVICE)
        server = GrpcServer(listen="127.0.0.1:0", token="secret", services=[registration], stop_grace_s=0)
        epoch = await LeaderStore(pool, queries).take("test", "", 60)
        assert epoch is not None
        await engine.lead(epoch)
        await server.start()
        running.append(Service(engine, server, registry))
        return running[-1]

    yield begin
    for service in running:
        await service.stop()


def inventory(host: str, cpu_millis: int) -> pb.OfferRequest:
    return pb.OfferRequest(host=host, address="127.0.0.1:1", capacity=Resources(cpu_millis=cpu_millis))


def demand(group: str, add: int, team: str = "ads", cpu_millis: int = 100) -> pb.Demand:
    resources = Resources(cpu_millis=cpu_millis)
    return pb.Demand(group_id=group, add=add, team=team, run_id="run", resources=resources)


async def refused(stream: Any) -> grpc.aio.AioRpcError:
    """How the stream ends, reading until it does."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the stream ended without an error")
