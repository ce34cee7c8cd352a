"""Arithmetic, items and order between operators, on small and on large values."""

from typing import NamedTuple

import mwfs


class Score(NamedTuple):
    accuracy: float
    losses: list[float]


@mwfs.operator
def evaluate(n: int) -> Score:
    return Score(n / 10, [1 / (i + 1) for i in range(n)])


@mwfs.operator
def count(n: int) -> int:
    return n


@mwfs.operator
def numbers(n: int) -> list[int]:
    """Over a few thousand they no longer travel inline."""
    return list(range(n))


@mwfs.operator
def show(text: str, value: float) -> str:
    return f"{text} {value:.3f}"


@mwfs.workflow
def scores(n: int = 4) -> str:
    score = evaluate(n)
    better = mwfs.select(score.accuracy > 0.3, "good", "bad")
    return show(better, score.accuracy * 2 + score.losses[-1])


@mwfs.workflow
def large(n: int = 50_000) -> str:
    many = numbers(n)
    return show("sum", mwfs.as_float(many[-1] + mwfs.total(many[:10]) + mwfs.length(many)))


@mwfs.workflow
def last(n: int = 50_000) -> int:
    return numbers(n)[-1]


@mwfs.workflow
def ratio(n: int = 0) -> str:
    return show("ratio", 1 / count(n))


@mwfs.workflow
def missing(n: int = 50_000) -> str:
    return show("last", mwfs.as_float(numbers(n)[n]))


@mwfs.workflow
def in_order() -> int:
    first = count(1)
    with mwfs.after(first):
        second = count(2)
    return count.after(second)(3)
