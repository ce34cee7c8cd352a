"""The tabular example, compiled and run in this process on tables of many kinds."""

import numpy as np
import pandas as pd
import pytest

import mwfs
from mwfs.examples import tabular
from mwfs.examples.sample_data import LABELS, sample_table
from mwfs.examples.tables import BadTable


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    monkeypatch.setattr(tabular, "TREES", 10)


@pytest.fixture
def train(tmp_path):
    """Trains on a table, given as a frame or as the bytes of a file."""

    def run(table: pd.DataFrame | bytes, label: str, **inputs) -> tabular.Trained:
        path = tmp_path / "table.csv"
        path.write_bytes(table if isinstance(table, bytes) else table.to_csv(index=False).encode())
        return tabular.train.run_local(labeled=mwfs.Dataset(path), label=label, **{"depths": [2, 4], **inputs})

    return run


def mixed_table(rows: int = 80) -> pd.DataFrame:
    """Every kind of column, with gaps."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "customer": [f"c{i}" for i in range(rows)],
            "age": random.integers(18, 90, rows).astype(float),
            "city": random.choice(["Paris", "Köln", None], rows),
            "member": random.choice([True, False], rows),
            "consent": random.choice([True, False, None], rows),
            "since": pd.date_range("2024-01-01", periods=rows).astype(str),
            "huge": random.choice([1e300, np.inf, 1.0], rows),
            "plan": random.choice(["free", "paid", None], rows),
            "stars": random.choice([1, 2, 3, None], rows),
            "spent": random.normal(size=rows),
        }
    )
    table.loc[::7, "age"] = None
    return table


@pytest.mark.parametrize("name", LABELS)
def test_real_tables_are_predicted_better_than_by_always_saying_the_same(train, name):
    trained = train(sample_table(name), LABELS[name])
    figures = trained.metrics
    if "accuracy" in figures:
        assert figures["accuracy"] > figures["baseline_accuracy"] + 0.2
    else:
        assert figures["mean_absolute_error"] < figures["baseline_mean_absolute_error"]


@pytest.mark.parametrize("label", ["plan", "stars", "spent", "member", "consent", "age", "city"])
def test_any_column_of_a_mixed_table_can_be_the_label(train, label):
    trained = train(mixed_table(), label)
    assert trained.metrics["rows_held_back"] == len(trained.predictions.read())


def test_predictions_are_the_held_back_rows_with_a_column_more(train):
    table = sample_table("wine")
    predictions = train(table, "cultivar", test_fraction=0.25).predictions.read()
    assert len(predictions) == round(len(table) / 4)
    assert set(predictions.columns) == {*table.columns, "predicted_cultivar"}
    assert set(predictions["predicted_cultivar"]) <= set(table["cultivar"])


def test_the_model_predicts_new_rows(train):
    table = sample_table("iris")
    pipeline = train(table, "species").model.estimator
    assert pipeline.predict(table.drop(columns="species").head(1)).tolist() == ["setosa"]


def test_the_metrics_say_how_each_depth_did(train):
    figures = train(sample_table("iris"), "species", depths=[1, 3, 5]).metrics
    assert {name for name in figures if name.startswith("validation/")} == {f"validation/depth_{d}" for d in (1, 3, 5)}
    assert figures["depth"] in (1, 3, 5)


@pytest.mark.parametrize(
    "table",
    [
        "y;a;b\n" + "".join(f"{i % 2};{i};{i % 5}\n" for i in range(40)),
        "y\ta\n" + "".join(f"{i % 2}\t{i}\n" for i in range(40)),
        "\ufeffy,a\r\n" + "".join(f"{i % 2},{i}\r\n" for i in range(40)),
        "y,a,\n" + "".join(f"{i % 2},{i},\n" for i in range(40)),
        "y,a\n" + "".join(f'"{i % 2}","line\n{i % 4}"\n' for i in range(40)),
    ],
    ids=["semicolons", "tabs", "byte order mark", "trailing commas", "line breaks in fields"],
)
def test_the_many_ways_of_writing_csv_are_read(train, table):
    assert train(table.encode(), "y").metrics["rows_learned_from"] == 24


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_column_names_survive_the_encodings_of_spreadsheets(train, encoding):
    table = "Größe,a\n" + "".join(f"{i % 2},{i}\n" for i in range(40))
    assert "accuracy" in train(table.encode(encoding), "Größe").metrics


def refused(train, *table_and_label, **inputs) -> str:
    """What a user reads when a table cannot be learned from."""
    with pytest.raises(mwfs.RunFailed) as failed:
        train(*table_and_label, **inputs)
    assert isinstance(failed.value.__cause__, BadTable)
    return str(failed.value)


def test_a_table_without_the_label_column_is_answered_with_its_columns(train):
    message = refused(train, sample_table("iris"), "Specie")
    assert "Did you mean 'species'?" in message
    assert "'petal width (cm)'" in message


@pytest.mark.parametrize("table", [b"", b"\n\n", b"y,a\n1,2,3\n1,2,3,4,5\n"], ids=["empty", "blank", "ragged"])
def test_a_file_that_is_no_table_is_refused(train, table):
    refused(train, table, "y")


def test_a_fraction_out_of_range_is_refused_before_anything_runs(train):
    with pytest.raises(mwfs.InvalidInput, match="test_fraction"):
        train(sample_table("iris"), "species", test_fraction=0.9)


def test_a_depth_of_zero_is_refused_before_anything_runs(train):
    with pytest.raises(mwfs.InvalidInput, match="depths"):
        train(sample_table("iris"), "species", depths=[2, 0])


def test_trainings_do_not_wait_for_each_other(tmp_path):
    path = tmp_path / "iris.csv"
    sample_table("iris").to_csv(path, index=False)
    dag = mwfs.compile(tabular.train, labeled=mwfs.Dataset(path), label="species", depths=[2, 4, 8]).proto
    fits = [node for node, row in enumerate(dag.node_operator) if dag.operators[row].qualname == "fit"]
    assert len(fits) == 3
    assert {source for fit in fits for source in inputs_of(dag, fit)} == {0}


def inputs_of(dag, node: int) -> set[int]:
    """The nodes that a node takes outputs from, directly."""
    counts = [len(dag.operators[row].parameters) for row in dag.node_operator]
    start = sum(counts[:node])
    rows = range(start, start + counts[node])
    return {dag.arguments.a[row] for row in rows if dag.arguments.kind[row] == 2}
