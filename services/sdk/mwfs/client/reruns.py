"""Running a run again in part: its plan, and its submission."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mwfs.client.submissions import Submitted
from mwfs.dag import Dag
from mwfs.errors import InvalidInput
from mwfs.reruns import PlannedNode, check_something_runs, facts_of, fill_inputs, plan_of, plan_rerun
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.async_client import Client
    from mwfs.workflows import Workflow

#: A header is one message: for more nodes than this, why each of them runs is only shown and not kept.
_MAX_REASONS = 200_000
#: The code that the earlier run had, or the code as it is here and now.
Code = Literal["run", "HEAD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Inputs that differ from the earlier run's, encoded."""

    values: Mapping[str, types_pb2.Value]
    #: By digest.
    files: Mapping[str, Path]
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A run that takes what is unaffected from an earlier one."""

    base_run_id: str
    #: None: it was only planned.
    submitted: Submitted | None
    #: Empty when the platform plans: `Client.rerun_plan` has it once the run is compiled.
    nodes: list[PlannedNode]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    dag: Dag
    data: bytes
    version_digest: str
    files: Mapping[str, Path]


async def rerun(
    client: Client,
    run: str,
    *,
    start: Iterable[str | int],
    given: Given,
    code: Code,
    request_id: str,
    priority: int,
    tags: Mapping[str, str],
    dry_run: bool,
) -> Rerun:
    """See `Client.rerun`."""
    base = await client.get_run(run)
    before = await client.dag(base.run_id)
    size = len(before.node_operator)
    states = [0] * size
    async for node in client.nodes(base.run_id):
        if node.node >= size:
            break
        states[node.node] = node.state
    compiled = await _compile(client, base, before, given, code)
    plan = plan_rerun(before, states, compiled.dag.proto, start)
    check_something_runs(plan, base.run_id)
    if dry_run:
        return Rerun(base_run_id=base.run_id, submitted=None, nodes=plan)
    header = orchestrator_pb2.SubmitHeader(
        request_id=request_id or str(uuid.uuid4()),
        workflow=base.workflow,
        version_digest=compiled.version_digest,
        priority=priority,
        tags=tags,
    )
    header.base.run_id = base.run_id
    for one in plan:
        if one.base_node is not None:
            header.base.node.append(one.node)
            header.base.base_node.append(one.base_node)
    if len(plan) <= _MAX_REASONS:
        header.base.why.CopyFrom(facts_of(plan, base.run_id))
    submitted = await client._send(header, compiled.data, compiled.files, None)
    return Rerun(base_run_id=base.run_id, submitted=submitted, nodes=plan)


async def rerun_on_platform(
    client: Client,
    run: str,
    *,
    start: Iterable[str | int],
    given: Given,
    code: Code,
    request_id: str,
    priority: int,
    tags: Mapping[str, str],
) -> Rerun:
    """The same without the code of the workflow: a worker compiles, and says what is taken. HEAD is the newest version that is registered."""
    base = await client.get_run(run)
    header = orchestrator_pb2.SubmitHeader(
        request_id=request_id or str(uuid.uuid4()),
        workflow=base.workflow,
        version_digest=(await client.version(base.workflow)).digest if code == "HEAD" else "",
        compile=True,
        inputs=given.values,
        input_sources=given.sources,
        priority=priority,
        tags=tags,
    )
    header.base.run_id = base.run_id
    header.base.start.extend(map(str, start))
    submitted = await client._send(header, None, given.files, None)
    return Rerun(base_run_id=base.run_id, submitted=submitted, nodes=[])


async def rerun_plan(client: Client, run: str) -> list[PlannedNode]:
    """See `Client.rerun_plan`."""
    async with aclosing(client.events(run)) as events:
        async for event in events:
            if isinstance(event.fact, events_pb2.DagFacts):
                return plan_of(event.fact)
    return []


async def _compile(
    client: Client, base: orchestrator_pb2.Run, before: dag_pb2.Dag, given: Given, code: Code
) -> _Compiled:
    """The Dag of the new run. Only inputs and code can make it another than that of the earlier one."""
    if code == "run" and not given.values:
        return _Compiled(dag=Dag(before), data=before.SerializeToString(), version_digest=base.version_digest, files={})
    from mwfs.invoke import load_workflow

    workflow = load_workflow(base.workflow)
    version = await client.register(workflow)
    if code == "run" and version.digest != base.version_digest:
        raise InvalidInput(
            f"Other inputs need the workflow to be compiled again, and the code here is not that of run {base.run_id}.",
            "Add --code HEAD to run with the code as it is here, or check out the code of that run.",
        )
    dag = _compile_here(client, workflow, base, before, given)
    data = dag.serialize() + dag_pb2.Dag(bundle_digest=version.bundle_digest).SerializeToString()
    return _Compiled(dag=dag, data=data, version_digest=version.digest, files={**dag.local_files, **given.files})


def _compile_here(
    client: Client, workflow: Workflow[..., object], base: orchestrator_pb2.Run, before: dag_pb2.Dag, given: Given
) -> Dag:
    from mwfs.compiler import compile_values
    from mwfs.earlier import read_from
    from mwfs.local_files import LocalFiles

    files = LocalFiles(dict(given.files))
    values, sources = dict(given.values), dict(given.sources)
    home = str(client.connection.home)
    for found in fill_inputs(before, workflow, values, sources, run_id=base.run_id, home=home):
        read_from(files, found)
    return compile_values(workflow, values, files, sources)
