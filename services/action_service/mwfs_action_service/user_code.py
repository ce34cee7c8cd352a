"""Runs user code inside a worker: loads the bundle, calls operators, compiles workflows. Every way to fail becomes an Outcome."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mwfs import invoke as sdk
from mwfs.artifacts import Artifact, ArtifactStore
from mwfs.attempt_context import CurrentAttempt, Preempted, enter_process
from mwfs.bundle import extract_bundle
from mwfs.checkpoints import CheckpointShelf
from mwfs.errors import ArtifactDamaged, ArtifactMissing, BadResult
from mwfs.failures import describe_exception
from mwfs.operators import Operator
from mwfs.pending_arguments import finish_arguments
from mwfs_api.action.v1 import action_pb2, worker_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed

#: A Dag that a worker made travels as an artifact with this encoding.
DAG_ENCODING = "dag"
#: What a run takes from an earlier one, likewise.
RERUN_ENCODING = "rerun"

#: The inline outputs of one attempt together: more would not fit into a message with others.
MAX_OUTPUT_BYTES = 4 * 1024 * 1024


class UserCode:
    """One version's code in one process. The first launch decides which; all later ones are of the same version."""

    def __init__(
        self,
        *,
        artifacts: str,
        bundles: Path,
        cache: Path,
        max_checkpoint_bytes: int,
        deadline_us: Callable[[int], int],
        kept: Callable[[int, events_pb2.Checkpoint], None],
    ) -> None:
        """deadline_us: by when an attempt has to make room, by the monotonic clock; 0: nobody asks. kept: is told what an attempt has stored."""
        self._store = ArtifactStore(artifacts, cache=cache)
        self._shelf = CheckpointShelf(self._store, max_bytes=max_checkpoint_bytes)
        self._deadline_us = deadline_us
        self._kept = kept
        self._pid = os.getpid()
        self._bundles = bundles
        self._bound: str | None = None
        self._operators: dict[tuple[str, str], Operator[..., Any]] = {}

    def run(self, launch: worker_pb2.WorkerLaunch, body_began: Callable[[int], None]) -> action_pb2.Outcome:
        """Call the operator, or compile the workflow, that the launch names. Never raises."""
        started = 0
        try:
            operator = self._operators.get((launch.module, launch.qualname))
            if operator is None:
                self._bind(launch)
                if launch.HasField("compile"):
                    started = time.time_ns() // 1000
                    body_began(started)
                    return _succeeded(self._compile(launch.compile), started)
                operator = sdk.load_operator(launch.module, launch.qualname, launch.source_digest)
                sdk.check_kind(operator, dynamic=launch.dynamic)
                self._operators[launch.module, launch.qualname] = operator
            arguments: Sequence[types_pb2.Value] = types_pb2.ListValue.FromString(launch.arguments).items
            if launch.pending:
                arguments = finish_arguments(arguments, launch.pending, self._store)
            started = time.time_ns() // 1000
            body_began(started)
            enter_process(partial(self._attempt, launch))
            if launch.dynamic:
                return _succeeded([self._grow(operator, arguments, launch.bundle_digest)], started)
            return _succeeded(sdk.invoke(operator, arguments, self._store), started)
        except BaseException as error:
            if isinstance(error, (Preempted, SystemExit)) and self._deadline_us(launch.ticket):
                return _preempted(started)
            return _failed(error, started, compiling=launch.HasField("compile"))
        finally:
            enter_process(None)

    def _attempt(self, launch: worker_pb2.WorkerLaunch) -> CurrentAttempt:
        """What `ctx` knows while the body runs."""
        ticket, deadline_us = launch.ticket, self._deadline_us

        def deadline() -> float | None:
            until_us = deadline_us(ticket)
            return until_us / 1e6 if until_us else None

        return CurrentAttempt(
            run_id=launch.key.run_id,
            node=launch.key.node,
            number=launch.key.attempt,
            shelf=self._shelf,
            resume_from=launch.resume_from if launch.HasField("resume_from") else None,
            deadline=deadline,
            kept=partial(self._kept, ticket),
            pid=self._pid,
        )

    def _bind(self, launch: worker_pb2.WorkerLaunch) -> None:
        """Make the version's code importable, before anything of it is imported."""
        if self._bound is not None:
            return
        os.environ["CUDA_VISIBLE_DEVICES"] = launch.cuda_visible_devices
        digest = launch.bundle_digest
        if digest:
            folder = self._bundles / digest.removeprefix("sha256:")
            if not folder.is_dir():
                extract_bundle(self._store.get_bytes(Artifact(digest=digest, file_name="code bundle")), folder)
            sys.path.insert(0, str(folder))
            importlib.invalidate_caches()
        self._bound = digest

    def _compile(self, job: action_pb2.CompileJob) -> list[types_pb2.Value]:
        """The Dag; of a run that repeats another one, also what it takes."""
        from mwfs import reruns  # most workers never compile
        from mwfs.compiler import compile_values

        workflow = sdk.load_workflow(job.workflow)
        values, sources, base = dict(job.inputs), dict(job.input_sources), action_pb2.RerunBase()
        if job.HasField("rerun"):
            base.ParseFromString(self._store.get_bytes(Artifact(digest=job.rerun.base.digest)))
            reruns.fill_inputs(base.dag, workflow, values, sources, run_id=job.rerun.base_run_id)
        dag = compile_values(workflow, values, self._store, sources)
        dag.proto.bundle_digest = job.bundle_digest
        for path in dag.local_files.values():
            self._store.put_file(path)
        made = [types_pb2.Value(artifact=self._store.put_bytes(dag.serialize(), DAG_ENCODING, "dag.pb"))]
        if job.HasField("rerun"):
            plan = reruns.plan_rerun(base.dag, base.node_state, dag.proto, job.rerun.start)
            reruns.check_something_runs(plan, job.rerun.base_run_id)
            facts = reruns.facts_of(plan, job.rerun.base_run_id).SerializeToString()
            made.append(types_pb2.Value(artifact=self._store.put_bytes(facts, RERUN_ENCODING, "rerun.pb")))
        return made

    def _grow(
        self, operator: Operator[..., Any], arguments: Sequence[types_pb2.Value], bundle_digest: str
    ) -> types_pb2.Value:
        from mwfs.structure.dynamic import compile_call

        dag = compile_call(operator, arguments, self._store)
        dag.bundle_digest = bundle_digest
        return types_pb2.Value(artifact=self._store.put_bytes(dag.SerializeToString(), DAG_ENCODING, "dag.pb"))


