"""Patches made of copies of a control node's bodies: what bodies are called with, and how far one step may grow. (pure)"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_answers import Failed, Grow, Step, Value
from mwfs_types.dag_templates import Fragment
from mwfs_types.dag_values import Binding
from mwfs_types.growth import GrowthLimits, failure_of


class Growing:
    """One step of one control node, as far as it copies bodies."""

    def __init__(
        self,
        dag: dag_pb2.Dag,
        control: dag_pb2.Control,
        arguments: Sequence[Value],
        last: dag_pb2.DagPatch | None,
        limits: GrowthLimits,
        parent: int,
    ) -> None:
        self.dag = dag
        self.control = control
        self.arguments = arguments
        self.last = last
        self.limits = limits
        self.parent = parent
        #: How many arguments the kind names; captured ones follow.
        self.named = 1 if control.kind in (dag_pb2.CONTROL_KIND_WHEN, dag_pb2.CONTROL_KIND_REPEAT) else control.lists
        if control.kind in (dag_pb2.CONTROL_KIND_CALL, dag_pb2.CONTROL_KIND_CHILD):
            self.named = len(arguments)

    def arguments_for(self, fragment: Fragment, body: int, named: Sequence[Binding]) -> list[Binding]:
        """The arguments of a body: those that its kind names, then as many captured ones as it takes."""
        kinds = self.dag.bodies[body - 1].parameters[len(named) :]
        captured = self.arguments[self.named : self.named + len(kinds)]
        return [*named, *map(fragment.given, captured, kinds)]

    def given(self, fragment: Fragment, body: int, values: Sequence[Value]) -> list[Binding]:
        """Values for the first parameters of a body."""
        return list(map(fragment.given, values, self.dag.bodies[body - 1].parameters))

    def add(self, fragment: Fragment, body: int, named: Sequence[Binding]) -> Binding:
        return fragment.add(body, self.arguments_for(fragment, body, named))

    def patch(self, fragment: Fragment, *, phase: int = 0, carried: Sequence[Value] = ()) -> Grow:
        """The next patch of the node."""
        patch = dag_pb2.DagPatch(
            parent=self.parent,
            round=self.last.round + 1 if self.last is not None else 0,
            dag=fragment.finish(),
            instance_end=fragment.instance_end,
            phase=phase,
            carried=carried,
        )
        return Grow(patch)

    def grow_one(self, body: int, *values: Value, phase: int = 0, carried: Sequence[Value] = ()) -> Step:
        """One instance of a body."""
        too_many = self.refusal(1, body)
        if too_many:
            return too_many
        fragment = Fragment(self.dag)
        result = self.add(fragment, body, self.given(fragment, body, values))
        fragment.end_instance(result, fragment.result_type(body))
        return self.patch(fragment, phase=phase, carried=carried)

    def refusal(self, instances: int, *bodies: int) -> Failed | None:
        """Why the run may not grow by so many copies of these bodies at once."""
        copied = [self.dag.bodies[body - 1] for body in bodies if body]
        nodes = instances * sum(len(body.node_operator) for body in copied)
        rows = instances * sum(map(rows_in, copied))
        found, limit = (f"{nodes:,} nodes" if nodes > instances else f"{instances:,} instances"), self.limits.patch
        if max(instances, nodes) <= limit:
            if rows <= self.limits.rows:
                return None
            found, limit = f"{rows:,} arguments and parts of them", self.limits.rows
        return Failed(
            failure_of(
                "GrowthLimit",
                f"it would grow the run by {found} at once; the limit is {limit:,}",
                "Map over batches, or map inside a map.",
            )
        )

    def elements(self) -> list[tuple[Value, ...]] | Failed:
        """With what each instance is called."""
        lists = [argument.list.items for argument in self.arguments[: self.control.lists]]
        if self.control.cross:
            count = math.prod(map(len, lists))
            return self.refusal(count, self.control.body) or list(itertools.product(*lists))
        if len({len(one) for one in lists}) > 1:
            found = " and ".join(str(len(one)) for one in lists)
            return Failed(failure_of("ValueError", f"lists that are zipped have one length, found {found}"))
        return self.refusal(len(lists[0]), self.control.body) or list(zip(*lists, strict=True))

    def grow_each(self, body: int) -> Step:
        """An instance of a body for each element."""
        elements = self.elements()
        if isinstance(elements, Failed):
            return elements
        fragment = Fragment(self.dag)
        kind = fragment.result_type(body)
        captured = self.arguments_for(fragment, body, [(0, 0, 0)] * self.control.lists)[self.control.lists :]
        for values in elements:
            fragment.end_instance(fragment.add(body, [*self.given(fragment, body, values), *captured]), kind)
        return self.patch(fragment)


def rows_in(body: dag_pb2.Body) -> int:
    """What a copy of the body costs."""
    return len(body.arguments.kind) + len(body.items.kind) + len(body.order_node)


def rows_copied(control: dag_pb2.Control, dag: dag_pb2.Dag, arguments: Sequence[Value]) -> int:
    """About how many rows of bodies its next step copies."""
    bodies = [control.body, control.condition, control.otherwise, control.cleanup, *control.candidates]
    lengths = [len(argument.list.items) for argument in arguments[: control.lists]]
    times = math.prod(lengths) if control.cross else max(lengths, default=1)
    return times * sum(rows_in(dag.bodies[body - 1]) for body in bodies if body)
