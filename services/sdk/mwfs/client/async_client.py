"""The client for asyncio programs: submit runs, follow them, and read what they left."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mwfs.client.automations import Automations
from mwfs.client.changing import Changing
from mwfs.client.connection import Connection
from mwfs.client.following import Following
from mwfs.client.outputs import RemoteFile
from mwfs.client.quotas import QuotaClient
from mwfs.client.reading import Reading
from mwfs.client.retention import RetentionClient
from mwfs.client.shards import ShardClient
from mwfs.client.submissions import RunName, SubmitStream, Submitted
from mwfs.client.transfers import Progress, download_bytes, download_file, upload_missing
from mwfs.client.versions import Versions
from mwfs.errors import InvalidInput
from mwfs.failure_policies import OnFailure, run_options
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.reruns import Code, Given, Rerun
    from mwfs.dag import Dag
    from mwfs.reruns import PlannedNode
    from mwfs.workflows import Workflow


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


class Client(Following, Changing, Reading):
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
