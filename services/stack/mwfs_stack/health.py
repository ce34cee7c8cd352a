"""Asking services how they are, through standard gRPC health."""

import contextlib
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mwfs_chassis.channel import open_channel


class HealthProbe:
    """Asks one service, on one channel that reconnects by itself."""

    def __init__(self, address: str, token: str) -> None:
        self._channel = open_channel(address)
        self._stub: Any = health_pb2_grpc.HealthStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def is_serving(self, *, timeout_s: float = 1.0) -> bool:
        """Whether it says SERVING within this time."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await self._stub.Check(
                health_pb2.HealthCheckRequest(), metadata=self._metadata, timeout=timeout_s, wait_for_ready=True
            )
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
