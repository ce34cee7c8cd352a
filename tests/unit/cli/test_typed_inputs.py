"""Inputs of dates, partitions, records and a team's own types, written on a command line and run here."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import pytest

import mwfs
from mwfs.cli.inputs import read_inputs
from mwfs.errors import InvalidInput
from mwfs_types.values import decode

T = TypeVar("T")


@mwfs.register_type(
    "Kilometres", travels_as=float, encode=lambda one: one.count, decode=lambda count: Kilometres(count)
)
@dataclass(frozen=True)
class Kilometres:
    count: float


@mwfs.register_type("PostCode", travels_as=str, encode=lambda one: one.text, decode=lambda text: PostCode(text))
@dataclass(frozen=True)
class PostCode:
    text: str


@mwfs.register_type(
    "Shelf", travels_as=list[mwfs.File], encode=lambda one: one.files, decode=lambda files: Shelf(files)
)
@dataclass(frozen=True)
class Shelf:
    files: list[mwfs.File]


class Span(NamedTuple, Generic[T]):
    first: T
    last: T


class Options(TypedDict):
    depth: int
    rate: NotRequired[float]


@mwfs.operator
def shown(
    far: Kilometres,
    code: PostCode,
    day: date,
    at: datetime,
    wait: timedelta,
    part: mwfs.DatePartition,
    days: Span[date],
) -> str:
    return f"{far.count} {code.text} {day} {at:%H:%M} {wait} {part.next()} {days.last - days.first}"


@mwfs.operator
def read(shelf: Shelf, options: Options) -> list[str]:
    return [file.read_text() for file in shelf.files] * options["depth"]


@mwfs.workflow
def moments(
    far: Kilometres,
    code: PostCode,
    day: date,
    at: datetime,
    wait: timedelta,
    part: mwfs.DatePartition,
    days: Span[date],
) -> str:
    return shown(far, code, day, at, wait, part, days)


@mwfs.workflow
def library(shelf: Shelf, options: Options) -> list[str]:
    return read(shelf, options)


PAIRS = [
    "far=3",
    "code=0071",
    "day=2026-11-23",
    "at=2026-11-23T07:30:00+01:00",
    "wait=90.5s",
    "part=2026-W47",
    'days={"first": "2026-01-01", "last": "2026-02-01"}',
]


def objects_of(workflow, pairs):
    values = read_inputs(workflow, pairs, None).values
    return {
        each.name: decode(values[each.name], each.annotation) for each in workflow.parameters if each.name in values
    }


def test_each_is_written_as_it_travels():
    given = objects_of(moments, PAIRS)
    assert given["code"] == PostCode("0071")
    assert given["days"] == Span(date(2026, 1, 1), date(2026, 2, 1))
    assert moments.run_local(**given) == "3.0 0071 2026-11-23 06:30 0:01:30.500000 2026-W48 31 days, 0:00:00"


def test_files_inside_a_type_of_a_team_are_found_by_their_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    inputs = read_inputs(library, ['shelf=["a.txt"]', 'options={"depth": 2}'], None)
    (item,) = inputs.values["shelf"].list.items
    assert (item.artifact.file_name, item.artifact.size) == ("a.txt", 5)
    assert library.run_local(shelf=Shelf([mwfs.File("a.txt")]), options={"depth": 2}) == ["hello", "hello"]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("far=near", "Input `far`: expected float, found 'near'"),
        ("day=23.11.2026", "Input `day`: expected Date, such as '2026-11-23', found '23.11.2026'"),
        ("at=2026-11-23T07:30:00", "expected Timestamp, such as '2026-11-23T07:30:00Z'"),
        ("part=2026-W60", "expected DatePartition"),
        ('days={"first": "2026-01-01"}', "Input `days.last`: expected Date, found nothing"),
    ],
)
def test_what_is_wrong_is_named(pair, said):
    with pytest.raises(InvalidInput) as refused:
        read_inputs(moments, [pair], None)
    assert said in str(refused.value)


def test_keys_that_there_are_not_are_named():
    with pytest.raises(InvalidInput, match=r"expected a field of Options, found 'dept'(.|\n)*Did you mean 'depth'\?"):
        read_inputs(library, ['options={"dept": 1}'], None)
