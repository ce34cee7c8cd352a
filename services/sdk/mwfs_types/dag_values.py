"""The value that a binding stands for, once the outputs that it needs are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import NeedsContent, apply, arity_of
from mwfs_types.files import is_spilled
from mwfs_types.function_values import check_together

Value = types_pb2.Value

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT = int(dag_pb2.BINDING_KIND_OUTPUT)
LIST = int(dag_pb2.BINDING_KIND_LIST)
MAP = int(dag_pb2.BINDING_KIND_MAP)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)
FIELD = int(dag_pb2.BINDING_KIND_FIELD)
PARAMETER = int(dag_pb2.BINDING_KIND_PARAMETER)
APPLY = int(dag_pb2.BINDING_KIND_APPLY)
TYPED = int(dag_pb2.BINDING_KIND_TYPED)

#: (kind, a, b), as in dag.proto.
Binding = tuple[int, int, int]


def operand_rows(kind: int, a: int, b: int) -> range:
    """The rows of `items` that a binding refers to directly."""
    if kind in (CONSTANT, OUTPUT, PARAMETER):
        return range(0)
    if kind in (FIELD, TYPED):
        return range(a, a + 1)
    return range(a, a + (arity_of(b) if kind == APPLY else b))


def together(kind: int, parts: Sequence[Value], *, bounded: bool = True) -> Value:
    """The value of a LIST, MAP or RECORD binding. Raises FunctionFailed where it is too large, if that is bounded."""
    if bounded:
        check_together(part.ByteSize() for part in parts)
    if kind == LIST:
        return Value(list=types_pb2.ListValue(items=parts))
    if kind == MAP:
        return Value(map=types_pb2.MapValue(keys=[key.text for key in parts[::2]], values=parts[1::2]))
    assert kind == RECORD
    return Value(record=types_pb2.RecordValue(fields=parts))


class BoundValues:
    """Evaluates the bindings of one checked Dag. Iterative: expressions may be chains of a hundred thousand."""

    def __init__(
        self,
        dag: dag_pb2.Dag,
        outputs: Callable[[int, int], Value],
        read: Callable[[Value], Value] | None = None,
        *,
        bounded: bool = False,
    ) -> None:
        """`outputs` gives an output of a node that has succeeded; `read` the content of a spilled value.

        bounded: what is put together is refused when it is large, for the memory is not the user's own.
        """
        self._bounded = bounded
        #: How often content was read.
        self.reads = 0
        items = dag.items
        self._items: list[Binding] = list(zip(items.kind, items.a, items.b, strict=True))
        self._constants: Sequence[Value] = list(dag.constants)
        self._parameters: Sequence[Value] = [dag.constants[row.constant] for row in dag.inputs]
        self._outputs = outputs
        self._read = read

    def item(self, row: int) -> Value:
        """The value of a row of `items`. Raises FunctionFailed, and NeedsContent without a `read`."""
        return self.value(*self._items[row])

    def value(self, kind: int, a: int, b: int) -> Value:
        """The value of a binding. Raises FunctionFailed, and NeedsContent without a `read`."""
        if kind == CONSTANT:
            return self._constants[a]
        if kind == OUTPUT:
            return self._outputs(a, b)
        if kind == PARAMETER:
            return self._parameters[a]
        known: dict[int, Value] = {}
        for row in self._needed(kind, a, b):
            known[row] = self._one(*self._items[row], known)
        return self._one(kind, a, b, known)

    def nodes(self, kind: int, a: int, b: int) -> set[int]:
        """The nodes whose outputs a binding needs."""
        if kind == OUTPUT:
            return {a}
        return {self._items[row][1] for row in self._needed(kind, a, b) if self._items[row][0] == OUTPUT}

    def item_nodes(self, row: int) -> set[int]:
        """The nodes whose outputs a row of `items` needs."""
        return self.nodes(*self._items[row])

    def _needed(self, kind: int, a: int, b: int) -> list[int]:
        """Rows below a binding, each before those that need it: rows only refer to lower ones."""
        found: set[int] = set()
        waiting = list(operand_rows(kind, a, b))
        while waiting:
            row = waiting.pop()
            if row not in found:
                found.add(row)
                waiting.extend(operand_rows(*self._items[row]))
        return sorted(found)

    def _one(self, kind: int, a: int, b: int, known: dict[int, Value]) -> Value:
        if kind == CONSTANT:
            return self._constants[a]
        if kind == OUTPUT:
            return self._outputs(a, b)
        if kind == PARAMETER:
            return self._parameters[a]
        if kind == FIELD:
            return self._content(known[a]).record.fields[b]
        if kind == TYPED:
            return known[a]
        operands = [known[row] for row in operand_rows(kind, a, b)]
        if kind == APPLY:
            return self._apply(b, operands)
        return together(kind, operands, bounded=self._bounded)

    def _apply(self, function: int, operands: list[Value]) -> Value:
        while True:
            try:
                return apply(function, operands)
            except NeedsContent:
                if self._read is None:
                    raise
                content = [self._content(operand) for operand in operands]
                if content == operands:  # what is needed lies deeper: a list of spilled lists
                    content = [self._inner_content(operand) for operand in operands]
                operands = content

    def _content(self, value: Value) -> Value:
        if not is_spilled(value):
            return value
        if self._read is None:
            raise NeedsContent("a field")
        self.reads += 1
        return self._read(value)

    def _inner_content(self, value: Value) -> Value:
        if value.WhichOneof("kind") != "list":
            return value
        return Value(list=types_pb2.ListValue(items=[self._content(item) for item in value.list.items]))
