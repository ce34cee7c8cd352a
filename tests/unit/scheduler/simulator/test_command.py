"""`mwfs scheduler simulate`: a table, JSON, CSV and pictures; bad input is an error with a next step."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from mwfs_scheduler.commands import register
from mwfs_scheduler.simulator import simulate
from mwfs_scheduler.simulator.command import Unsimulable
from mwfs_scheduler.simulator.settings import POLICIES

ROWS = ["kept,0,1000,8,x", "borrows,1,1000,8,x", "owner,10,100,8,y"]


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "jobs.csv"
    path.write_text("\n".join(["job_id,submit_time,duration,gpus,team", *ROWS]) + "\n")
    return str(path)


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["scheduler", "simulate", *arguments])


def document(*arguments: str) -> dict[str, Any]:
    result = invoke(*arguments, "--output", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_every_policy_is_in_the_document_with_its_figures(trace: str):
    found = document("--trace", trace, "--gpus", "16", "--seeds", "2", "--interval", "1")
    assert [each["policy"] for each in found["policies"]] == list(POLICIES)
    ours = found["policies"][-1]
    assert [each["seed"] for each in ours["seeds"]] == [1, 2]
    assert ours["settings"]["knobs"]["grace_s"] == 30
    assert ours["seeds"][0]["reclaim_s"]["max"] == 30
    assert ours["over_seeds"]["reclaim_s"]["max"] == {"mean": 30, "deviation": 0}
    assert ours["seeds"][0]["teams"]["y"]["guaranteed_gpus"] == 8
    assert "not the source's" in found["entitlements"]


def test_a_team_in_a_static_partition_has_a_ratio_of_one(trace: str):
    found = document("--trace", trace, "--gpus", "16", "--policy", "static")
    assert {each["finish_time_ratio"] for each in found["policies"][0]["seeds"][0]["teams"].values()} == {1}


def test_settings_of_all_and_of_one(trace: str):
    found = document(
        "--trace",
        trace,
        "--gpus",
        "16",
        "--set",
        "grace_s=5",
        "--policy",
        "ours",
        "--policy",
        "ours:grace_s=0",
        "--interval",
        "1",
    )
    assert [each["seeds"][0]["reclaim_s"]["max"] for each in found["policies"]] == [5, 0]


def test_the_same_command_gives_the_same_document(trace: str):
    def timeless() -> dict[str, Any]:
        found = document("--trace", trace, "--gpus", "16", "--shards", "2")
        for policy in found["policies"]:
            for of in (policy["over_seeds"], *policy["seeds"]):
                del of["cpu_s"], of["decisions_per_cpu_s"]
        return found

    assert timeless() == timeless()


def test_a_table_for_people(trace: str):
    result = invoke("--trace", trace, "--gpus", "16", "--policy", "fifo", "--policy", "ours", "--by-team")
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert [line[0] for line in lines if line[0] in ("fifo", "ours")] == ["fifo", "ours"]
    assert "not the source's" in result.stderr


def test_all_figures_as_csv(trace: str, tmp_path: Path):
    path = tmp_path / "figures.csv"
    invoke("--trace", trace, "--gpus", "16", "--policy", "fifo", "--csv", str(path))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert {"policy": "fifo", "seed": "1", "team": "", "figure": "wait_s.max", "value": "990"} in rows
    assert {row["team"] for row in rows} == {"", "x", "y"}


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures(trace: str, tmp_path: Path, kind: str, magic: bytes):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    folder = tmp_path / "pictures"
    result = invoke(
        "--trace", trace, "--gpus", "16", "--policy", "ours:grace_s=5", "--pictures", str(folder), "--picture", kind
    )
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == {f"waits.{kind}", f"ratios.{kind}", f"use-ours-grace-s-5.{kind}"}
    assert all(path.read_bytes().startswith(magic) for path in folder.iterdir())


def test_helios_shows_use_against_quota():
    found = document("--trace", "helios")
    assert len(found["teams"]) == 16
    assert "It cannot say" in found["says"]
    assert "vc3sl" in invoke("--trace", "helios").stdout


def test_ctrl_c_keeps_what_is_complete(trace: str, monkeypatch: pytest.MonkeyPatch):
    real = simulate.simulate

    def interrupted(*arguments: Any, **named: Any) -> Any:
        yield next(real(*arguments, **named))
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "simulate", interrupted)
    result = invoke("--trace", trace, "--gpus", "16", "--policy", "fifo", "--policy", "ours", "--output", "json")
    assert result.exit_code == 130
    assert [each["policy"] for each in json.loads(result.stdout)["policies"]] == ["fifo"]
    assert "1 of 2 results" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--policy", "best"], "There is no policy 'best'"),
        (["--policy", "fifo", "--policy", "fifo"], "twice"),
        (["--policy", "ours:backfill=some"], "backfill must be one of none, easy"),
        (["--policy", "ours:grace"], "grace_s=30"),
        (["--policy", "fifo:grace_s=0"], "has no knob"),
        (["--policy", "easy:shards=2"], "only ours and drf"),
        (["--set", "colour=red"], "There is no setting 'colour'"),
        (["--set", "grace_s=-1"], "grace_s must be whole seconds"),
        (["--set", "grace_s=none"], "grace_s must be whole seconds"),
        (["--set", "half_life_s=0"], "half_life_s must be whole seconds from 1"),
        (["--set", "rank=maybe"], "rank must be on or off"),
        (["--gpus", "12"], "multiple of 8"),
        (["--from", "5"], "no job in the window"),
        (["--warmup", "5"], "no job in the window"),
        (["--trace", "nowhere.csv"], "cannot be read"),
    ],
)
def test_bad_input_is_refused(trace: str, arguments: list[str], says: str):
    error = invoke("--trace", trace, "--gpus", "16", *arguments).exception
    assert isinstance(error, Unsimulable), error
    assert says in error.message
    assert (error.exit_code, bool(error.next_step)) == (2, True)
