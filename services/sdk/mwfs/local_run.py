"""Running a workflow in this process, through the same code paths as on the platform: `workflow.run_local()` and `mwfs.LocalRun`.

Differences: nodes run one at a time, waits between attempts are left out, and timeouts and resources are not enforced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mwfs.artifacts import Store
from mwfs.compiler import compile
from mwfs.dag import Dag
from mwfs.errors import NotFound, RunFailed
from mwfs.local.engine import LocalEngine, ResultCache
from mwfs.local.nodes import GivenUp, State
from mwfs.local_files import LocalFiles
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_failures import failure_of_output
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.growth import GrowthLimits
from mwfs_types.values import decode

if TYPE_CHECKING:
    from mwfs.operators import Operator
    from mwfs.workflows import Workflow

Value = types_pb2.Value

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """What became of one node of a local run."""

    index: int
    #: `module:qualname`; for a control node `mwfs:` and what it is.
    operator: str
    #: SUCCEEDED, FAILED, UPSTREAM_FAILED, SKIPPED or CANCELLED.
    state: str
    attempts: int
    #: The control node that made it; None for nodes that were compiled.
    parent: int | None
    #: The result of an earlier run was taken.
    cached: bool

    @property
    def name(self) -> str:
        """The operator's own name, without its module."""
        return self.operator.rpartition(":")[2]


class LocalRun:
    """A run in this process, with parts replaced: for tests of workflows.

    replace: an operator, or its name, → the function that is called in its place; what it returns must have the operator's type.
    signals: name → payload, for `mwfs.signal`. cache: earlier results of pure operators; none by default. limits: how far the run may grow.
    """

    def __init__(
        self,
        *,
        replace: Mapping[Operator[..., Any] | str, Callable[..., Any]] | None = None,
        signals: Mapping[str, Any] | None = None,
        cache: ResultCache | None = None,
        limits: GrowthLimits | None = None,
    ) -> None:
        self._replace = dict(replace or {})
        self._signals = dict(signals or {})
        self._cache = cache
        self._limits = limits
        #: What became of each node, once `run` has returned or raised.
        self.nodes: list[NodeRun] = []

    def run(self, workflow: Workflow[..., R], /, **inputs: Any) -> R:
        """What the workflow declares to return. Raises CompileError, InvalidInput, RunFailed."""
        dag = compile(workflow, **inputs)
        store = LocalFiles(dag.local_files, copies=True)
        if isinstance(dag.store, LocalFiles):
            store.elsewhere.update(dag.store.elsewhere)
        outputs = self._run_dag(dag, store)
        decoded = {output.name: decode(outputs[output.name], output.annotation, store) for output in workflow.outputs}
        record = workflow.signature.record
        if record is not None:
            return cast(R, record(**decoded))
        return cast(R, next(iter(decoded.values()), None))

    def _run_dag(self, dag: Dag, store: Store) -> dict[str, Value]:
        engine = LocalEngine(
            dag.proto,
            store,
            operators=dag.operators or (),
            replace=self._replacements(dag),
            signals=self._signals,
            cache=self._cache,
            limits=self._limits,
        )
        try:
            engine.run()
        finally:
            self.nodes = _nodes(engine)
        failed = [node for node in range(engine.base.size) if engine.state[node] is State.FAILED]
        serious = [*(node for node in failed if not engine.is_tolerated(node)), *engine.fatal]
        if serious:
            raise _run_failed(engine, min(serious)) from _error_of(engine, min(serious))
        found = {}
        for output in dag.proto.outputs:
            try:
                found[output.name] = engine.base.values.item(output.item)
            except FunctionFailed as error:
                raise _no_output(error, failure_of_output(error, dag.proto, output)) from error
            except GivenUp:
                raise _run_failed(engine, failed[0]) from _error_of(engine, failed[0])
        return found

    def _replacements(self, dag: Dag) -> dict[str, Callable[..., Any]]:
        known = {f"{row.module}:{row.qualname}" for row in dag.proto.operators}
        found: dict[str, Callable[..., Any]] = {}
        for operator, function in self._replace.items():
            if not isinstance(operator, str):
                found[operator.ref] = function
                continue
            refs = [ref for ref in known if operator in (ref, ref.rpartition(":")[2])]
            if len(refs) > 1:
                raise NotFound(
                    f"`{operator}` is the name of several operators.", f"Name one: {', '.join(sorted(refs))}."
                )
            found[refs[0] if refs else operator] = function
        return found


def run_local(workflow: Workflow[..., R], inputs: Mapping[str, Any]) -> R:
    """What the workflow declares to return. Raises CompileError, InvalidInput, RunFailed."""
    return LocalRun().run(workflow, **inputs)


def run_dag(dag: Dag, store: Store) -> dict[str, Value]:
    """Runs every node and gives the outputs by name. Raises RunFailed when a node fails for good."""
    return LocalRun()._run_dag(dag, store)


def _nodes(engine: LocalEngine) -> list[NodeRun]:
    found = []
    for segment in engine.segments.all:
        for node in range(segment.first, segment.first + segment.size):
            row = segment.row(node)
            parent = engine.parent[node]
            found.append(
                NodeRun(
                    index=node,
                    operator=f"{row.module}:{row.qualname}",
                    state=engine.state[node].value,
                    attempts=engine.attempts[node],
                    parent=None if parent < 0 else parent,
                    cached=node in engine.cached,
                )
            )
    return found


def _error_of(engine: LocalEngine, node: int) -> BaseException | None:
    return engine.errors.get(engine.failures[node].node)


def _no_output(error: FunctionFailed, failure: events_pb2.Failure) -> RunFailed:
    where = f" ({failure.file}:{failure.line})" if failure.line else ""
    return RunFailed(
        f"An output of the workflow cannot be computed: {error}{where}", failure.next_step, failure=failure
    )


def _run_failed(engine: LocalEngine, node: int) -> RunFailed:
    failure = engine.failures[node]
    at = failure.node if failure.node >= 0 else node
    segment = engine.segments.of(at)
    tries = f" after {engine.attempts[at]} attempts" if engine.attempts[at] > 1 else ""
    where = f" ({failure.file}:{failure.line})" if failure.line else ""
    name = segment.row(at).qualname.rpartition(".")[2]
    return RunFailed(
        f"Node {at}, operator `{name}` called at {segment.where(at)}, failed{tries}: "
        f"{failure.error_type}: {failure.message}{where}",
        failure.next_step or ("The operator's own error is the cause of this one." if at in engine.errors else ""),
        failure=failure,
    )


__all__ = ["Dag", "LocalRun", "NodeRun", "run_dag", "run_local"]
