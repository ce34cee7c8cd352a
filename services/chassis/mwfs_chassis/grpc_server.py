"""The gRPC server of a service: its servicers, health, reflection, and the interceptors around them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mwfs_chassis.channel import KEEPALIVE_TIME_MS, MESSAGE_LIMITS
from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.interceptors import AuthInterceptor, ErrorInterceptor

log = logging.getLogger(__name__)

#: For unary calls that come without a deadline.
DEFAULT_DEADLINE_S = 30.0

#: Calls in flight get this long to end after a stop was asked for; streams that go on are then cut.
STOP_GRACE_S = 1.0

_SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *MESSAGE_LIMITS,
    # Otherwise a second server would share the port in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One servicer: `Registration(add=add_XServicer_to_server, servicer=x, name="mwfs_api.area.v1.X")`."""

    add: Callable[[Any, Any], None]
    servicer: object
    #: Full service name, for health and reflection.
    name: str


class GrpcServer:
    """Serves after `start`, says SERVING in gRPC health from then on, NOT_SERVING as soon as `stop` begins."""

    def __init__(
        self,
        *,
        listen: str,
        token: str,
        services: Sequence[Registration],
        default_deadline_s: float = DEFAULT_DEADLINE_S,
        stop_grace_s: float = STOP_GRACE_S,
        read_ahead_bytes: int | None = None,
    ) -> None:
        """read_ahead_bytes: of each stream, what is held at most before it is asked for; otherwise as much as the line carries, megabytes for each client."""
        self._listen = listen
        self._token = token
        self._services = tuple(services)
        self._default_deadline_s = default_deadline_s
        self._stop_grace_s = stop_grace_s
        self._options = _SERVER_OPTIONS
        if read_ahead_bytes is not None:
            self._options += (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", read_ahead_bytes))
        self._server: grpc.aio.Server | None = None
        self._health: Any = None
        self._port = 0

    @property
    def address(self) -> str:
        """The actual `host:port`; empty before it is started."""
        return "" if not self._port else f"{self._listen.rpartition(':')[0]}:{self._port}"

    async def start(self) -> None:
        server = grpc.aio.server(
            interceptors=(AuthInterceptor(self._token), ErrorInterceptor(default_deadline_s=self._default_deadline_s)),
            options=self._options,
        )
        for service in self._services:
            service.add(service.servicer, server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.name for service in self._services]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        try:
            self._port = server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise FailedPrecondition(
                f"Cannot listen on {self._listen}: the port is taken.", "Free the port, or choose another."
            ) from error
        self._server = server
        await server.start()
        for name in ["", *names]:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", extra={"address": self.address})

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await self._health.enter_graceful_shutdown()
            await server.stop(self._stop_grace_s)
