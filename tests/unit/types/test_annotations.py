"""Annotations mean types; what cannot travel is refused with what to write instead."""

import enum
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import pytest
from builders.annotated import Blob, Color, Options, Score, annotations
from hypothesis import given

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, doc_of, type_of
from mwfs_types.constraints import Choices, Doc, Length, Pattern, Range, Unit
from mwfs_types.rendering import describe
from mwfs_types.type_rules import check_type

T = TypeVar("T")
UserId = NewType("UserId", int)


@dataclass
class Tree:
    children: "list[Tree]"


@dataclass
class Box(Generic[T]):
    content: T


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


class Dict(TypedDict):
    x: int


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
    ],
)
def test_types_are_described_as_the_user_would_write_them(annotation: Any, words: str) -> None:
    assert describe(type_of(annotation)) == words


@pytest.mark.parametrize(
    ("annotation", "fix"),
    [
        (list, r"list\[int\]"),
        (dict, r"dict\[str, float\]"),
        (tuple[int, str], "NamedTuple"),
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
        (Box[int], "concrete field types"),
        (Tree, "contains itself"),
        (Unresolved, "Nowhere"),
        (WrongDefault, "default of WrongDefault.x"),
        (Bare, "Bare.x"),
        (Dict, "dataclass"),
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
