"""A future of a record has what the class has, as plain Python and checkers see it: methods, properties, operators, places."""
# ruff: noqa: B018, RUF005 (the mistakes are the point)

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypedDict

import pytest
from builders.marked import Marked
from fixtures.sdk_operators import increment, numbers

import mwfs
from mwfs.errors import FutureAsValue, UndeclaredOutput
from mwfs_types.dag_check import check_dag

MARKED = Marked(__file__)


@dataclass(frozen=True)
class Box:
    width: float
    height: float
    UNIT: ClassVar[str] = "cm"

    @property
    def area(self) -> float:
        return self.width * self.height

    @functools.cached_property
    def is_wide(self) -> bool:
        return self.width > self.height

    def scaled(self, by: float) -> "Box":
        return Box(self.width * by, self.height * by)

    def larger(self) -> float:
        return self.width if self.width > self.height else self.height  # HERE method

    @classmethod
    def square(cls, width: float) -> "Box":
        return cls(width, width)

    @mwfs.operator
    def measured(self, times: int) -> float:
        return self.width * times


class Pair(NamedTuple):
    first: int
    last: str

    def twice(self) -> int:
        return self.first * 2


class Plan(TypedDict):
    days: int


@mwfs.operator
def box(width: float) -> Box:
    return Box(width, 2.0)


@mwfs.operator
def boxes(n: int) -> list[Box]:
    return [Box(float(one), 2.0) for one in range(n)]


@mwfs.operator
def pair(n: int) -> Pair:
    return Pair(n, "b")


@mwfs.operator
def pairs(n: int) -> list[Pair]:
    return [Pair(one, "b") for one in range(n)]


@mwfs.operator
def plan(n: int) -> Plan:
    return {"days": n}


@mwfs.operator
def ages(n: int) -> dict[str, int]:
    return {"ada": n}


@mwfs.workflow
def of_dataclasses(n: int) -> list[float]:
    made = box(3.0)
    return [
        made.area,
        made.scaled(2.0).area,
        made.measured(n),
        made.square(2.0).area,
        boxes(3)[n].scaled(3.0).width,
    ]


@mwfs.workflow
def in_maps(n: int) -> list[float]:
    return mwfs.map(lambda one: one.scaled(2.0).area + one.measured(n), boxes(3))


@mwfs.workflow
def constants_of_the_class(n: int) -> tuple[str, bool]:
    return box(1.0).UNIT, box(1.0).is_wide


@mwfs.workflow
def of_named_tuples(n: int) -> list[int]:
    def summed(one: Pair) -> int:
        first, last = one
        return first + mwfs.length(last) + len(one) + one[0]

    return mwfs.map(summed, pairs(n)) + [
        pair(n).twice(),
        pair(n)._replace(first=9).first,
        pairs(3)[1]._asdict()["first"],
    ]


@pytest.mark.parametrize("workflow", [of_dataclasses, in_maps, constants_of_the_class, of_named_tuples])
def test_what_the_class_has_gives_what_plain_python_gives(workflow: Any) -> None:
    assert workflow.run_local(n=2) == workflow(n=2)
    check_dag(workflow.compile(n=2).proto)


@mwfs.workflow
def mistakes(how: str) -> int:
    match how:
        case "method":
            box(1.0).larger()
        case "no such":
            box(1.0).widht  # HERE no such
        case "place":
            pair(1)[2]  # HERE place
        case "inner place":
            pairs(1)[0][5]  # HERE inner place
        case "name in brackets":
            pair(1)["first"]  # HERE name in brackets
        case "method of tuples":
            pair(1).count(2)  # HERE method of tuples
        case "key as attribute":
            plan(1).days  # HERE key as attribute
        case "no such key":
            plan(1)["dyas"]  # HERE no such key
        case "key of a dict":
            ages(1).ada  # HERE key of a dict
        case "get":
            ages(1).get("ada")  # HERE get
        case "append":
            numbers(2).append(1)  # HERE append
        case "entries":
            ages(1).items()  # HERE entries
    return increment(1)


@pytest.mark.parametrize(
    ("how", "kind", "fix"),
    [
        ("method", FutureAsValue, "`mwfs.when(self.width > self.height, lambda: self.width, lambda: self.height)`"),
        ("no such", UndeclaredOutput, "`.width`"),
        ("place", UndeclaredOutput, "name the field"),
        ("inner place", UndeclaredOutput, "name the field"),
        ("name in brackets", FutureAsValue, "`.first`"),
        ("method of tuples", UndeclaredOutput, "in an operator"),
        ("key as attribute", UndeclaredOutput, '`["days"]`'),
        ("no such key", UndeclaredOutput, '`["days"]`'),
        ("key of a dict", UndeclaredOutput, '`["ada"]`'),
        ("get", UndeclaredOutput, "mwfs.contains(d, key)"),
        ("append", UndeclaredOutput, "`xs + [x]`"),
        ("entries", UndeclaredOutput, "`mwfs.entries(…)`"),
    ],
)
def test_what_it_does_not_have_names_the_line_and_what_to_write(how: str, kind: Any, fix: str) -> None:
    error = MARKED.error_of(mistakes, how, kind, how=how)
    assert fix in error.fix
    assert error.expected
    assert error.found


@mwfs.workflow
def tries(n: int) -> int:
    try:
        return pair(n)[5]
    except IndexError:
        return increment(n)


def test_places_that_are_not_there_may_be_tried() -> None:
    assert tries.run_local(n=1) == 2
