"""The Dag of a run that grows: the compiled one, and each patch after it, every part with rows of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mwfs.invoke import load_operator
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_values import Binding, BoundValues
from mwfs_types.function_values import check_together

if TYPE_CHECKING:
    from mwfs.operators import Operator

Value = types_pb2.Value


class Segment:
    """One Dag whose node i is node `first + i` of the run."""

    __slots__ = ("_columns", "_operators", "_starts", "dag", "first", "node_operator", "size", "values")

    def __init__(
        self,
        dag: dag_pb2.Dag,
        first: int,
        outputs: Callable[[int, int], Value],
        read: Callable[[Value], Value],
        operators: Sequence[Operator[..., Any] | None],
    ) -> None:
        self.dag = dag
        self.first = first
        self.size = len(dag.node_operator)
        self.values = BoundValues(dag, lambda node, output: outputs(node + first, output), read)
        self.node_operator = list(dag.node_operator)
        counts = [len(operator.parameters) for operator in dag.operators]
        self._starts = [0]
        for operator in self.node_operator:
            self._starts.append(self._starts[-1] + counts[operator])
        arguments = dag.arguments
        self._columns: list[Binding] = list(zip(arguments.kind, arguments.a, arguments.b, strict=True))
        self._operators = list(operators) or [None] * len(dag.operators)

    def arguments(self, node: int) -> list[Value]:
        """The values that a node is called with. Raises FunctionFailed."""
        values, sizes = [], []
        for binding in self._bindings(node):
            read = self.values.reads
            values.append(self.values.value(*binding))
            # What is read from the object store is put together by workers, and travels in no message.
            if self.values.reads == read:
                sizes.append(values[-1].ByteSize())
        check_together(sizes)
        return values

    def needs(self, node: int) -> set[int]:
        """Nodes of the run whose outputs a node needs."""
        found: set[int] = set()
        for binding in self._bindings(node):
            found |= self.values.nodes(*binding)
        return {one + self.first for one in found}

    def results(self) -> set[int]:
        """Nodes of the run whose outputs are results of the Dag."""
        items = self.dag.items
        found: set[int] = set()
        for output in self.dag.outputs:
            found |= self.values.nodes(items.kind[output.item], items.a[output.item], items.b[output.item])
        return {one + self.first for one in found}

    def _bindings(self, node: int) -> list[Binding]:
        local = node - self.first
        return self._columns[self._starts[local] : self._starts[local + 1]]

    def row_index(self, node: int) -> int:
        """The row of a node's operator."""
        return self.node_operator[node - self.first]

    def row(self, node: int) -> dag_pb2.Operator:
        return self.dag.operators[self.node_operator[node - self.first]]

    def operator(self, node: int) -> Operator[..., Any]:
        """The code of a node's operator. Raises NotLoadable."""
        index = self.row_index(node)
        found = self._operators[index]
        if found is None:
            row = self.dag.operators[index]
            found = self._operators[index] = load_operator(row.module, row.qualname, row.source_digest)
        return found

    def where(self, node: int) -> str:
        """The user's line: "train.py:12"."""
        location = self.dag.node_location[node - self.first]
        return f"{self.dag.files[self.dag.location_file[location]]}:{self.dag.location_line[location]}"


class Segments:
    """All segments of a run, by the number of their first node."""

    def __init__(self) -> None:
        self.all: list[Segment] = []
        self._firsts: list[int] = []

    def append(self, segment: Segment) -> None:
        self.all.append(segment)
        self._firsts.append(segment.first)

    def of(self, node: int) -> Segment:
        """The segment that a node of the run is in."""
        at = bisect_right(self._firsts, node) - 1
        while node >= self.all[at].first + self.all[at].size:  # empty segments share their first number with the next
            at -= 1
        return self.all[at]
