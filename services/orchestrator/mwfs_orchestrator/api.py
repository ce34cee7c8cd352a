"""The servicer: unpacks, calls the engine, packs; no decisions."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.caller import current_caller
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument

from .catalogue.versions import Versions
from .compiling import CHUNK_BYTES
from .names import check_digest, check_workflow
from .pages import page_size
from .reading import Reading
from .relay import Relay
from .retention.model import ArchivedRun
from .reuse import ResultCache
from .routing import Routing
from .run_filter import filter_of
from .signals import Signals
from .states import RUN_ENDED, RunState
from .submissions import Intake
from .watchers import Watch
from .wire import stored_result

_MAX_WATCHED: Final = 10_000
_MAX_KEYS: Final = 1_000
#: Of the outputs in one answer about results.
_MAX_RESULT_BYTES: Final = 2 * 1024 * 1024
_Context = Any
_Answer = TypeVar("_Answer")


class OrchestratorApi(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """The front door."""

    def __init__(
        self,
        *,
        intake: Intake,
        reading: Reading,
        routing: Routing,
        versions: Versions,
        relay: Relay,
        results: ResultCache,
        signals: Signals,
    ) -> None:
        self._intake = intake
        self._routing = routing
        self._reading = reading
        self._versions = versions
        self._relay = relay
        self._results = results
        self._signals = signals

    async def RegisterVersion(
        self, request: pb.RegisterVersionRequest, context: _Context
    ) -> pb.RegisterVersionResponse:
        version, created = await self._versions.register(current_caller().team, request.version)
        return pb.RegisterVersionResponse(version=version, created=created)

    async def GetVersion(self, request: pb.GetVersionRequest, context: _Context) -> pb.GetVersionResponse:
        return pb.GetVersionResponse(
            version=await self._versions.get(current_caller().team, request.workflow, request.digest)
        )

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: _Context) -> pb.ListWorkflowsResponse:
        size = page_size(request.page_size, default=100, most=1_000)
        found = await self._versions.list_newest(current_caller().team, request.page_token, size + 1)
        token = found[size - 1].workflow if len(found) > size else ""
        return pb.ListWorkflowsResponse(versions=found[:size], next_page_token=token)

    async def SubmitRuns(
        self, request_iterator: AsyncIterator[pb.SubmitRunsRequest], context: _Context
    ) -> AsyncIterator[pb.SubmitRunsResponse]:
        async for answer in self._intake.serve(request_iterator, current_caller(), context):
            yield answer

    async def GetRun(self, request: pb.GetRunRequest, context: _Context) -> pb.GetRunResponse:
        found = await self._reading.find_anywhere(current_caller().team, request.run_id)
        if isinstance(found, ArchivedRun):
            return pb.GetRunResponse(run=await self._reading.archived.run(found))
        run_id = found

        async def here() -> pb.GetRunResponse:
            return pb.GetRunResponse(run=await self._reading.run(run_id))

        return await self._routing.ask(run_id, "GetRun", pb.GetRunRequest(run_id=str(run_id)), context, here)

    async def ListRuns(self, request: pb.ListRunsRequest, context: _Context) -> pb.ListRunsResponse:
        size = page_size(request.page_size, default=50, most=1_000)
        wanted = filter_of(current_caller().team, request)
        pages = self._reading.archived_runs if request.archived else self._reading.runs
        runs, token = await pages(wanted, size, request.page_token)
        return pb.ListRunsResponse(runs=runs, next_page_token=token)

    async def ListNodes(self, request: pb.ListNodesRequest, context: _Context) -> pb.ListNodesResponse:
        size = page_size(request.page_size, default=1_000, most=10_000)
        run_id = await self._reading.find(current_caller().team, request.run_id)
        nodes, token = await self._reading.nodes(
            run_id, size, request.page_token, [int(state) for state in request.states], request.first_node
        )
        return pb.ListNodesResponse(nodes=nodes, next_page_token=token)

    async def WatchRuns(self, request: pb.WatchRunsRequest, context: _Context) -> AsyncIterator[pb.WatchRunsResponse]:
        if not 0 < len(request.run_ids) <= _MAX_WATCHED:
            raise InvalidArgument(f"Between 1 and {_MAX_WATCHED:,} runs can be watched, not {len(request.run_ids):,}.")
        team = current_caller().team
        run_ids = await self._reading.find_all(team, request.run_ids)

        def here(ours: list[UUID]) -> AsyncGenerator[pb.WatchRunsResponse, None]:
            return self._watch(ours, int(request.running_nodes))

        async with aclosing(self._routing.watch(run_ids, request, context, here)) as answers:
            async for answer in answers:
                yield answer

    async def _watch(self, run_ids: list[UUID], running_nodes: int) -> AsyncGenerator[pb.WatchRunsResponse, None]:
        watch = Watch(run_ids)
        watchers = self._reading.watchers
        watchers.add(watch)  # before looking, so that no change falls between
        try:
            self._reading.check_ownership(run_ids)  # a run may have gone before we were known to watch it
            runs = await self._reading.runs_of(run_ids)
            open_runs = {UUID(run.run_id) for run in runs if RunState(run.state) not in RUN_ENDED}
            yield pb.WatchRunsResponse(updates=[pb.RunUpdate(run=run) for run in runs])
            while open_runs:
                changed, ended = await watch.look()
                response = pb.WatchRunsResponse(updates=[pb.RunUpdate(run=run) for run in ended.values()])
                for run_id in changed:
                    run, running = self._reading.active(run_id, running_nodes)
                    if run is not None:
                        response.updates.add(run=run, running=running)
                yield response
                open_runs.difference_update(ended)
        finally:
            watchers.remove(watch)

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: _Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        request.run_id = str(run_id)

        async def here() -> AsyncGenerator[pb.WatchEventsResponse, None]:
            async with aclosing(self._reading.events(run_id, request.first_number, follow=request.follow)) as found:
                async for batches in found:
                    yield pb.WatchEventsResponse(batches=batches)

        async with aclosing(self._routing.stream(run_id, "WatchEvents", request, context, here)) as answers:
            async for answer in answers:
                yield answer

    async def GetOutputs(self, request: pb.GetOutputsRequest, context: _Context) -> pb.GetOutputsResponse:
        found = await self._reading.find_anywhere(current_caller().team, request.run_id)
        if isinstance(found, ArchivedRun):
            return await self._reading.archived.outputs(found)
        return await self._reading.outputs(found)

    async def GetDag(self, request: pb.GetDagRequest, context: _Context) -> AsyncIterator[pb.GetDagResponse]:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        chunks = await self._reading.dag(run_id)
        if not chunks:
            raise FailedPrecondition(f"The run {run_id} is not compiled yet.", "Watch it until it is RUNNING.")
        for chunk in chunks:
            for start in range(0, len(chunk), CHUNK_BYTES):
                yield pb.GetDagResponse(chunk=chunk[start : start + CHUNK_BYTES])

    async def GetNodeInputs(self, request: pb.GetNodeInputsRequest, context: _Context) -> pb.GetNodeInputsResponse:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        return await self._reading.node_inputs(run_id, request.node)

    async def LookupResults(self, request: pb.LookupResultsRequest, context: _Context) -> pb.LookupResultsResponse:
        if len(request.keys) > _MAX_KEYS:
            raise InvalidArgument(f"At most {_MAX_KEYS:,} keys are looked up at once, not {len(request.keys):,}.")
        for key in request.keys:
            check_digest(key, "key")
        team = current_caller().team
        found = await self._results.find([(team, key) for key in request.keys])
        response = pb.LookupResultsResponse()
        size = 0
        for key in request.keys:
            result = found.pop((team, key), None)
            if result is not None:
                size += len(result.outputs)
                if response.results and size > _MAX_RESULT_BYTES:
                    break
                response.results.append(stored_result(result))
            response.answered += 1
        return response

    async def ListResults(self, request: pb.ListResultsRequest, context: _Context) -> pb.ListResultsResponse:
        check_workflow(request.operator)
        size = page_size(request.page_size, default=10, most=100)
        newest = await self._results.newest(current_caller().team, request.operator, size)
        return pb.ListResultsResponse(results=map(stored_result, newest))

    async def CancelRun(self, request: pb.CancelRunRequest, context: _Context) -> pb.CancelRunResponse:
        cancel = partial(self._reading.cancel, skip_cleanups=request.skip_cleanups)
        return await self._change("CancelRun", request, context, cancel, pb.CancelRunResponse)

    async def PauseRun(self, request: pb.PauseRunRequest, context: _Context) -> pb.PauseRunResponse:
        return await self._change("PauseRun", request, context, self._reading.pause, pb.PauseRunResponse)

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: _Context) -> pb.ResumeRunResponse:
        return await self._change("ResumeRun", request, context, self._reading.resume, pb.ResumeRunResponse)

    async def RetryRun(self, request: pb.RetryRunRequest, context: _Context) -> pb.RetryRunResponse:
        async def revive(run_id: UUID) -> None:
            await self._reading.revive(run_id, request.request_id)

        return await self._change("RetryRun", request, context, revive, pb.RetryRunResponse)

    async def _change(
        self,
        method: str,
        request: Any,
        context: _Context,
        change: Callable[[UUID], Awaitable[None]],
        answer: Callable[..., _Answer],
    ) -> _Answer:
        """Changes a run where it is, and answers with what it is then."""
        run_id = await self._reading.find(current_caller().team, request.run_id)
        request.run_id = str(run_id)

        async def here() -> _Answer:
            await change(run_id)
            return answer(run=await self._reading.run(run_id))

        return await self._routing.ask(run_id, method, request, context, here)

    async def SignalRun(self, request: pb.SignalRunRequest, context: _Context) -> pb.SignalRunResponse:
        async def here() -> pb.SignalRunResponse:
            return pb.SignalRunResponse(created=await self._signals.send(current_caller(), request))

        return await self._of_owner("SignalRun", request, context, here)

    async def ListSignals(self, request: pb.ListSignalsRequest, context: _Context) -> pb.ListSignalsResponse:
        async def here() -> pb.ListSignalsResponse:
            return pb.ListSignalsResponse(signals=await self._signals.list(current_caller().team, request.run_id))

        return await self._of_owner("ListSignals", request, context, here)

    async def _of_owner(
        self, method: str, request: Any, context: _Context, here: Callable[[], Awaitable[_Answer]]
    ) -> _Answer:
        """What the replica says that has the run."""
        run_id = await self._reading.find(current_caller().team, request.run_id)
        request.run_id = str(run_id)
        return await self._routing.ask(run_id, method, request, context, here)

    async def FollowEvents(
        self, request: pb.FollowEventsRequest, context: _Context
    ) -> AsyncIterator[pb.FollowEventsResponse]:
        positions = {position.stream: position.position for position in request.positions}
        commits: list[events_pb2.Commit]
        async for commits in self._relay.follow(positions):
            yield pb.FollowEventsResponse(commits=commits)
