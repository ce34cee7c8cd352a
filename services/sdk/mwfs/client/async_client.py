"""The client for asyncio programs: submit runs, follow them, and read what they left."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from mwfs.client import history, logs, pages, signals
from mwfs.client.automations import Automations
from mwfs.client.connection import Connection
from mwfs.client.outputs import RemoteFile, plain_outputs
from mwfs.client.quotas import QuotaClient
from mwfs.client.retention import RetentionClient
from mwfs.client.run_events import RunEvent, watch_events
from mwfs.client.shards import ShardClient
from mwfs.client.submissions import SubmitStream, Submitted
from mwfs.client.transfers import Progress, download_bytes, download_file, upload_missing
from mwfs.client.versions import Versions
from mwfs.client.watching import MAX_IDS, failure_of, has_ended, watch_runs
from mwfs.errors import InvalidInput
from mwfs.failure_policies import OnFailure, run_options
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1 import observability_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2, what_if_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.reruns import Code, Given, Rerun
    from mwfs.dag import Dag
    from mwfs.reruns import PlannedNode
    from mwfs.workflows import Workflow

#: A run is named by its id, or by what `submit` gave.
RunName: TypeAlias = str | Submitted
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run to submit."""

    workflow: Workflow[..., Any] | Dag
    #: By name; only for a workflow, as a Dag has its inputs in it.
    inputs: Mapping[str, Any] = field(default_factory=dict)
    #: Submitting the same request again under this id finds the same run. Chosen at random when empty.
    request_id: str = ""
    #: True: a worker compiles the workflow, as it does for forms and schedules. Only for a workflow.
    compile_on_platform: bool = False
    #: Added to the priority of each node.
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    #: Instead of what the workflow says: see `mwfs.workflow`.
    on_failure: OnFailure | None = None
    max_parallel: int | None = None


