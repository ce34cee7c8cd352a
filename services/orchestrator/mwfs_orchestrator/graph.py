"""The shape of a run's Dag as arrays: who waits for whom, how many, and how far from the end.

Arrays and indices instead of objects, because a run may have a million nodes. A patch is appended with its indices moved, so everything
that reads the graph sees one Dag; what is there never changes.
"""

import copy
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import arity_of

CONSTANT: Final = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT: Final = int(dag_pb2.BINDING_KIND_OUTPUT)
LIST: Final = int(dag_pb2.BINDING_KIND_LIST)
MAP: Final = int(dag_pb2.BINDING_KIND_MAP)
RECORD: Final = int(dag_pb2.BINDING_KIND_RECORD)
FIELD: Final = int(dag_pb2.BINDING_KIND_FIELD)
PARAMETER: Final = int(dag_pb2.BINDING_KIND_PARAMETER)
APPLY: Final = int(dag_pb2.BINDING_KIND_APPLY)
TYPED: Final = int(dag_pb2.BINDING_KIND_TYPED)

#: Index of the compile attempt; arrays have one more element than there are nodes, so that -1 is a place of its own.
COMPILE_NODE: Final = -1

_Ints: TypeAlias = npt.NDArray[np.int64]


class Columns:
    """Bindings as plain arrays: `kind[i]`, `a[i]`, `b[i]`."""

    __slots__ = ("a", "b", "kind")

    def __init__(self) -> None:
        self.kind = bytearray()
        self.a = array("I")
        self.b = array("I")

    def __len__(self) -> int:
        return len(self.kind)

    def append(self, bindings: dag_pb2.Bindings, *, nodes: int, constants: int, items: int, inputs: _Ints) -> None:
        """Adds the rows of a Dag whose nodes, constants and items have these numbers from now on; its parameters become constants."""
        kind, a = np.array(bindings.kind, dtype=np.int64), np.array(bindings.a, dtype=np.int64)
        given = kind == PARAMETER
        a[given] = inputs[a[given]]
        kind[given] = CONSTANT
        a += np.select([kind == CONSTANT, kind == OUTPUT], [constants, nodes], items)
        self.kind += kind.astype(np.uint8).tobytes()
        self.a.frombytes(a.astype(np.uint32).tobytes())
        self.b.frombytes(np.array(bindings.b, dtype=np.uint32).tobytes())


