"""What runs and workflows are, and what they left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime

from mwfs.client import history, logs, pages
from mwfs.client.connection import Connection
from mwfs.client.outputs import plain_outputs
from mwfs.client.submissions import RunName
from mwfs.client.transfers import download_bytes
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1 import observability_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2


class Reading:
    """A part of `Client`."""

    connection: Connection

    async def get_run(self, run: RunName) -> orchestrator_pb2.Run:
        """A run by its id, or by the beginning of it that no other run shares (at least 4 characters)."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.GetRunRequest(run_id=str(run))
        return (await service.call(service.stub.GetRun, request)).run

    async def outputs(self, run: RunName) -> dict[str, object]:
        """The outputs of a succeeded run as plain Python; files as `RemoteFile`, for `download`."""
        response = await self.typed_outputs(run)

        async def read(artifact: types_pb2.Artifact) -> bytes:
            return await download_bytes(self.connection.artifacts, artifact)

        return await plain_outputs(response, read)

    async def typed_outputs(self, run: RunName) -> orchestrator_pb2.GetOutputsResponse:
        """The outputs of a succeeded run with their types, as they are on the wire."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.GetOutputsRequest(run_id=str(run))
        return await service.call(service.stub.GetOutputs, request)

    async def runs(
        self,
        *,
        states: Iterable[events_pb2.RunState.ValueType] = (),
        workflow: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        text: str = "",
        archived: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[orchestrator_pb2.Run, None]:
        """The team's runs that all filters let through, newest first.

        text: words, or how they begin, that are in the workflow's name, the request id, the tags, the principal or the failure.
        archived: those in the archive instead, without tags and text; `get_run` and `outputs` know more of each.
        """
        request = orchestrator_pb2.ListRunsRequest(
            states=states,
            workflow=workflow,
            created_after_us=microseconds(created_after) if created_after else 0,
            created_before_us=microseconds(created_before) if created_before else 0,
            tags=tags or {},
            text=text,
            archived=archived,
        )
        async with aclosing(pages.runs(self.connection.orchestrator, request, limit)) as found:
            async for run in found:
                yield run

    async def nodes(
        self,
        run: RunName,
        *,
        states: Iterable[events_pb2.NodeState.ValueType] = (),
        limit: int | None = None,
        first: int = 0,
    ) -> AsyncGenerator[orchestrator_pb2.Node, None]:
        """The nodes of a run by index, from the first on."""
        async with aclosing(pages.nodes(self.connection.orchestrator, str(run), tuple(states), limit, first)) as found:
            async for node in found:
                yield node

    async def node(self, run: RunName, number: int) -> orchestrator_pb2.Node:
        """One node of a run. Raises NotFound."""
        return await pages.node(self.connection.orchestrator, str(run), number)

    async def workflows(self) -> AsyncGenerator[orchestrator_pb2.WorkflowVersion, None]:
        """The team's workflows with their newest version, by name."""
        async with aclosing(pages.workflows(self.connection.orchestrator)) as found:
            async for version in found:
                yield version

    async def version(self, workflow: str, digest: str = "") -> orchestrator_pb2.WorkflowVersion:
        """A registered version of `module:qualname`; the newest when no digest is given."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.GetVersionRequest(workflow=workflow, digest=digest)
        return (await service.call(service.stub.GetVersion, request)).version

    async def dag(self, run: RunName) -> dag_pb2.Dag:
        """The compiled Dag of a run."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.GetDagRequest(run_id=str(run))
        async with aclosing(service.read(service.stub.GetDag, request)) as responses:
            return dag_pb2.Dag.FromString(b"".join([response.chunk async for response in responses]))

    async def node_inputs(self, run: RunName, node: int) -> orchestrator_pb2.GetNodeInputsResponse:
        """What a node is called with and what came of it, as it is on the wire; its files can be fetched with `download_bytes`."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.GetNodeInputsRequest(run_id=str(run), node=node)
        return await service.call(service.stub.GetNodeInputs, request)

    async def lookup_results(self, keys: Iterable[str]) -> dict[str, orchestrator_pb2.StoredResult]:
        """Results of cached operators that earlier runs left, by key; keys without one are not there."""
        return await pages.lookup_results(self.connection.orchestrator, list(keys))

    async def list_results(self, operator: str, *, limit: int = 10) -> list[orchestrator_pb2.StoredResult]:
        """The newest kept results of an operator (`module:qualname`), with the parts of their keys and without outputs."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.ListResultsRequest(operator=operator, page_size=limit)
        return list((await service.call(service.stub.ListResults, request)).results)

    async def timeline(
        self, run: RunName, *, complete_to: int = 0, timeout: float = 10.0
    ) -> observability_pb2.GetTimelineResponse:
        """When each attempt was ready, started and ended, and where. The picture follows the run with a small delay:
        `complete_to` is an event number (`Run.last_event_number`) that it should have reached, waited for up to `timeout`.
        """
        return await pages.timeline(self.connection.observability, str(run), complete_to, timeout)

    async def history(self, workflow: str) -> Mapping[str, float]:
        """Seconds that each operator took in the last runs of a workflow, by `module:qualname`."""
        runs = [run async for run in self.runs(workflow=workflow, limit=history.RUNS)]
        service = self.connection.orchestrator
        return await history.seconds_by_operator(runs, lambda run, most: pages.nodes(service, run, (), most))

    def logs(
        self, run: RunName, node: int, *, attempt: int = 0, follow: bool = False, tail_bytes: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What an attempt wrote to stdout and stderr; the last attempt by default. Node -1 is compiling on the platform.

        `follow`: goes on until the attempt ends, and waits for it to start.
        """
        return logs.read_logs(self.connection, str(run), node, attempt, follow=follow, tail_bytes=tail_bytes)


def microseconds(moment: datetime) -> int:
    """Since 1970. A time without a zone is of this machine's."""
    return int(moment.timestamp() * 1_000_000)
