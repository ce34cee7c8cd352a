"""Taking nodes out of a Dag: the columns without them, and every number that pointed past them."""

from __future__ import annotations

from collections.abc import Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_values import CONSTANT, FIELD, OUTPUT, PARAMETER, Binding, operand_rows


class Columns:
    """The bindings of a Dag, or of one of its bodies, as lists, and where the arguments of each node start."""

    __slots__ = ("arguments", "dag", "items", "operators", "section", "starts")

    def __init__(self, dag: dag_pb2.Dag, body: dag_pb2.Body | None = None) -> None:
        self.dag = dag
        section = self.section = dag if body is None else body
        self.operators = list(section.node_operator)
        self.arguments: list[Binding] = _rows(section.arguments)
        self.items: list[Binding] = _rows(section.items)
        counts = [len(operator.parameters) for operator in dag.operators]
        self.starts = [0]
        for operator in self.operators:
            self.starts.append(self.starts[-1] + counts[operator])

    def arguments_of(self, node: int) -> list[Binding]:
        return self.arguments[self.starts[node] : self.starts[node + 1]]

    def rows_below(self, bindings: Sequence[Binding]) -> list[int]:
        """The rows of `items` that bindings need, lowest first, so each before those that need it."""
        found: set[int] = set()
        waiting = [row for binding in bindings for row in operand_rows(*binding)]
        while waiting:
            row = waiting.pop()
            if row not in found:
                found.add(row)
                waiting.extend(operand_rows(*self.items[row]))
        return sorted(found)

    def needs(self, bindings: Sequence[Binding]) -> set[int]:
        """The nodes whose outputs bindings need."""
        found = {a for kind, a, _ in bindings if kind == OUTPUT}
        if any(kind not in (OUTPUT, CONSTANT, PARAMETER) for kind, _, _ in bindings):
            found |= {self.items[row][1] for row in self.rows_below(bindings) if self.items[row][0] == OUTPUT}
        return found

    def order(self) -> dict[int, list[int]]:
        """Node → the lower nodes that it waits for without data."""
        found: dict[int, list[int]] = {}
        for node, earlier in zip(self.section.order_node, self.section.order_after, strict=True):
            found.setdefault(node, []).append(earlier)
        return found


def _rows(bindings: dag_pb2.Bindings) -> list[Binding]:
    return list(zip(bindings.kind, bindings.a, bindings.b, strict=True))


def without(columns: Columns, stands_for: list[int], kept: list[bool]) -> None:
    """Rewrites the Dag to the kept nodes; `stands_for[i]` is the kept node that gives what node i gave. Rows that nothing needs go as well."""
    dag = columns.dag
    numbers: list[int] = []
    count = 0
    for keep in kept:
        numbers.append(count)
        count += keep
    moved = [numbers[one] for one in stands_for]
    nodes = [node for node, keep in enumerate(kept) if keep]
    arguments = [binding for node in nodes for binding in columns.arguments_of(node)]
    outputs = [(FIELD, output.item, 0) for output in dag.outputs]
    rows = columns.rows_below([*arguments, *outputs])
    # All rows of a collection are needed when it is, so they stay next to each other.
    places = {row: place for place, row in enumerate(rows)}

    def changed(binding: Binding) -> Binding:
        kind, a, b = binding
        if kind == OUTPUT:
            return OUTPUT, moved[a], b
        if kind in (CONSTANT, PARAMETER):
            return binding
        return (kind, places[a], b) if operand_rows(kind, a, b) else (kind, 0, b)

    items = [changed(columns.items[row]) for row in places]
    _fill(dag.arguments, [changed(binding) for binding in arguments])
    _fill(dag.items, items)
    for output in dag.outputs:
        output.item = places[output.item]
    operators = [columns.operators[node] for node in nodes]
    locations = [dag.node_location[node] for node in nodes]
    _replace(dag.node_operator, operators)
    _replace(dag.node_location, locations)
    pairs = sorted(
        {
            (moved[node], moved[earlier])
            for node, earlier in zip(dag.order_node, dag.order_after, strict=True)
            if kept[node] and moved[node] != moved[earlier]
        }
    )
    _replace(dag.order_node, [node for node, _ in pairs])
    _replace(dag.order_after, [earlier for _, earlier in pairs])


def _fill(bindings: dag_pb2.Bindings, rows: list[Binding]) -> None:
    kinds, firsts, seconds = zip(*rows, strict=True) if rows else ((), (), ())
    for column, values in ((bindings.kind, kinds), (bindings.a, firsts), (bindings.b, seconds)):
        _replace(column, values)


def _replace(column: object, values: Sequence[int]) -> None:
    del column[:]  # type: ignore[attr-defined]
    column.extend(values)  # type: ignore[attr-defined]
