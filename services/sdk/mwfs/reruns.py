"""What a new run may take from an earlier one, node by node, and why the others run: the plan of `mwfs rerun`. (pure)"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mwfs.dag import Dag
from mwfs.dag_calls import DagCalls, Numbers, Section, bodies_of
from mwfs.errors import InvalidInput
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """One node of the new run."""

    node: int
    #: `module:qualname`.
    operator: str
    #: The node of the earlier run whose result is taken; None: it runs.
    base_node: int | None
    #: Why it runs, or why its result can be taken.
    reason: str


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
        if node in asked:
            twin, reason = None, "asked for"
        elif fresh is not None:
            twin, reason = None, f"needs node {fresh}, which runs"
        elif twin is None:
            reason = "the run has no such call: its arguments have changed, or it is new"
        elif codes[0].of(before.base.columns.operators[twin]) != codes[1].of(row):
            twin, reason = None, "its code, environment or type of result has changed"
        elif twin >= len(states) or states[twin] != events_pb2.NODE_STATE_SUCCEEDED:
            state = events_pb2.NodeState.Name(states[twin]) if twin < len(states) else "NODE_STATE_PENDING"  # type: ignore[arg-type]
            twin, reason = None, f"it was {state.removeprefix('NODE_STATE_')}"
        else:
            reason = f"same code and arguments as node {twin}"
        plan.append(PlannedNode(node=node, operator=after.names[row], base_node=twin, reason=reason))
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
