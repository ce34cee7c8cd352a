"""The shape of a run's Dag as arrays: who waits for whom, how many, and how far from the end.

Arrays and indices instead of objects, because a run may have a million nodes. Nothing here changes after it is built.
"""

from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np

from mwfs_api.dags.v1 import dag_pb2

CONSTANT: Final = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT: Final = int(dag_pb2.BINDING_KIND_OUTPUT)
LIST: Final = int(dag_pb2.BINDING_KIND_LIST)
MAP: Final = int(dag_pb2.BINDING_KIND_MAP)
RECORD: Final = int(dag_pb2.BINDING_KIND_RECORD)
FIELD: Final = int(dag_pb2.BINDING_KIND_FIELD)

#: Index of the compile attempt; arrays have one more element than there are nodes, so that -1 is a place of its own.
COMPILE_NODE: Final = -1


class Columns:
    """Bindings as plain arrays: `kind[i]`, `a[i]`, `b[i]`."""

    __slots__ = ("a", "b", "kind")

    def __init__(self, bindings: dag_pb2.Bindings) -> None:
        self.kind = bytes(bindings.kind)
        self.a = array("I", bindings.a)
        self.b = array("I", bindings.b)


class Graph:
    """A checked Dag, ready to be walked. `size` nodes; edges only point to lower rows."""

    __slots__ = (
        "argument_start",
        "arguments",
        "constants",
        "dag",
        "dependent_start",
        "dependents",
        "items",
        "node_operator",
        "rank",
        "size",
        "waits_for",
    )

    def __init__(self, dag: dag_pb2.Dag) -> None:
        self.dag = dag
        self.size = len(dag.node_operator)
        self.node_operator = array("I", dag.node_operator)
        self.arguments = Columns(dag.arguments)
        self.items = Columns(dag.items)
        #: Serialised constants, each made once.
        self.constants = [constant.SerializeToString() for constant in dag.constants]
        parameter_counts = np.array([len(operator.parameters) for operator in dag.operators], dtype=np.int64)
        per_node = (
            parameter_counts[np.frombuffer(self.node_operator, dtype=np.uint32)] if self.size else np.zeros(0, np.int64)
        )
        starts = np.zeros(self.size + 1, dtype=np.uint32)
        np.cumsum(per_node, out=starts[1:])
        #: Arguments of node i are rows argument_start[i] to argument_start[i + 1] of `arguments`.
        self.argument_start = array("I", starts.tobytes())
        sources, targets = self._edges(per_node)
        #: How many edges lead to each node; a node is ready when as many have been followed.
        self.waits_for = array("I", np.bincount(targets, minlength=self.size).astype(np.uint32).tobytes())
        order = np.argsort(sources, kind="stable")
        #: Nodes that wait for node i: rows dependent_start[i] to dependent_start[i + 1] of `dependents`.
        self.dependents = array("I", targets[order].astype(np.uint32).tobytes())
        counts = np.bincount(sources, minlength=self.size)
        bounds = np.zeros(self.size + 1, dtype=np.uint32)
        np.cumsum(counts, out=bounds[1:])
        self.dependent_start = array("I", bounds.tobytes())
        #: Length of the longest way from the node to the end, itself included.
        self.rank = self._ranks()

    def _edges(self, per_node: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edges (source, target) of all arguments, those inside collections included. An edge that occurs twice counts twice."""
        kind = np.frombuffer(self.arguments.kind, dtype=np.uint8)
        a = np.frombuffer(self.arguments.a, dtype=np.uint32) if len(kind) else np.zeros(0, np.uint32)
        owner = np.repeat(np.arange(self.size, dtype=np.int64), per_node)
        direct = kind == OUTPUT
        sources, targets = [a[direct].astype(np.int64)], [owner[direct]]
        for row in np.flatnonzero(kind > OUTPUT):
            inner = np.fromiter(
                self._nodes_below(int(kind[row]), int(a[row]), self.arguments.b[int(row)]), dtype=np.int64
            )
            sources.append(inner)
            targets.append(np.full(len(inner), owner[row], dtype=np.int64))
        return np.concatenate(sources), np.concatenate(targets)

    def _nodes_below(self, kind: int, first: int, count: int) -> Iterator[int]:
        """Nodes that a collection or field binding refers to, without recursion."""
        items = self.items
        stack = [(first, first + (1 if kind == FIELD else count))]
        while stack:
            start, end = stack.pop()
            for row in range(start, end):
                inner = items.kind[row]
                if inner == OUTPUT:
                    yield items.a[row]
                elif inner > OUTPUT:
                    stack.append((items.a[row], items.a[row] + (1 if inner == FIELD else items.b[row])))

    def _ranks(self) -> "array[int]":
        rank = array("I", bytes(4 * (self.size + 1)))
        starts, dependents = self.dependent_start, self.dependents
        for node in range(self.size - 1, -1, -1):
            longest = 0
            for edge in range(starts[node], starts[node + 1]):
                below = rank[dependents[edge]]
                if below > longest:
                    longest = below
            rank[node] = longest + 1
        return rank

    def dependents_of(self, node: int) -> "array[int]":
        """Nodes that wait for `node`; twice when they use it twice."""
        return self.dependents[self.dependent_start[node] : self.dependent_start[node + 1]]

    def dependencies_of(self, node: int) -> list[int]:
        """Nodes whose outputs `node` needs, ascending, each once."""
        found: set[int] = set()
        for row in range(self.argument_start[node], self.argument_start[node + 1]):
            kind = self.arguments.kind[row]
            if kind == OUTPUT:
                found.add(self.arguments.a[row])
            elif kind > OUTPUT:
                found.update(self._nodes_below(kind, self.arguments.a[row], self.arguments.b[row]))
        return sorted(found)

    def operator_of(self, node: int) -> dag_pb2.Operator:
        return self.dag.operators[self.node_operator[node]]
