"""The main job: real models on a real table, side by side in several processes, and everything a user asks afterwards."""

import itertools
import json
from datetime import datetime
from pathlib import Path

import pytest

from mwfs.examples.sample_data import sample_table

TRAIN = "mwfs.examples.tabular:train"


@pytest.fixture
def wine(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    sample_table("wine").to_csv(path, index=False)
    return path


def seconds(attempt: dict[str, str]) -> tuple[float, float]:
    """When the body of an attempt began and ended."""
    return tuple(datetime.fromisoformat(attempt[f"body_{edge}_time"]).timestamp() for edge in ("start", "end"))  # type: ignore[return-value]


def test_models_are_trained_side_by_side_and_the_best_is_returned(mwfs, wine, tmp_path):
    command = ["run", TRAIN, "--input", f"labeled={wine}", "--input", "label=cultivar"]
    mwfs.json(*command)  # workers load scikit-learn when they first need it; from then on they are warm
    run = mwfs.json(*command)

    assert run["state"] == "SUCCEEDED"
    assert run["outputs"]["metrics"]["accuracy"] > 0.8
    assert {"model", "metrics", "predictions"} == set(run["outputs"])

    timeline = mwfs.json("timeline", run["run_id"])
    fits = [attempt for attempt in timeline["attempts"] if attempt["operator"].endswith(":fit")]
    assert len({attempt["place"] for attempt in fits}) >= 2, "several worker processes"
    spans = sorted(seconds(attempt) for attempt in fits)
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans)), "trainings overlap"

    saved = tmp_path / "saved"
    mwfs("runs", "outputs", run["run_id"], "--save", saved, check=True)
    files = {path.name for path in saved.rglob("*") if path.is_file()}
    assert any(name.endswith(".csv") for name in files), files


def test_operators_run_at_the_same_time_in_different_processes(mwfs, tmp_path):
    run = mwfs.json("run", "journeys:meets", "--input", f"folder={tmp_path}")
    assert run["state"] == "SUCCEEDED", "each of the two waits until the other has begun"
    assert len(set(run["outputs"]["result"])) == 2


def test_inputs_come_from_a_file_too(mwfs, wine, tmp_path):
    inputs = tmp_path / "inputs.json"
    inputs.write_text(json.dumps({"labeled": str(wine), "label": "cultivar", "depths": [2], "test_fraction": 0.3}))
    run = mwfs.json("run", TRAIN, "--inputs", inputs, "--input", "depths=[1, 3]")
    assert {"validation/depth_1", "validation/depth_3"} < set(run["outputs"]["metrics"])


def test_a_table_without_the_label_column_fails_with_its_columns(mwfs, wine):
    answer = mwfs("run", TRAIN, "--input", f"labeled={wine}", "--input", "label=Cultiva")
    assert answer.code == 1
    assert "Did you mean 'cultivar'?" in answer.err
    assert "proline" in answer.err


def test_the_platform_compiles_what_the_client_can(mwfs, wine):
    run = mwfs.json(
        "run",
        TRAIN,
        "--input",
        f"labeled={wine}",
        "--input",
        "label=cultivar",
        "--input",
        "depths=[2]",
        "--compile-on-platform",
    )
    assert run["state"] == "SUCCEEDED"


@pytest.mark.heavy
def test_networks_are_trained_on_a_declared_gpu(mwfs):
    pytest.importorskip("torch", reason="the extra `torch` is not installed; tests/run --all installs it")
    run = mwfs.json("run", "mwfs.examples.digits:train", "--input", "widths=[16, 64]", "--input", "epochs=5")
    assert run["state"] == "SUCCEEDED"
    assert run["outputs"]["metrics"]["accuracy"] > 0.8
