"""What a scheduler that stands by answers: unary calls as the leader does, which it asks; streams with who leads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc

from mwfs_api.scheduler.v1 import leader_pb2, leader_pb2_grpc
from mwfs_chassis.caller import current_caller
from mwfs_chassis.channel import open_channel
from mwfs_chassis.errors import PeerError, Unavailable
from mwfs_chassis.identity import Identity
from mwfs_scheduler.leading.leadership import Leadership


class Gate:
    """A servicer like the one given, which is asked while this process leads."""

    def __init__(
        self,
        servicer: object,
        *,
        service: Any,
        stub: Callable[[grpc.aio.Channel], Any],
        leadership: Leadership,
        token: str,
    ) -> None:
        """`service` is the descriptor of the service, `stub` makes a stub of it."""
        self._leadership = leadership
        self._stub = stub
        self._token = token
        self._channels: dict[str, grpc.aio.Channel] = {}
        for method in service.methods:
            own = getattr(servicer, method.name)
            streams = method.client_streaming or method.server_streaming
            setattr(self, method.name, self._stream(own) if streams else self._unary(method.name, own))

    async def start(self) -> None:
        """It opens channels when they are needed."""

    async def stop(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _stream(self, own: Any) -> Any:
        async def stream(requests: Any, context: Any) -> AsyncIterator[Any]:
            if not self._leadership.leads:
                raise Unavailable(
                    f"This scheduler stands by; {self._leader() or 'none'} leads.", "Ask the one that leads."
                )
            async with aclosing(own(requests, context)) as answers:
                async for answer in answers:
                    yield answer

        return stream

    def _unary(self, name: str, own: Any) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            if self._leadership.leads:
                return await own(request, context)
            address = self._leader()
            if not address:
                raise Unavailable("No scheduler leads at present.", "Try again in a moment.")
            if address not in self._channels:
                self._channels[address] = open_channel(address)
            caller = current_caller()
            identity = Identity(token=self._token, principal=caller.principal, team=caller.team)
            ask = getattr(self._stub(self._channels[address]), name)
            try:
                return await ask(request, metadata=identity.metadata, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    raise Unavailable(
                        f"The scheduler that leads, {address}, is away.", "Try again in a moment."
                    ) from None
                raise PeerError(error.code(), error.details() or "") from None

        return answer

    def _leader(self) -> str:
        known = self._leadership.known
        return "" if known is None else known.address


class LeaderServicer(leader_pb2_grpc.LeaderServiceServicer):
    """Promises and codes: leader.proto."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership

    async def WatchLeader(
        self, request: leader_pb2.WatchLeaderRequest, context: Any
    ) -> AsyncIterator[leader_pb2.WatchLeaderResponse]:
        async for leader in self._leadership.watch():
            yield leader_pb2.WatchLeaderResponse(
                epoch=leader.epoch, address=leader.address, since_time_us=leader.since_us
            )
