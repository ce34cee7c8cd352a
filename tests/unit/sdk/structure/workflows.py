"""Workflows that use every construct, alone and inside each other. Each also runs as plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import NamedTuple

import mwfs
from mwfs import Failure


class Score(NamedTuple):
    name: str
    accuracy: float


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Progress(NamedTuple):
    value: int
    steps: int


@mwfs.operator
def double(x: int) -> int:
    return 2 * x


@mwfs.operator
def add(x: int, y: int) -> int:
    return x + y


@mwfs.operator
def numbers(n: int) -> list[int]:
    return list(range(n))


@mwfs.operator
def ragged(n: int) -> list[list[int]]:
    return [list(range(i)) for i in range(n)]


@mwfs.operator
def is_even(x: int) -> bool:
    return x % 2 == 0


@mwfs.operator
def words(n: int) -> list[str]:
    return ["ada", "bob", "ann", "bea"][:n]


@mwfs.operator
def score(name: str) -> Score:
    return Score(name, len(name) / 10)


@mwfs.operator
def picky(x: int) -> int:
    if x % 3 == 0:
        raise ValueError(f"{x} is divisible by three")
    return x


@mwfs.operator
def ages() -> dict[str, int]:
    return {"ada": 36, "bob": 7}


@mwfs.operator
def pair(x: int) -> tuple[int, str]:
    return x, str(x)


@mwfs.operator
def size_of(x: int) -> Size:
    return Size.LARGE if x > 3 else Size.SMALL


@mwfs.operator
def told(size: Size, score: Score, day: date, names: list[str], sizes: list[Size]) -> str:
    return f"{size.name} {score.name} {day.day} {len(names)} {[one.name for one in sizes]}"


@mwfs.operator
def nothing(x: int) -> None:
    return None


# Maps.


@mwfs.workflow
def mapped(n: int) -> list[int]:
    return mwfs.map(double, numbers(n))


@mwfs.workflow
def mapped_over_known(xs: list[int]) -> list[int]:
    return mwfs.map(double, xs)


@mwfs.workflow
def mapped_with_fixed(n: int) -> list[int]:
    base = double(n)
    return mwfs.map(add, numbers(n), y=base)


@mwfs.workflow
def mapped_lambda(n: int) -> list[int]:
    base = double(n)
    return mwfs.map(lambda x: add(double(x), base) + 1, numbers(n))


@mwfs.workflow
def mapped_expression(n: int) -> list[int]:
    return mwfs.map(lambda x: x * x + n, numbers(n))


@mwfs.workflow
def mapped_nested(n: int) -> list[list[int]]:
    shift = double(n)
    return mwfs.map(lambda row: mwfs.map(lambda x: add(x, shift), row), ragged(n))


@mwfs.workflow
def mapped_zipped(n: int) -> list[int]:
    return mwfs.map(add, mwfs.zipped(numbers(n), mwfs.map(double, numbers(n))))


@mwfs.workflow
def mapped_crossed(n: int) -> list[int]:
    return mwfs.map(add, mwfs.crossed(numbers(n), [10, 20]))


@mwfs.workflow
def mapped_workflow(n: int) -> list[int]:
    return mwfs.map(chained, numbers(n))


@mwfs.workflow
def mapped_tolerantly(n: int) -> list[int]:
    return mwfs.map(picky, numbers(n), tolerate=0.5)


@mwfs.workflow
def filtered(n: int) -> list[int]:
    return mwfs.filter(is_even, numbers(n))


@mwfs.workflow
def filtered_by_expression(n: int) -> list[int]:
    return mwfs.filter(lambda x: x > 2, numbers(n))


@mwfs.workflow
def grouped(n: int) -> dict[str, list[str]]:
    return mwfs.group(lambda word: word[0], words(n))


@mwfs.workflow
def reduced(n: int) -> int:
    return mwfs.reduce(add, numbers(n), initial=100)


@mwfs.workflow
def reduced_known(xs: list[int]) -> int:
    return mwfs.reduce(lambda x, y: add(x, y), [double(x) for x in xs], initial=0)


@mwfs.workflow
def flattened(n: int) -> int:
    return mwfs.total(mwfs.flatten(ragged(n)))


@mwfs.workflow
def scores(n: int) -> list[str]:
    good = mwfs.filter(lambda one: one.accuracy > 0.2, mwfs.map(score, words(n)))
    return mwfs.map(lambda one: one.name + "!", good)


# Branches and loops.


@mwfs.workflow
def chained(x: int) -> int:
    return add(double(x), 1)


@mwfs.workflow
def branched(n: int) -> int:
    x = double(n)
    return mwfs.when(x > 5, lambda: double(x), lambda: add(x, 100))


@mwfs.workflow
def branched_to_none(n: int) -> int | None:
    x = double(n)
    return mwfs.when(x > 5, lambda: double(x), None)


@mwfs.workflow
def branched_on_input(n: int) -> int:
    return mwfs.when(n > 2, lambda: double(n), lambda: n)


@mwfs.workflow
def branched_deep(n: int) -> str:
    x = double(n)
    return mwfs.when(
        x > 10, lambda: mwfs.as_text(add(x, 1)), lambda: mwfs.when(x > 4, lambda: "middle", lambda: "small")
    )


@mwfs.workflow
def branches_of_lists(n: int) -> list[int]:
    xs = numbers(n)
    return mwfs.when(mwfs.length(xs) > 2, lambda: mwfs.map(double, xs), list)


@mwfs.workflow
def looped(n: int) -> int:
    return mwfs.repeat_while(lambda x: x < 100, double, n + 1, limit=50)


@mwfs.workflow
def looped_state(n: int) -> Progress:
    return mwfs.repeat_while(
        lambda at: mwfs.all_of(at.value < 40, at.steps < 4),
        lambda at: Progress(double(at.value), at.steps + 1),
        Progress(add(n, 1), 0),
        limit=10,
    )


@mwfs.workflow
def looped_tuple(n: int) -> tuple[int, int]:
    return mwfs.repeat_while(lambda at: at[0] < 40, lambda at: (double(at[0]), at[1] + 1), (n + 1, 0), limit=10)


@mwfs.workflow
def looped_to_limit(n: int) -> int:
    return mwfs.repeat_while(lambda x: x >= 0, lambda x: add(x, 1), n, limit=3, at_limit="stop")


@mwfs.workflow
def looped_without_nodes(n: int) -> int:
    return mwfs.repeat_while(lambda x: x < 1000, lambda x: x * 2 + 1, double(n), limit=50)


@mwfs.workflow
def maps_in_loop(n: int) -> list[int]:
    return mwfs.repeat_while(
        lambda xs: mwfs.total(xs) < 50, lambda xs: mwfs.map(lambda x: add(x, 1), xs), numbers(n), limit=100
    )


@mwfs.workflow
def loops_in_map(n: int) -> list[int]:
    return mwfs.map(lambda x: mwfs.repeat_while(lambda y: y < 10, double, x + 1, limit=9), numbers(n))


@mwfs.workflow
def loops_in_maps_in_loop(n: int) -> int:
    def grown(total: int) -> int:
        each = mwfs.map(
            lambda x: mwfs.repeat_while(lambda y: y < 3, lambda y: add(y, total), x + 1, limit=9), numbers(n)
        )
        return mwfs.total(each) + total

    return mwfs.repeat_while(lambda total: total < 60, grown, add(n, 1), limit=20)


@mwfs.workflow
def counted_down(n: int) -> int:
    x = add(n, 0)
    return mwfs.when(x > 0, lambda: add(counted_down(x - 1), 1), lambda: 0)


@mwfs.workflow
def factorial(n: int) -> int:
    if n == 0:
        return 1
    return multiplied(n, factorial(n - 1))


@mwfs.operator
def multiplied(x: int, y: int) -> int:
    return x * y


# Races, failures, cleanup.


@mwfs.workflow
def raced(n: int) -> list[int]:
    return mwfs.race(double, numbers(n), first=2, until=lambda x: x > 2)


@mwfs.workflow
def raced_candidates(n: int) -> list[int]:
    return mwfs.race([lambda: picky(3), lambda: double(n), lambda: add(n, 1)])


@mwfs.workflow
def caught(n: int) -> int:
    return mwfs.catch(lambda: add(picky(n), 1), ValueError, fallback=-1)


@mwfs.workflow
def caught_with_failure(n: int) -> str:
    def said(failure: Failure) -> str:
        return failure.error_type + ": " + failure.message

    return mwfs.catch(lambda: mwfs.as_text(picky(n)), ValueError, fallback=said)


@mwfs.workflow
def caught_in_map(n: int) -> list[int | None]:
    return mwfs.map(lambda x: mwfs.catch(lambda: picky(x)), numbers(n))


@mwfs.workflow
def caught_division(n: int) -> int:
    zero = double(0)
    return mwfs.catch(lambda: double(n // zero), ArithmeticError, fallback=lambda: double(7))


@mwfs.workflow
def cleaned(n: int) -> int:
    return mwfs.catch(lambda: mwfs.with_cleanup(lambda: picky(n), lambda: nothing(n)), fallback=0)


# Order, items, tuples, records, methods.


@mwfs.workflow
def ordered(n: int) -> int:
    first = nothing(n)
    with mwfs.after(first):
        second = double(n)
    return add.after(first, second)(n, 1)


@mwfs.workflow
def items(n: int) -> list[int]:
    known = ages()
    listed = numbers(n + 3)
    number, text = pair(n)
    return [known["ada"], listed[-1], mwfs.length(listed[1:]), number, mwfs.length(text)]


@mwfs.workflow
def keyed(n: int) -> list[str]:
    return mwfs.map(lambda entry: entry[0] + mwfs.as_text(entry[1]), mwfs.entries(ages()))


@mwfs.workflow
def arithmetic(n: int) -> list[float]:
    x = double(n + 1)
    return [
        x + 1,
        1 - x,
        x * 2.5,
        x / 4,
        x // 3,
        x % 3,
        x**2,
        -x,
        abs(-x),
        round(x / 3),
        round(x / 3, 1),
        mwfs.as_float(x),
        mwfs.select(x > 3, x, 0),
        mwfs.smallest([x, 3]),
        mwfs.largest([x, 3]),
        sum([x, x, 1]),
    ]


@mwfs.workflow
def logic(n: int) -> list[bool]:
    x = double(n)
    return [
        x == 4,
        x != 4,
        (x > 1) & (x < 9),
        mwfs.not_(x >= 2),
        mwfs.any_of(x < 0, x > 3),
        mwfs.contains(numbers(5), x),
        mwfs.is_none(mwfs.when(x > 3, lambda: double(x), None)),
    ]


@mwfs.workflow
def choices(n: int) -> str:
    x = double(n)
    return told(
        mwfs.select(x > 3, Size.LARGE, Size.SMALL),
        mwfs.select(x > 3, Score("a", 0.5), Score("b", mwfs.as_float(x))),
        mwfs.select(x > 3, date(2026, 11, 23), date(2026, 11, 24)),
        mwfs.select(x > 3, words(n), []) + words(1),
        mwfs.select(x > 3, [Size.LARGE, size_of(x)], []),
    )


@mwfs.workflow
def choices_in_bodies(n: int) -> list[str]:
    def of(x: int) -> str:
        small = mwfs.coalesce(mwfs.select(x > 1, None, Size.SMALL), size_of(x))
        known = mwfs.contains([Size.SMALL, Size.LARGE], small) & (small != Size.LARGE)
        best = mwfs.select(known, Score("low", 0.1), Score("high", mwfs.as_float(x)))
        return told(small, best, date(2026, 11, 23), [], mwfs.when(known, list, lambda: [Size.LARGE]))

    return mwfs.map(of, numbers(n))


@mwfs.operator
def day_of(n: int) -> date:
    return date(2026, 11, 23) + timedelta(days=n)


@mwfs.operator
def moment_of(n: int) -> datetime:
    return datetime(2026, 11, 23, 7, 30, 0, 5 * n, tzinfo=UTC)


@mwfs.operator
def number_or_float(n: int) -> int | float:
    return n if n % 2 else n + 0.5


@mwfs.workflow
def dates_compared(n: int) -> list[bool]:
    day, moment = day_of(n), moment_of(n)
    return [
        day == date(2026, 11, 24),
        day != day_of(1),
        day > date(2026, 11, 25),
        moment <= datetime(2026, 11, 23, 7, 30, 0, 10, tzinfo=UTC),
        date(2026, 11, 24) < day,
        day - date(2026, 11, 20) >= timedelta(days=5),
    ]


@mwfs.workflow
def dates_moved(n: int) -> tuple[date, date, date, datetime, timedelta, timedelta, float]:
    day, moment = day_of(n), moment_of(n)
    lasted = moment_of(n + 1) - moment
    return (
        day + timedelta(days=1),
        timedelta(hours=30) + day,
        day - timedelta(hours=5),
        moment - timedelta(minutes=n),
        day - date(2026, 1, 1),
        -lasted * 3 + abs(lasted),
        (lasted + lasted) / lasted,
    )


@mwfs.workflow
def ints_or_floats(n: int) -> list[float]:
    x = number_or_float(n)
    return [x + 1, x * x, -x, 2 / (x + 1), mwfs.select(x > 2, 1.5, 2.5), mwfs.as_float(x)]


@mwfs.dynamic
def fan(xs: list[int]) -> int:
    total = 0
    for x in xs:
        if x % 2:
            total = add(total, double(x))
    return total


@mwfs.workflow
def grown(n: int) -> int:
    return double(fan(numbers(n)))


@mwfs.workflow
def grown_in_map(n: int) -> list[int]:
    return mwfs.map(fan, ragged(n))


@mwfs.dynamic
def measured(n: int) -> Progress:
    """Several outputs, one of them a value."""
    return Progress(double(n), n)


@mwfs.workflow
def grown_named(n: int) -> int:
    found = measured(n)
    return found.value + found.steps


@mwfs.dynamic
def counted(n: int) -> int:
    return 0 if n == 0 else add(counted(n - 1), 1)


@mwfs.workflow
def grown_recursively(n: int) -> int:
    return counted(n)


@mwfs.dynamic
def without_nodes(n: int) -> int:
    return n * 2


@mwfs.workflow
def grown_by_nothing(n: int) -> list[int]:
    return mwfs.map(without_nodes, numbers(n))


@mwfs.dynamic(retry=2)
def refusing(n: int) -> int:
    if n == 1:
        raise KeyError("one")
    return picky(n)


@mwfs.workflow
def grown_caught(n: int) -> int:
    return mwfs.catch(lambda: refusing(n), LookupError, fallback=-1)


@mwfs.dynamic
def structured(xs: list[int]) -> list[int]:
    tail = numbers(len(xs))
    rest = mwfs.map(lambda x: add(x, len(xs)), tail)
    return mwfs.when(mwfs.length(rest) > 1, lambda: mwfs.filter(is_even, rest), lambda: [double(x) for x in xs])


@mwfs.workflow
def grown_with_structure(n: int) -> list[int]:
    return structured(numbers(n))


@mwfs.workflow
def grown_in_a_branch_in_a_loop(n: int) -> int:
    return mwfs.repeat_while(
        lambda x: x < 20,
        lambda x: mwfs.when(x % 2 == 0, lambda: fan([x, 1, 3]) + 1, lambda: add(x, 3)),
        n,
        limit=30,
    )


# Child runs.


@mwfs.workflow
def summed_pickily(x: int, y: int, *, times: int = 1) -> int:
    return add(picky(x), double(y)) * times


@mwfs.workflow
def scored(n: int) -> Progress:
    return Progress(double(n), n)


@mwfs.workflow
def unchanged(x: int) -> int:
    return x


@mwfs.workflow
def child_alone(n: int) -> int:
    return mwfs.child(summed_pickily, add(n, 1), n, times=2) + 1


@mwfs.workflow
def child_of_constants(n: int) -> int:
    return add(mwfs.child(summed_pickily, 1, 1), mwfs.child(unchanged, n))


@mwfs.workflow
def child_with_named_outputs(n: int) -> int:
    progress = mwfs.child(scored, n)
    return progress.value + progress.steps


@mwfs.workflow
def child_in_a_map(n: int) -> list[int]:
    return mwfs.map(lambda x: mwfs.child(summed_pickily, x, x), numbers(n), tolerate=0.5)


@mwfs.workflow
def child_caught(n: int) -> int:
    return mwfs.catch(lambda: mwfs.child(summed_pickily, n, n), ValueError, fallback=lambda: double(n))


@mwfs.workflow
def child_of_itself(n: int) -> int:
    x = add(n, 0)
    return mwfs.when(x > 0, lambda: add(mwfs.child(child_of_itself, x - 1), 1), lambda: 0)


@mwfs.workflow
def raced_children(n: int) -> list[int]:
    return mwfs.race(lambda x: mwfs.child(mapped_and_summed, x), numbers(n + 2), first=1)


@mwfs.workflow
def mapped_and_summed(n: int) -> int:
    return mwfs.reduce(add, mwfs.map(double, numbers(n)), initial=1)


# Odd corners: uneven, empty, failing where one does not expect it.


@mwfs.workflow
def mapped_deep(n: int) -> list[list[list[int]]]:
    return mwfs.map(lambda a: mwfs.map(lambda b: mwfs.map(lambda c: add(c, a), numbers(b)), numbers(a)), numbers(n))


@mwfs.workflow
def mapped_unevenly(n: int) -> list[int]:
    return mwfs.map(add, mwfs.zipped(numbers(n), numbers(3)))


@mwfs.workflow
def reduced_to_nothing(n: int) -> int:
    return mwfs.reduce(add, numbers(n))


@mwfs.workflow
def mapped_tolerantly_inside(n: int) -> list[list[int]]:
    return mwfs.map(lambda row: mwfs.map(picky, row, tolerate=0.5), ragged(n), tolerate=0.5)


@mwfs.workflow
def caught_fallback_fails(n: int) -> int:
    return mwfs.catch(lambda: picky(n), ValueError, fallback=lambda: picky(6))


@mwfs.workflow
def caught_inside_out(n: int) -> int:
    return mwfs.catch(lambda: mwfs.catch(lambda: picky(n), KeyError, fallback=1), ValueError, fallback=2)


@mwfs.workflow
def caught_loop_limit(n: int) -> int:
    return mwfs.catch(
        lambda: mwfs.repeat_while(lambda x: x < 100, lambda x: x + 0, n, limit=3), mwfs.LoopLimit, fallback=-7
    )


@mwfs.workflow
def caught_no_winner(n: int) -> list[int]:
    return mwfs.catch(lambda: mwfs.race(picky, numbers(n), first=3), mwfs.NoWinner, fallback=list)


@mwfs.workflow
def cleanup_fails(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(n), lambda: picky(n))


@mwfs.workflow
def index_out_of_range(n: int) -> list[int]:
    xs = numbers(n)
    return mwfs.map(lambda x: xs[x + 1], xs)


@mwfs.workflow
def called_from_each_other(n: int) -> int:
    x = add(n, 0)
    return mwfs.when(x > 0, lambda: called_back(x), lambda: 0)


@mwfs.workflow
def called_back(n: int) -> int:
    return called_from_each_other(add(n, -1)) + 1


@mwfs.workflow
def nested_border(n: int) -> int:
    return chained(x=double(n)) + chained(n)


# Methods.


@dataclass(frozen=True)
class Scaler:
    factor: int
    shift: int = 0

    @mwfs.operator
    def apply(self, x: int) -> int:
        return x * self.factor + self.shift

    @staticmethod
    @mwfs.operator
    def fit(xs: list[int]) -> int:
        return max(xs, default=1)

    @mwfs.operator
    @staticmethod
    def unfit(xs: list[int]) -> int:
        return min(xs, default=1)


@mwfs.workflow
def methods(n: int) -> list[int]:
    xs = numbers(n)
    scaler = Scaler(factor=Scaler.fit(xs), shift=Scaler(3).unfit(xs))
    return [Scaler(2).apply(n), scaler.apply(x=5), *mwfs.map(scaler.apply, [1, 2])]


@mwfs.workflow
def methods_in_map(n: int) -> list[int]:
    scaler = Scaler(factor=double(n))
    return mwfs.map(scaler.apply, numbers(n))
