"""Equal calls of pure operators become one node."""

from __future__ import annotations

from mwfs.passes.rewriting import Columns, without
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_values import APPLY, CONSTANT, FIELD, OUTPUT, PARAMETER, Binding, operand_rows


def share(dag: dag_pb2.Dag) -> dict[int, int]:
    """Merges equal pure nodes; gives each removed node with the one that stands for it, as they were numbered before."""
    pure = [operator.pure and not operator.HasField("control") for operator in dag.operators]
    if not any(pure):
        return {}
    columns = Columns(dag)
    ordered = set(dag.order_node) | set(dag.order_after)
    meaning = _Meaning(columns)
    known: dict[tuple[object, ...], int] = {}
    removed: dict[int, int] = {}
    for node, operator in enumerate(columns.operators):
        if pure[operator] and node not in ordered:
            key = (operator, *map(meaning.of, columns.arguments_of(node)))
            first = known.setdefault(key, node)
            if first != node:
                meaning.stands_for[node] = first
                removed[node] = first
    if removed:
        kept = [node not in removed for node in range(len(columns.operators))]
        without(columns, meaning.stands_for, kept)
    return removed


class _Meaning:
    """A number for each binding, equal for bindings that give equal values."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.stands_for = list(range(len(columns.operators)))
        self._numbers: dict[tuple[object, ...], int] = {}
        self._rows: dict[int, int] = {}

    def of(self, binding: Binding) -> int:
        for row in self._columns.rows_below([binding]):
            if row not in self._rows:
                self._rows[row] = self._number(self._columns.items[row])
        return self._number(binding)

    def _number(self, binding: Binding) -> int:
        kind, a, b = binding
        key: tuple[object, ...]
        if kind == OUTPUT:
            key = (kind, self.stands_for[a], b)
        elif kind in (CONSTANT, PARAMETER):
            key = binding
        else:
            what = b if kind in (APPLY, FIELD) else 0
            key = (kind, what, *(self._rows[row] for row in operand_rows(kind, a, b)))
        return self._numbers.setdefault(key, len(self._numbers))
