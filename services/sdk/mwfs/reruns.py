"""What a new run may take from an earlier one, node by node, and why the others run: the plan of `mwfs rerun`, on a client or a worker. (pure)"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mwfs.dag import Dag
from mwfs.dag_calls import DagCalls, Numbers, Section, bodies_of
from mwfs.earlier import FoundOutput, fitting
from mwfs.errors import InvalidInput
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.workflows import Workflow

TAKEN = events_pb2.RERUN_REASON_TAKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """One node of the new run."""

    node: int
    #: `module:qualname`.
    operator: str
    #: Why it runs, or why its result can be taken, and the node or state that this is about.
    why: events_pb2.RerunReason.ValueType
    about: int = 0

    @property
    def base_node(self) -> int | None:
        """The node of the earlier run whose result is taken; None: it runs."""
        return self.about if self.why == TAKEN else None

    @property
    def reason(self) -> str:
        """`why` in words."""
        match self.why:
            case events_pb2.RERUN_REASON_TAKEN:
                return f"same code and arguments as node {self.about}"
            case events_pb2.RERUN_REASON_ASKED_FOR:
                return "asked for"
            case events_pb2.RERUN_REASON_NEEDS_NODE:
                return f"needs node {self.about}, which runs"
            case events_pb2.RERUN_REASON_NO_SUCH_CALL:
                return "the run has no such call: its arguments have changed, or it is new"
            case events_pb2.RERUN_REASON_CODE_CHANGED:
                return "its code, environment or type of result has changed"
            case events_pb2.RERUN_REASON_NOT_SUCCEEDED:
                state = events_pb2.NodeState.Name(self.about)  # type: ignore[arg-type]
                return f"it was {state.removeprefix('NODE_STATE_')}"
        return ""


def facts_of(plan: Sequence[PlannedNode], base_run_id: str) -> events_pb2.RerunFacts:
    """A plan as it is sent and kept."""
    facts = events_pb2.RerunFacts(base_run_id=base_run_id)
    facts.reason.extend(one.why for one in plan)
    facts.about.extend(one.about for one in plan)
    return facts


def plan_of(dag: events_pb2.DagFacts) -> list[PlannedNode]:
    """The plan that was kept with a run; empty for one that repeats none, or without saying why."""
    return [
        PlannedNode(node=node, operator=dag.operators[operator], why=why, about=about)
        for node, (operator, why, about) in enumerate(
            zip(dag.node_operator, dag.rerun.reason, dag.rerun.about, strict=False)
        )
    ]


def check_something_runs(plan: Sequence[PlannedNode], base_run_id: str) -> None:
    """Raises InvalidInput for a rerun that would do nothing."""
    if all(one.why == TAKEN for one in plan):
        raise InvalidInput(
            f"Nothing of run {base_run_id} would run again: all of it has succeeded and nothing has changed.",
            "Say where to start: --from NODE or --from OPERATOR.",
        )


def fill_inputs(
    base: dag_pb2.Dag,
    workflow: Workflow[..., object],
    values: dict[str, types_pb2.Value],
    sources: dict[str, str],
    *,
    run_id: str,
    home: str = "",
) -> list[FoundOutput]:
    """Adds the inputs of the earlier run that are not given, and says which. Raises InvalidInput for one that does not fit any more."""
    types = {parameter.name: parameter.type for parameter in workflow.parameters}
    filled: list[FoundOutput] = []
    for row in base.inputs:
        if row.name in values or row.name not in types:
            continue
        found = FoundOutput(
            value=base.constants[row.constant], type=base.types[row.type], run_id=run_id, output=row.name, home=home
        )
        values[row.name] = fitting(found, types[row.name], f"Input `{row.name}`")
        if row.source:
            sources[row.name] = row.source
        filled.append(found)
    return filled


def plan_rerun(
    base: dag_pb2.Dag, states: Sequence[int], new: dag_pb2.Dag, start: Iterable[str | int] = ()
) -> list[PlannedNode]:
    """Each node of `new`: taken from the earlier run when the same call, with the same code and the same arguments, has succeeded there.

    states: of the nodes of `base`, as it was compiled. start: nodes of the earlier run, or operators, that run anew, and with them whatever needs
    them. Raises InvalidInput for one that there is not.
    """
    numbers = Numbers()
    before, after = DagCalls(Dag(base), numbers), DagCalls(Dag(new), numbers)
    same = _matched(before, after)
    asked = _asked(start, before, after, same)
    columns, order = after.base.columns, after.base.columns.order()
    codes = [_Codes(calls) for calls in (before, after)]
    plan: list[PlannedNode] = []
    for node, row in enumerate(columns.operators):
        needs = {*columns.needs(columns.arguments_of(node)), *order.get(node, ())}
        fresh = min((need for need in needs if plan[need].base_node is None), default=None)
        twin = same.get(node)
        state = states[twin] if twin is not None and twin < len(states) else int(events_pb2.NODE_STATE_PENDING)
        about = 0
        if node in asked:
            why = events_pb2.RERUN_REASON_ASKED_FOR
        elif fresh is not None:
            why, about = events_pb2.RERUN_REASON_NEEDS_NODE, fresh
        elif twin is None:
            why = events_pb2.RERUN_REASON_NO_SUCH_CALL
        elif codes[0].of(before.base.columns.operators[twin]) != codes[1].of(row):
            why = events_pb2.RERUN_REASON_CODE_CHANGED
        elif state != events_pb2.NODE_STATE_SUCCEEDED:
            why, about = events_pb2.RERUN_REASON_NOT_SUCCEEDED, state
        else:
            why, about = TAKEN, twin
        plan.append(PlannedNode(node=node, operator=after.names[row], why=why, about=about))
    return plan


def _matched(before: DagCalls, after: DagCalls) -> dict[int, int]:
    """Nodes of the new Dag with those of the old one that are the same call on the same things; equal ones in their order."""
    known: dict[int, deque[int]] = defaultdict(deque)
    for call in before.base.all:
        known[call.deep].append(call.node)
    found: dict[int, int] = {}
    for call in after.base.all:
        if known.get(call.deep):
            found[call.node] = known[call.deep].popleft()
    return found


def _asked(start: Iterable[str | int], before: DagCalls, after: DagCalls, same: dict[int, int]) -> set[int]:
    """The nodes of the new Dag that are to run because somebody said so."""
    size = len(before.base.columns.operators)
    names = [after.names[row] for row in after.base.columns.operators]
    asked: set[int] = set()
    for one in start:
        if isinstance(one, int) or one.isdecimal():
            number = int(one)
            if number >= size:
                raise InvalidInput(
                    f"The run was compiled with {size:,} nodes, so it has no node {number} to start from.",
                    "Nodes that were made while it ran are parts of the control node that made them: name that one.",
                )
            asked.update(node for node, twin in same.items() if twin == number)
            continue
        found = {node for node, name in enumerate(names) if one in (name, name.partition(":")[2], _short(name))}
        if not found:
            raise InvalidInput(
                f"The run calls no operator `{one}`.",
                f"It calls {', '.join(sorted({_short(name) for name in names}))}.",
            )
        asked |= found
    return asked


def _short(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


class _Codes:
    """What an operator of a Dag does, so that it can be compared with one of another Dag."""

    def __init__(self, calls: DagCalls) -> None:
        self._calls = calls
        self._open: set[int] = set()

    def of(self, row: int) -> object:
        """Equal for operators that do the same."""
        dag = self._calls.proto
        operator = dag.operators[row]
        types = [(one.name, dag.types[one.type].SerializeToString(deterministic=True)) for one in operator.outputs]
        code = operator.code_digest or operator.source_digest or dag.bundle_digest
        bodies = [self._body(body) for body in bodies_of(operator.control)] if operator.HasField("control") else []
        return code, operator.environment_digest, types, bodies

    def _body(self, body: int) -> object:
        if body in self._open:
            return "itself"
        self._open.add(body)
        section: Section = self._calls.bodies[body]
        calls = [(call.deep, self.of(call.row)) for call in section.all]
        found = calls, section.result(self._calls.proto.bodies[body].result)[2]
        self._open.discard(body)
        return found
