"""Annotations mean types; what cannot travel is refused with what to write instead."""

import enum
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import pytest
from builders.annotated import Blob, Box, Color, Crate, Labelled, Options, Pair, Score, Setting, annotations
from hypothesis import given

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, doc_of, type_of
from mwfs_types.constraints import Choices, Doc, Length, Pattern, Range, Unit
from mwfs_types.rendering import describe
from mwfs_types.type_rules import check_type
from mwfs_types.values import decode, encode

T = TypeVar("T")
UserId = NewType("UserId", int)


@dataclass
class Tree:
    children: "list[Tree]"


@dataclass
class Unresolved:
    x: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


@dataclass
class WrongDefault:
    x: int = "one"  # type: ignore[assignment]


@dataclass
class Derived:
    x: int
    double: int = field(init=False, default=0)


class Bare(NamedTuple):
    x: Any


@dataclass
class Endless(Generic[T]):
    next: "Endless[list[T]]"


class Twice(NamedTuple, Generic[T]):
    a: T
    b: T


class Vague(TypedDict, total=False):
    x: int | None


Dashed = TypedDict("Dashed", {"a-b": int})


class Flags(enum.Flag):
    A = 1


class NoMembers(enum.Enum):
    pass


class BadSemantic:
    __mwfs_semantic__ = "Dataset"


class Row(NamedTuple):
    x: int


class Table(Generic[T]):
    __mwfs_semantic__ = ("Table", 1)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "None"),
        (list[float], "list[float]"),
        (dict[str, list[bytes]], "dict[str, list[bytes]]"),
        (Optional[int], "int | None"),  # noqa: UP045
        (int | None, "int | None"),
        (Union[str, int], "int | str"),  # noqa: UP007
        (Union[int, None, str], "int | str | None"),  # noqa: UP007
        (Color, "Color"),
        (Options, "Options"),
        (Score, "Score"),
        (Blob, "Blob"),
        (Table, "Table"),
        (Table[Row], "Table[Row]"),
        (UserId, "int"),
        (Literal["a", "b"], "Literal['a', 'b']"),
        (Literal["a", None], "Literal['a'] | None"),
        (Annotated[float, Range(0, 0.5)], "Annotated[float, Range(minimum=0, maximum=0.5)]"),
        (Annotated[int | None, Range(minimum=1)], "Annotated[int, Range(minimum=1)] | None"),
        (Annotated[list[int], Length(1, 3)], "Annotated[list[int], Length(minimum=1, maximum=3)]"),
        (Annotated[str, Pattern("a+")], "Annotated[str, Pattern('a+')]"),
        (Annotated[float, Choices(0.1, 0.2)], "Annotated[float, Choices(0.1, 0.2)]"),
        (Annotated[int, Unit("seconds")], "Annotated[int, Unit('seconds')]"),
        (Annotated[int, "ignored", object()], "int"),
        (tuple[int, str | None], "tuple[int, str | None]"),
        (tuple[float, ...], "list[float]"),
    ],
)
def test_types_are_described_as_the_user_would_write_them(annotation: Any, words: str) -> None:
    assert describe(type_of(annotation)) == words


@pytest.mark.parametrize(
    ("annotation", "fix"),
    [
        (list, r"list\[int\]"),
        (dict, r"dict\[str, float\]"),
        (tuple, r"tuple\[int, str\]"),
        (tuple[()], "1 to 1000 items"),
        (set[int], "list"),
        (Sequence[int], "list"),
        (dict[int, str], r"dict\[str, str\]"),
        (Any, "int | str"),
        (object, "int | str"),
        (complex, "two floats"),
        ("int", "not resolved"),
        (3, "not a type"),
        ([int], "not a type"),
        (T, "concrete"),
        (list[T], "concrete"),  # type: ignore[valid-type]
        (Box, r"Box.content: .* Pair\[int\]"),
        (Box[T], "concrete"),  # type: ignore[valid-type]
        (Box[Any], "int | str"),
        (Endless[int], "nest at most"),
        (Vague, "may be left out and may be None"),
        (Dashed, "a key 'a-b'"),
        (Tree, "contains itself"),
        (Unresolved, "Nowhere"),
        (WrongDefault, "default of WrongDefault.x"),
        (Bare, "Bare.x"),
        (Flags, "Enum"),
        (NoMembers, "0"),
        (BadSemantic, r"\('Dataset', 1\)"),
        (range, "dataclass"),
        (Literal["a", 1], "all be str"),
        (Literal[b"a"], "all be str"),
        (Annotated[str, Range(0, 1)], "range"),
        (Annotated[int, Range(5, 1)], "empty"),
        (Annotated[int, Range(0, 0, exclusive_minimum=0)], "empty"),
        (Annotated[float, Range(maximum=float("nan"))], "finite"),
        (Annotated[float, Range(maximum=10**400)], "too large"),
        (Annotated[int, Length(1)], "length"),
        (Annotated[str, Length(3, 1)], "above"),
        (Annotated[str, Length(-1)], "from 0"),
        (Annotated[int, Pattern("x")], "pattern"),
        (Annotated[int, Choices("x")], "choice"),
        (Annotated[str, Unit("m")], "unit"),
    ],
)
def test_what_cannot_travel_is_refused_with_a_way_out(annotation: Any, fix: str) -> None:
    with pytest.raises(UnsupportedType, match=fix):
        type_of(annotation)


