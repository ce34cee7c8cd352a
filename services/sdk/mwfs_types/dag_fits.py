"""Whether a source in a Dag fits an expected type, each distinct pair decided once.

A *key* stands for a source: an output of an operator (from 0), a collection or field (above those), or a constant (below 0,
`~index`). A *number* stands for a type. Deciding and explaining are apart: reasons are only put in words for the pair that fails.
Every comparison is taken from a budget in proportion to the Dag's size, so that hostile Dags cannot make it slow.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.assignability import Budget, explain_mismatch, is_assignable
from mwfs_types.checking import checker_for, kinds_of
from mwfs_types.dag_functions import BadOperands, result_type
from mwfs_types.errors import BadDag, BadValue
from mwfs_types.limits import MAX_TYPE_BYTES
from mwfs_types.rendering import describe
from mwfs_types.semantics import layouts_of

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT = int(dag_pb2.BINDING_KIND_OUTPUT)
LIST = int(dag_pb2.BINDING_KIND_LIST)
MAP = int(dag_pb2.BINDING_KIND_MAP)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)
FIELD = int(dag_pb2.BINDING_KIND_FIELD)
PARAMETER = int(dag_pb2.BINDING_KIND_PARAMETER)
APPLY = int(dag_pb2.BINDING_KIND_APPLY)
TYPED = int(dag_pb2.BINDING_KIND_TYPED)

_SCALAR_KINDS = {
    "null": types_pb2.SCALAR_KIND_NULL,
    "boolean": types_pb2.SCALAR_KIND_BOOL,
    "integer": types_pb2.SCALAR_KIND_INT,
    "number": types_pb2.SCALAR_KIND_FLOAT,
    "text": types_pb2.SCALAR_KIND_STRING,
    "data": types_pb2.SCALAR_KIND_BYTES,
}

COLLECTIONS = {LIST: "list", MAP: "map", RECORD: "record"}


class TypeNumbers:
    """The types of a Dag and the types inside them, by number; equal types have one number."""

    def __init__(self) -> None:
        self.types: list[types_pb2.Type] = []
        self.serialised: list[bytes] = []
        self._shapes: list[str | None] = []
        self._numbers: dict[bytes, int] = {}
        self._inner: dict[int, list[int]] = {}
        self._plain: dict[int, frozenset[str]] = {}
        self._arms: dict[int, int] = {}

    def number(self, type_: types_pb2.Type) -> int:
        serialised = type_.SerializeToString()
        number = self._numbers.get(serialised)
        if number is None:
            number = self._numbers[serialised] = len(self.types)
            self.types.append(type_)
            self.serialised.append(serialised)
            self._shapes.append(type_.WhichOneof("kind"))
        return number

    def shape(self, number: int) -> str | None:
        """Which kind of type it is: "scalar", "list" …"""
        return self._shapes[number]

    def inner(self, number: int) -> list[int]:
        """The item of a list or optional, the value of a map, the fields of a record, the arms of a union."""
        known = self._inner.get(number)
        if known is None:
            known = self._inner[number] = [self.number(type_) for type_ in _inside(self.types[number])]
        return known

    def plain_kinds(self, number: int) -> frozenset[str]:
        """The kinds of constant that fit without a closer look."""
        known = self._plain.get(number)
        if known is None:
            type_ = self.types[number]
            kinds = frozenset(() if type_.HasField("constraints") else kinds_of(type_.scalar))
            if type_.WhichOneof("kind") == "optional":
                kinds = self.plain_kinds(self.inner(number)[0])
                kinds = kinds and kinds | {"null"}
            known = self._plain[number] = kinds
        return known

    def arms(self, number: int) -> int:
        """How many arms of unions the type has, at any depth; layouts of versions are arms too."""
        known = self._arms.get(number)
        if known is None:
            type_ = self.types[number]
            shape = type_.WhichOneof("kind")
            inner = self.inner(number)
            if shape == "semantic":
                inner = [self.number(layout) for layout in layouts_of(type_.semantic)]
            own = len(inner) if shape in ("union", "semantic") else 0
            known = self._arms[number] = own + sum(map(self.arms, inner))
        return known


def _inside(type_: types_pb2.Type) -> list[types_pb2.Type]:
    match type_.WhichOneof("kind"):
        case "optional":
            return [type_.optional.item]
        case "list":
            return [type_.list.item]
        case "map":
            return [type_.map.value]
        case "record":
            return [field.type for field in type_.record.fields]
        case "tuple":
            return list(type_.tuple.items)
        case "union":
            return list(type_.union.arms)
    return []


class Looks(NamedTuple):
    """Where more of a constant than its kind was looked at."""

    #: (constant, serialised type) → whether it fits.
    fits: dict[tuple[int, bytes], bool]
    #: Constants whose text was read.
    texts: set[int]


def is_of(constant: types_pb2.Value, type_: bytes) -> bool:
    """Whether a constant is of a serialised type."""
    try:
        checker_for(type_)(constant)
    except BadValue:
        return False
    return True


class Fits:
    """Answers `fits(key, number)`. `Bindings` fills `collections`, `field_types` and `item_keys` while it reads the rows."""

    def __init__(self, dag: dag_pb2.Dag, constants: Sequence[types_pb2.Value], kinds: Sequence[str | None]) -> None:
        self.numbers = TypeNumbers()
        self.constants = constants
        self.kinds = kinds
        self.looks = Looks({}, set())
        #: The kinds of constants that there are, and which of them each constant has.
        self.kind_names = list(dict.fromkeys(kinds))
        codes = {kind: code for code, kind in enumerate(self.kind_names)}
        self.kind_codes: npt.NDArray[np.int64] = np.fromiter((codes[kind] for kind in kinds), np.int64, len(kinds))
        table = [self.numbers.number(type_) for type_ in dag.types]
        #: Row of the Dag's type table → number.
        self.table = table
        #: Of all operators one after another, by key.
        self.output_types = [table[row.type] for operator in dag.operators for row in operator.outputs]
        #: Key of a collection or field → its row.
        self.collections: dict[int, tuple[int, int, int]] = {}
        #: Key of a field → the number of its type.
        self.field_types: dict[int, int] = {}
        self.item_keys: list[int] = []
        self._verdicts: dict[tuple[int, int], bool] = {}
        rows = len(dag.arguments.kind) + len(dag.items.kind)
        rows += sum(len(body.arguments.kind) + len(body.items.kind) for body in dag.bodies)
        self.budget = Budget(500_000 + 3 * rows + dag.ByteSize() // 4)
        self._results: dict[tuple[int, ...], int] = {}

    def section(self) -> "Fits":
        """For another set of rows with the same tables: a body."""
        other = copy.copy(self)
        other.collections, other.field_types, other.item_keys, other._verdicts = {}, {}, [], {}
        return other

    def type_of_key(self, key: int) -> int | None:
        """The number of the type of a source; None of collections, and of constants that are no scalars: they do not show it."""
        if key >= 0:
            return self._source(key)
        kind = self.kinds[~key]
        return self.numbers.number(types_pb2.Type(scalar=_SCALAR_KINDS[kind])) if kind in _SCALAR_KINDS else None

    def result(self, function: int, operands: Sequence[int], where: str) -> int:
        """The number of the type of a lifted function of these keys. Raises BadDag."""
        numbers = []
        for index, key in enumerate(operands):
            number = self.type_of_key(key)
            if number is None:
                raise BadDag(f"{where}: operand {index} of function {function} has no type of its own")
            numbers.append(number)
        known = self._results.get((function, *numbers))
        if known is None:
            self.spend(sum(self.numbers.types[number].ByteSize() for number in numbers) // 16 + 1)
            try:
                kind = result_type(function, [self.numbers.types[number] for number in numbers])
            except BadOperands as error:
                raise BadDag(f"{where}: {error}") from None
            if kind.ByteSize() > MAX_TYPE_BYTES:
                raise BadDag(f"{where}: the type of its result has more than {MAX_TYPE_BYTES:,} bytes")
            known = self._results[(function, *numbers)] = self.numbers.number(kind)
        return known

    def spend(self, comparisons: int) -> None:
        """Counts work; BadDag when it is more than any Dag of this size needs."""
        self.budget.left -= comparisons
        if self.budget.left < 0:
            raise BadDag("its types and collections are too complex to compare")

    def fits(self, key: int, number: int) -> bool:
        if key < 0 and self.kinds[~key] in self.numbers.plain_kinds(number):
            return True
        known = self._verdicts.get((key, number))
        if known is None:
            self.spend(1)
            known = self._verdicts[key, number] = self._decide(key, number)
        return known

    def _decide(self, key: int, number: int) -> bool:
        if key < 0:
            return self._constant_fits(~key, number)
        source = self._source(key)
        if source is None:
            return self._collection_fits(key, number)
        fits = source == number or is_assignable(
            self.numbers.types[source], self.numbers.types[number], budget=self.budget
        )
        self.spend(0)
        return fits

    def _source(self, key: int) -> int | None:
        """The number of the type of an output or field."""
        return self.output_types[key] if key < len(self.output_types) else self.field_types.get(key)

    def _constant_fits(self, index: int, number: int) -> bool:
        constant = self.constants[index]
        if self.kinds[index] in COLLECTIONS.values():
            self.spend(constant.ByteSize() // 4 * (1 + self.numbers.arms(number)))
        fits = self.looks.fits[index, self.numbers.serialised[number]] = is_of(
            constant, self.numbers.serialised[number]
        )
        return fits

    def _collection_fits(self, key: int, number: int) -> bool:
        kind, first, count = self.collections[key]
        shape = self.numbers.shape(number)
        inner = self.numbers.inner(number)
        if shape == "optional":
            return self.fits(key, inner[0])
        if shape == "union":
            return any(self.fits(key, arm) for arm in inner if self._has_shape(arm, kind))
        if not self._has_shape(number, kind):
            return False
        if kind == LIST:
            return _length_fits(self.numbers.types[number], count) and self._all_fit(
                self.item_keys[first : first + count], inner[0]
            )
        if kind == MAP:
            return self._all_fit(self.item_keys[first + 1 : first + count : 2], inner[0])
        return len(inner) == count and all(map(self.fits, self.item_keys[first : first + count], inner))

    def _has_shape(self, number: int, kind: int) -> bool:
        """Whether a collection of this kind may be of the type; a tuple is put together like a record."""
        shape = self.numbers.shape(number)
        return shape == COLLECTIONS[kind] or (shape == "tuple" and kind == RECORD)

    def _all_fit(self, keys: list[int], number: int) -> bool:
        distinct = set(keys)
        self.spend(len(keys) // 16 + len(distinct) // 2)
        return all(self.fits(key, number) for key in distinct)

    def reason(self, key: int, number: int) -> str:
        """Why a source that does not fit does not."""
        type_ = self.numbers.types[number]
        if key < 0:
            try:
                checker_for(self.numbers.serialised[number])(self.constants[~key])
            except BadValue as error:
                return str(error)
        source = self._source(key)
        if source is not None:
            return explain_mismatch(self.numbers.types[source], type_) or "it does not fit"
        kind, first, count = self.collections[key]
        shape = type_.WhichOneof("kind")
        inner = self.numbers.inner(number)
        if shape == "optional":
            return self.reason(key, inner[0])
        if not self._has_shape(number, kind):
            return f"a {COLLECTIONS[kind]} is {'none of' if shape == 'union' else 'not'} {describe(type_)}"
        if kind == LIST and not _length_fits(type_, count):
            return f"a list of {count} is not {describe(type_)}"
        if kind == RECORD and len(inner) != count:
            return f"{describe(type_)} has {len(inner)} fields, found {count}"
        step = 2 if kind == MAP else 1
        keys = self.item_keys[first + step - 1 : first + count : step]
        expected = inner if kind == RECORD else inner * len(keys)
        place, (element, wanted) = next(
            (place, pair) for place, pair in enumerate(zip(keys, expected, strict=True)) if not self.fits(*pair)
        )
        is_record = type_.WhichOneof("kind") == "record"
        name = f"field {type_.record.fields[place].name}" if is_record else f"element {place}"
        return f"{name}: {self.reason(element, wanted)}"


def _length_fits(type_: types_pb2.Type, count: int) -> bool:
    lengths = type_.constraints
    return lengths.min_length <= count and (not lengths.HasField("max_length") or count <= lengths.max_length)
