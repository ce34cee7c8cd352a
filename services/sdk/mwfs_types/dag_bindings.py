"""Whether every argument of a Dag refers to something that exists, comes earlier, and has the right type.

The hot path of submission: a hundred thousand nodes in a fraction of a second, so bulk operations on columns, and one comparison
per distinct (source, expected type) instead of one per edge (`dag_fits.py`). Edges are counted with every collection spelled out,
because small Dags can be written that spell out to more than any machine can hold.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, repeat
from operator import ge

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_fits import COLLECTIONS, CONSTANT, FIELD, MAP, OUTPUT, Fits
from mwfs_types.errors import BadDag
from mwfs_types.rendering import describe

_LEAVES = frozenset((CONSTANT, OUTPUT))


class Bindings:
    """The arguments, items and outputs of one Dag, whose tables and node columns were checked before."""

    def __init__(
        self, dag: dag_pb2.Dag, constants: Sequence[types_pb2.Value], kinds: Sequence[str | None], *, edges: int
    ) -> None:
        self._dag = dag
        self._fits = Fits(dag, constants, kinds)
        self._edges = edges
        self._edges_left = edges
        self._operators: list[int] = list(dag.node_operator)
        self._constants = len(constants)
        self._output_counts = [len(operator.outputs) for operator in dag.operators]
        #: Operator → the key of its first output.
        self._output_base = [0, *accumulate(self._output_counts)]
        #: Row of a collection or field → what `_collection` said of it.
        self._known: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        #: Item → the last node that it needs, -1 for none.
        self._item_latest: list[int] = []
        #: Edges of the items before each row, spelled out.
        self._item_edges: list[int] = [0]

    def check(self) -> None:
        """Raises BadDag at the first binding that breaks a rule."""
        self._read_items()
        self._check_arguments()
        for output in self._dag.outputs:
            self._count_edges(self._item_edges[output.item + 1] - self._item_edges[output.item])
            source, expected = self._fits.item_keys[output.item], self._fits.table[output.type]
            if not self._fits.fits(source, expected):
                raise BadDag(f"output {output.name!r}: {self._fits.reason(source, expected)}")

    def _read_items(self) -> None:
        items = self._dag.items
        keys, latest, edges = self._fits.item_keys, self._item_latest, self._item_edges
        for row, (kind, a, b) in enumerate(zip(items.kind, items.a, items.b, strict=True)):
            if kind in _LEAVES:
                keys.append(self._leaf_key(kind, a, b, "item", row))
                latest.append(a if kind == OUTPUT else -1)
                edges.append(edges[row] + 1)
            else:
                key, needs, size = self._collection(kind, a, b, row, "item", row)
                keys.append(key)
                latest.append(needs)
                edges.append(edges[row] + size)

    def _check_arguments(self) -> None:
        dag, numbers = self._dag, self._fits.numbers
        arguments = dag.arguments
        parameters = [[self._fits.table[row.type] for row in operator.parameters] for operator in dag.operators]
        counts = [len(types) for types in parameters]
        needed = sum(map(counts.__getitem__, self._operators))
        if needed != len(arguments.kind):
            raise BadDag(f"it has {len(arguments.kind)} arguments; its nodes have {needed} parameters in all")
        keys: list[int] = []
        latest: list[int] = []
        items = len(dag.items.kind)
        for row, (kind, a, b) in enumerate(zip(arguments.kind, arguments.a, arguments.b, strict=True)):
            if kind in _LEAVES:
                keys.append(self._leaf_key(kind, a, b, "argument", row))
                latest.append(a if kind == OUTPUT else -1)
            else:
                key, needs, size = self._collection(kind, a, b, items, "argument", row)
                self._count_edges(size)
                keys.append(key)
                latest.append(needs)
        if any(map(ge, latest, self._owners(counts))):
            row, owner = next((row, node) for row, node in enumerate(self._owners(counts)) if latest[row] >= node)
            raise BadDag(f"{self._where(row)}: needs node {latest[row]}, which is not before node {owner}")
        expected = list(chain.from_iterable(map(parameters.__getitem__, self._operators)))
        kinds = self._fits.kinds
        plain = {number: numbers.plain_kinds(number) for number in set(expected)}
        for pair in set(zip(keys, expected, strict=True)):
            key, number = pair
            if not (key < 0 and kinds[~key] in plain[number]) and not self._fits.fits(key, number):
                row = next(row for row, each in enumerate(zip(keys, expected, strict=True)) if each == pair)
                raise BadDag(f"{self._where(row)}: {self._fits.reason(key, number)}")

    def _leaf_key(self, kind: int, a: int, b: int, what: str, row: int) -> int:
        if kind == CONSTANT:
            if a >= self._constants or b:
                raise BadDag(f"{what} {row}: there is no constant {a}, or b is not 0")
            return ~a
        if a >= len(self._operators):
            raise BadDag(f"{what} {row}: there is no node {a}")
        operator = self._operators[a]
        if b >= self._output_counts[operator]:
            raise BadDag(f"{what} {row}: node {a} has no output {b}")
        return self._output_base[operator] + b

    def _collection(self, kind: int, a: int, b: int, before: int, what: str, row: int) -> tuple[int, int, int]:
        """(key, last node needed, edges) of a collection or field, which may refer to items below row `before`."""
        if kind == FIELD:
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
        key = len(fits.output_types) + len(fits.collections)
        fits.collections[key] = (kind, a, b)
        if kind == FIELD:
            fits.field_types[key] = self._field_type(a, b, what, row)
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
        if type_.WhichOneof("kind") != "record" or b >= len(type_.record.fields):
            raise BadDag(f"{what} {row}: {describe(type_)} has no field {b}")
        return fits.numbers.inner(number)[b]

    def _check_map_keys(self, a: int, b: int, what: str, row: int) -> None:
        if b % 2:
            raise BadDag(f"{what} {row}: the rows of a map are keys and values in turn, found {b}")
        self._fits.spend(b)
        previous: str | None = None
        for key in self._fits.item_keys[a : a + b : 2]:
            if key >= 0 or self._fits.kinds[~key] != "text":
                raise BadDag(f"{what} {row}: the keys of a map are string constants")
            text = self._fits.constants[~key].text
            if previous is not None and text <= previous:
                raise BadDag(f"{what} {row}: the keys of a map are sorted and unique, found {text[:80]!r} last")
            previous = text

    def _owners(self, counts: list[int]) -> Iterator[int]:
        """The node of each argument."""
        return chain.from_iterable(map(repeat, range(len(self._operators)), map(counts.__getitem__, self._operators)))

    def _where(self, row: int) -> str:
        """An argument in words: its node, its operator, the user's line, its parameter."""
        dag = self._dag
        first = 0
        for node, index in enumerate(self._operators):
            operator = dag.operators[index]
            if row < first + len(operator.parameters):
                location = dag.node_location[node]
                line = f"{dag.files[dag.location_file[location]]}:{dag.location_line[location]}"
                parameter = operator.parameters[row - first].name
                return f"node {node} ({operator.qualname} at {line}), argument {parameter!r}"
            first += len(operator.parameters)
        return f"argument {row}"
