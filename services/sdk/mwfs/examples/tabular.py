"""Learns to predict one column of any CSV from the others: a forest per depth, trained side by side, and the best wins.

mwfs run mwfs.examples.tabular:train --input labeled=wine.csv --input label=cultivar --watch
"""

from typing import Annotated, NamedTuple

import mwfs
from mwfs.types import Dataset, Metrics, Model
from mwfs_types.constraints import Doc, Length, Range

try:
    import pandas as pd
    from sklearn import metrics
    from sklearn.compose import ColumnTransformer
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder
except ImportError as error:
    raise ImportError(f"{error}. The examples need pandas and scikit-learn: pip install 'mwfs[examples]'") from error

from mwfs.examples.tables import Columns, Goal, choose_columns, features_of, labels_of, read_csv

EVERY_OTHER_COLUMN: list[str] = []
DEPTHS = [1, 2, 3, 4, 6, 8, 12, 16]
TREES = 300
#: Each tree sees at most so many rows, so that a table of millions still trains in minutes.
MOST_ROWS_PER_TREE = 20_000
ONE_CORE = mwfs.Resources(cpu=1, memory="1Gi")
Depth = Annotated[int, Range(1, 64)]


class Parts(NamedTuple):
    """A table dealt out at random: models learn from `train`, are chosen by `validation` and judged by `test`."""

    train: Dataset
    validation: Dataset
    test: Dataset
    columns: Columns


class Best(NamedTuple):
    """The model that did best on the validation rows."""

    model: Model
    depth: Depth


class Trained(NamedTuple):
    """A fitted scikit-learn pipeline, how good it is, and what it says of rows that it never saw."""

    model: Model
    metrics: Metrics
    predictions: Dataset


@mwfs.workflow
def train(
    labeled: Annotated[Dataset, Doc("A CSV with a header line.")],
    label: Annotated[str, Doc("The column to predict: classes, or numbers.")],
    features: Annotated[list[str], Doc("The columns to learn from; empty means every other one.")] = EVERY_OTHER_COLUMN,
    depths: Annotated[list[Depth], Length(1, 100), Doc("One forest is trained for each depth.")] = DEPTHS,
    test_fraction: Annotated[float, Range(0.05, 0.4), Doc("Share of the rows that no model learns from.")] = 0.2,
) -> Trained:
    """Trains one random forest per depth, picks the best by validation, and predicts rows that were held back."""
    parts = split(labeled, label, features, test_fraction)
    models = [fit(parts.train, parts.columns, depth) for depth in depths]
    scores = [evaluate(model, parts.validation, parts.columns) for model in models]
    best = pick_best(models, scores, depths)
    predictions = predict(best.model, parts.test, parts.columns)
    figures = measure(predictions, parts.train, parts.columns, best.depth, depths, scores)
    return Trained(model=best.model, metrics=figures, predictions=predictions)


@mwfs.operator(resources=ONE_CORE)
def split(labeled: Dataset, label: str, features: list[str], test_fraction: float) -> Parts:
    """Deals the labeled rows out: `test_fraction` for the test, as many for validation, the rest to learn from."""
    table = read_csv(labeled.path)
    columns = choose_columns(table, label, features)
    table = table[table[label].notna()]
    table = table.assign(**{label: labels_of(table, columns)})
    held_back = max(2, round(len(table) * test_fraction))
    table, test = hold_back(table, held_back, columns)
    learn, validation = hold_back(table, held_back, columns)
    print(f"{len(learn)} rows to learn from, {len(validation)} to choose by, {len(test)} held back. {columns}")
    return Parts(Dataset.from_frame(learn), Dataset.from_frame(validation), Dataset.from_frame(test), columns)


