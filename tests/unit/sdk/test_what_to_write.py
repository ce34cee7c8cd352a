"""A future used as a value: the error spells out what to write, from the author's own line."""
# ruff: noqa: B015, B018, B905, RUF059, SIM (the mistakes are the point)

import statistics
from typing import Any, NamedTuple

import pytest
from builders.marked import Marked
from fixtures.sdk_operators import Goal, add, greet, increment, numbers, one, total

import mwfs
from mwfs.errors import FutureAsValue

MARKED = Marked(__file__)


class Two(NamedTuple):
    a: int
    b: str


@mwfs.operator
def maybe(x: int) -> int | None:
    return x or None


@mwfs.operator
def either(x: int) -> int | str:
    return x


@mwfs.operator
def goal_of(x: int) -> Goal:
    return Goal.CLASS


@mwfs.operator
def two(x: int) -> Two:
    return Two(x, "b")


@mwfs.workflow
def condition(how: str) -> int:
    x, y = one(), increment(2)
    xs, few = numbers(3), [one(), one()]
    match how:
        case "chained":
            0 < x < 3  # HERE chained
        case "in":
            x in [1, 2]  # HERE in
        case "not in":
            x not in [1, 2]  # HERE not in
        case "and":
            x > 1 and y > 2  # HERE and
        case "if and":
            if x > 1 and not y > 2:  # HERE if and
                pass
        case "or default":
            maybe(1) or 5  # HERE or default
        case "choice":
            add(1) if x > 1 else 2  # HERE choice
        case "filter":
            [z for z in few if z > 1]  # HERE filter
        case "while":
            while x < 3:  # HERE while
                pass
        case "assert":
            assert x > 1  # HERE assert
        case "max":
            max(x, y)  # HERE max
        case "min":
            min([x, y])  # HERE min
        case "any":
            any([x > 1, y > 1])  # HERE any
        case "sorted":
            sorted(few)  # HERE sorted
        case "no bool":
            if x:  # HERE no bool
                pass
        case "match":
            match x:
                case 7:  # HERE match
                    pass
        case "guard":
            match how:
                case "guard" if x > 1:  # HERE guard
                    pass
        case "loop":
            [increment(z) for z in xs]  # HERE loop
        case "loop with if":
            [z + 1 for z in xs if z > 1]  # HERE loop with if
        case "for":
            for _ in xs:  # HERE for
                pass
        case "sum":
            sum(xs)  # HERE sum
        case "star":
            [1, *xs, 2]  # HERE star
        case "spread":
            add(*xs)  # HERE spread
        case "unpack":
            a, b = xs  # HERE unpack
        case "rest":
            a, *b = xs  # HERE rest
        case "zip":
            zip(xs, xs)  # HERE zip
        case "lists of maps":
            list(map(increment, xs))  # HERE lists of maps
        case "range":
            range(x)  # HERE range
        case "place":
            [1, 2][x]  # HERE place
    return x


@pytest.mark.parametrize(
    ("how", "fix"),
    [
        ("chained", "`mwfs.all_of(0 < x, x < 3)`"),
        ("in", "`mwfs.contains([1, 2], x)`"),
        ("not in", "`mwfs.not_(mwfs.contains([1, 2], x))`"),
        ("and", "`mwfs.all_of(x > 1, y > 2)`"),
        ("if and", "`mwfs.when(mwfs.all_of(x > 1, mwfs.not_(y > 2)), lambda: …, lambda: …)`"),
        ("or default", "`mwfs.coalesce(maybe(1), 5)`"),
        ("choice", "`mwfs.when(x > 1, lambda: add(1), lambda: 2)`"),
        ("filter", "`mwfs.filter(lambda z: z > 1, few)`"),
        ("while", "`mwfs.repeat_while("),
        ("assert", "inside an operator"),
        ("max", "`mwfs.largest([x, y])`"),
        ("min", "`mwfs.smallest([x, y])`"),
        ("any", "`mwfs.any_of(*[x > 1, y > 1])`"),
        ("sorted", "sort inside an operator"),
        ("no bool", "compare, such as `… > 0`"),
        ("match", "`mwfs.when(x == 7, lambda: …, lambda: …)`"),
        ("guard", "`mwfs.when(x > 1, lambda: …, lambda: …)`"),
        ("loop", "`mwfs.map(increment, xs)`"),
        ("loop with if", "`mwfs.map(lambda z: z + 1, mwfs.filter(lambda z: z > 1, xs))`"),
        ("for", "`mwfs.map(lambda _: …, xs)`"),
        ("sum", "`mwfs.total(xs)`"),
        ("star", "`[1] + xs + [2]`"),
        ("spread", "take the elements by their places"),
        ("unpack", "`a, b = xs[0], xs[1]`"),
        ("rest", "`xs[0], xs[1:]`"),
        ("zip", "`mwfs.map(…, mwfs.zipped(xs, xs))`"),
        ("lists of maps", "`mwfs.map(increment, xs)`"),
        ("range", "return the list of numbers from an operator"),
        ("place", "choose inside an operator"),
    ],
)
def test_the_fix_is_made_of_the_authors_own_words(how: str, fix: str) -> None:
    assert fix in MARKED.error_of(condition, how, FutureAsValue, how=how).fix


