"""Channels to the services of one platform, and the one way in which calls are made, repeated and refused."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import grpc

from mwfs.client.refusals import Peer, never_arrived, refusal_of
from mwfs.home import home_option, read_endpoints, read_token, resolve_home, up_command
from mwfs_api.action.v1 import action_pb2_grpc
from mwfs_api.observability.v1 import observability_pb2_grpc
from mwfs_api.orchestrator.v1 import (
    automations_pb2_grpc,
    orchestrator_pb2_grpc,
    retention_pb2_grpc,
    shards_pb2_grpc,
)
from mwfs_api.scheduler.v1 import quotas_pb2_grpc, scheduler_pb2_grpc, what_if_pb2_grpc

_MAX_MESSAGE = 64 * 2**20
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    # A platform that was killed and is back is found again at once, not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)

Request = TypeVar("Request")
Response = TypeVar("Response")
Stub = TypeVar("Stub")


class Patience:
    """How long calls are repeated while a service that has answered before is away: it is probably being restarted.

    None at all for a service that has never answered and has no supervisor: it is not running, and the user should know at once.
    """

    def __init__(self, service: Service[Any]) -> None:
        self._service = service
        self._pause = 0.05
        self._until: float | None = None

    def reset(self) -> None:
        """The service is there again."""
        self._pause, self._until = 0.05, None

    async def wait(self) -> bool:
        """Waits a moment before the next try; False when the time is over."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self._service.patience_s
        if now >= self._until:
            return False
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, 1.0)
        return True


