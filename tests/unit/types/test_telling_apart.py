"""Unions whose arms cannot be told apart by their values are refused; all others give back the object that went in."""

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from builders.annotated import Box, Color, GeoPoint, Score, Setting, annotated_objects
from hypothesis import HealthCheck, assume, given, settings

import mwfs
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.constraints import Range
from mwfs_types.partitions import DatePartition
from mwfs_types.values import check, decode, encode


class Mark(NamedTuple):
    text: str
    number: float


class Hue(Enum):
    RED = "r"


class Tone(Enum):
    DARK = "d"


class Sent(NamedTuple):
    kind: Literal["sent"]
    count: int


class Failed(NamedTuple):
    kind: Literal["failed"]
    count: int


class Word(TypedDict):
    text: str
    number: float


@pytest.mark.parametrize(
    ("annotation", "names"),
    [
        (date | str, "Date and str"),
        (date | DatePartition | int, "Date and DatePartition"),
        (list[date] | list[datetime], r"list\[Date\] and list\[Timestamp\]"),
        (Score | Mark, "Mark and Score"),
        (Score | Word | None, "Score and Word"),
        (list[Score] | list[Mark], r"list\[Mark\] and list\[Score\]"),
        (dict[str, Score | None] | dict[str, Mark], "dict"),
        (Score | tuple[str, float], "Score and tuple"),
        (tuple[int, Score] | tuple[int, Mark], "tuple"),
        (Color | Hue, "Color and Hue"),
        (GeoPoint | dict[str, float], "GeoPoint and dict"),
        (mwfs.Metrics | dict[str, float], "Metrics and dict"),
        (mwfs.Metrics | mwfs.HyperparameterSet, "HyperparameterSet and Metrics"),
        (mwfs.File | mwfs.Dataset, "Dataset and File"),
        (Box[int] | Box[float], r"Box\[float\] and Box\[int\]"),
        (Box[Annotated[int, Range(0, 1)]] | Box[int], "Box"),
    ],
)
def test_what_cannot_be_told_apart_is_no_union(annotation: Any, names: str) -> None:
    with pytest.raises(UnsupportedType, match=f"{names}.* look the same on the way"):
        type_of(annotation)


@pytest.mark.parametrize(
    ("annotation", "objects"),
    [
        (Sent | Failed, [Sent("sent", 1), Failed("failed", 1)]),
        (Color | Tone, [Color.RED, Tone.DARK]),
        (Box[int] | Box[str], [Box(1), Box("a", "b")]),
        (mwfs.Metrics | Score | int, [mwfs.Metrics({"a": 1.0}), Score("a"), 1]),
        (Setting | dict[str, str], [{"name": "a", "note": None}, {"x": "y"}, {}]),
        (list[Score] | list[int], [[Score("a")], [1], []]),
        (date | int | bytes, [date(2026, 11, 23), 1, b"a"]),
    ],
)
def test_what_can_be_told_apart_comes_back_as_it_was(annotation: Any, objects: list[Any]) -> None:
    for obj in objects:
        back = decode(encode(obj, type_of(annotation)), annotation)
        assert (type(back), back) == (type(obj), obj)


@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(annotated_objects, annotated_objects)
def test_a_union_that_is_taken_gives_back_what_went_in(mine: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assume(mine[0] is not None or other[0] is not None)
    union = mine[0] | other[0]
    try:
        type_ = type_of(union)
    except UnsupportedType as error:
        assert "tell them apart" in str(error)  # noqa: PT017
        return
    for obj in (mine[1], other[1]):
        value = encode(obj, type_)
        check(value, type_, patterns=True)
        back = decode(value, union)
        # `list[int]` and `tuple[int, ...]` are one type, so a list may come back as a tuple and a tuple as a list.
        assert {type(back), type(obj)} == {list, tuple} or type(back) is type(obj)
        assert encode(back, type_) == value