class Graph:
    """A checked Dag and the patches that it has grown by, ready to be walked. `size` nodes; edges only point to lower rows."""

    __slots__ = (
        "_first_items",
        "_firsts",
        "_operator_rows",
        "_parts",
        "argument_start",
        "arguments",
        "cached_operators",
        "computes",
        "constants",
        "control_operators",
        "dag",
        "dependent_start",
        "dependents",
        "dynamic_operators",
        "grouped",
        "items",
        "node_operator",
        "operator_types",
        "operators",
        "order_after",
        "order_node",
        "queue_limits",
        "rank",
        "signals",
        "size",
        "spec_ids",
        "starts_children",
        "waits_for",
    )

    def __init__(self, dag: dag_pb2.Dag) -> None:
        #: What was submitted; its outputs are the run's.
        self.dag = dag
        self.size = 0
        #: Of all parts; equal ones once.
        self.operators: list[dag_pb2.Operator] = []
        #: For each of them the table that the types of its parameters and outputs are rows of.
        self.operator_types: list[Sequence[types_pb2.Type]] = []
        self._operator_rows: dict[bytes, int] = {}
        #: Operators whose results may be taken from earlier runs; empty in most Dags.
        self.cached_operators: set[int] = set()
        #: Operators that the engine itself carries out.
        self.control_operators: set[int] = set()
        #: Operators whose attempts give a Dag that the run grows by.
        self.dynamic_operators: set[int] = set()
        #: Whether the compiler has put any nodes into groups.
        self.grouped = False
        #: Whether a node may be a run of its own.
        self.starts_children = False
        #: Seconds that nodes of an operator may wait for room, by row, where there is a limit.
        self.queue_limits: dict[int, float] = {}
        #: The types of each signal that some node may wait for: one, unless dynamic operators disagree.
        self.signals: dict[str, list[types_pb2.Type]] = {}
        self.node_operator = array("I")
        #: Order without data: node `order_node[i]` waits for node `order_after[i]`. Sorted.
        self.order_node, self.order_after = array("I"), array("I")
        self.arguments = Columns()
        self.items = Columns()
        #: Whether any value is computed from others on its way: a field or a lifted function.
        self.computes = False
        #: Serialised constants, each made once.
        self.constants: list[bytes] = []
        #: Arguments of node i are rows argument_start[i] to argument_start[i + 1] of `arguments`.
        self.argument_start = array("I", [0])
        #: How many edges lead to each node; a node is ready when as many have been followed.
        self.waits_for = array("I")
        #: Nodes that wait for node i: rows dependent_start[i] to dependent_start[i + 1] of `dependents`.
        self.dependents = array("I")
        self.dependent_start = array("I", [0])
        #: How far the node is from the end, itself included: as the compiler predicted it, or in nodes.
        self.rank = array("I", [0])
        #: Of the specification of an operator (its row, the code bundle), filled by the launcher: graphs that share operators share it.
        self.spec_ids: dict[tuple[int, str], int] = {}
        #: The Dags that it is made of, with the number of the first node, and of the first item, of each.
        self._parts: list[dag_pb2.Dag] = []
        self._firsts: list[int] = []
        self._first_items: list[int] = []
        self.append(dag)

    def with_constants_of(self, dag: dag_pb2.Dag) -> "Graph":
        """The graph of a Dag that is this one but for its constants. Neither may grow: they share everything else."""
        other = copy.copy(self)
        other.dag, other._parts = dag, [dag]
        other.constants = [constant.SerializeToString() for constant in dag.constants]
        return other

    def append(self, dag: dag_pb2.Dag) -> int:
        """Grows by a Dag that refers to nothing outside of it, and gives the number of its first node."""
        first, first_item = self.size, len(self.items)
        rows = np.array([self._operator_row(dag, operator) for operator in dag.operators], dtype=np.int64)
        operators = rows[np.array(dag.node_operator, dtype=np.int64)]
        if self.control_operators:
            for name, kind in _signals_of(dag):
                kinds = self.signals.setdefault(name, [])
                if kind not in kinds:
                    kinds.append(kind)
        place: dict[str, Any] = {
            "nodes": first,
            "constants": len(self.constants),
            "items": first_item,
            "inputs": np.array([row.constant for row in dag.inputs], dtype=np.int64),
        }
        first_argument = len(self.arguments)
        self.arguments.append(dag.arguments, **place)
        self.items.append(dag.items, **place)
        self.constants.extend(constant.SerializeToString() for constant in dag.constants)
        self.computes = (
            self.computes or max(max(dag.arguments.kind, default=0), max(dag.items.kind, default=0)) >= FIELD
        )
        self.grouped = self.grouped or bool(dag.node_group)
        self._parts.append(dag)
        self._firsts.append(first)
        self._first_items.append(first_item)
        self.size = first + len(operators)
        self.node_operator.frombytes(operators.astype(np.uint32).tobytes())
        counts = np.array([len(operator.parameters) for operator in self.operators], dtype=np.int64)[operators]
        self.argument_start.frombytes((first_argument + np.cumsum(counts)).astype(np.uint32).tobytes())
        order_node = np.array(dag.order_node, dtype=np.int64) + first
        order_after = np.array(dag.order_after, dtype=np.int64) + first
        self.order_node.frombytes(order_node.astype(np.uint32).tobytes())
        self.order_after.frombytes(order_after.astype(np.uint32).tobytes())
        sources, targets = self._edges(first, first_argument, counts)
        self._add_edges(
            first, np.concatenate((sources, order_after)) - first, np.concatenate((targets, order_node)) - first
        )
        del self.rank[-1]
        self.rank.extend(dag.node_rank if dag.node_rank else self._ranks(first))
        self.rank.append(0)
        return first

    def _operator_row(self, dag: dag_pb2.Dag, operator: dag_pb2.Operator) -> int:
        """The row of an operator: patches of one body have equal ones, and a run may grow by thousands."""
        types = [row.type for row in operator.parameters] + [row.type for row in operator.outputs]
        key = b"".join((operator.SerializeToString(), *(dag.types[row].SerializeToString() for row in types)))
        row = self._operator_rows.get(key)
        if row is None:
            row = self._operator_rows[key] = len(self.operators)
            self.operators.append(operator)
            self.operator_types.append(dag.types)
            if operator.cached and operator.pure:
                self.cached_operators.add(row)
            if operator.queue_timeout_seconds:
                self.queue_limits[row] = operator.queue_timeout_seconds
            if operator.control.kind == dag_pb2.CONTROL_KIND_DYNAMIC:
                self.dynamic_operators.add(row)
            elif operator.HasField("control"):
                self.control_operators.add(row)
                self.starts_children = self.starts_children or operator.control.kind == dag_pb2.CONTROL_KIND_CHILD
        return row

    def _add_edges(self, first: int, sources: _Ints, targets: _Ints) -> None:
        """Edges between the nodes from `first` on, by their place among these."""
        count = self.size - first
        self.waits_for.frombytes(np.bincount(targets, minlength=count).astype(np.uint32).tobytes())
        followed = len(self.dependents)
        order = np.argsort(sources, kind="stable")
        self.dependents.frombytes((targets[order] + first).astype(np.uint32).tobytes())
        bounds = followed + np.cumsum(np.bincount(sources, minlength=count))
        self.dependent_start.frombytes(bounds.astype(np.uint32).tobytes())

    def _edges(self, first: int, first_argument: int, counts: _Ints) -> tuple[_Ints, _Ints]:
        """Edges (source, target) of the arguments from a row on, those inside collections included. An edge that occurs twice counts twice."""
        kind = np.frombuffer(bytes(self.arguments.kind[first_argument:]), dtype=np.uint8)
        a = np.array(self.arguments.a[first_argument:], dtype=np.int64)
        owner = np.repeat(np.arange(first, self.size, dtype=np.int64), counts)
        direct = kind == OUTPUT
        sources, targets = [a[direct]], [owner[direct]]
        for row in np.flatnonzero(kind > OUTPUT):
            inner = np.fromiter(
                self._nodes_below(int(kind[row]), int(a[row]), self.arguments.b[first_argument + int(row)]),
                dtype=np.int64,
            )
            sources.append(inner)
            targets.append(np.full(len(inner), owner[row], dtype=np.int64))
        return np.concatenate(sources), np.concatenate(targets)

    def operands(self, kind: int, a: int, b: int) -> range:
        """The rows of `items` that a binding is made of."""
        if kind < LIST:
            return range(0)
        if kind in (FIELD, TYPED):
            return range(a, a + 1)
        if kind == APPLY:
            return range(a, a + arity_of(b))
        return range(a, a + b)

    def _nodes_below(self, kind: int, a: int, b: int) -> Iterator[int]:
        """Nodes that a binding is made of, without recursion. Rows are looked at once: expressions may share parts."""
        items = self.items
        seen: set[range] = set()
        stack = [self.operands(kind, a, b)]
        while stack:
            for row in stack.pop():
                inner = items.kind[row]
                if inner == OUTPUT:
                    yield items.a[row]
                elif inner > OUTPUT:
                    rows = self.operands(inner, items.a[row], items.b[row])
                    if rows not in seen:
                        seen.add(rows)
                        stack.append(rows)

    def _ranks(self, first: int) -> "array[int]":
        """Of the nodes from `first` on, which only nodes among them wait for."""
        rank = array("I", bytes(4 * (self.size - first)))
        starts, dependents = self.dependent_start, self.dependents
        for node in range(self.size - 1, first - 1, -1):
            longest = 0
            for edge in range(starts[node], starts[node + 1]):
                below = rank[dependents[edge] - first]
                if below > longest:
                    longest = below
            rank[node - first] = longest + 1
        return rank

    def dependents_of(self, node: int) -> "array[int]":
        """Nodes that wait for `node`; twice when they use it twice."""
        return self.dependents[self.dependent_start[node] : self.dependent_start[node + 1]]

    def dependencies_of(self, node: int) -> list[int]:
        """Nodes that `node` waits for, ascending, each once."""
        found = set(self.order_after[bisect_left(self.order_node, node) : bisect_right(self.order_node, node)])
        for row in range(self.argument_start[node], self.argument_start[node + 1]):
            kind = self.arguments.kind[row]
            if kind == OUTPUT:
                found.add(self.arguments.a[row])
            elif kind > OUTPUT:
                found.update(self._nodes_below(kind, self.arguments.a[row], self.arguments.b[row]))
        return sorted(found)

    def takes_from(self, node: int, source: int) -> bool:
        """Whether a node takes an output of another one, and does not merely follow it."""
        for row in range(self.argument_start[node], self.argument_start[node + 1]):
            kind, a = self.arguments.kind[row], self.arguments.a[row]
            if kind == OUTPUT:
                if a == source:
                    return True
            elif kind > OUTPUT and source in self._nodes_below(kind, a, self.arguments.b[row]):
                return True
        return False

    def result_nodes(self) -> set[int]:
        """Nodes whose outputs are results: of the run, or of what a control node has made."""
        found: set[int] = set()
        for dag, first_item in zip(self._parts, self._first_items, strict=True):
            for output in dag.outputs:
                row = first_item + output.item
                kind, a = self.items.kind[row], self.items.a[row]
                if kind == OUTPUT:
                    found.add(a)
                else:
                    found.update(self._nodes_below(kind, a, self.items.b[row]))
        return found

    def operator_of(self, node: int) -> dag_pb2.Operator:
        return self.operators[self.node_operator[node]]

    def types_of(self, node: int) -> Sequence[types_pb2.Type]:
        """The table that the types of the node's operator are rows of."""
        return self.operator_types[self.node_operator[node]]

    def is_control(self, node: int) -> bool:
        """Whether the engine itself carries the node out."""
        return self.node_operator[node] in self.control_operators

    def part_of(self, node: int) -> tuple[dag_pb2.Dag, int]:
        """The Dag that the node came in, and its number there."""
        part = bisect_right(self._firsts, node) - 1
        return self._parts[part], node - self._firsts[part]

    def is_next(self, node: int, dependent: int) -> bool:
        """Whether the compiler has put the two in one group: the dependent may go on in the room of the node."""
        dag, local = self.part_of(node)
        groups = dag.node_group
        return bool(groups) and groups[local] != 0 and groups[local] == groups[local + dependent - node]

    @property
    def parts(self) -> int:
        """Of how many Dags it is made: the first one, and the patches."""
        return len(self._parts)

    @property
    def last_items(self) -> int:
        """The number of the first item of the newest part."""
        return self._first_items[-1]

    def source_of(self, node: int) -> tuple[str, int]:
        """File and line where the user called the node's operator."""
        dag, local = self.part_of(node)
        if not dag.node_location:
            return "", 0
        location = dag.node_location[local]
        return dag.files[dag.location_file[location]], dag.location_line[location]


def _signals_of(dag: dag_pb2.Dag) -> Iterator[tuple[str, types_pb2.Type]]:
    """The signals that nodes of the Dag may wait for, or nodes of what they grow by. Those of child runs are sent to these."""
    seen: set[int] = set()
    stack = sorted(set(dag.node_operator), reverse=True)
    while stack:
        row = stack.pop()
        if row in seen:
            continue
        seen.add(row)
        operator = dag.operators[row]
        control = operator.control
        if control.kind == dag_pb2.CONTROL_KIND_SIGNAL:
            yield control.name, dag.types[operator.outputs[0].type]
        elif control.kind != dag_pb2.CONTROL_KIND_CHILD:
            bodies = (control.body, control.condition, control.otherwise, control.cleanup, *control.candidates)
            for body in bodies:
                if body:
                    stack.extend(dag.bodies[body - 1].node_operator)