def test_records_keep_order_defaults_and_documentation() -> None:
    record = type_of(Options).record
    assert [field.name for field in record.fields] == ["depth", "color", "scores", "note"]
    assert record.name == "builders.annotated.Options"
    assert record.fields[0].doc == "How deep."
    assert not record.fields[0].HasField("default")
    assert record.fields[1].default.member == "RED"
    assert record.fields[2].default.WhichOneof("kind") == "list"
    assert record.fields[3].default.null


def test_generic_records_are_named_with_their_arguments() -> None:
    pair = type_of(Pair[Score, Pair[int, bool]])
    assert pair.record.name == ("builders.annotated.Pair[builders.annotated.Score, builders.annotated.Pair[int, bool]]")
    assert describe(pair) == "Pair[Score, Pair[int, bool]]"
    assert [describe(field.type) for field in pair.record.fields] == ["Score", "list[Pair[int, bool]]"]
    assert describe(type_of(Box[Annotated[str, Pattern("a.b")]])) == "Box[Annotated[str, Pattern('a.b')]]"


def test_each_base_of_a_record_has_its_own_type_variables() -> None:
    fields = {field.name: describe(field.type) for field in type_of(Crate[int]).record.fields}
    assert fields == {"content": "list[int]", "spare": "list[int] | None", "lid": "int | None"}


def test_keys_that_may_be_left_out_are_optional_fields() -> None:
    record = type_of(Setting).record
    assert record.is_dict
    assert [(field.name, describe(field.type)) for field in record.fields] == [
        ("name", "str"),
        ("level", "Annotated[int, Range(minimum=0, maximum=9)] | None"),
        ("note", "str | None"),
    ]
    assert record.fields[0].doc == "What it is called."
    assert [describe(field.type) for field in type_of(Labelled).record.fields] == ["Color | None", "str"]


def test_what_typing_extensions_gives_to_older_pythons_is_the_same() -> None:
    extensions = pytest.importorskip("typing_extensions")
    alias = extensions.TypeAliasType("alias", list[T], type_params=(T,))  # type: ignore[valid-type]
    assert describe(type_of(dict[str, alias[int]])) == "dict[str, list[int]]"
    assert decode(encode([[1]], type_of(alias[alias[int]])), alias[alias[int]]) == [[1]]
    later = extensions.TypedDict(
        "later", {"name": extensions.ReadOnly[str], "level": extensions.NotRequired[Annotated[int, Range(0, 9)]]}
    )
    assert [describe(field.type) for field in type_of(later).record.fields] == [
        "str",
        "Annotated[int, Range(minimum=0, maximum=9)] | None",
    ]
    assert decode(encode({"name": "a"}, type_of(later)), later) == {"name": "a"}
    variable = extensions.TypeVar("variable", default=int)

    class Defaulted(NamedTuple):
        x: variable  # type: ignore[valid-type]

    assert describe(type_of(Defaulted).record.fields[0].type) == "int"


def test_records_too_large_for_a_type_are_refused_before_they_are_built() -> None:
    annotation: Any = int
    for _ in range(20):
        annotation = Twice[annotation]
    with pytest.raises(UnsupportedType, match="too large"):
        type_of(annotation)


def test_aliases_of_enum_members_are_left_out() -> None:
    assert list(type_of(Color).enum.members) == ["RED", "GREEN"]


def test_computed_fields_do_not_travel() -> None:
    assert [field.name for field in type_of(Derived).record.fields] == ["x"]


def test_semantic_types_carry_version_and_arguments() -> None:
    semantic = type_of(Table[Row]).semantic
    assert (semantic.name, semantic.version) == ("Table", 1)
    assert semantic.arguments[0].record.fields[0].name == "x"


def test_the_order_of_a_union_does_not_depend_on_who_wrote_it_first() -> None:
    assert type_of(Union[str, int, float, bool]) == type_of(Union[bool, float, int, str])  # noqa: UP007
    assert [arm.scalar for arm in type_of(float | int | bool).union.arms] == [
        types_pb2.SCALAR_KIND_BOOL,
        types_pb2.SCALAR_KIND_INT,
        types_pb2.SCALAR_KIND_FLOAT,
    ]


def test_nesting_is_bounded() -> None:
    annotation: Any = int
    for _ in range(30):
        annotation = list[annotation]
    with pytest.raises(UnsupportedType, match="nest"):
        type_of(annotation)


def test_metadata_that_cannot_be_hashed_is_fine() -> None:
    assert type_of(Annotated[int, Range(0, 3), ["anything"]]).constraints.maximum == 3


def test_documentation_is_found_in_annotated() -> None:
    assert doc_of(Annotated[int, Doc("How many."), Range(0)]) == "How many."
    assert doc_of(int) == ""


def test_values_given_only_to_init_are_refused() -> None:
    @dataclass
    class Partial:
        x: int
        seed: InitVar[int]

    with pytest.raises(UnsupportedType, match="seed"):
        type_of(Partial)


@given(annotations)
def test_every_type_of_an_annotation_keeps_the_rules_of_types(annotation: Any) -> None:
    check_type(type_of(annotation))
    assert type_of(annotation).FromString(type_of(annotation).SerializeToString()) == type_of(annotation)
    assert "?" not in describe(type_of(annotation), full=True)


def test_the_annotated_types_vocabulary_is_understood() -> None:
    vocabulary = pytest.importorskip("annotated_types")
    bounds = type_of(Annotated[int, vocabulary.Interval(ge=1, lt=5)]).constraints
    assert (bounds.minimum, bounds.exclusive_maximum) == (1, 5)
    assert type_of(Annotated[list[int], vocabulary.Len(1, 3)]).constraints.max_length == 3
