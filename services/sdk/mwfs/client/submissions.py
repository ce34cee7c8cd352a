"""Submitting runs: one long-lived stream that carries many submissions, each answered once it is committed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import grpc

from mwfs.artifacts import digest_of
from mwfs.client.connection import Patience
from mwfs.client.refusals import refusal, refusal_of
from mwfs.errors import Unavailable
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.client.connection import Orchestrator

    Stream: TypeAlias = grpc.aio.StreamStreamCall[
        orchestrator_pb2.SubmitRunsRequest, orchestrator_pb2.SubmitRunsResponse
    ]

CHUNK_BYTES = 2**20
#: Parts that wait to be written travel together, up to about this size.
MESSAGE_BYTES = 2**20
#: Submissions sent and not yet answered, on one stream.
MAX_OPEN = 512
#: Seconds for which a submission is sent again that the platform has no room for, at least.
OVERLOAD_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A run that the platform has accepted, and will not lose."""

    run_id: str
    #: False: the same submission had been accepted before, and this is its run.
    created: bool
    request_id: str

    def __str__(self) -> str:
        return self.run_id


#: A run is named by its id, or by what `submit` gave.
RunName: TypeAlias = str | Submitted


class Overload:
    """How long a submission is repeated for which there is no room: at intervals that grow from what the platform says."""

    def __init__(self, patience_s: float) -> None:
        self._left_s = max(OVERLOAD_PATIENCE_S, patience_s)
        self._factor = 1.0

    async def wait(self, retry_after_s: float) -> bool:
        """Waits before the next try. False: it was refused for good, or the time is over."""
        if retry_after_s <= 0 or self._left_s <= 0:
            return False
        # Others were refused at the same moment: they do not all come back at once.
        pause = min(retry_after_s * self._factor * random.uniform(0.5, 1.5), self._left_s)
        self._factor = min(self._factor * 1.5, 10.0)
        self._left_s -= pause
        await asyncio.sleep(pause)
        return True


class SubmitStream:
    """Many submissions on one stream. A broken stream is opened again and what was not answered is sent again:
    the run id comes from (team, request id), so nothing runs twice.
    """

    def __init__(self, service: Orchestrator) -> None:
        self._service = service
        self._open_slots = asyncio.Semaphore(MAX_OPEN)
        # Who holds it writes whatever all have added: many small submissions are one message.
        self._writing = asyncio.Lock()
        self._unsent: deque[orchestrator_pb2.SubmissionPart] = deque()
        self._stream: Stream | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[orchestrator_pb2.SubmissionAnswer]] = {}
        self._last_number = 0

    async def submit(self, header: orchestrator_pb2.SubmitHeader, dag: bytes | None) -> Submitted:
        """Sends one submission and waits until it is committed. `dag` is None when the platform compiles."""
        patience, overload = Patience(self._service), Overload(self._service.patience_s)
        async with self._open_slots:
            while True:
                try:
                    answer = await self._attempt(header, dag)
                    if answer.HasField("accepted"):
                        return Submitted(
                            run_id=answer.accepted.run_id,
                            created=answer.accepted.created,
                            request_id=header.request_id,
                        )
                    if await overload.wait(answer.refused.retry_after_seconds):
                        continue
                    raise refusal(answer.refused.code, answer.refused.message, self._service.peer)
                except Unavailable:
                    if not await patience.wait():
                        raise

    async def close(self) -> None:
        stream, reader = self._stream, self._reader
        self._stream = self._reader = None
        if stream is not None:
            stream.cancel()
        if reader is not None:
            await asyncio.gather(reader, return_exceptions=True)

    async def _attempt(
        self, header: orchestrator_pb2.SubmitHeader, dag: bytes | None
    ) -> orchestrator_pb2.SubmissionAnswer:
        stream = self._opened()
        self._last_number += 1
        number = self._last_number
        answer: asyncio.Future[orchestrator_pb2.SubmissionAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._unsent.extend(_parts(number, header, dag))
        try:
            async with self._writing:
                while self._unsent and self._stream is stream:
                    await stream.write(self._next_message())
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            pass  # The stream has ended; its reader tells every waiting submission why.
        except BaseException:
            # Cut off within a message: nobody knows which parts the server has, so all begin again on another stream.
            stream.cancel()
            raise
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def _next_message(self) -> orchestrator_pb2.SubmitRunsRequest:
        message = orchestrator_pb2.SubmitRunsRequest()
        size = 0
        while self._unsent and size < MESSAGE_BYTES:
            part = self._unsent.popleft()
            size += part.ByteSize()
            message.parts.append(part)
        return message

    def _opened(self) -> Stream:
        if self._stream is None:
            self._unsent.clear()
            self._stream = self._service.stub.SubmitRuns(metadata=self._service.metadata)
            self._reader = asyncio.create_task(self._read(self._stream, self._waiting))
        return self._stream

    async def _read(
        self, stream: Stream, waiting: dict[int, asyncio.Future[orchestrator_pb2.SubmissionAnswer]]
    ) -> None:
        peer = self._service.peer
        failure: Exception = Unavailable(f"The {peer.service} at {peer.address} ended the stream.", "Try again.")
        try:
            async for response in stream:
                self._service.reached = True
                for answer in response.answers:
                    future = waiting.pop(answer.submission, None)
                    if future is not None and not future.done():
                        future.set_result(answer)
        except grpc.aio.AioRpcError as error:
            failure = refusal_of(error, peer)
        except asyncio.CancelledError:
            failure = Unavailable("The client was closed before the platform answered.", "Submit it again.")
        finally:
            if self._stream is stream:
                self._stream = self._reader = None
                self._waiting = {}
            for future in waiting.values():
                if not future.done():
                    future.set_exception(failure)


def _parts(
    number: int, header: orchestrator_pb2.SubmitHeader, dag: bytes | None
) -> Iterator[orchestrator_pb2.SubmissionPart]:
    yield orchestrator_pb2.SubmissionPart(submission=number, header=header)
    for start in range(0, len(dag or b""), CHUNK_BYTES):
        yield orchestrator_pb2.SubmissionPart(submission=number, dag_chunk=(dag or b"")[start : start + CHUNK_BYTES])
    end = orchestrator_pb2.SubmitEnd(dag_size=len(dag), dag_digest=digest_of(dag)) if dag is not None else None
    yield orchestrator_pb2.SubmissionPart(submission=number, end=end or orchestrator_pb2.SubmitEnd())
