"""Whether every argument of a Dag refers to something that exists, comes earlier, and has the right type.

The hot path of submission: a hundred thousand nodes in a fraction of a second, so bulk operations on columns, and one comparison
per distinct (source, expected type) instead of one per edge. A *key* stands for a source: an output of an operator (from 0), a
collection or field (above those), or a constant (below 0, `~index`). Hostile Dags cannot make it slow: the edges are counted
with every collection spelled out, and the comparisons have a budget.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, repeat
from operator import ge

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.assignability import Budget, explain_mismatch
from mwfs_types.checking import checker_for, kinds_of
from mwfs_types.errors import BadDag, BadValue
from mwfs_types.rendering import describe

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT = int(dag_pb2.BINDING_KIND_OUTPUT)
LIST = int(dag_pb2.BINDING_KIND_LIST)
MAP = int(dag_pb2.BINDING_KIND_MAP)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)
FIELD = int(dag_pb2.BINDING_KIND_FIELD)

_LEAVES = frozenset((CONSTANT, OUTPUT))
_WORDS = {LIST: "a list", MAP: "a map", RECORD: "a record"}
#: Comparisons of types, and elements of constants, that one Dag may take beyond a few for each row.
_SPARE_COMPARISONS = 2_000_000


class Bindings:
    """The arguments, items and outputs of one Dag, whose tables and node columns were checked before."""

    def __init__(
        self, dag: dag_pb2.Dag, constants: list[types_pb2.Value], kinds: Sequence[str | None], *, edges: int
    ) -> None:
        self._dag = dag
        self._edges = edges
        self._edges_left = edges
        self._operators: list[int] = list(dag.node_operator)
        self._constants = constants
        self._constant_kinds = kinds
        # Types by number: the rows of the table, equal ones joined, then the types inside them as they are met.
        self._types: list[types_pb2.Type] = []
        self._type_bytes: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._table = [self._number(type_) for type_ in dag.types]
        #: By number: the kinds of constant that fit without a closer look.
        self._plain_kinds: dict[int, tuple[str, ...]] = {}
        # Outputs of all operators one after another.
        counts = [len(operator.outputs) for operator in dag.operators]
        self._output_counts = counts
        self._output_base = [0, *accumulate(counts)]
        self._output_types = [self._table[row.type] for operator in dag.operators for row in operator.outputs]
        self._parameter_types = [[self._table[row.type] for row in operator.parameters] for operator in dag.operators]
        #: Row of a collection or field → what `_collection` said of it.
        self._known: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        #: Key of a collection or field → its row.
        self._collections: dict[int, tuple[int, int, int]] = {}
        #: Key of a field → the number of its type.
        self._field_types: dict[int, int] = {}
        self._item_keys: list[int] = []
        #: Item → the last node that it needs, -1 for none.
        self._item_latest: list[int] = []
        #: Edges of the items before each row, spelled out.
        self._item_edges: list[int] = [0]
        self._verdicts: dict[tuple[int, int], str | None] = {}
        self._budget = Budget(
            _SPARE_COMPARISONS + 4 * (len(dag.arguments.kind) + len(dag.items.kind) + len(dag.outputs))
        )

    def check(self) -> None:
        """Raises BadDag at the first binding that breaks a rule."""
        self._read_items()
        self._check_arguments()
        for output in self._dag.outputs:
            self._count_edges(self._item_edges[output.item + 1] - self._item_edges[output.item])
            reason = self._misfit(self._item_keys[output.item], self._table[output.type])
            if reason:
                raise BadDag(f"output {output.name!r}: {reason}")

    # Rows to keys.

    def _read_items(self) -> None:
        items = self._dag.items
        keys, latest, edges = self._item_keys, self._item_latest, self._item_edges
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
        dag = self._dag
        arguments = dag.arguments
        parameters = self._parameter_types
        counts = [len(types) for types in parameters]
        if sum(map(counts.__getitem__, self._operators)) != len(arguments.kind):
            needed = sum(map(counts.__getitem__, self._operators))
            raise BadDag(f"it has {len(arguments.kind)} arguments; its nodes have {needed} parameters in all")
        expected = list(chain.from_iterable(map(parameters.__getitem__, self._operators)))
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
        plain, kinds = self._plain_kinds, self._constant_kinds
        for key, number in set(zip(keys, expected, strict=True)):
            if key < 0 and number in plain and kinds[~key] in plain[number]:
                continue
            reason = self._misfit(key, number)
            if reason:
                row = next(row for row, pair in enumerate(zip(keys, expected, strict=True)) if pair == (key, number))
                raise BadDag(f"{self._where(row)}: {reason}")

    def _leaf_key(self, kind: int, a: int, b: int, what: str, row: int) -> int:
        if kind == CONSTANT:
            if a >= len(self._constant_kinds) or b:
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
        elif kind not in _WORDS:
            raise BadDag(f"{what} {row}: there is no binding kind {kind}")
        elif a + b > before:
            raise BadDag(f"{what} {row}: items {a} to {a + b - 1} do not all come before it")
        known = self._known.get((kind, a, b))
        if known is not None:
            return known
        key = len(self._output_types) + len(self._collections)
        self._collections[key] = (kind, a, b)
        if kind == FIELD:
            self._field_types[key] = self._field_type(a, b, what, row)
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
        source = self._item_keys[a]
        if 0 <= source < len(self._output_types):
            number = self._output_types[source]
        elif source in self._field_types:
            number = self._field_types[source]
        else:
            raise BadDag(f"{what} {row}: a field is taken from an output, or from a field of one")
        type_ = self._types[number]
        if b >= len(type_.record.fields):
            raise BadDag(f"{what} {row}: {describe(type_)} has no field {b}")
        return self._number(type_.record.fields[b].type)

    def _check_map_keys(self, a: int, b: int, what: str, row: int) -> None:
        if b % 2:
            raise BadDag(f"{what} {row}: the rows of a map are keys and values in turn, found {b}")
        previous: str | None = None
        for key in self._item_keys[a : a + b : 2]:
            if key >= 0 or self._constant_kinds[~key] != "text":
                raise BadDag(f"{what} {row}: the keys of a map are string constants")
            text = self._constants[~key].text
            if previous is not None and text <= previous:
                raise BadDag(f"{what} {row}: the keys of a map are sorted and unique, found {text[:80]!r} last")
            previous = text

    # Keys to verdicts.

    def _misfit(self, key: int, number: int) -> str | None:
        """Why the source does not fit the type; None when it does."""
        if key < 0:
            plain = self._plain_kinds.get(number)
            if plain is None:
                plain = self._plain_kinds[number] = self._kinds_that_fit(number)
            if self._constant_kinds[~key] in plain:
                return None
        try:
            return self._verdicts[key, number]
        except KeyError:
            pass
        self._spend(1)
        if key < 0:
            verdict = self._constant_misfit(~key, number)
        elif key < len(self._output_types):
            verdict = self._type_misfit(self._output_types[key], number)
        elif key in self._field_types:
            verdict = self._type_misfit(self._field_types[key], number)
        else:
            verdict = self._collection_misfit(key, number)
        self._verdicts[key, number] = verdict
        return verdict

    def _spend(self, comparisons: int) -> None:
        self._budget.left -= comparisons
        if self._budget.left < 0:
            raise BadDag("its types and collections are too complex to compare")

    def _kinds_that_fit(self, number: int) -> tuple[str, ...]:
        type_ = self._types[number]
        if type_.WhichOneof("kind") == "optional":
            kinds = self._kinds_that_fit(self._number(type_.optional.item))
            return (*kinds, "null") if kinds else ()
        return () if type_.HasField("constraints") else kinds_of(type_.scalar)

    def _constant_misfit(self, index: int, number: int) -> str | None:
        constant = self._constants[index]
        self._spend(constant.ByteSize() // 8)
        try:
            checker_for(self._type_bytes[number])(constant)
        except BadValue as error:
            return str(error)
        return None

    def _type_misfit(self, source: int, target: int) -> str | None:
        if source == target:
            return None
        reason = explain_mismatch(self._types[source], self._types[target], budget=self._budget)
        self._spend(0)
        return reason

    def _collection_misfit(self, key: int, number: int) -> str | None:
        kind, a, b = self._collections[key]
        type_ = self._types[number]
        shape = type_.WhichOneof("kind")
        if shape == "optional":
            return self._misfit(key, self._number(type_.optional.item))
        if shape == "union":
            if any(self._misfit(key, self._number(arm)) is None for arm in type_.union.arms):
                return None
            return f"{_WORDS[kind]} is none of {describe(type_)}"
        if kind == LIST and shape == "list":
            lengths = type_.constraints
            if b < lengths.min_length or (lengths.HasField("max_length") and b > lengths.max_length):
                return f"a list of {b} is not {describe(type_)}"
            return self._elements_misfit(self._item_keys[a : a + b], self._number(type_.list.item))
        if kind == MAP and shape == "map":
            return self._elements_misfit(self._item_keys[a + 1 : a + b : 2], self._number(type_.map.value))
        if kind == RECORD and shape == "record":
            fields = type_.record.fields
            if len(fields) != b:
                return f"{describe(type_)} has {len(fields)} fields, found {b}"
            for field, item in zip(fields, self._item_keys[a : a + b], strict=True):
                reason = self._misfit(item, self._number(field.type))
                if reason:
                    return f"field {field.name}: {reason}"
            return None
        return f"{_WORDS[kind]} is not {describe(type_)}"

    def _elements_misfit(self, keys: list[int], number: int) -> str | None:
        self._spend(len(keys) // 16)
        for key in set(keys):
            reason = self._misfit(key, number)
            if reason:
                return f"element {keys.index(key)}: {reason}"
        return None

    # Types to numbers, rows to words.

    def _number(self, type_: types_pb2.Type) -> int:
        serialised = type_.SerializeToString()
        number = self._numbers.get(serialised)
        if number is None:
            number = self._numbers[serialised] = len(self._types)
            self._types.append(type_)
            self._type_bytes.append(serialised)
        return number

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
