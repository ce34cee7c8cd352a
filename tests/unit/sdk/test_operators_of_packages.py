"""Operators that come with an installed package: called by the user's project, counted by the package's version, left out of the bundle."""

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs import code_closure
from mwfs.bundle import build_bundle, extract_bundle
from mwfs.code_closure import closure_of, environment_of
from mwfs_types.dag_check import check_dag

PACKAGE = """
from typing import NamedTuple

import mwfs
from acme_ops.inner import helper


class Parts(NamedTuple):
    small: list[int]
    large: list[int]


@mwfs.operator(pure=True)
def scale(xs: list[int], by: int = {by}) -> list[int]:
    return [helper(x) * by for x in xs]


@mwfs.operator
def split(xs: list[int], at: int) -> Parts:
    return Parts([x for x in xs if x < at], [x for x in xs if x >= at])


@mwfs.workflow
def scaled_twice(xs: list[int]) -> list[int]:
    return scale(scale(xs))
"""

PROJECT = """
import acme_ops
import mwfs
from acme_ops import scale
from acme_ops.inner import helper


@mwfs.operator(pure=True)
def total(xs: list[int]) -> int:
    return helper(sum(xs))


@mwfs.workflow
def flow(xs: list[int]) -> int:
    parts = acme_ops.split(scale(xs, by=10), at=20)
    several = mwfs.map(lambda x: scale([x]), parts.large)
    return total(mwfs.flatten(several) + acme_ops.scaled_twice(parts.small))
"""

RUN = """
import sys
from pathlib import Path
from mwfs.dag import Dag
from mwfs.errors import RunFailed
from mwfs.local_files import LocalFiles
from mwfs.local_run import run_dag

try:
    print(run_dag(Dag.from_bytes(Path(sys.argv[1]).read_bytes()), LocalFiles())["result"].integer)
except RunFailed as failed:
    print(failed)
"""


def install(folder: Path, version: str, by: int) -> None:
    package = folder / "acme_ops"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(PACKAGE.format(by=by))
    (package / "inner.py").write_text("def helper(x):\n    return x\n")
    for old in folder.glob("acme_ops-*.dist-info/*"):
        old.unlink()
    described = folder / f"acme_ops-{version}.dist-info"
    described.mkdir(exist_ok=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-ops\nVersion: {version}\n")
    (described / "top_level.txt").write_text("acme_ops\n")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where packages are installed, and the user's project."""
    installed, project = tmp_path / "site-packages", tmp_path / "project"
    install(installed, "1.2", by=2)
    project.mkdir()
    (project / "flows_of_acme.py").write_text(PROJECT)
    for folder in (installed, project):
        monkeypatch.syspath_prepend(folder)
    return installed, project


@pytest.fixture
def flows(places: tuple[Path, Path]) -> Any:
    return load()


def load() -> Any:
    """The project, with whatever is installed now."""
    for name in ("flows_of_acme", "acme_ops", "acme_ops.inner"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    code_closure._distributions.cache_clear()
    code_closure._version_of.cache_clear()
    return importlib.import_module("flows_of_acme")


def test_they_compile_and_run_like_the_users_own(flows: Any) -> None:
    dag = mwfs.compile(flows.flow, xs=[1, 2, 3])
    check_dag(dag.proto)
    named = {(operator.module, operator.qualname) for operator in dag.proto.operators}
    assert named >= {("acme_ops", "scale"), ("acme_ops", "split"), ("flows_of_acme", "total")}
    assert {Path(file).name for file in dag.proto.files} == {"flows_of_acme.py"}
    assert flows.flow.run_local(xs=[1, 2, 3]) == flows.flow(xs=[1, 2, 3]) == 20 * 2 + 30 * 2 + 10 * 4


def test_they_count_by_the_version_of_their_package(flows: Any, places: tuple[Path, Path]) -> None:
    acme = sys.modules["acme_ops"]
    assert [part.name for part in closure_of(flows.total).parts] == ["flows_of_acme:total"]
    before = {}
    for operator in (flows.total, acme.scale):
        assert environment_of(operator)["acme_ops"] == "acme-ops 1.2"
        before[operator.__name__] = operator_row(flows, operator.__name__)
    install(places[0], "1.3", by=2)
    again = load()
    for operator in (again.total, sys.modules["acme_ops"].scale):
        assert environment_of(operator)["acme_ops"] == "acme-ops 1.3"
        row = operator_row(again, operator.__name__)
        assert row.environment_digest != before[operator.__name__].environment_digest
        assert row.code_digest == before[operator.__name__].code_digest


def operator_row(flows: Any, name: str) -> Any:
    return next(row for row in mwfs.compile(flows.flow, xs=[1]).proto.operators if row.qualname == name)


def test_the_bundle_holds_the_project_and_runs_beside_the_installed_package(
    flows: Any, places: tuple[Path, Path], tmp_path: Path
) -> None:
    installed, _ = places
    assert build_bundle("acme_ops") is None
    bundle = build_bundle("flows_of_acme")
    assert bundle is not None
    assert bundle.files == ("flows_of_acme.py",)
    unpacked = extract_bundle(bundle.data, tmp_path / "worker")
    dag = tmp_path / "flow.dag"
    dag.write_bytes(mwfs.compile(flows.flow, xs=[1, 2, 3]).serialize())

    def run() -> str:
        code = f"import sys; sys.path[:0] = [{str(unpacked)!r}, {str(installed)!r}]\n{RUN}"
        ran = subprocess.run(
            [sys.executable, "-c", code, str(dag)], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        return ran.stdout

    assert run().strip() == "140"
    install(installed, "2.0", by=5)
    said = run()
    assert "Operator `acme_ops:scale` was changed since the workflow was compiled" in said
