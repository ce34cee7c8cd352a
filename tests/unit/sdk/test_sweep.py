"""Sweeps: the settings that they draw, and what they run."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

import mwfs
from mwfs import sweep
from mwfs.errors import BadStructure


class Setting(NamedTuple):
    depth: int
    rate: float


class Trial(NamedTuple):
    number: int
    score: float


TRIED: Counter[int] = Counter()


@mwfs.operator
def advance(trial: Trial, budget: int) -> Trial:
    """Better with each unit of budget; a high number is better in the end."""
    TRIED[budget] += 1
    return Trial(trial.number, trial.number * (1 - 0.5**budget))


@mwfs.operator
def candidates(count: int) -> list[Trial]:
    return [Trial(number, 0.0) for number in range(count)]


@mwfs.workflow
def halved(count: int, target: float = 1e9) -> Trial:
    return sweep.halving(
        lambda trial, budget: advance(trial, budget),
        candidates(count),
        score=lambda trial: trial.score,
        budget=1,
        target=target,
    )


@mwfs.workflow
def all_equal(count: int) -> Trial:
    return sweep.halving(advance, candidates(count), score=lambda trial: 0.0, budget=1)


@mwfs.workflow
def best_of(numbers: list[int]) -> Trial:
    return sweep.best([advance(Trial(number, 0.0), 3) for number in numbers], score=lambda trial: trial.score)


def test_grid_has_every_combination_in_order() -> None:
    settings = sweep.grid(Setting, depth=[1, 2], rate=[0.1, 0.2, 0.3])
    assert settings[:4] == [Setting(1, 0.1), Setting(1, 0.2), Setting(1, 0.3), Setting(2, 0.1)]
    assert len(settings) == 6
    assert sweep.grid(Setting, depth=[], rate=[1.0]) == []


def test_sample_keeps_to_its_ranges_and_its_seed() -> None:
    def drawn(seed: int) -> list[Setting]:
        return sweep.sample(Setting, 50, seed=seed, depth=sweep.Integers(1, 4), rate=sweep.Uniform(1e-4, 1.0, log=True))

    assert drawn(1) == drawn(1) != drawn(2)
    assert {one.depth for one in drawn(1)} == {1, 2, 3, 4}
    assert all(1e-4 <= one.rate <= 1 for one in drawn(1))
    assert sum(one.rate < 0.01 for one in drawn(1)) > 10


@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_halving_gives_more_budget_to_fewer_trials_until_one_is_left(count: int) -> None:
    TRIED.clear()
    winner = halved.run_local(count=count)
    assert winner.number == count - 1
    assert TRIED[1] == count
    assert all(TRIED[2 * budget] <= max(1, TRIED[budget] // 2 + 1) for budget in (1, 2, 4) if TRIED[2 * budget])
    TRIED.clear()
    assert halved(count=count) == winner


def test_equal_trials_do_not_keep_each_other_in() -> None:
    TRIED.clear()
    assert all_equal.run_local(count=8).number == 0
    assert TRIED == {1: 8, 2: 4, 4: 2}


def test_halving_stops_early_at_its_target() -> None:
    TRIED.clear()
    assert halved.run_local(count=8, target=3.0).score == 3.5
    assert TRIED == {1: 8}


def test_best_of_equals_is_the_first() -> None:
    assert best_of.run_local(numbers=[3, 9, 2, 9]) == best_of(numbers=[3, 9, 2, 9])
    assert best_of.run_local(numbers=[4]).number == 4


def test_sweeps_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadStructure, match="at most 100,000"):
        sweep.grid(Setting, depth=range(1000), rate=range(1000))
    with pytest.raises(BadStructure, match="from low to high"):
        sweep.Uniform(2.0, 1.0)
    with pytest.raises(BadStructure, match="starts above 0"):
        sweep.Uniform(0.0, 1.0, log=True)
    with pytest.raises(BadStructure, match="factor from 2"):
        sweep.halving(lambda trial, budget: trial, [1.0], score=lambda one: one, budget=1, factor=1)
