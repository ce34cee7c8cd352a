"""Importing costs little, options are checked where they are written, and static checkers see what a call gives."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs.resources import BadOption


def test_import_loads_no_server_library_and_no_drivers() -> None:
    program = (
        "import sys, mwfs; mwfs.operator, mwfs.workflow, mwfs.compile, mwfs.Dataset\n"
        "heavy = {'grpc', 'obstore', 'rich', 'typer', 'pandas', 'numpy', 'asyncpg', 'sqlalchemy', 'fastapi', 'joblib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in mwfs.__all__ if name not in ("Client", "AsyncClient")])
def test_every_public_name_exists(name: str) -> None:
    assert getattr(mwfs, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'operater'"):
        _ = mwfs.operater


@pytest.mark.parametrize(
    ("memory", "size"),
    [("2Gi", 2 * 2**30), ("500M", 500_000_000), ("1.5KiB", 1536), (7, 7), ("0", 0), ("64 Mi", 64 * 2**20)],
)
def test_memory_is_bytes_or_text(memory: str | int, size: int) -> None:
    assert mwfs.Resources(memory=memory).to_proto().memory_bytes == size


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: mwfs.Resources(memory="two gigs"),
        lambda: mwfs.Resources(memory=-1),
        lambda: mwfs.Resources(cpu=0),
        lambda: mwfs.Resources(cpu=float("nan")),
        lambda: mwfs.Resources(gpu=-1),
        lambda: mwfs.Resources(gpu_type="A100"),
        lambda: mwfs.Retry(attempts=0),
        lambda: mwfs.Retry(backoff=-1),
        lambda: mwfs.Retry(factor=0.5),
        lambda: mwfs.operator(timeout=-5),
        lambda: mwfs.operator(on_failure="explode"),
        lambda: mwfs.operator(resources={"cpu": 1}),
        lambda: mwfs.operator("train"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(BadOption):
        wrong()


def test_durations_are_seconds_or_timedeltas() -> None:
    policy = mwfs.Retry(attempts=4, backoff=timedelta(minutes=1), max_backoff=600).to_proto()
    assert (policy.attempts, policy.backoff_seconds, policy.max_backoff_seconds) == (4, 60.0, 600.0)


SCRIPT = """
import mwfs

@mwfs.operator
def increment(x: int) -> int:
    return x + 1

@mwfs.workflow
def twice(n: int) -> int:
    return increment(increment(n))

if __name__ == "__main__":
    dag = mwfs.compile(twice, n=1)
    print(dag.proto.workflow, dag.proto.operators[0].module, twice.run_local(n=1), dag.nodes[0].file)
"""


def test_script_is_named_as_it_would_be_imported(tmp_path: Path) -> None:
    (tmp_path / "my_training.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "my_training.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["my_training:twice", "my_training", "3", "my_training.py"]


TYPED = """
from typing import NamedTuple
import mwfs
from mwfs.types import Dataset

class Parts(NamedTuple):
    train: Dataset
    size: int

@mwfs.operator
def split(data: Dataset, fraction: float = 0.5) -> Parts:
    raise NotImplementedError

@mwfs.operator(retry=3)
def count(data: Dataset) -> int:
    raise NotImplementedError

@mwfs.workflow
def flow(data: Dataset) -> int:
    parts = split(data, fraction=0.2)
    reveal_type(parts.train)
    reveal_type(count(parts.train))
    split(data, fractoin=0.2)
    count(parts.size)
    return count(parts.train)

reveal_type(flow.run_local(data="x"))
"""


def test_mypy_sees_a_call_as_its_declared_result(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--config-file", "", "typed.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("typed.py:")]
    revealed = [line.partition("Revealed type is ")[2] for line in lines if "Revealed" in line]
    errors = [line.rpartition("  ")[2] for line in lines if ": error: " in line]
    assert revealed == ['"mwfs.types.Dataset[Any]"', '"int"', '"int"']
    assert errors == ["[call-arg]", "[arg-type]"]