class Service(Generic[Stub]):
    """One service: its stub, and calls that end in typed errors. All calls made through it are safe to repeat."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        make_stub: Callable[[grpc.aio.Channel], Stub],
        peer: Peer,
        metadata: tuple[tuple[str, str], ...],
        patience_s: float,
    ) -> None:
        self.stub = make_stub(channel)
        self.peer = peer
        self.metadata = metadata
        self._patience_s = patience_s
        #: Whether it has ever answered.
        self.reached = False

    @property
    def patience_s(self) -> float:
        return self._patience_s if self.reached else 0.0

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float = 30.0,
    ) -> Response:
        patience = Patience(self)
        cancelled = _cancellations()
        while True:
            try:
                response = await method(request, metadata=self.metadata, timeout=timeout)
                _raise_if_more_than(cancelled)
            except grpc.aio.AioRpcError as error:
                _raise_if_more_than(cancelled)
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    # A service that says so itself is there: it is starting, or waits for another one.
                    self.reached = self.reached or not never_arrived(error.details() or "")
                    if await patience.wait():
                        continue
                raise refusal_of(error, self.peer) from None
            self.reached = True
            return response

    async def read(
        self, method: grpc.aio.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncGenerator[Response, None]:
        """A stream of answers, not repeated when it breaks. Close the iterator to cancel the call."""
        call = method(request, metadata=self.metadata)
        try:
            async for response in call:
                self.reached = True
                yield response
        except grpc.aio.AioRpcError as error:
            raise refusal_of(error, self.peer) from None
        finally:
            call.cancel()


if TYPE_CHECKING:  # these stubs exist for type checkers only
    Orchestrator: TypeAlias = Service[orchestrator_pb2_grpc.OrchestratorServiceAsyncStub]
    AutomationCalls: TypeAlias = Service[automations_pb2_grpc.AutomationServiceAsyncStub]
    RetentionCalls: TypeAlias = Service[retention_pb2_grpc.RetentionServiceAsyncStub]
    ShardCalls: TypeAlias = Service[shards_pb2_grpc.ShardServiceAsyncStub]
    QuotaCalls: TypeAlias = Service[quotas_pb2_grpc.QuotaServiceAsyncStub]
    WhatIfCalls: TypeAlias = Service[what_if_pb2_grpc.WhatIfServiceAsyncStub]
    Scheduler: TypeAlias = Service[scheduler_pb2_grpc.SchedulerServiceAsyncStub]
    Observability: TypeAlias = Service[observability_pb2_grpc.ObservabilityServiceAsyncStub]
    Artifacts: TypeAlias = Service[action_pb2_grpc.ArtifactServiceAsyncStub]
    ActionService: TypeAlias = Service[action_pb2_grpc.ActionServiceAsyncStub]


class Connection:
    """The services of the platform in one home. Channels open with the first call; all calls run in one event loop."""

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        team: str | None = None,
        principal: str | None = None,
        patience_s: float = 30.0,
    ) -> None:
        self.home: Path = resolve_home(home)
        self._endpoints = read_endpoints(self.home)
        self._metadata = (
            ("authorization", f"Bearer {read_token(self.home)}"),
            ("mwfs-principal", principal or os.environ.get("MWFS_PRINCIPAL") or _user_name()),
            ("mwfs-team", team or os.environ.get("MWFS_TEAM") or "default"),
        )
        self._patience_s = patience_s
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._services: dict[tuple[str, str], Service[Any]] = {}

    @property
    def orchestrator(self) -> Orchestrator:
        return self._service("orchestrator", orchestrator_pb2_grpc.OrchestratorServiceStub)

    @property
    def automations(self) -> AutomationCalls:
        return self._service("orchestrator", automations_pb2_grpc.AutomationServiceStub, role="automations")

    @property
    def shards(self) -> ShardCalls:
        return self._service("orchestrator", shards_pb2_grpc.ShardServiceStub, role="shards")

    @property
    def retention(self) -> RetentionCalls:
        return self._service("orchestrator", retention_pb2_grpc.RetentionServiceStub, role="retention")

    @property
    def scheduler(self) -> Scheduler:
        return self._service("scheduler", scheduler_pb2_grpc.SchedulerServiceStub)

    @property
    def quotas(self) -> QuotaCalls:
        return self._service("scheduler", quotas_pb2_grpc.QuotaServiceStub, role="quotas")

    @property
    def what_if(self) -> WhatIfCalls:
        return self._service("scheduler", what_if_pb2_grpc.WhatIfServiceStub, role="what-if")

    @property
    def observability(self) -> Observability:
        return self._service("observability", observability_pb2_grpc.ObservabilityServiceStub)

    @property
    def artifacts(self) -> Artifacts:
        return self._service("action_service", action_pb2_grpc.ArtifactServiceStub, role="artifacts")

    def action_service(self, address: str = "") -> ActionService:
        """The action service of one host; without an address, the one of this machine."""
        return self._service("action_service", action_pb2_grpc.ActionServiceStub, address=address)

    async def close(self) -> None:
        channels, self._channels = list(self._channels.values()), {}
        self._services.clear()
        for channel in channels:
            await channel.close()

    def _service(self, name: str, make_stub: Any, *, address: str = "", role: str = "") -> Service[Any]:
        address = address or self._endpoints.address_of(name)
        service = self._services.get((role or name, address))
        if service is None:
            channel = self._channels.get(address)
            if channel is None:
                channel = self._channels[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
            peer = Peer(
                service=name.replace("_", " "),
                address=address,
                up=up_command(self.home),
                status=f"mwfs status{home_option(self.home)}",
                supervised=self._endpoints.supervised,
            )
            service = Service(channel, make_stub, peer, self._metadata, self._patience_s)
            # A supervisor that lives starts a service that is away again, so it is waited for from the first call on.
            service.reached = self._endpoints.supervised
            self._services[(role or name, address)] = service
        return service


def _cancellations() -> int:
    """How often somebody has asked for the end of the task that is running."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _raise_if_more_than(known: int) -> None:
    """grpc.aio drops a cancellation that comes in the moment in which the call ends; the task must end all the same."""
    if _cancellations() > known:
        raise asyncio.CancelledError


def _user_name() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no entry in the password database, as in some containers
        name = ""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._@+-]", "", name)[:128] or "user"
