"""Arguments that are computed: fields of records and lifted functions. (pure)

Expressions may be deep and share parts, so they are walked row by row, never by recursion: items refer to lower rows only.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import FunctionFailed, NeedsContent, apply
from mwfs_types.dag_values import together
from mwfs_types.files import is_spilled

from .graph import CONSTANT, FIELD, LIST, MAP, OUTPUT, RECORD, TYPED, Graph

_Value = types_pb2.Value
_Outputs = Callable[[int], Sequence[bytes]]
#: Gives the content of a value that is in the object store, or raises NeedsContent.
Read = Callable[[types_pb2.Value], types_pb2.Value]


class ContentNeeded(NeedsContent):
    """What is to be fetched first."""

    def __init__(self, artifact: types_pb2.Artifact) -> None:
        super().__init__(artifact.digest)
        self.artifact = artifact


def out_of_reach(value: types_pb2.Value) -> NoReturn:
    """Reads no content."""
    raise ContentNeeded(value.artifact)


def compute(graph: Graph, kind: int, a: int, b: int, outputs: _Outputs, read: Read = out_of_reach) -> types_pb2.Value:
    """The value of a FIELD, APPLY or TYPED binding. Raises FunctionFailed; NeedsContent when it is read from a value in the object store that `read` does not give."""
    items = graph.items
    known: dict[int, _Value] = {}
    for row in _rows_below(graph, kind, a, b):
        known[row] = _evaluate(graph, items.kind[row], items.a[row], items.b[row], known, outputs, read)
    return _evaluate(graph, kind, a, b, known, outputs, read)


def _evaluate(
    graph: Graph, kind: int, a: int, b: int, known: Mapping[int, _Value], outputs: _Outputs, read: Read
) -> types_pb2.Value:
    if kind == OUTPUT:
        return _Value.FromString(outputs(a)[b])
    if kind == CONSTANT:
        return _Value.FromString(graph.constants[a])
    if kind == FIELD:
        record = known[a]
        fields = (read(record) if is_spilled(record) else record).record.fields
        if b >= len(fields):
            raise FunctionFailed("TypeError", f"field {b} is read from a value that is not the declared record")
        return fields[b]
    if kind == TYPED:
        return known[a]
    elements = [known[row] for row in graph.operands(kind, a, b)]
    if kind in (LIST, RECORD, MAP):
        return together(kind, elements)
    return apply(b, [read(element) if is_spilled(element) else element for element in elements])


def pending_argument(graph: Graph, row: int, parameter: int, outputs: _Outputs) -> dag_pb2.PendingArgument:
    """An argument as an expression over the values that exist, for whoever can read the object store."""
    pending = dag_pb2.PendingArgument(parameter=parameter)
    #: Row of the graph's items → the same binding over the rows of `pending`.
    moved: dict[int, tuple[int, int, int]] = {}
    items, arguments = graph.items, graph.arguments

    def move(kind: int, a: int, b: int) -> tuple[int, int, int]:
        if kind in (OUTPUT, CONSTANT):
            value = pending.values.add()
            if kind == OUTPUT:
                value.ParseFromString(outputs(a)[b])
            else:
                value.ParseFromString(graph.constants[a])
            return CONSTANT, len(pending.values) - 1, 0
        first = len(pending.items.kind)
        for below in graph.operands(kind, a, b):
            _append(pending.items, moved[below])
        return kind, first, b

    whole = arguments.kind[row], arguments.a[row], arguments.b[row]
    for below in _rows_below(graph, *whole):
        moved[below] = move(items.kind[below], items.a[below], items.b[below])
    _append(pending.items, move(*whole))
    return pending


def _append(bindings: dag_pb2.Bindings, row: tuple[int, int, int]) -> None:
    bindings.kind.append(row[0])  # type: ignore[arg-type]  # plain numbers, as everywhere in graphs
    bindings.a.append(row[1])
    bindings.b.append(row[2])


def _rows_below(graph: Graph, kind: int, a: int, b: int) -> list[int]:
    """The items that a binding is made of, each once and after those that it is made of itself."""
    items = graph.items
    found: set[int] = set()
    stack = [graph.operands(kind, a, b)]
    while stack:
        for row in stack.pop():
            if row not in found:
                found.add(row)
                stack.append(graph.operands(items.kind[row], items.a[row], items.b[row]))
    return sorted(found)