@mwfs.operator(resources=ONE_CORE)
def fit(rows: Dataset, columns: Columns, depth: Depth) -> Model:
    """Trains a forest of trees of at most this depth."""
    table = read_csv(rows.path, columns)
    forest = RandomForestClassifier if columns.goal is Goal.CLASS else RandomForestRegressor
    rows_per_tree = min(len(table), MOST_ROWS_PER_TREE)
    pipeline = Pipeline(
        [
            ("encode", encoder(columns)),
            ("forest", forest(n_estimators=TREES, max_depth=depth, max_samples=rows_per_tree, random_state=0)),
        ]
    )
    return Model(pipeline.fit(features_of(table, columns), labels_of(table, columns)))


@mwfs.operator(resources=ONE_CORE)
def evaluate(model: Model, rows: Dataset, columns: Columns) -> float:
    """Accuracy for classes, R² for quantities; 1 is perfect."""
    table = read_csv(rows.path, columns)
    return float(model.estimator.score(features_of(table, columns), labels_of(table, columns)))


@mwfs.operator
def pick_best(models: list[Model], scores: list[float], depths: list[Depth]) -> Best:
    """The model with the highest score; of equals, the shallowest."""
    best = min(range(len(models)), key=lambda i: (-scores[i], depths[i]))
    print(f"Depths {depths} scored {scores}: depth {depths[best]} is best.")
    return Best(model=models[best], depth=depths[best])


@mwfs.operator(resources=ONE_CORE)
def predict(model: Model, rows: Dataset, columns: Columns) -> Dataset:
    """The rows with one column more: the label as the model sees it."""
    table = read_csv(rows.path, columns)
    predicted = model.estimator.predict(features_of(table, columns))
    return Dataset.from_frame(table.assign(**{columns.prediction: predicted}))


@mwfs.operator
def measure(
    predictions: Dataset,
    learned_from: Dataset,
    columns: Columns,
    depth: Depth,
    depths: list[Depth],
    scores: list[float],
) -> Metrics:
    """How good the predictions are, beside those of someone who always says the same; and how each depth did."""
    table = read_csv(predictions.path, columns)
    truth, predicted = table[columns.label], table[columns.prediction]
    known = labels_of(read_csv(learned_from.path, columns), columns)
    figures: dict[str, float] = {"depth": depth, "rows_learned_from": len(known), "rows_held_back": len(table)}
    if columns.goal is Goal.CLASS:
        always_the_same = DummyClassifier().fit(known, known).predict(truth)
        figures["accuracy"] = metrics.accuracy_score(truth, predicted)
        figures["f1_macro"] = metrics.f1_score(truth, predicted, average="macro", zero_division=0.0)
        figures["baseline_accuracy"] = metrics.accuracy_score(truth, always_the_same)
    else:
        always_the_same = DummyRegressor().fit(known, known).predict(truth)
        figures["r2"] = metrics.r2_score(truth, predicted)
        figures["mean_absolute_error"] = metrics.mean_absolute_error(truth, predicted)
        figures["baseline_mean_absolute_error"] = metrics.mean_absolute_error(truth, always_the_same)
    return Metrics(figures | {f"validation/depth_{tried}": score for tried, score in zip(depths, scores, strict=True)})


def hold_back(table: pd.DataFrame, rows: int, columns: Columns) -> list[pd.DataFrame]:
    """Splits some rows off at random; with the classes in equal shares where there are enough rows of each."""
    stratify = None
    if columns.goal is Goal.CLASS:
        counts = table[columns.label].value_counts()
        if counts.min() >= 2 and len(counts) <= min(rows, len(table) - rows):
            stratify = table[columns.label]
    parts: list[pd.DataFrame] = train_test_split(table, test_size=rows, stratify=stratify, random_state=0)
    return parts


def encoder(columns: Columns) -> ColumnTransformer:
    """Numbers as they are, gaps included: trees can cut between all. Texts become ranks; what was never seen, -1."""
    ranks = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return ColumnTransformer([("numbers", "passthrough", columns.numbers), ("texts", ranks, columns.texts)])
