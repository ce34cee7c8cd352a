"""What a scheduler that stands by answers: what is asked once as the leader does, which it asks; streams of messages with who leads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
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
            if method.client_streaming:
                setattr(self, method.name, self._talk(own))
            elif method.server_streaming:
                setattr(self, method.name, self._stream(method.name, own))
            else:
                setattr(self, method.name, self._unary(method.name, own))

    async def start(self) -> None:
        """It opens channels when they are needed."""

    async def stop(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _talk(self, own: Any) -> Any:
        async def stream(requests: Any, context: Any) -> AsyncIterator[Any]:
            if not self._leadership.leads:
                raise Unavailable(
                    f"This scheduler stands by; {self._leader() or 'none'} leads.", "Ask the one that leads."
                )
            async with aclosing(own(requests, context)) as answers:
                async for answer in answers:
                    yield answer

        return stream

    def _stream(self, name: str, own: Any) -> Any:
        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            if self._leadership.leads:
                async with aclosing(own(request, context)) as answers:
                    async for answer in answers:
                        yield answer
                return
            with self._refusals():
                call = self._of_leader(name)(request, metadata=self._in_the_name_of_the_caller())
                try:
                    async for answer in call:
                        yield answer
                finally:
                    call.cancel()

        return stream

    def _unary(self, name: str, own: Any) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            if self._leadership.leads:
                return await own(request, context)
            with self._refusals():
                ask = self._of_leader(name)
                return await ask(request, metadata=self._in_the_name_of_the_caller(), timeout=context.time_remaining())

        return answer

    def _of_leader(self, name: str) -> Any:
        """The method of the one that leads. Raises Unavailable."""
        address = self._leader()
        if not address:
            raise Unavailable("No scheduler leads at present.", "Try again in a moment.")
        if address not in self._channels:
            self._channels[address] = open_channel(address)
        return getattr(self._stub(self._channels[address]), name)

    def _in_the_name_of_the_caller(self) -> tuple[tuple[str, str], ...]:
        caller = current_caller()
        return Identity(token=self._token, principal=caller.principal, team=caller.team).metadata

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the leader refuses is refused here."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise Unavailable(
                    f"The scheduler that leads, {self._leader()}, is away.", "Try again in a moment."
                ) from None
            raise PeerError(error.code(), error.details() or "") from None

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
