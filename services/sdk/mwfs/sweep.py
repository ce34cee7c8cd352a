"""Parameter sweeps, written with the public constructs only: grids, random samples, the best of many, successive halving.

    settings = sweep.grid(Setting, depth=[2, 4, 8], rate=[0.1, 0.3])
    trials = mwfs.map(fit, settings, data=parts.train)
    best = sweep.best(trials, score=lambda trial: trial.score)

Candidates are records of the user's own; `score` is read from them by a lambda, which also works on futures.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import mwfs
from mwfs.errors import BadStructure

T = TypeVar("T")

#: More settings than this are a mistake.
MAX_SETTINGS = 100_000


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number from `low` to `high`; on a logarithmic scale when the order of magnitude is what is searched for."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise BadStructure("a range of a sweep is from low to high", found=f"{self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise BadStructure("a logarithmic range starts above 0", found=str(self.low))

    def draw(self, source: random.Random) -> float:
        if self.log:
            return math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        return source.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Integers:
    """Any whole number from `low` to `high`, both included."""

    low: int
    high: int

    def draw(self, source: random.Random) -> int:
        return source.randint(self.low, self.high)


def grid(make: Callable[..., T], **choices: Iterable[Any]) -> list[T]:
    """`make` called with every combination of the choices, the last one varying fastest."""
    listed = {name: list(values) for name, values in choices.items()}
    count = math.prod(map(len, listed.values()))
    if count > MAX_SETTINGS:
        raise BadStructure(
            f"a grid of {count:,} settings", expected=f"at most {MAX_SETTINGS:,}", fix="sweep.sample draws some of them"
        )
    return [make(**dict(zip(listed, values, strict=True))) for values in itertools.product(*listed.values())]


def sample(make: Callable[..., T], count: int, *, seed: int, **ranges: Uniform | Integers | Iterable[Any]) -> list[T]:
    """`make` called with `count` random settings: numbers of ranges, elements of lists. The same seed gives the same ones."""
    if not 0 <= count <= MAX_SETTINGS:
        raise BadStructure("how many settings to draw", expected=f"0 to {MAX_SETTINGS:,}", found=str(count))
    source = random.Random(seed)
    choices = {name: one if isinstance(one, (Uniform, Integers)) else list(one) for name, one in sorted(ranges.items())}
    return [
        make(
            **{
                name: one.draw(source) if isinstance(one, (Uniform, Integers)) else source.choice(one)
                for name, one in choices.items()
            }
        )
        for _ in range(count)
    ]


def best(trials: list[T], score: Callable[[T], float]) -> T:
    """The trial with the highest score, of equals the first. An empty list fails."""
    return mwfs.reduce(lambda one, other: mwfs.select(score(one) >= score(other), one, other), trials)


@mwfs.operator(pure=True)
def leaders(scores: list[float], keep: int) -> list[int]:
    """Positions of the `keep` highest scores, at least one, best first; of equals the earlier one."""
    return sorted(range(len(scores)), key=lambda position: -scores[position])[: max(1, keep)]


def halving(
    advance: Callable[[T, int], T],
    trials: list[T],
    *,
    score: Callable[[T], float],
    budget: int,
    factor: int = 2,
    target: float = math.inf,
    max_rungs: int = 20,
) -> T:
    """Successive halving: all trials get a small budget, the best of them `factor` times as much, and so on until one is left.

    advance: (trial, budget) → the trial with its new score. It stops early when a trial reaches `target`. Of equals at the cut
    the earlier one stays.
    Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016.
    """
    if factor < 2 or budget < 1:
        raise BadStructure(
            "successive halving", expected="a budget from 1 and a factor from 2", found=f"{budget} and {factor}"
        )

    def rung(state: tuple[list[T], int]) -> tuple[list[T], int]:
        field, spent = state
        tried: list[T] = mwfs.map(advance, field, spent)
        ahead = leaders(mwfs.map(score, tried), mwfs.length(tried) // factor)
        return mwfs.map(lambda position: tried[position], ahead), spent * factor

    def undecided(state: tuple[list[T], int]) -> bool:
        field, spent = state
        reached = mwfs.all_of(spent > budget, mwfs.largest(mwfs.map(score, field)) >= target)
        return mwfs.all_of(mwfs.any_of(mwfs.length(field) > 1, spent == budget), mwfs.not_(reached))

    field, _ = mwfs.repeat_while(undecided, rung, (trials, budget), limit=max_rungs, at_limit="stop")
    return best(field, score)
