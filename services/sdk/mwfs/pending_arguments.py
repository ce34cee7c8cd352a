"""Arguments that are computed from values in the object store: finished where the operator is called, since nobody before can read them."""

from __future__ import annotations

from collections.abc import Sequence

from mwfs.artifacts import Store
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import apply, arity_of
from mwfs_types.files import is_spilled, unspill

Value = types_pb2.Value

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
LIST = int(dag_pb2.BINDING_KIND_LIST)
MAP = int(dag_pb2.BINDING_KIND_MAP)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)
FIELD = int(dag_pb2.BINDING_KIND_FIELD)
TYPED = int(dag_pb2.BINDING_KIND_TYPED)


def finish_arguments(
    arguments: Sequence[Value], pending: Sequence[dag_pb2.PendingArgument], store: Store
) -> list[Value]:
    """All arguments. Raises FunctionFailed and the store's errors."""
    finished = list(arguments)
    for argument in pending:
        finished[argument.parameter] = _Expression(argument, store).value()
    return finished


class _Expression:
    """One argument. Its items refer to lower rows only, so they are computed one after another."""

    def __init__(self, argument: dag_pb2.PendingArgument, store: Store) -> None:
        self._argument = argument
        self._store = store
        self._known: list[Value] = []

    def value(self) -> Value:
        items = self._argument.items
        for kind, a, b in zip(items.kind, items.a, items.b, strict=True):
            self._known.append(self._evaluate(kind, a, b))
        return self._known[-1]

    def _evaluate(self, kind: int, a: int, b: int) -> Value:
        if kind == CONSTANT:
            return self._argument.values[a]
        if kind == FIELD:
            return self._content(a).record.fields[b]
        if kind == TYPED:
            return self._known[a]
        if kind == LIST:
            return Value(list=types_pb2.ListValue(items=self._known[a : a + b]))
        if kind == RECORD:
            return Value(record=types_pb2.RecordValue(fields=self._known[a : a + b]))
        if kind == MAP:
            rows = self._known[a : a + b]
            return Value(map=types_pb2.MapValue(keys=[key.text for key in rows[::2]], values=rows[1::2]))
        return apply(b, [self._content(row) for row in range(a, a + arity_of(b))])

    def _content(self, row: int) -> Value:
        """The value of a row, read from the store when that is where it is."""
        if is_spilled(self._known[row]):
            self._known[row] = unspill(self._known[row], self._store)
        return self._known[row]
