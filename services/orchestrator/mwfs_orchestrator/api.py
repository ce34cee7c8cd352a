"""The servicer: unpacks, calls the engine, packs; no decisions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.caller import current_caller
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument

from .catalogue.versions import Versions
from .compiling import CHUNK_BYTES
from .reading import Reading
from .relay import Relay
from .states import RUN_ENDED, RunState
from .submissions import Intake
from .watchers import Watch

_MAX_WATCHED: Final = 10_000
#: Changes within this time are sent together.
_COALESCE_S: Final = 0.05
_Context = Any


class OrchestratorApi(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """The front door."""

    def __init__(self, *, intake: Intake, reading: Reading, versions: Versions, relay: Relay) -> None:
        self._intake = intake
        self._reading = reading
        self._versions = versions
        self._relay = relay

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
        async for answer in self._intake.serve(request_iterator, current_caller()):
            yield answer

    async def GetRun(self, request: pb.GetRunRequest, context: _Context) -> pb.GetRunResponse:
        found = await self._reading.find(current_caller().team, request.run_id)
        return pb.GetRunResponse(run=await self._reading.run(found))

    async def ListRuns(self, request: pb.ListRunsRequest, context: _Context) -> pb.ListRunsResponse:
        size = page_size(request.page_size, default=50, most=1_000)
        runs, token = await self._reading.runs(
            current_caller().team, size, request.page_token, [int(state) for state in request.states], request.workflow
        )
        return pb.ListRunsResponse(runs=runs, next_page_token=token)

    async def ListNodes(self, request: pb.ListNodesRequest, context: _Context) -> pb.ListNodesResponse:
        size = page_size(request.page_size, default=1_000, most=10_000)
        run_id = await self._reading.find(current_caller().team, request.run_id)
        nodes, token = await self._reading.nodes(
            run_id, size, request.page_token, [int(state) for state in request.states]
        )
        return pb.ListNodesResponse(nodes=nodes, next_page_token=token)

    async def WatchRuns(self, request: pb.WatchRunsRequest, context: _Context) -> AsyncIterator[pb.WatchRunsResponse]:
        if not 0 < len(request.run_ids) <= _MAX_WATCHED:
            raise InvalidArgument(f"Between 1 and {_MAX_WATCHED:,} runs can be watched, not {len(request.run_ids):,}.")
        team = current_caller().team
        run_ids = await self._reading.find_all(team, request.run_ids)
        watch = Watch(run_ids)
        watchers = self._reading.watchers
        watchers.add(watch)  # before looking, so that no change falls between
        try:
            runs = await self._reading.runs_of(run_ids)
            open_runs = {UUID(run.run_id) for run in runs if RunState(run.state) not in RUN_ENDED}
            yield pb.WatchRunsResponse(updates=[pb.RunUpdate(run=run) for run in runs])
            while open_runs:
                await watch.wake.wait()
                if not watch.ended:
                    await asyncio.sleep(_COALESCE_S)
                watch.wake.clear()
                changed, watch.changed = watch.changed, set()
                ended, watch.ended = watch.ended, {}
                response = pb.WatchRunsResponse(updates=[pb.RunUpdate(run=run) for run in ended.values()])
                for run_id in changed - ended.keys():
                    run, running = self._reading.active(run_id, int(request.running_nodes))
                    if run is not None:
                        response.updates.add(run=run, running=running)
                yield response
                open_runs.difference_update(ended)
        finally:
            watchers.remove(watch)

    async def GetOutputs(self, request: pb.GetOutputsRequest, context: _Context) -> pb.GetOutputsResponse:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        return await self._reading.outputs(run_id)

    async def GetDag(self, request: pb.GetDagRequest, context: _Context) -> AsyncIterator[pb.GetDagResponse]:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        chunks = await self._reading.dag(run_id)
        if not chunks:
            raise FailedPrecondition(f"The run {run_id} is not compiled yet.", "Watch it until it is RUNNING.")
        for chunk in chunks:
            for start in range(0, len(chunk), CHUNK_BYTES):
                yield pb.GetDagResponse(chunk=chunk[start : start + CHUNK_BYTES])

    async def CancelRun(self, request: pb.CancelRunRequest, context: _Context) -> pb.CancelRunResponse:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        await self._reading.cancel(run_id)
        return pb.CancelRunResponse(run=await self._reading.run(run_id))

    async def RetryRun(self, request: pb.RetryRunRequest, context: _Context) -> pb.RetryRunResponse:
        run_id = await self._reading.find(current_caller().team, request.run_id)
        await self._reading.revive(run_id, request.request_id)
        return pb.RetryRunResponse(run=await self._reading.run(run_id))

    async def FollowEvents(
        self, request: pb.FollowEventsRequest, context: _Context
    ) -> AsyncIterator[pb.FollowEventsResponse]:
        positions = {position.stream: position.position for position in request.positions}
        commits: list[events_pb2.Commit]
        async for commits in self._relay.follow(positions):
            yield pb.FollowEventsResponse(commits=commits)


def page_size(asked: int, *, default: int, most: int) -> int:
    """Raises InvalidArgument when more is asked for than is given at once."""
    if asked > most:
        raise InvalidArgument(f"A page has at most {most:,} entries, not {asked:,}.")
    return asked or default
