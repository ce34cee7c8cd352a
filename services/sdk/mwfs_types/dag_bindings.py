"""Whether every argument of a Dag refers to something that exists, comes earlier, and has the right type.

The hot path of submission: a hundred thousand nodes in a fraction of a second, so whole columns at once (numpy), and one comparison
per distinct (source, expected type) instead of one per edge (`dag_fits.py`). Edges are counted with every collection spelled out,
because small Dags can be written that spell out to more than any machine can hold.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_fits import APPLY, COLLECTIONS, CONSTANT, FIELD, MAP, OUTPUT, PARAMETER, TYPED, Fits
from mwfs_types.dag_functions import BadOperands, arity_of
from mwfs_types.errors import BadDag
from mwfs_types.rendering import describe

Ints: TypeAlias = npt.NDArray[np.int64]


class Bindings:
    """The arguments and items of a Dag or of one of its bodies, whose tables and node columns were checked before."""

    def __init__(
        self,
        dag: dag_pb2.Dag,
        section: dag_pb2.Dag | dag_pb2.Body,
        fits: Fits,
        *,
        parameters: Sequence[int],
        edges: int,
        what: str = "",
    ) -> None:
        """parameters: the types, as rows of the Dag's table, of what PARAMETER bindings refer to. what: names the section in errors."""
        self._dag = dag
        self._section = section
        self._fits = fits
        self._what = what
        self._parameters = [fits.table[row] for row in parameters]
        self._edges = edges
        self._edges_left = edges
        self._operators: Ints = np.array(section.node_operator, dtype=np.int64)
        self._constants = len(fits.constants)
        self._output_counts: Ints = np.array([len(operator.outputs) for operator in dag.operators], dtype=np.int64)
        #: Operator → the key of its first output.
        self._output_base: Ints = np.cumsum(self._output_counts) - self._output_counts
        #: Row of a collection or field → what `_collection` said of it.
        self._known: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        #: Item → the last node that it needs, -1 for none.
        self._item_latest: list[int] = []
        #: Edges of the items before each row, spelled out.
        self._item_edges: list[int] = [0]
        #: Item → whether a collection is below it, whose value is as large as it is spelled out.
        self._item_spells = bytearray(len(section.items.kind))

    def check(self, results: Iterable[tuple[str, int, int]]) -> int:
        """Raises BadDag at the first binding that breaks a rule; gives the number of edges that are left.

        results: what the section gives: (name for errors, row of `items`, row of the type table), in range.
        """
        self._read_items()
        self._check_arguments()
        for name, item, kind in results:
            self._count_edges(self._item_edges[item + 1] - self._item_edges[item])
            source, expected = self._fits.item_keys[item], self._fits.table[kind]
            if not self._fits.fits(source, expected):
                raise BadDag(f"{name}: {self._fits.reason(source, expected)}")
        return self._edges_left

    def _read_items(self) -> None:
        items = self._section.items
        keys, latest, others = self._leaves(items, "item")
        # Item keys, latest nodes and edges of a row are only ever read by later rows, so leaves may be filled in at once.
        self._fits.item_keys.extend(keys.tolist())
        self._item_latest.extend(latest.tolist())
        edges = self._item_edges
        for row in others:
            kind, a, b = items.kind[row], items.a[row], items.b[row]
            edges.extend(range(edges[-1] + 1, edges[-1] + row - len(edges) + 2))
            key, needs, size = self._collection(kind, a, b, row, "item", row)
            self._fits.item_keys[row] = key
            self._item_latest[row] = needs
            self._item_spells[row] = kind in COLLECTIONS or self._spells(kind, a, b)
            edges.append(edges[row] + size)
        edges.extend(range(edges[-1] + 1, edges[-1] + len(items.kind) - len(edges) + 2))

    def _check_arguments(self) -> None:
        dag, arguments = self._dag, self._section.arguments
        parameters = [[self._fits.table[row.type] for row in operator.parameters] for operator in dag.operators]
        counts = np.array([len(types) for types in parameters], dtype=np.int64)[self._operators]
        needed = int(counts.sum())
        if needed != len(arguments.kind):
            raise BadDag(
                f"{self._what or 'it'} has {len(arguments.kind)} arguments; its nodes have {needed} parameters in all"
            )
        keys, latest, others = self._leaves(arguments, "argument")
        items = len(self._section.items.kind)
        for row in others:
            kind, a, b = arguments.kind[row], arguments.a[row], arguments.b[row]
            key, needs, size = self._collection(kind, a, b, items, "argument", row)
            self._count_edges(size)
            keys[row], latest[row] = key, needs
        owners = np.repeat(np.arange(len(self._operators)), counts)
        early = latest >= owners
        if early.any():
            row = int(early.argmax())
            raise BadDag(f"{self._where(row)}: needs node {latest[row]}, which is not before node {owners[row]}")
        self._check_types(keys, self._expected(parameters, counts))

    def _expected(self, parameters: list[list[int]], counts: Ints) -> Ints:
        """The number of the type that each argument must fit."""
        flat = np.array([number for types in parameters for number in types], dtype=np.int64)
        starts = np.array([0, *accumulate(len(types) for types in parameters)], dtype=np.int64)[self._operators]
        before = np.cumsum(counts) - counts
        expected: Ints = flat[np.arange(int(counts.sum())) + np.repeat(starts - before, counts)]
        return expected

    def _check_types(self, keys: Ints, expected: Ints) -> None:
        """One comparison for each distinct (source, expected type); none for constants that fit by their kind alone."""
        fits, numbers = self._fits, self._fits.numbers
        width = len(numbers.types)
        unsure = np.ones(len(keys), dtype=bool)
        rows = np.flatnonzero(keys < 0)
        pairs = fits.kind_codes[~keys[rows]] * width + expected[rows]
        seen = np.zeros(width * len(fits.kind_names), dtype=bool)
        seen[pairs] = True
        plain = np.zeros(len(seen), dtype=bool)
        for pair in np.flatnonzero(seen).tolist():
            kind, number = divmod(pair, width)
            plain[pair] = fits.kind_names[kind] in numbers.plain_kinds(number)
        unsure[rows] = ~plain[pairs]
        left = keys[unsure] * width + expected[unsure]
        for pair in np.unique(left).tolist():
            key, number = divmod(pair, width)
            if not fits.fits(key, number):
                row = int(np.flatnonzero((keys == key) & (expected == number))[0])
                raise BadDag(f"{self._where(row)}: {fits.reason(key, number)}")

    def _leaves(self, rows: dag_pb2.Bindings, what: str) -> tuple[Ints, Ints, list[int]]:
        """(keys, last nodes needed) of the rows that are constants or outputs, and which rows are something else."""
        kind, a, b = (np.array(column, dtype=np.int64) for column in (rows.kind, rows.a, rows.b))
        constant, output = kind == CONSTANT, kind == OUTPUT
        wrong = constant & ((a >= self._constants) | (b != 0))
        if wrong.any():
            row = int(wrong.argmax())
            raise BadDag(f"{what} {row}: there is no constant {a[row]}, or b is not 0")
        wrong = output & (a >= len(self._operators))
        if wrong.any():
            row = int(wrong.argmax())
            raise BadDag(f"{what} {row}: there is no node {a[row]}")
        operators = self._operators[a[output]]
        wrong = b[output] >= self._output_counts[operators]
        if wrong.any():
            row = int(np.flatnonzero(output)[wrong.argmax()])
            raise BadDag(f"{what} {row}: node {a[row]} has no output {b[row]}")
        keys, latest = ~a, np.full(len(a), -1, dtype=np.int64)
        keys[output] = self._output_base[operators] + b[output]
        latest[output] = a[output]
        return keys, latest, np.flatnonzero(~(constant | output)).tolist()

    def _collection(self, kind: int, a: int, b: int, before: int, what: str, row: int) -> tuple[int, int, int]:
        """(key, last node needed, edges) of a collection or field, which may refer to items below row `before`."""
        if kind == PARAMETER:
            return self._parameter(a, b, what, row)
        if kind == APPLY:
            return self._applied(a, b, before, what, row)
        if kind in (FIELD, TYPED):
            if a >= before:
                raise BadDag(f"{what} {row}: item {a} does not come before it")
        elif kind not in COLLECTIONS:
            raise BadDag(f"{what} {row}: there is no binding kind {kind}")
        elif a + b > before:
            raise BadDag(f"{what} {row}: items {a} to {a + b - 1} do not all come before it")
        known = self._known.get((kind, a, b))
        if known is not None:
            return known
        fits = self._fits
        key = self._new_key(kind, a, b)
        if kind in (FIELD, TYPED):
            said = self._field_type if kind == FIELD else self._said_type
            fits.field_types[key] = said(a, b, what, row)
            known = key, self._item_latest[a], self._item_edges[a + 1] - self._item_edges[a]
        else:
            # The elements are looked at here, so they count, whether or not an argument leads to them.
            self._count_edges(b)
            if kind == MAP:
                self._check_map_keys(a, b, what, row)
            size = 1 + self._item_edges[a + b] - self._item_edges[a]
            if size > self._edges:
                self._count_edges(size)
            known = key, max(self._item_latest[a : a + b], default=-1), size
        self._known[kind, a, b] = known
        return known

    def _new_key(self, kind: int, a: int, b: int) -> int:
        fits = self._fits
        key = len(fits.output_types) + len(fits.collections)
        fits.collections[key] = (kind, a, b)
        return key

    def _parameter(self, a: int, b: int, what: str, row: int) -> tuple[int, int, int]:
        if a >= len(self._parameters) or b:
            raise BadDag(f"{self._what}{what} {row}: there is no parameter {a}, or b is not 0")
        known = self._known.get((PARAMETER, a, 0))
        if known is None:
            key = self._new_key(PARAMETER, a, 0)
            self._fits.field_types[key] = self._parameters[a]
            known = self._known[PARAMETER, a, 0] = key, -1, 1
        return known

    def _applied(self, a: int, b: int, before: int, what: str, row: int) -> tuple[int, int, int]:
        try:
            count = arity_of(b)
        except BadOperands as error:
            raise BadDag(f"{what} {row}: {error}") from None
        if a + count > before:
            raise BadDag(f"{what} {row}: operands {a} to {a + count - 1} do not all come before it")
        known = self._known.get((APPLY, a, b))
        if known is None:
            key = self._new_key(APPLY, a, b)
            fits = self._fits
            fits.field_types[key] = fits.result(b, fits.item_keys[a : a + count], f"{what} {row}")
            size = 1 + self._item_edges[a + count] - self._item_edges[a]
            if not self._spells(APPLY, a, b):
                # Shared parts of an expression are computed once, so it takes no more steps than there are rows.
                size = min(size, before + 1)
            if size > self._edges:
                self._count_edges(size)
            known = self._known[APPLY, a, b] = key, max(self._item_latest[a : a + count]), size
        return known

    def _spells(self, kind: int, a: int, b: int) -> bool:
        """Whether a field, a typed value or a lifted function has a collection below it."""
        return any(self._item_spells[a : a + (arity_of(b) if kind == APPLY else kind in (FIELD, TYPED))])

    def _count_edges(self, edges: int) -> None:
        self._edges_left -= edges
        if self._edges_left < 0:
            raise BadDag(f"its collections spell out to more than {self._edges:,} edges")

    def _field_type(self, a: int, b: int, what: str, row: int) -> int:
        fits = self._fits
        source = fits.item_keys[a]
        if 0 <= source < len(fits.output_types):
            number = fits.output_types[source]
        elif source in fits.field_types:
            number = fits.field_types[source]
        else:
            raise BadDag(f"{what} {row}: a field is taken from an output, or from a field of one")
        type_ = fits.numbers.types[number]
        fields = type_.tuple.items if type_.WhichOneof("kind") == "tuple" else type_.record.fields
        if type_.WhichOneof("kind") not in ("record", "tuple") or b >= len(fields):
            raise BadDag(f"{what} {row}: {describe(type_)} has no field {b}")
        return fits.numbers.inner(number)[b]

    def _said_type(self, a: int, b: int, what: str, row: int) -> int:
        fits = self._fits
        if b >= len(fits.table):
            raise BadDag(f"{what} {row}: there is no type {b}")
        if not fits.fits(fits.item_keys[a], fits.table[b]):
            raise BadDag(f"{what} {row}: {fits.reason(fits.item_keys[a], fits.table[b])}")
        return fits.table[b]

    def _check_map_keys(self, a: int, b: int, what: str, row: int) -> None:
        if b % 2:
            raise BadDag(f"{what} {row}: the rows of a map are keys and values in turn, found {b}")
        self._fits.spend(b)
        previous: str | None = None
        for key in self._fits.item_keys[a : a + b : 2]:
            if key >= 0 or self._fits.kinds[~key] != "text":
                raise BadDag(f"{what} {row}: the keys of a map are string constants")
            self._fits.looks.texts.add(~key)
            text = self._fits.constants[~key].text
            if previous is not None and text <= previous:
                raise BadDag(f"{what} {row}: the keys of a map are sorted and unique, found {text[:80]!r} last")
            previous = text

    def _where(self, row: int) -> str:
        """An argument in words: its node, its operator, the user's line, its parameter."""
        dag = self._dag
        first = 0
        for node, index in enumerate(self._operators):
            operator = dag.operators[index]
            if row < first + len(operator.parameters):
                location = self._section.node_location[node]
                line = f"{dag.files[dag.location_file[location]]}:{dag.location_line[location]}"
                parameter = operator.parameters[row - first].name
                return f"node {node} ({operator.qualname} at {line}), argument {parameter!r}"
            first += len(operator.parameters)
        return f"argument {row}"
