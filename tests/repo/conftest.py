"""What the tests of the repository itself look at."""

import ast
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this clone."""
    return REPOSITORY


@pytest.fixture(scope="session")
def tracked_files(repository: Path) -> list[Path]:
    """Every file that git tracks or would track, generated code included."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={repository}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := repository / name).is_file()]


@pytest.fixture(scope="session")
def modules(repository: Path, tracked_files: list[Path]) -> list[Path]:
    """Every Python module that people write: no generated code."""
    generated = repository / "services" / "sdk" / "mwfs_api"
    return [path for path in tracked_files if path.suffix == ".py" and generated not in path.parents]


@pytest.fixture(scope="session")
def trees(modules: list[Path]) -> dict[Path, ast.Module]:
    """Every such module, parsed."""
    return {path: ast.parse(path.read_text()) for path in modules}