def _succeeded(outputs: list[types_pb2.Value], started: int) -> action_pb2.Outcome:
    serialised = [value.SerializeToString() for value in outputs]
    if sum(map(len, serialised)) > MAX_OUTPUT_BYTES:
        raise BadResult(
            f"The outputs of the operator have more than {MAX_OUTPUT_BYTES // 2**20} MiB together.",
            "Return fewer outputs, or put them into one list, which travels as an artifact.",
        )
    return action_pb2.Outcome(
        state=events_pb2.ATTEMPT_STATE_SUCCEEDED,
        outputs=serialised,
        body_started_us=started,
        body_ended_us=time.time_ns() // 1000,
    )


def _preempted(started: int) -> action_pb2.Outcome:
    """The attempt has ended because it was asked to. The service says why."""
    return action_pb2.Outcome(
        state=events_pb2.ATTEMPT_STATE_PREEMPTED,
        failure=events_pb2.Failure(kind=events_pb2.FAILURE_KIND_PREEMPTED, node=-1),
        body_started_us=started,
        body_ended_us=time.time_ns() // 1000 if started else 0,
    )


def _failed(error: BaseException, started: int, *, compiling: bool) -> action_pb2.Outcome:
    failure = failure_of_function(error) if isinstance(error, FunctionFailed) else describe_exception(error)
    if compiling and failure.kind != events_pb2.FAILURE_KIND_EXITED:
        failure.kind = events_pb2.FAILURE_KIND_COMPILE
    elif failure.kind != events_pb2.FAILURE_KIND_ARGUMENTS and (
        not started or isinstance(error, (ArtifactMissing, ArtifactDamaged))
    ):
        failure.kind = events_pb2.FAILURE_KIND_NOT_LOADABLE
    return action_pb2.Outcome(
        state=events_pb2.ATTEMPT_STATE_FAILED,
        failure=failure,
        body_started_us=started,
        body_ended_us=time.time_ns() // 1000 if started else 0,
    )
