"""Tunes a gradient-boosted model on any CSV: a grid, or successive halving that stops early.

mwfs run mwfs.examples.tuning:search --input labeled=wine.csv --input label=cultivar --watch
"""

from typing import Annotated, NamedTuple

import mwfs
from mwfs import sweep
from mwfs.types import Dataset
from mwfs_types.constraints import Doc, Range

try:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.pipeline import Pipeline
except ImportError as error:
    raise ImportError(f"{error}. The examples need pandas and scikit-learn: pip install 'mwfs[examples]'") from error

from mwfs.examples.tables import Columns, Goal, features_of, labels_of, read_csv
from mwfs.examples.tabular import ONE_CORE, encoder, split


class Setting(NamedTuple):
    """What is searched for."""

    depth: Annotated[int, Range(1, 16)]
    rate: Annotated[float, Range(0.001, 1.0)]


class Trial(NamedTuple):
    """A setting, how well it did on the validation rows (1 is perfect), and with how many trees."""

    setting: Setting
    score: float
    trees: int


@mwfs.operator(resources=ONE_CORE, pure=True)
def try_setting(trial: Trial, trees: int, train: Dataset, validation: Dataset, columns: Columns) -> Trial:
    """Fits a model of so many trees, and scores it on rows that it has not seen."""
    table, unseen = read_csv(train.path, columns), read_csv(validation.path, columns)
    boosted = GradientBoostingClassifier if columns.goal is Goal.CLASS else GradientBoostingRegressor
    model = Pipeline(
        [
            ("encode", encoder(columns)),
            (
                "boost",
                boosted(
                    n_estimators=trees, max_depth=trial.setting.depth, learning_rate=trial.setting.rate, random_state=0
                ),
            ),
        ]
    )
    model.fit(features_of(table, columns), labels_of(table, columns))
    score = float(model.score(features_of(unseen, columns), labels_of(unseen, columns)))
    print(f"{trial.setting} with {trees} trees: {score:.4f}")
    return Trial(trial.setting, score, trees)


def new(setting: Setting) -> Trial:
    """A setting that has not been tried."""
    return Trial(setting, 0.0, 0)


@mwfs.workflow
def search(
    labeled: Annotated[Dataset, Doc("A CSV with a header line.")],
    label: Annotated[str, Doc("The column to predict.")],
    depths: list[int] = [1, 2, 4],  # noqa: B006
    rates: list[float] = [0.03, 0.1, 0.3],  # noqa: B006
    trees: Annotated[int, Range(1, 10_000)] = 40,
) -> list[Trial]:
    """Tries every combination side by side; all trials, in the order of the grid."""
    parts = split(labeled, label, [], 0.2)
    settings = sweep.grid(Setting, depth=depths, rate=rates)
    return [try_setting(new(one), trees, parts.train, parts.validation, parts.columns) for one in settings]


@mwfs.workflow
def halve(
    labeled: Annotated[Dataset, Doc("A CSV with a header line.")],
    label: Annotated[str, Doc("The column to predict.")],
    count: Annotated[int, Range(1, 1000)] = 8,
    trees: Annotated[int, Range(1, 10_000)] = 5,
    target: Annotated[float, Doc("Stops when a trial is this good.")] = 0.999,
    seed: int = 0,
) -> Trial:
    """Tries random settings with few trees, the better half with twice as many, and so on; the best trial."""
    parts = split(labeled, label, [], 0.2)
    settings = sweep.sample(
        Setting, count, seed=seed, depth=sweep.Integers(1, 6), rate=sweep.Uniform(0.01, 0.5, log=True)
    )
    return sweep.halving(
        lambda trial, budget: try_setting(trial, budget, parts.train, parts.validation, parts.columns),
        [new(one) for one in settings],
        score=lambda trial: trial.score,
        budget=trees,
        target=target,
    )
