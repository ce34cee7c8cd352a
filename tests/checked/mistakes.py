"""Mistakes that both checkers must see: `type: ignore` is itself an error where there is none."""

from typing import NamedTuple

import mwfs


class Score(NamedTuple):
    accuracy: float


@mwfs.operator
def twice(x: int) -> int:
    return 2 * x


@mwfs.operator
def score(x: int) -> Score:
    return Score(float(x))


@mwfs.workflow
def wrong(n: int) -> int:
    twice("2")  # type: ignore
    twice(x=1.5)  # type: ignore
    twice()  # type: ignore
    twice(1, 2)  # type: ignore
    twice(score(n))  # type: ignore
    twice(score(n).accuracyy)  # type: ignore
    mwfs.map(twice, ["a"])  # type: ignore
    mwfs.filter(lambda x: x.nothing, [twice(n)])  # type: ignore
    mwfs.when(n > 1, lambda: twice("a"), lambda: 1)  # type: ignore
    mwfs.repeat_while(lambda x: x < 3, twice, n)  # type: ignore
    mwfs.catch(lambda: twice(n), "ValueError")  # type: ignore
    mwfs.child(wrong, "1")  # type: ignore
    mwfs.child(twice, n)  # type: ignore
    mwfs.Resources(cpus=1)  # type: ignore
    twice.with_options(retries=3)  # type: ignore
    return score(n)  # type: ignore
