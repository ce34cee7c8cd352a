"""What takes a process of its own: what importing loads, how a script is named, what a static checker sees."""

import subprocess
import sys
from pathlib import Path


def test_import_loads_no_server_library_and_no_drivers() -> None:
    program = (
        "import sys, mwfs; mwfs.operator, mwfs.workflow, mwfs.compile, mwfs.Dataset\n"
        "heavy = {'grpc', 'obstore', 'rich', 'typer', 'pandas', 'numpy', 'asyncpg', 'sqlalchemy', 'fastapi', 'joblib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    assert revealed == ['"mwfs.types.datasets.Dataset[Any]"', '"int"', '"int"']
    assert errors == ["[call-arg]", "[arg-type]"]