class Client:
    """A platform, seen from an asyncio program. Cheap to make; channels open with the first call.

    home: where the platform lives; $MWFS_HOME or ~/.mwfs by default. Raises Unavailable when nothing runs there.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        team: str | None = None,
        principal: str | None = None,
        patience_s: float = 30.0,
    ) -> None:
        self.connection = Connection(home, team=team, principal=principal, patience_s=patience_s)
        self._stream: SubmitStream | None = None
        self._versions = Versions(self.connection)
        #: Schedules, triggers and backfills.
        self.automations = Automations(self.connection, self._versions)
        #: The databases that hold the runs.
        self.shards = ShardClient(self.connection)
        self.retention = RetentionClient(self.connection)
        self.quotas = QuotaClient(self.connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all calls. Runs go on."""
        if self._stream is not None:
            await self._stream.close()
            self._stream = None
        await self.connection.close()

    # Submitting.

    async def submit(
        self,
        workflow: Workflow[..., Any] | Dag,
        inputs: Mapping[str, Any] | None = None,
        *,
        request_id: str = "",
        compile_on_platform: bool = False,
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        on_failure: OnFailure | None = None,
        max_parallel: int | None = None,
        progress: Progress | None = None,
    ) -> Submitted:
        """Starts a run, and returns once the platform has it safely. Code and files are uploaded when the platform lacks them.

        Safe to repeat with the same request id. Raises CompileError, InvalidInput, Rejected, Unavailable.
        """
        request = RunRequest(
            workflow=workflow,
            inputs=inputs or {},
            request_id=request_id,
            compile_on_platform=compile_on_platform,
            priority=priority,
            tags=tags or {},
            on_failure=on_failure,
            max_parallel=max_parallel,
        )
        return await self._submit(request, progress)

    async def submit_many(self, requests: Iterable[RunRequest]) -> list[Submitted]:
        """Starts many runs over one stream, as fast as the platform takes them; results are in the order of the requests.

        The first refusal is raised; the others are submitted all the same.
        """
        results = await asyncio.gather(*(self._submit(request, None) for request in requests), return_exceptions=True)
        submitted = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            submitted.append(result)
        return submitted

    async def register(
        self, workflow: Workflow[..., Any], *, progress: Progress | None = None
    ) -> orchestrator_pb2.WorkflowVersion:
        """Stores this version of the workflow: its types and the bundle of its code. Registering it again changes nothing."""
        return await self._versions.register(workflow, progress)

    async def submit_values(
        self,
        workflow: Workflow[..., Any],
        values: Mapping[str, types_pb2.Value],
        files: Mapping[str, Path],
        *,
        sources: Mapping[str, str] | None = None,
        request_id: str = "",
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        on_failure: OnFailure | None = None,
        max_parallel: int | None = None,
        progress: Progress | None = None,
    ) -> Submitted:
        """Starts a run that a worker compiles, with inputs that are encoded already.

        files: by digest, what they refer to. sources: by name, which outputs of earlier runs they are.
        """
        version = await self._versions.register(workflow, progress)
        header = _header(version, request_id, priority, tags or {})
        header.options.CopyFrom(run_options(on_failure, max_parallel))
        header.compile = True
        for name, value in values.items():
            header.inputs[name].CopyFrom(value)
        header.input_sources.update(sources or {})
        return await self._send(header, None, files, progress)

    async def _submit(self, request: RunRequest, progress: Progress | None) -> Submitted:
        from mwfs.compiler import compile as compile_workflow
        from mwfs.dag import Dag
        from mwfs.earlier import find_all
        from mwfs.inputs import encode_inputs

        target = request.workflow
        inputs = await find_all(self, dict(request.inputs))
        if not isinstance(target, Dag) and request.compile_on_platform:
            encoded = encode_inputs(target, inputs)
            return await self.submit_values(
                target,
                encoded.values,
                encoded.local_files,
                sources=encoded.sources,
                request_id=request.request_id,
                priority=request.priority,
                tags=request.tags,
                on_failure=request.on_failure,
                max_parallel=request.max_parallel,
                progress=progress,
            )
        dag = target if isinstance(target, Dag) else compile_workflow(target, **inputs)
        if dag.workflow is None:
            raise InvalidInput("This Dag does not know its workflow.", "Submit what `mwfs.compile` returned.")
        version = await self._versions.register(dag.workflow, progress)
        # Fields of concatenated messages are merged: this sets the bundle without copying a large Dag.
        data = dag.serialize() + dag_pb2.Dag(bundle_digest=version.bundle_digest).SerializeToString()
        header = _header(version, request.request_id, request.priority, request.tags)
        header.options.CopyFrom(run_options(request.on_failure, request.max_parallel))
        return await self._send(header, data, dag.local_files, progress)

    async def _send(
        self,
        header: orchestrator_pb2.SubmitHeader,
        dag: bytes | None,
        files: Mapping[str, Path],
        progress: Progress | None,
    ) -> Submitted:
        if files:
            await upload_missing(self.connection.artifacts, files, progress)
        return await self._submissions().submit(header, dag)

    def _submissions(self) -> SubmitStream:
        if self._stream is None:
            self._stream = SubmitStream(self.connection.orchestrator)
        return self._stream

    async def rerun(
        self,
        run: RunName,
        *,
        start: Iterable[str | int] = (),
        inputs: Mapping[str, Any] | None = None,
        code: Code = "run",
        request_id: str = "",
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
        compile_on_platform: bool = False,
    ) -> Rerun:
        """Starts a run that takes from an earlier one, succeeded, failed or cancelled, whatever is unaffected; the answer says why, node by node.

        start: nodes or operators that run anew, and with them what needs them. inputs: those that differ. code: "run" as the earlier run
        had it, "HEAD" as it is here. dry_run: only plans. compile_on_platform: without the code here; HEAD is then the newest registered
        version, and `rerun_plan` has the answer once the run is compiled. Operators need not be pure: you asked for it. Raises InvalidInput, Rejected, NotFound.
        """
        from mwfs.client.reruns import Given
        from mwfs.earlier import find_all
        from mwfs.inputs import encode_inputs
        from mwfs.invoke import load_workflow

        given = Given(values={}, files={}, sources={})
        if inputs:
            base = await self.get_run(run)
            workflow = load_workflow(base.workflow)
            names = [parameter.name for parameter in workflow.parameters if parameter.name not in inputs]
            encoded = encode_inputs(workflow, await find_all(self, dict(inputs)), filled=names)
            given = Given(values=encoded.values, files=encoded.local_files, sources=encoded.sources)
        return await self.rerun_values(
            run,
            start=start,
            given=given,
            code=code,
            request_id=request_id,
            priority=priority,
            tags=tags,
            dry_run=dry_run,
            compile_on_platform=compile_on_platform,
        )

    async def rerun_values(
        self,
        run: RunName,
        *,
        start: Iterable[str | int],
        given: Given,
        code: Code,
        request_id: str = "",
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
        compile_on_platform: bool = False,
    ) -> Rerun:
        """`rerun` with inputs that are encoded already."""
        from mwfs.client.reruns import rerun, rerun_on_platform

        if code not in ("run", "HEAD"):
            raise InvalidInput(f"There is no code {code!r}.", 'Give "run" or "HEAD".')
        if compile_on_platform and dry_run:
            raise InvalidInput("Only a client that compiles can plan without submitting.", "Leave one of the two out.")
        if compile_on_platform:
            return await rerun_on_platform(
                self,
                str(run),
                start=start,
                given=given,
                code=code,
                request_id=request_id,
                priority=priority,
                tags=tags or {},
            )
        return await rerun(
            self,
            str(run),
            start=start,
            given=given,
            code=code,
            request_id=request_id,
            priority=priority,
            tags=tags or {},
            dry_run=dry_run,
        )

    async def rerun_plan(self, run: RunName) -> list[PlannedNode]:
        """What a rerun takes and why its other nodes run, once it is compiled; empty for a run that is none."""
        from mwfs.client.reruns import rerun_plan

        return await rerun_plan(self, str(run))

    # Following.

    async def watch(self, run: RunName, *, running_nodes: int = 0) -> AsyncGenerator[orchestrator_pb2.RunUpdate, None]:
        """The run as it is now, then each change, until it has ended. `running_nodes`: also send up to so many of them."""
        async with aclosing(
            watch_runs(self.connection.orchestrator, [str(run)], running_nodes=running_nodes)
        ) as updates:
            async for update in updates:
                yield update

    async def events(self, run: RunName, *, first: int = 1, follow: bool = False) -> AsyncGenerator[RunEvent, None]:
        """What happened to the run from event `first` on, each event once and in order, as it is committed; until the run has
        ended. `follow`: go on after that, as the run may be retried. Survives restarts of the platform.
        """
        async with aclosing(watch_events(self.connection.orchestrator, str(run), first, follow=follow)) as found:
            async for event in found:
                yield event

    async def wait(self, run: RunName, *, timeout: float | None = None, check: bool = True) -> orchestrator_pb2.Run:
        """Waits until the run has ended. Raises RunFailed when it has not succeeded (unless `check` is False), TimeoutError."""
        ended = (await self.wait_all([run], timeout=timeout))[0]
        failure = failure_of(ended) if check else None
        if failure is not None:
            raise failure
        return ended

    async def wait_all(self, runs: Iterable[RunName], *, timeout: float | None = None) -> list[orchestrator_pb2.Run]:
        """Waits until all have ended, however they end; in the order given."""
        ids = [str(run) for run in runs]
        unique = list(dict.fromkeys(ids))
        ended: dict[str, orchestrator_pb2.Run] = {}

        async def follow(part: list[str]) -> None:
            async with aclosing(watch_runs(self.connection.orchestrator, part)) as updates:
                async for update in updates:
                    if has_ended(update.run):
                        ended[update.run.run_id] = update.run

        try:
            async with asyncio.timeout(timeout):
                for start in range(0, len(unique), MAX_IDS):
                    await follow(unique[start : start + MAX_IDS])
        except TimeoutError:
            going = len(unique) - len(ended)
            raise TimeoutError(
                f"{going} of {len(unique)} runs have not ended within {timeout:g} s; they go on."
            ) from None
        return [ended[run_id] for run_id in ids]

    async def explain_waiting(self, run: RunName) -> list[scheduler_pb2.WaitingGroup]:
        """Why nodes of the run that could start do not."""
        service = self.connection.scheduler
        request = scheduler_pb2.ExplainWaitingRequest(run_id=str(run))
        return list((await service.call(service.stub.ExplainWaiting, request)).groups)

    async def hosts(self) -> list[scheduler_pb2.Host]:
        """The hosts that are connected, by name: what they have, labels included, and what is in use."""
        service = self.connection.scheduler
        return list((await service.call(service.stub.ListHosts, scheduler_pb2.ListHostsRequest())).hosts)

    async def what_if(self, request: what_if_pb2.WhatIfRequest) -> what_if_pb2.WhatIfResponse:
        """What would become of the waiting nodes of a run if something were different. Raises NotFound, Rejected."""
        service = self.connection.what_if
        return await service.call(service.stub.WhatIf, request)

    # Changing.

    async def cancel(self, run: RunName, *, skip_cleanups: bool = False) -> orchestrator_pb2.Run:
        """Stops a run. Cancelling an ended run changes nothing.

        The run ends once the cleanups of what had begun (`mwfs.with_cleanup`) have run, ten minutes later at most. skip_cleanups: they do not
        run, also when the run is being cancelled already.
        """
        service = self.connection.orchestrator
        request = orchestrator_pb2.CancelRunRequest(run_id=str(run), skip_cleanups=skip_cleanups)
        return (await service.call(service.stub.CancelRun, request)).run

    async def pause(self, run: RunName) -> orchestrator_pb2.Run:
        """Nothing new starts in the run until `resume`; what runs goes on. Pausing a paused run changes nothing."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.PauseRunRequest(run_id=str(run))
        return (await service.call(service.stub.PauseRun, request)).run

    async def resume(self, run: RunName) -> orchestrator_pb2.Run:
        """A paused run goes on. Resuming one that is not paused changes nothing."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.ResumeRunRequest(run_id=str(run))
        return (await service.call(service.stub.ResumeRun, request)).run

    async def retry(self, run: RunName, *, request_id: str = "") -> orchestrator_pb2.Run:
        """Revives a failed or cancelled run: what succeeded stays, the rest runs again."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.RetryRunRequest(run_id=str(run), request_id=request_id or str(uuid.uuid4()))
        return (await service.call(service.stub.RetryRun, request)).run

    async def signal(self, run: RunName, name: str, payload: Any = None, *, request_id: str = "") -> bool:
        """Sends a signal to the nodes that wait for it (`mwfs.signal`), now or later; a run takes each name once.

        payload: a value of the workflow's own classes, or its JSON document (a dict for a record).
        Returns once the platform has it safely; False when it had it before (safe to repeat with the same request id).
        Raises InvalidInput when the payload is not what the workflow declares, Rejected when the run has ended.
        """
        declared = await signals.declared_signals(self.connection, str(run))
        encoded = await asyncio.to_thread(signals.encode_payload, name, payload, declared)
        return await signals.send(self.connection, str(run), name, encoded, request_id or str(uuid.uuid4()))

    async def signals(self, run: RunName) -> list[orchestrator_pb2.Signal]:
        """The signals that a run declares, and those that were sent into it, by name."""
        return await signals.list_signals(self.connection, str(run))

    # Reading.

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

    # Files.

    async def upload(
        self, path: str | os.PathLike[str], *, encoding: str = "file", progress: Progress | None = None
    ) -> types_pb2.Artifact:
        """Stores a file; its artifact can be an input of any number of runs."""
        from mwfs.local_files import LocalFiles

        files = LocalFiles()
        artifact = await asyncio.to_thread(files.put_file, Path(path), encoding)
        await upload_missing(self.connection.artifacts, files.paths, progress)
        return artifact

    async def download(self, file: RemoteFile | types_pb2.Artifact, target: str | os.PathLike[str]) -> Path:
        """Saves a file-like output as `target`, or into it when it is a folder. Returns the file's path."""
        artifact = file.artifact if isinstance(file, RemoteFile) else file
        return await download_file(self.connection.artifacts, artifact, Path(target))

    async def download_bytes(self, file: RemoteFile | types_pb2.Artifact) -> bytes:
        """The bytes of a file-like output."""
        artifact = file.artifact if isinstance(file, RemoteFile) else file
        return await download_bytes(self.connection.artifacts, artifact)


def microseconds(moment: datetime) -> int:
    """Since 1970. A time without a zone is of this machine's."""
    return int(moment.timestamp() * 1_000_000)


def _header(
    version: orchestrator_pb2.WorkflowVersion, request_id: str, priority: int, tags: Mapping[str, str]
) -> orchestrator_pb2.SubmitHeader:
    return orchestrator_pb2.SubmitHeader(
        request_id=request_id or str(uuid.uuid4()),
        workflow=version.workflow,
        version_digest=version.digest,
        priority=priority,
        tags=tags,
    )
