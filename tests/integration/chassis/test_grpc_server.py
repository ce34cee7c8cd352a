"""What callers of any service meet: authentication, codes, limits, deadlines, health, reflection, a graceful stop."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1 import scheduler_pb2_grpc
from mwfs_chassis import errors
from mwfs_chassis.caller import current_caller
from mwfs_chassis.channel import open_channel
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_types.errors import BadDag

NAME = "mwfs_api.scheduler.v1.SchedulerService"
US = Identity(token="secret-token", principal="ann", team="vision")


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Does what the test says, with an existing contract."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.entered = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ExplainWaiting(self, request: Any, context: Any) -> Any:
        self.entered.set()
        await self.may_answer.wait()
        if self.failure:
            raise self.failure
        return pb.ExplainWaitingResponse()

    async def ListHosts(self, request: Any, context: Any) -> Any:
        caller = current_caller()
        return pb.ListHostsResponse(hosts=[pb.Host(host=f"{caller.principal} of {caller.team}")])

    async def Offer(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        current_caller()
        async for _ in request_iterator:
            yield pb.OfferResponse()
        if self.failure:
            raise self.failure


@pytest.fixture
async def served() -> AsyncIterator[tuple[GrpcServer, Servicer, grpc.aio.Channel]]:
    servicer = Servicer()
    server = GrpcServer(
        listen="127.0.0.1:0",
        token=US.token,
        services=[
            Registration(add=scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, servicer=servicer, name=NAME)
        ],
        default_deadline_s=0.2,
    )
    await server.start()
    async with open_channel(server.address) as channel:
        yield server, servicer, channel
    await server.stop()


Served = tuple[GrpcServer, Servicer, grpc.aio.Channel]


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value.code(), refusal.value.details() or ""


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ((), "carries no token"),
        ((("authorization", "Bearer wrong"), *US.metadata[1:]), "not this home's token"),
        ((("authorization", US.token), *US.metadata[1:]), "not this home's token"),
        (US.metadata[:1], "mwfs-principal is missing"),
        (US.metadata[:2], "mwfs-team is missing"),
        ((*US.metadata[:2], ("mwfs-team", "../etc")), "mwfs-team is '../etc'"),
        ((*US.metadata[:2], ("mwfs-team", "x" * 129)), "mwfs-team is"),
    ],
)
async def test_callers_without_token_principal_or_team_are_refused(
    served: Served, metadata: tuple[tuple[str, str], ...], says: str
) -> None:
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    code, details = await refused(stub.ListHosts(pb.ListHostsRequest(), metadata=metadata))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert says in details
    assert US.token not in details


async def test_streams_are_refused_too(served: Served) -> None:
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    code, _ = await refused(stub.Offer(metadata=US.metadata[1:]).read())
    assert code == grpc.StatusCode.UNAUTHENTICATED


async def test_health_and_reflection_ask_for_the_token_only(served: Served) -> None:
    health = health_pb2_grpc.HealthStub(served[2])
    for name in ("", NAME):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), metadata=US.metadata[:1])
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    code, _ = await refused(health.Check(health_pb2.HealthCheckRequest()))
    assert code == grpc.StatusCode.UNAUTHENTICATED

    reflection = reflection_pb2_grpc.ServerReflectionStub(served[2])
    call = reflection.ServerReflectionInfo(metadata=US.metadata[:1])
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await call.read()).list_services_response.service}
    await call.done_writing()
    assert NAME in names


async def test_a_servicer_knows_its_caller(served: Served) -> None:
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    answer = await stub.ListHosts(pb.ListHostsRequest(), metadata=US.metadata)
    assert answer.hosts[0].host == "ann of vision"


@pytest.mark.parametrize(
    ("failure", "code", "details"),
    [
        (errors.InvalidArgument("No such shape.", "Ask for less."), "INVALID_ARGUMENT", "No such shape. Ask for less."),
        (errors.NotFound("No run r1."), "NOT_FOUND", "No run r1."),
        (errors.AlreadyExists("Taken."), "ALREADY_EXISTS", "Taken."),
        (errors.FailedPrecondition("Ended."), "FAILED_PRECONDITION", "Ended."),
        (errors.Aborted("Raced."), "ABORTED", "Raced."),
        (errors.PermissionDenied("Not yours."), "PERMISSION_DENIED", "Not yours."),
        (errors.Unauthenticated("Who?"), "UNAUTHENTICATED", "Who?"),
        (errors.ResourceExhausted("Full."), "RESOURCE_EXHAUSTED", "Full."),
        (errors.Unavailable("Starting."), "UNAVAILABLE", "Starting."),
        (errors.DataLoss("Damaged."), "DATA_LOSS", "Damaged."),
        (BadDag("node 3 has no operator"), "INVALID_ARGUMENT", "node 3 has no operator"),
        (ConnectionRefusedError("10.0.0.1"), "UNAVAILABLE", "The database is away. Try again in a moment."),
        (asyncpg.CannotConnectNowError("x"), "UNAVAILABLE", "The database is away. Try again in a moment."),
        (TimeoutError(), "UNAVAILABLE", "The database is away. Try again in a moment."),
    ],
)
async def test_each_error_has_its_code(served: Served, failure: Exception, code: str, details: str) -> None:
    served[1].failure = failure
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    found = await refused(stub.ExplainWaiting(pb.ExplainWaitingRequest(), metadata=US.metadata))
    assert (found[0].name, found[1]) == (code, details)

    stream = stub.Offer(metadata=US.metadata)
    await stream.write(pb.OfferRequest())
    assert await stream.read() == pb.OfferResponse()
    await stream.done_writing()
    found = await refused(stream.read())
    assert (found[0].name, found[1]) == (code, details)


async def test_a_defect_is_logged_once_and_tells_callers_nothing(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served[1].failure = KeyError("password=hunter2")
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    with caplog.at_level(logging.ERROR):
        code, details = await refused(stub.ExplainWaiting(pb.ExplainWaitingRequest(), metadata=US.metadata))
    assert code == grpc.StatusCode.INTERNAL
    assert details.startswith("internal error ")
    assert "hunter2" not in details
    [record] = caplog.records
    assert vars(record)["error_id"] == details.removeprefix("internal error ")
    assert record.exc_info is not None


async def test_messages_over_grpcs_default_pass_and_over_64_mib_do_not(served: Served) -> None:
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    large = pb.ExplainWaitingRequest(run_id="x" * 5_000_000)
    assert await stub.ExplainWaiting(large, metadata=US.metadata) == pb.ExplainWaitingResponse()

    too_large = pb.ExplainWaitingRequest(run_id="x" * (64 * 1024 * 1024))
    code, _ = await refused(stub.ExplainWaiting(too_large, metadata=US.metadata))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    careless = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(served[0].address, options=careless) as channel:
        stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
        code, _ = await refused(stub.ExplainWaiting(too_large, metadata=US.metadata))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_call_without_a_deadline_is_bounded_and_a_longer_one_may_be_asked_for(served: Served) -> None:
    servicer = served[1]
    stub = scheduler_pb2_grpc.SchedulerServiceStub(served[2])
    servicer.may_answer.clear()
    patient = asyncio.ensure_future(stub.ExplainWaiting(pb.ExplainWaitingRequest(), metadata=US.metadata, timeout=200))
    await servicer.entered.wait()
    code, details = await refused(stub.ExplainWaiting(pb.ExplainWaitingRequest(), metadata=US.metadata))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "No answer within 0.2 s." in details
    servicer.may_answer.set()
    assert await patient == pb.ExplainWaitingResponse()


async def test_a_stop_lets_calls_in_flight_end_and_frees_the_port(served: Served) -> None:
    server, servicer, channel = served
    address = server.address
    stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
    servicer.may_answer.clear()
    in_flight = asyncio.ensure_future(
        stub.ExplainWaiting(pb.ExplainWaitingRequest(), metadata=US.metadata, timeout=200)
    )
    await servicer.entered.wait()
    stopping = asyncio.ensure_future(server.stop())
    servicer.may_answer.set()
    assert await in_flight == pb.ExplainWaitingResponse()
    await stopping
    await server.stop()

    successor = GrpcServer(listen=address, token=US.token, services=[])
    await successor.start()
    assert successor.address == address
    await successor.stop()


async def test_a_stop_cuts_streams_that_go_on(served: Served) -> None:
    server, _, channel = served
    stream = scheduler_pb2_grpc.SchedulerServiceStub(channel).Offer(metadata=US.metadata)
    await stream.write(pb.OfferRequest())
    assert await stream.read() == pb.OfferResponse()
    await server.stop()
    code, _ = await refused(stream.read())
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_taken_port_is_an_error_and_not_shared(served: Served) -> None:
    second = GrpcServer(listen=served[0].address, token=US.token, services=[])
    with pytest.raises(errors.FailedPrecondition, match="the port is taken"):
        await second.start()
    await second.stop()


async def test_a_stop_in_the_middle_of_a_stream_is_no_defect(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    server, _, channel = served
    stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
    streams = [stub.Offer(metadata=US.metadata) for _ in range(5)]
    for stream in streams:
        await stream.write(pb.OfferRequest())
        assert await stream.read() == pb.OfferResponse()
    await asyncio.gather(server.stop(), *(stream.done_writing() for stream in streams))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
