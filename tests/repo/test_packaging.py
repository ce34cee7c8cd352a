"""The wheel that a user installs holds everything that the packages need."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel_names(repository: Path, tmp_path_factory) -> set[str]:
    """The files in the wheel of this clone."""
    pytest.importorskip("hatchling", reason="the build backend is not installed; tests/run installs it")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_file_of_the_packages(repository: Path, tracked_files: list[Path], wheel_names: set[str]):
    packages = [path.parent for path in (repository / "services").glob("*/*/py.typed")]
    wanted = {
        str(path.relative_to(package.parent))
        for package in packages
        for path in tracked_files
        if package in path.parents
    }
    assert wanted - wheel_names == set()


def test_the_wheel_holds_nothing_but_the_packages(wheel_names: set[str]):
    strange = {name for name in wheel_names if not name.startswith(("mwfs/", "mwfs_", "mwfs-"))}
    assert strange == set()
