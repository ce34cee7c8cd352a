"""Submissions for runs of another replica, on one stream to it for each caller."""

import asyncio
import contextlib
import itertools
from typing import Any, Final

import grpc

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

#: Parts travel together up to about this size.
_MESSAGE_BYTES: Final = 1024 * 1024


class PeerSubmissions:
    """A SubmitRuns stream. What waits when it ends fails as UNAVAILABLE: repeating a submission is safe."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[pb.SubmissionAnswer]] = {}
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())

    @property
    def ended(self) -> bool:
        return self._reading.done()

    async def submit(self, parts: list[pb.SubmissionPart]) -> pb.SubmissionAnswer:
        """Raises grpc.aio.AioRpcError."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        request = pb.SubmitRunsRequest()
        size = 0
        try:
            async with self._writing:
                for part in parts:
                    request.parts.add().CopyFrom(part)
                    request.parts[-1].submission = number
                    size += len(part.dag_chunk)
                    if size > _MESSAGE_BYTES or part is parts[-1]:
                        await self._call.write(request)
                        request, size = pb.SubmitRunsRequest(), 0
            found: pb.SubmissionAnswer = await answer
            if found.refused.code == grpc.StatusCode.UNAVAILABLE.name:
                raise _gone()  # the run has moved on
            return found
        except (asyncio.InvalidStateError, grpc.aio.UsageError):
            raise _gone() from None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        self._reading.cancel()
        self._call.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for response in self._call:
                    for answer in response.answers:
                        waiting = self._waiting.get(answer.submission)
                        if waiting is not None and not waiting.done():
                            waiting.set_result(answer)
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_gone())


def _gone() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="The other replica is gone."
    )
