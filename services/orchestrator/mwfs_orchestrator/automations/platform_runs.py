"""Runs as every caller reaches them: by this replica's own address, from where a call finds the owner of the run."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import grpc

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.caller import Caller
from mwfs_chassis.channel import open_channel
from mwfs_chassis.errors import FailedPrecondition, NotFound, Unavailable
from mwfs_chassis.identity import Identity

from .commands import Refused

_TIMEOUT_S: Final = 30.0


class PlatformRuns:
    """A client of ourselves, in the names of those whose automations they are."""

    def __init__(self, *, address: Callable[[], str], token: str) -> None:
        self._address = address
        self._token = token
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """The server is there."""
        self._channel = open_channel(self._address())

    async def stop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def submit(self, header: pb.SubmitHeader, caller: Caller) -> None:
        parts = [
            pb.SubmissionPart(submission=1, header=header),
            pb.SubmissionPart(submission=1, end=pb.SubmitEnd()),
        ]

        async def requests() -> AsyncIterator[pb.SubmitRunsRequest]:
            yield pb.SubmitRunsRequest(parts=parts)

        try:
            call = self._stub.SubmitRuns(requests(), metadata=self._metadata(caller), timeout=_TIMEOUT_S)
            async for response in call:
                for answer in response.answers:
                    if answer.HasField("refused"):
                        raise Refused(grpc.StatusCode[answer.refused.code], answer.refused.message)
                    return
        except grpc.aio.AioRpcError as error:
            raise Refused(error.code(), error.details() or "") from None
        raise Refused(grpc.StatusCode.UNAVAILABLE, "The stream ended without an answer.")

    async def cancel(self, run_id: UUID, caller: Caller, *, skip_cleanups: bool = False) -> None:
        request = pb.CancelRunRequest(run_id=str(run_id), skip_cleanups=skip_cleanups)
        await self._call(self._stub.CancelRun, request, caller)

    async def watch(self, run_ids: Sequence[str], caller: Caller) -> AsyncGenerator[pb.WatchRunsResponse, None]:
        """Until all have ended. Raises grpc.aio.AioRpcError; UNAVAILABLE: one of them has another owner."""
        call = self._stub.WatchRuns(pb.WatchRunsRequest(run_ids=run_ids), metadata=self._metadata(caller))
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    async def outputs(self, run_id: UUID, caller: Caller) -> pb.GetOutputsResponse:
        response: pb.GetOutputsResponse = await self._call(
            self._stub.GetOutputs, pb.GetOutputsRequest(run_id=str(run_id)), caller
        )
        return response

    async def _call(self, method: Any, request: Any, caller: Caller) -> Any:
        try:
            return await method(request, metadata=self._metadata(caller), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            match error.code():
                case grpc.StatusCode.NOT_FOUND:
                    raise NotFound(error.details() or "") from None
                case grpc.StatusCode.FAILED_PRECONDITION:
                    raise FailedPrecondition(error.details() or "") from None
                case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.CANCELLED:
                    raise Unavailable(error.details() or "", "Try again.") from None
            raise

    @property
    def _stub(self) -> Any:
        if self._channel is None:
            raise Unavailable("The orchestrator is starting or stopping.", "Try again.")
        return orchestrator_pb2_grpc.OrchestratorServiceStub(self._channel)

    def _metadata(self, caller: Caller) -> tuple[tuple[str, str], ...]:
        return Identity(token=self._token, principal=caller.principal, team=caller.team).metadata
