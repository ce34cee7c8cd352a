"""The platform as its users have it: the `mwfs` command as a process of its own, on a home of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

#: No command may hang; this is far more than any of them takes.
PATIENCE_S = 180
WORKFLOWS = Path(__file__).parent / "workflows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command answered."""

    command: str
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        assert self.code == 0, self
        return json.loads(self.out)

    @property
    def text(self) -> str:
        """Everything that a user sees."""
        return self.out + self.err


@dataclass(frozen=True, slots=True, kw_only=True)
class Mwfs:
    """The command line of one user in one home."""

    home: Path
    folder: Path

    def __call__(self, *arguments: object, check: bool = False, **environment: str) -> Answer:
        """Runs `mwfs …` to its end."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        answer = Answer(command=" ".join(map(str, arguments)), code=process.returncode, out=out, err=err)
        assert not check or answer.code == 0, answer
        return answer

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Starts `mwfs …` without a terminal."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MWFS_")}
        database_root = {name: os.environ[name] for name in ("MWFS_DATABASE_ROOT",) if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "mwfs.cli", *map(str, arguments)],
            cwd=self.folder,
            env={**inherited, **database_root, "MWFS_HOME": str(self.home), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def at(self, home: Path) -> "Mwfs":
        """The same user in another home."""
        return replace(self, home=home)

    def json(self, *arguments: object, **environment: str) -> Any:
        """The document that a command prints with `--output json`."""
        return self(*arguments, "--output", "json", **environment).json

    def submit(self, workflow: str, **inputs: object) -> str:
        """Starts a run; its id."""
        given = [part for name, value in inputs.items() for part in ("--input", f"{name}={value}")]
        return str(self.json("run", workflow, *given, "--detach")["run_id"])

    def read_logs(self, run_id: str, node: int, *, until: str) -> None:
        """Follows what a node prints, up to a word."""
        for _ in range(100):
            follower = self.start("logs", run_id, node, "--follow")
            assert follower.stdout is not None
            seen = any(until in line for line in follower.stdout)
            follower.kill()
            follower.communicate()
            if seen:
                return
        raise AssertionError(f"node {node} of run {run_id} never printed {until!r}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder with workflows in it."""
    return Path(shutil.copytree(WORKFLOWS, tmp_path / "project"))


@pytest.fixture(scope="session")
def running_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which the platform runs, shared by all journeys of this process."""
    folder = tmp_path_factory.mktemp("platform")
    mwfs = Mwfs(home=folder / "home", folder=folder)
    mwfs("up", "--detach", "--cpus", "2", "--gpus", "1", "--resource", "licenses=1", "--label", "zone=a", check=True)
    yield mwfs.home
    mwfs("down", "--purge", check=True)


@pytest.fixture
def mwfs(running_home: Path, project: Path) -> Mwfs:
    """The command line beside a running platform."""
    return Mwfs(home=running_home, folder=project)


@pytest.fixture
def mwfs_alone(tmp_path: Path, project: Path) -> Iterator[Mwfs]:
    """The command line with a home in which nothing runs yet; what a test starts there is stopped."""
    alone = Mwfs(home=tmp_path / "home", folder=project)
    yield alone
    if alone.home.is_dir():
        alone("down", "--purge")


@pytest.fixture
def assert_one_paragraph() -> Callable[[Answer], str]:
    """Checks that an error is one paragraph without a traceback of ours; returns it."""

    def check(answer: Answer) -> str:
        said = answer.err.strip()
        assert answer.code != 0, answer
        assert said, "an error says something on stderr"
        assert "\n\n" not in said, "an error is one paragraph"
        assert "mwfs/cli" not in said, "no traceback of ours"
        return " ".join(said.split())

    return check
