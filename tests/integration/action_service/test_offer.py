"""What the host offers to the scheduler, and what the service shows of itself."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mwfs_action_service.offer import Offer
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.errors import ResourceExhausted
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity

IDENTITY = Identity(token="test-token", principal="action-service", team="system")
CAPACITY = dag_pb2.Resources(cpu_millis=2000, memory_bytes=1 << 30, gpus=1)


class Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Keeps the offers that it gets, and answers each with an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.offers: asyncio.Queue[scheduler_pb2.OfferRequest] = asyncio.Queue()

    async def Offer(
        self, request_iterator: AsyncIterator[scheduler_pb2.OfferRequest], context: Any
    ) -> AsyncIterator[scheduler_pb2.OfferResponse]:
        async for request in request_iterator:
            self.offers.put_nowait(request)
            yield scheduler_pb2.OfferResponse(epoch=self.epoch)


def serve(scheduler: Scheduler, listen: str = "127.0.0.1:0") -> GrpcServer:
    registration = Registration(
        add=scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        servicer=scheduler,
        name="mwfs_api.scheduler.v1.SchedulerService",
    )
    return GrpcServer(listen=listen, token="test-token", services=[registration], stop_grace_s=0.0)


async def test_a_host_offers_its_inventory_and_again_to_a_scheduler_that_comes_back() -> None:
    first = Scheduler(epoch=3)
    server = serve(first)
    await server.start()
    address = server.address
    epochs: asyncio.Queue[int] = asyncio.Queue()
    offer = Offer(
        scheduler_address=address,
        identity=IDENTITY,
        host="local",
        address=lambda: "127.0.0.1:4711",
        capacity=CAPACITY,
        on_epoch=epochs.put_nowait,
    )
    await offer.start()
    async with asyncio.timeout(250):
        request = await first.offers.get()
        assert (request.host, request.address) == ("local", "127.0.0.1:4711")
        assert request.capacity == CAPACITY
        assert await epochs.get() == 3
        await server.stop()
        second = Scheduler(epoch=4)
        server = serve(second, address)
        await server.start()
        assert (await second.offers.get()).host == "local"
        assert await epochs.get() == 4
    await offer.stop()
    await offer.stop()
    await server.stop()


class Refusing(Scheduler):
    """Refuses offers with more GPUs than one."""

    async def Offer(
        self, request_iterator: AsyncIterator[scheduler_pb2.OfferRequest], context: Any
    ) -> AsyncIterator[scheduler_pb2.OfferResponse]:
        async for request in request_iterator:
            self.offers.put_nowait(request)
            raise ResourceExhausted("64 custom resources can be told apart.", "Share names.")
            yield


async def test_a_refused_offer_is_told_once_in_the_log_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Refusing(epoch=1)
    server = serve(scheduler)
    await server.start()
    offer = Offer(
        scheduler_address=server.address,
        identity=IDENTITY,
        host="local",
        address=lambda: "127.0.0.1:4711",
        capacity=CAPACITY,
        on_epoch=lambda _: None,
    )
    await offer.start()
    async with asyncio.timeout(250):
        for _ in range(3):
            await scheduler.offers.get()
    await offer.stop()
    await server.stop()
    told = [record for record in caplog.records if "refuses what this host offers" in record.message]
    assert [record.why for record in told] == ["64 custom resources can be told apart. Share names."]  # type: ignore[attr-defined]


async def test_health_metrics_and_token(host: Any) -> None:
    async with open_channel(host.service.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "mwfs_api.action.v1.ActionService", "mwfs_api.action.v1.ArtifactService"):
            request = health_pb2.HealthCheckRequest(service=name)
            answer = await health.Check(request, metadata=host.metadata, wait_for_ready=True, timeout=200)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = host.actions.Attach(metadata=(("authorization", "Bearer wrong"),), timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED

    url = f"http://{host.service.metrics_address}/metrics"
    with pytest.raises(urllib.error.HTTPError) as refused:
        await asyncio.to_thread(urllib.request.urlopen, url)
    assert refused.value.code == 401
    refused.value.close()
    authorised = urllib.request.Request(url, headers={"Authorization": "Bearer test-token"})
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(authorised).read().decode())
    for metric in ("mwfs_attempts_total", "mwfs_attempts_live", "mwfs_attempts_waiting", "mwfs_workers"):
        assert metric in page