# What asks no future, and would give another answer than plain Python.


@mwfs.workflow
def by_class() -> int:
    return 1 if isinstance(either(1), int) else 2  # HERE by class


@mwfs.workflow
def none() -> int:
    x = maybe(1)
    return 1 if x is None else 2  # HERE alone none


@mwfs.workflow
def not_none() -> int:
    if maybe(1) is not None:  # HERE alone not none
        return 1
    return 2


@mwfs.workflow
def member() -> bool:
    goal = goal_of(1)
    return goal is Goal.CLASS  # HERE alone member


@mwfs.workflow
def field() -> bool:
    return two(1).b is None  # HERE alone field


@mwfs.workflow
def sequence() -> int:
    match two(1):
        case (a, _):  # HERE alone sequence
            return a


@mwfs.workflow
def mapping() -> int:
    found = numbers(1)
    match found:
        case {"a": a}:  # HERE alone mapping
            return a
    return 1


@pytest.mark.parametrize(
    ("workflow", "mark", "fix"),
    [
        (not_none, "alone not none", "`mwfs.not_(mwfs.is_none(maybe(1)))`"),
        (member, "alone member", "`goal == Goal.CLASS`"),
        (field, "alone field", "`mwfs.is_none(two(1).b)`"),
        (sequence, "alone sequence", "`a, b = …`"),
        (mapping, "alone mapping", "by their places and keys"),
        (none, "alone none", "`mwfs.is_none(x)`"),
        (by_class, "by class", "inside an operator"),
    ],
)
def test_identity_and_patterns_of_elements_name_the_line(workflow: Any, mark: str, fix: str) -> None:
    assert fix in MARKED.error_of(workflow, mark, FutureAsValue).fix


@mwfs.workflow
def asks_values(n: int | None = None) -> int:
    best = None
    for x in [1, 2]:
        if best is None:
            best = increment(x)
    if n is None or n is not n:
        return best
    return n


@mwfs.workflow
def asks_classes() -> list[bool]:
    pair = two(1)
    match pair:
        case Two(a=a):
            found = a
    match one():
        case int():
            pass
        case _:
            found = 0
    return [isinstance(pair, Two), isinstance(numbers(1), list), isinstance(goal_of(1), Goal), isinstance(found, str)]


def test_values_may_be_asked_and_classes_that_are_known_are_those_of_the_values() -> None:
    assert asks_values.run_local() == asks_values() == 2
    assert asks_classes.run_local() == asks_classes() == [True, True, True, False]


# Python code that was given a future.


@mwfs.workflow
def given_to_python(how: str) -> int:
    match how:
        case "join":
            ", ".join([greet(), greet()])  # HERE join
        case "mean":
            statistics.mean([one(), one()])  # HERE mean
        case "merge":
            {**two(1)}  # HERE merge
        case "own":
            raise TypeError("Future dates are not allowed")
    return total([1])


@pytest.mark.parametrize("how", ["join", "mean", "merge"])
def test_code_that_says_it_got_a_future(how: str) -> None:
    error = MARKED.error_of(given_to_python, how, FutureAsValue, how=how)
    assert "given to Python code that needs a value" in error.message


def test_an_error_of_the_authors_own_that_speaks_of_the_future_is_theirs() -> None:
    with pytest.raises(mwfs.CompileError, match="raised TypeError"):
        mwfs.compile(given_to_python, how="own")
