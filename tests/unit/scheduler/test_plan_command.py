"""`mwfs scheduler plan`: one decision, or a list with `--rounds`; a bad file is an error with a next step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mwfs_scheduler.commands import Unplannable, register

SNAPSHOT = {
    "cluster": {"nodes": [{"id": "n1", "gpu": 1}]},
    "teams": [{"id": "ads"}],
    "pending": [{"id": "p", "team": "ads", "req": {"gpu": 1}, "copies": 2}],
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "snapshot.json"
    path.write_text(json.dumps(SNAPSHOT))
    return str(path)


def run(*arguments: str, text: str | None = None) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["scheduler", "plan", *arguments], input=text)


def test_a_snapshot_gives_one_decision(file: str):
    decision = json.loads(run(file).stdout)
    assert decision["admitted"] == [{"id": "p#1", "on": ["n1"]}]
    assert [each["id"] for each in decision["waiting"]] == ["p#2"]


def test_the_snapshot_that_the_help_shows_can_be_planned():
    shown = run("--help").stdout.partition("A snapshot:")[2]
    decision = json.loads(run("-", text=shown).stdout)
    assert decision["preempted"] == [{"id": "old", "for": "new"}]


def test_rounds_give_a_list_also_of_one(file: str):
    assert len(json.loads(run(file, "--rounds", "1").stdout)) == 1
    first, second = json.loads(run(file, "--rounds", "2").stdout)
    assert first["admitted"]
    assert not second["admitted"]


def test_each_row_stands_on_a_line_of_its_own(file: str):
    lines = run(file).stdout.splitlines()
    assert '    {"id": "p#1", "on": ["n1"]}' in lines
    assert '  "preempted": [],' in lines
    assert any(line.startswith('    {"id": "p#2", "reason": "waiting_for_capacity", ') for line in lines)
    assert any(line.startswith('    "ads": {"dominant": 1') for line in lines)


def test_a_decision_loads_nothing_that_only_other_commands_need(file: str):
    others = (
        "grpc",
        "rich",
        "google.protobuf",
        "mwfs.cli.runs",
        "mwfs_stack.commands",
        "mwfs_scheduler.simulator.traces",
    )
    code = (
        f"import sys; from mwfs.cli.app import run_cli; run_cli(['scheduler', 'plan', {file!r}]);"
        f"print([name for name in {others} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_a_snapshot_can_come_from_standard_input():
    assert json.loads(run("-", text=json.dumps(SNAPSHOT)).stdout)["admitted"]


@pytest.mark.parametrize("text", ["{", '{"teams": [{"id": "a", "parent": "a"}]}'])
def test_a_bad_snapshot_is_refused(text: str):
    error = run("-", text=text).exception
    assert isinstance(error, Unplannable)
    assert error.exit_code == 2
    assert error.next_step


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    assert isinstance(run(str(tmp_path / "none.json")).exception, Unplannable)
