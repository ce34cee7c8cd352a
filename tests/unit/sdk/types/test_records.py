"""TypedDicts and generic records as arguments and results of operators and workflows."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import pytest

import mwfs
from mwfs.errors import UndeclaredOutput, WrongType
from mwfs_types.annotations import type_of
from mwfs_types.json_schema import schema_of

T = TypeVar("T")


class Settings(TypedDict):
    depth: int
    rate: NotRequired[float]


class Split(NamedTuple, Generic[T]):
    train: list[T]
    test: list[T]


@dataclass(frozen=True)
class Ranked(Generic[T]):
    best: T
    rest: list[T]


class Report(TypedDict):
    total: int
    settings: Settings


@mwfs.operator
def suggest(depth: int) -> Settings:
    return {"depth": depth}


@mwfs.operator
def summed(settings: Settings, more: int) -> int:
    return sum(settings.values()) + more  # type: ignore[call-overload, no-any-return]


@mwfs.operator
def split(values: list[int]) -> Split[int]:
    return Split(values[:1], values[1:])


@mwfs.operator
def rank(values: list[str]) -> Ranked[str]:
    return Ranked(best=min(values), rest=sorted(values)[1:])


@mwfs.operator
def sizes(parts: Split[int]) -> list[int]:
    return [len(parts.train), len(parts.test)]


@mwfs.operator
def floats(parts: Split[float]) -> int:
    return len(parts.train)


@mwfs.workflow
def reported(depth: int) -> Report:
    found = suggest(depth)
    return {"total": summed(found, found["depth"]), "settings": {"depth": found["depth"], "rate": 0.5}}


@mwfs.workflow
def ranked(values: list[str]) -> Ranked[str]:
    return rank(values)


@mwfs.workflow
def counted(values: list[int]) -> list[int]:
    parts = split(values)
    return sizes(Split(parts.train, parts.test)) + sizes(parts)


def test_a_typed_dict_is_indexed_filled_with_futures_and_comes_back_as_a_dict() -> None:
    assert reported.run_local(depth=3) == {"total": 6, "settings": {"depth": 3, "rate": 0.5}}
    assert reported(3) == reported.run_local(depth=3)


def test_generic_records_are_named_outputs() -> None:
    assert ranked.run_local(values=["b", "a"]) == Ranked("a", ["b"])
    assert [output.name for output in ranked.outputs] == ["best", "rest"]
    assert counted.run_local(values=[1, 2, 3]) == [1, 2, 1, 2]


@mwfs.workflow
def misspelt(depth: int) -> int:
    return suggest(depth)["dept"]  # type: ignore[typeddict-item, no-any-return]


@mwfs.workflow
def unknown_key(depth: int) -> int:
    return summed({"depth": suggest(depth)["depth"], "other": 1}, 1)  # type: ignore[typeddict-unknown-key]


@mwfs.workflow
def lacking_key(depth: int) -> int:
    return summed({"rate": mwfs.as_float(suggest(depth)["depth"])}, 1)  # type: ignore[typeddict-item]


@mwfs.workflow
def other_argument(values: list[int]) -> int:
    return floats(split(values))  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_while_compiling() -> None:
    with pytest.raises(UndeclaredOutput, match=r"one of 'depth', 'rate'"):
        misspelt.compile(depth=1)
    with pytest.raises(WrongType, match="a key of Settings: depth, rate"):
        unknown_key.compile(depth=1)
    with pytest.raises(WrongType, match="Settings with a key 'depth'"):
        lacking_key.compile(depth=1)
    with pytest.raises(WrongType, match=r"Split\[int\]"):
        other_argument.compile(values=[1])


def test_the_schema_of_a_typed_dict_says_which_keys_must_be_there() -> None:
    schema = schema_of(type_of(Settings))
    assert schema["required"] == ["depth"]
    assert schema["properties"]["rate"]["type"] == ["number", "null"]
