"""What may be given where: the table of the README, and the reasons."""

from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from builders.annotated import Blob, Color, Options, Score, annotated_objects, annotations
from hypothesis import assume, given
from hypothesis import strategies as st

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.assignability import explain_mismatch, is_assignable
from mwfs_types.constraints import Choices, Length, Range, Unit
from mwfs_types.values import check, decode, encode

T = TypeVar("T")


class Table(Generic[T]):
    __mwfs_semantic__ = ("Table", 1)


class NewerTable:
    __mwfs_semantic__ = ("Table", 2)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (int, int),
        (int, float),
        (None, int | None),
        (int, int | None),
        (int, float | None),
        (int | None, float | None),
        (int, str | float),
        (int | str, str | int | bytes),
        (int | str, str | float),
        (int | None, int | str | None),
        (list[int], list[float | None]),
        (dict[str, int], dict[str, float]),
        (Color, Color),
        (Options, Options),
        (Score, Score | int | None),
        (Blob, Blob),
        (Table[int], Table),
        (Table[int], Table[int]),
        (Annotated[int, Range(1, 5)], int),
        (int, Annotated[float, Range(1, 5)]),
        (Annotated[int, Range(1, 5)], Annotated[int, Range(5, 9)]),
        (Literal["a", "b"], str),
        (str, Literal["a", "b"]),
        (Literal["a", "b"], Literal["b", "c"]),
        (Annotated[float, Unit("s")], float),
        (list[int], Annotated[list[int], Length(1)]),
    ],
)
def test_what_fits(source: Any, target: Any) -> None:
    assert explain_mismatch(type_of(source), type_of(target)) is None
    assert is_assignable(type_of(source), type_of(target))


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (float, int, "float is not int"),
        (bool, int, "bool is not int"),
        (int, bool, "int is not bool"),
        (int, str, "int is not str"),
        (str, bytes, "str is not bytes"),
        (str, Color, "str is not Color"),
        (Color, str, "Color is not str"),
        (int | None, int, "int | None may be None, which int is not"),
        (int | None, int | str, "int | None may be None, which int | str is not"),
        (int | str, int, "str is not int"),
        (bytes, int | str, "bytes is none of int | str"),
        (int, list[int], "int is not list[int]"),
        (list[str], list[int], "the items do not fit: str is not int"),
        (dict[str, list[str]], dict[str, list[int]], "the values do not fit: the items do not fit: str is not int"),
        (Score, Options, "Score is not Options"),
        (Score, dict[str, int], "Score is not dict[str, int]"),
        (Blob, Table, "Blob is not Table"),
        (NewerTable, Table, "Table version 2 is newer than version 1"),
        (Table, Table[int], "Table is not Table[int]"),
        (Table[int], Table[str], "Table[int] is not Table[str]: int is not str"),
        (Table[int], Table[float], "Table[int] is not Table[float]: float is not int"),
        (
            Annotated[int, Range(1, 2)],
            Annotated[int, Range(3)],
            "no value of Annotated[int, Range(minimum=1, maximum=2)] fits Annotated[int, Range(minimum=3)]",
        ),
        (Literal["a"], Literal["b"], "no value of Literal['a'] fits Literal['b']"),
        (Annotated[float, Unit("s")], Annotated[float, Unit("ms")], "the unit 's' is not 'ms'"),
        (
            Annotated[list[int], Length(3)],
            Annotated[list[int], Length(0, 2)],
            "no value of Annotated[list[int], Length(minimum=3)] fits Annotated[list[int], Length(maximum=2)]",
        ),
    ],
)
def test_what_does_not_fit_says_why(source: Any, target: Any, reason: str) -> None:
    assert explain_mismatch(type_of(source), type_of(target)) == reason


def test_two_classes_of_one_name_are_told_apart() -> None:
    ours = type_of(Color)
    theirs = types_pb2.Type(enum=types_pb2.EnumType(name="elsewhere.Color", members=["RED", "GREEN"]))
    assert explain_mismatch(theirs, ours) == "elsewhere.Color is not builders.annotated.Color"


def test_an_enum_may_gain_members_but_not_lose_them() -> None:
    old, new = type_of(Color), types_pb2.Type()
    new.CopyFrom(old)
    new.enum.members.append("BLUE")
    assert is_assignable(old, new)
    assert explain_mismatch(new, old) == "Color has no member BLUE"


def test_a_record_that_changed_is_refused() -> None:
    changed = types_pb2.Type()
    changed.CopyFrom(type_of(Score))
    changed.record.fields[1].name = "points"
    assert "other fields" in (explain_mismatch(changed, type_of(Score)) or "")
    changed.CopyFrom(type_of(Score))
    changed.record.fields[1].type.scalar = types_pb2.SCALAR_KIND_STRING
    assert explain_mismatch(changed, type_of(Score)) == "field value does not fit: str is not float"


def test_choices_of_numbers_compare_across_int_and_float() -> None:
    assert is_assignable(type_of(Annotated[int, Choices(1, 2)]), type_of(Annotated[float, Choices(2.0)]))


@given(annotations)
def test_every_type_fits_itself_and_its_optional(annotation: Any) -> None:
    type_ = type_of(annotation)
    assert is_assignable(type_, type_)
    assert is_assignable(type_, type_of(annotation | None) if annotation is not None else type_)


def can_be_told_apart(annotation: Any) -> bool:
    try:
        type_of(annotation)
    except UnsupportedType:
        return False
    return True


@given(annotated_objects, annotations, st.integers(0, 2))
def test_what_fits_can_be_read_unless_it_is_narrowed(case: tuple[Any, Any], other: Any, wider: int) -> None:
    annotation, obj = case
    source = type_of(annotation)
    target = [other, annotation, other if annotation is None or other is None else annotation | other][wider]
    assume(can_be_told_apart(target))
    if is_assignable(source, type_of(target)) and ("constraints" not in str(type_of(target)) or wider):
        value = encode(obj, source)
        check(value, type_of(target))
        decode(value, target)


def test_an_empty_type_fits_nothing() -> None:
    assert explain_mismatch(types_pb2.Type(), types_pb2.Type()) == "? is not ?"


def test_unused_classes_of_enums_do_not_matter() -> None:
    class Local(Enum):
        A = 1

    assert explain_mismatch(type_of(Local), type_of(int)) == "Local is not int"
