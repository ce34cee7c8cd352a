"""Homes in a folder that the database user can reach, with services that do nothing; stopped and removed at the end."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mwfs_stack import stopping
from mwfs_stack.services import Capacity, ServiceSpec
from mwfs_stack.supervisor import Plan

DUMMY = Path(__file__).with_name("dummy_service.py")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Like `tmp_path`, whose parents are closed to other users."""
    path = Path(tempfile.mkdtemp(prefix="mwfs-test-"))
    path.chmod(0o711)
    monkeypatch.setenv("MWFS_DATABASE_ROOT", str(path / "databases"))
    yield path
    shutil.rmtree(path)


def dummy(name: str) -> ServiceSpec:
    return ServiceSpec(name=name, command=(sys.executable, "-P", str(DUMMY), name))


@pytest.fixture
def plan(folder: Path) -> Iterator[Callable[..., Plan]]:
    """`plan("home")`: two dummy services in that home; whatever runs there is stopped at the end."""
    homes: set[Path] = set()

    def create(name: str = "home", **changes: object) -> Plan:
        homes.add(folder / name)
        arguments: dict[str, object] = {
            "home": folder / name,
            "capacity": Capacity(cpus=2, memory_bytes=2**30, gpus=0),
            "services": (dummy("orchestrator"), dummy("scheduler")),
        }
        return Plan(**(arguments | changes))  # type: ignore[arg-type]

    yield create
    for home in homes:
        stopping.stop(home)


def is_root() -> bool:
    return os.geteuid() == 0
