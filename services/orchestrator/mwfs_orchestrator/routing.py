"""Which replica answers for a run. A call that reaches another one is passed on, in the caller's name, and waits while a slot is between owners."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, TypeVar
from uuid import UUID

import grpc

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.caller import Caller, current_caller
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import PeerError
from mwfs_chassis.identity import Identity

from .engine import Engine
from .model import NotOwner, slot_of
from .peer_submissions import PeerSubmissions

#: On calls that were passed on: who gets one answers itself, or says that it is not the owner.
FORWARDED: Final = ("mwfs-forwarded", "1")
#: So long a call waits for a slot to have an owner: longer than a take-over.
_PATIENCE_S: Final = 8.0
_LOOK_AGAIN_S: Final = 0.05
#: What is known of owners is believed for so long; a wrong one says so itself.
_BELIEVED_S: Final = 2.0
_Answer = TypeVar("_Answer")
_Context = Any


class Routing:
    """Owners of slots that are not ours, and the channels to them."""

    def __init__(self, *, engine: Engine, token: str, replica: str, clock: Clock) -> None:
        self._engine = engine
        self._token = token
        self._replica = replica
        self._clock = clock
        self._owners: dict[int, tuple[str, float]] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._submissions: dict[tuple[str, Caller], PeerSubmissions] = {}

    async def start(self) -> None:
        """Channels open when they are first needed."""

    async def stop(self) -> None:
        submissions, self._submissions = self._submissions, {}
        channels, self._channels = self._channels, {}
        await asyncio.gather(*(stream.close() for stream in submissions.values()))
        await asyncio.gather(*(channel.close() for channel in channels.values()))

    async def ask(
        self, run_id: UUID, method: str, request: Any, context: _Context, here: Callable[[], Awaitable[_Answer]]
    ) -> _Answer:
        """The answer about a run: by `here` when it is ours, else by the same method of its owner. Raises NotOwner, PeerError."""

        async def there(address: str) -> _Answer:
            call = getattr(self._stub(address), method)
            answer: _Answer = await call(request, metadata=self._metadata(), timeout=context.time_remaining())
            return answer

        found: _Answer = await self._by_owner(run_id, is_forwarded(context), here, there)
        return found

    async def submit(
        self,
        run_id: UUID,
        parts: Callable[[], list[pb.SubmissionPart]],
        forwarded: bool,
        here: Callable[[], Awaitable[pb.SubmissionAnswer]],
    ) -> pb.SubmissionAnswer:
        """Like `ask`, for one submission of a stream."""

        async def there(address: str) -> pb.SubmissionAnswer:
            return await self._submissions_to(address).submit(parts())

        answer: pb.SubmissionAnswer = await self._by_owner(run_id, forwarded, here, there)
        return answer

    async def _by_owner(
        self,
        run_id: UUID,
        forwarded: bool,
        here: Callable[[], Awaitable[_Answer]],
        there: Callable[[str], Awaitable[Any]],
    ) -> Any:
        slot = slot_of(run_id)
        deadline = self._clock.monotonic() + _PATIENCE_S
        while True:
            if self._engine.owns(slot):
                try:
                    return await here()
                except NotOwner:
                    pass  # it left while we were at it
            elif forwarded:
                raise NotOwner()
            elif address := await self._owner(slot):
                try:
                    return await there(address)
                except grpc.aio.AioRpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE:
                        raise PeerError(error.code(), error.details() or "") from None
            self._owners.pop(slot, None)
            if self._clock.monotonic() > deadline:
                raise NotOwner()
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def stream(
        self,
        run_id: UUID,
        method: str,
        request: Any,
        context: _Context,
        here: Callable[[], AsyncGenerator[_Answer, None]],
    ) -> AsyncGenerator[_Answer, None]:
        """What the run's owner says, as it comes. Raises NotOwner when it is not the owner any more, PeerError."""
        if self._engine.owns(slot_of(run_id)):
            source: Any = here()
        elif is_forwarded(context):
            raise NotOwner()
        else:
            source = getattr(self._stub(await self._some_owner(run_id)), method)(request, metadata=self._metadata())
        async with aclosing(_merged([source])) as answers:
            async for answer in answers:
                yield answer

    async def watch(
        self,
        run_ids: Iterable[UUID],
        request: pb.WatchRunsRequest,
        context: _Context,
        here: Callable[[list[UUID]], AsyncGenerator[pb.WatchRunsResponse, None]],
    ) -> AsyncGenerator[pb.WatchRunsResponse, None]:
        """What each owner says of its runs, as it comes. Raises NotOwner as soon as one of them is not the owner any more."""
        ours: list[UUID] = []
        theirs: dict[str, list[UUID]] = {}
        for run_id in run_ids:
            if self._engine.owns(slot_of(run_id)):
                ours.append(run_id)
            elif is_forwarded(context):
                raise NotOwner()
            else:
                theirs.setdefault(await self._some_owner(run_id), []).append(run_id)
        sources: list[Any] = [here(ours)] if ours else []
        for address, ids in theirs.items():
            asked = pb.WatchRunsRequest(run_ids=map(str, ids), running_nodes=request.running_nodes)
            sources.append(self._stub(address).WatchRuns(asked, metadata=self._metadata()))
        async with aclosing(_merged(sources)) as answers:
            async for answer in answers:
                yield answer

    async def _some_owner(self, run_id: UUID) -> str:
        slot = slot_of(run_id)
        deadline = self._clock.monotonic() + _PATIENCE_S
        while not (address := await self._owner(slot)):
            if self._engine.owns(slot) or self._clock.monotonic() > deadline:
                raise NotOwner()
            await asyncio.sleep(_LOOK_AGAIN_S)
        return address

    async def _owner(self, slot: int) -> str:
        """Where the slot's owner answers; empty while there is none, or while it is coming to us."""
        known = self._owners.get(slot)
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        found = await self._engine.shard_of(slot).owner_of_slot(slot)
        if found is None or found[0] == self._replica:
            return ""
        self._owners[slot] = (found[1], self._clock.monotonic() + _BELIEVED_S)
        return found[1]

    def _stub(self, address: str) -> Any:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_channel(address)
        return orchestrator_pb2_grpc.OrchestratorServiceStub(channel)

    def _submissions_to(self, address: str) -> PeerSubmissions:
        key = (address, current_caller())
        found = self._submissions.get(key)
        if found is None or found.ended:
            call = self._stub(address).SubmitRuns(metadata=self._metadata())
            found = self._submissions[key] = PeerSubmissions(call)
        return found

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        caller = current_caller()
        identity = Identity(token=self._token, principal=caller.principal, team=caller.team)
        return (*identity.metadata, FORWARDED)


def is_forwarded(context: _Context) -> bool:
    """Whether another replica has passed this call on."""
    if context is None:  # a call of our own
        return False
    return FORWARDED in {(key, value) for key, value in context.invocation_metadata() or ()}


async def _merged(sources: list[Any]) -> AsyncGenerator[Any, None]:
    """What all of them say, as it comes; ends when all have ended. Raises NotOwner when one is cut, PeerError when one refuses."""
    ready: asyncio.Queue[tuple[Any, Exception | None]] = asyncio.Queue(maxsize=64)
    end = object()

    async def pump(source: Any) -> None:
        failed: Exception | None = None
        try:
            async for answer in source:
                await ready.put((answer, None))
        except Exception as error:
            failed = error
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
            else:
                source.cancel()
        await ready.put((end, failed))

    pumps = [asyncio.create_task(pump(source)) for source in sources]
    try:
        left = len(pumps)
        while left:
            answer, failed = await ready.get()
            if isinstance(failed, grpc.aio.AioRpcError):
                if failed.code() == grpc.StatusCode.UNAVAILABLE:
                    raise NotOwner()
                raise PeerError(failed.code(), failed.details() or "")
            if failed is not None:
                raise failed
            if answer is end:
                left -= 1
            else:
                yield answer
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
