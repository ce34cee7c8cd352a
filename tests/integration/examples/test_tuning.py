"""The tuning example on a real table, in this process."""

from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the examples need scikit-learn: pip install 'mwfs[examples]'")

from mwfs.examples import tuning
from mwfs.examples.sample_data import sample_table


@pytest.fixture
def wine(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    sample_table("wine").to_csv(path, index=False)
    return path


def test_halving_finds_a_good_setting_and_gives_it_the_most_trees(wine: Path) -> None:
    best = tuning.halve.run_local(labeled=wine, label="cultivar", count=4, trees=4, target=2.0)
    assert best.score > 0.9
    assert best.trees > 4


def test_grid_tries_every_combination(wine: Path) -> None:
    trials = tuning.search.run_local(labeled=wine, label="cultivar", depths=[1, 2], rates=[0.1, 0.3], trees=10)
    assert [(one.setting.depth, one.setting.rate) for one in trials] == [(1, 0.1), (1, 0.3), (2, 0.1), (2, 0.3)]
    assert max(one.score for one in trials) > 0.9
