"""Editors and checkers see a workflow as ordinary code: mypy and pyright, both strict, on files that use every construct."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from checked import authoring

import mwfs

ROOT = Path(__file__).parents[3]
FILES = [ROOT / f"tests/checked/{name}.py" for name in ("authoring", "mistakes", "semantic_types")]


def checked(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy_takes_the_workflows_and_refuses_the_mistakes(tmp_path: Path) -> None:
    cache = ("--cache-dir", str(tmp_path / "cache"))
    assert checked(sys.executable, "-m", "mypy", *cache, *map(str, FILES)) == ""
    seen = checked(sys.executable, "-m", "mypy", *cache, str(_without_ignores(tmp_path)))
    assert _lines_of(seen) == _marked()


def test_pyright_takes_the_workflows_and_refuses_the_mistakes(tmp_path: Path) -> None:
    # basedpyright is pyright with its JavaScript engine in a wheel, so that no test downloads it from elsewhere.
    config = tmp_path / "pyrightconfig.json"

    def run(*files: Path) -> str:
        settings = {
            "include": [str(file) for file in files],
            "typeCheckingMode": "strict",
            "enableTypeIgnoreComments": True,
            "reportUnnecessaryTypeIgnoreComment": "error",
            "pythonVersion": "3.11",
            "extraPaths": [str(ROOT / "services/sdk")],
        }
        config.write_text(json.dumps(settings))
        return checked(sys.executable, "-m", "basedpyright", "-p", str(config), "--pythonpath", sys.executable)

    assert run(*FILES) == ""
    seen = run(_without_ignores(tmp_path))
    assert _marked() <= _lines_of(seen)


def _without_ignores(folder: Path) -> Path:
    bare = folder / "bare.py"
    bare.write_text(FILES[1].read_text().replace("  # type: ignore", ""))
    return bare


def _marked() -> set[int]:
    return {number for number, line in enumerate(FILES[1].read_text().splitlines(), 1) if "  # type: ignore" in line}


def _lines_of(report: str) -> set[int]:
    """Line numbers of the errors in bare.py."""
    parts = [line.strip().split(":") for line in report.splitlines() if "error" in line and "bare.py:" in line]
    return {int(one[1]) for one in parts}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("length,kind\n1.5,a\n")
    return path


def test_what_the_checkers_take_also_runs(data: Path) -> None:
    metrics = authoring.train.run_local(data=data, depths=[1, 3, 2])
    assert (metrics["best"], metrics["count"]) == (0.8, 3.0)
    assert authoring.fields.run_local(n=4) == 0 + 1.0 + 3 + 3.0
    assert authoring.lists.run_local(n=4) == authoring.Search(best=6.0, tried=4) == authoring.lists(n=4)
    assert authoring.loops.run_local(start=1) == 4 == authoring.loops(1)
    plan = authoring.dated.run_local(day=date(2026, 11, 23), shelf=authoring.Shelf(["a"]))
    assert plan == {"part": mwfs.DatePartition.parse("2026-11-23")}
    assert mwfs.LocalRun(signals={"approved": False}).run(authoring.gate) == "refused"
    assert authoring.outer.run_local(n=4) == 8 == authoring.outer(4)
    authoring.of_plain_calls()
