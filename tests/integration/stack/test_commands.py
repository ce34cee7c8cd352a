"""What a user sees of `up`, `down` and `status`: one document or one paragraph, and the exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mwfs.cli.app import run_cli
from mwfs_stack.detach import start_detached
from mwfs_stack.supervisor import Plan

FOREGROUND = """
import sys
from mwfs.cli.app import run_cli
from mwfs_stack import supervisor
from mwfs_stack.services import ServiceSpec
dummies = [ServiceSpec(name=name, command=(sys.executable, "-P", sys.argv[1], name)) for name in ("orchestrator", "scheduler")]
supervisor.Plan.__init__.__kwdefaults__["services"] = dummies
sys.exit(run_cli(sys.argv[2:]))
"""


@pytest.fixture
def mwfs(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`mwfs("status", "--home", home)`: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = run_cli([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_status_of_a_home_where_nothing_runs(mwfs: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    code, out, err = mwfs("status", "--home", folder / "home")
    assert (code, out) == (3, "")
    assert err == (
        f"Error: The platform is not running in {folder / 'home'}. Start it with `mwfs up --home {folder / 'home'}`.\n"
    )
    code, out, _ = mwfs("status", "--home", folder / "home", "--output", "json")
    assert code == 3
    assert json.loads(out)["services"] == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--memory", "lots", "--memory lots is not a size. Give bytes or a unit, such as --memory 8Gi."),
        ("--memory", "0", "--memory 0 is not a size."),
        ("--cpus", "0", "--cpus 0 is not a number of cores."),
        ("--gpus", "-1", "--gpus -1 is not a number of GPUs."),
        (
            "--gpu-type",
            "h100",
            "--gpu-type 'h100' is not a type of GPUs that are there. Write --gpus 1 --gpu-type h100.",
        ),
        ("--resource", "licenses=many", "--resource: 'many' is not an amount of licenses"),
        ("--resource", "memory=1", "'memory' cannot be the name of a custom resource"),
        ("--label", "zone", "--label: 'zone' has no =. Write --label zone=a."),
        ("--port", "70000", "--port 70000 is not a port."),
    ],
)
def test_an_option_that_makes_no_sense(
    mwfs: Callable[..., tuple[int, str, str]], folder: Path, option: str, value: str, says: str
) -> None:
    code, out, err = mwfs("up", "--detach", "--home", folder / "home", option, value)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_a_home_that_cannot_be_made(mwfs: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    (folder / "file").touch()
    for arguments in (("up", "--detach"), ("up",)):
        code, _, err = mwfs(*arguments, "--home", folder / "file" / "home")
        assert code == 2
        assert "cannot be written: Not a directory. Correct its permissions, or choose another home" in err
    assert mwfs("down", "--purge", "--home", folder / "file" / "home")[0] == 0


def test_a_running_platform_from_status_to_purge(
    mwfs: Callable[..., tuple[int, str, str]], plan: Callable[..., Plan]
) -> None:
    home = plan().home
    start_detached(plan())
    code, out, err = mwfs("status", "--home", home, "--output", "json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert [service["name"] for service in document["services"]] == ["postgres", "orchestrator", "scheduler"]
    for service in document["services"]:
        assert {"name", "pid", "address", "state"} <= service.keys()
        assert service["state"] == "SERVING"
    assert [bool(service["metrics_address"]) for service in document["services"]] == [False, True, True]
    code, out, _ = mwfs("status", "--home", home)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        [service["name"], "SERVING"] for service in document["services"]
    ]

    code, out, _ = mwfs("up", "--home", home, "--output", "json")
    assert code == 0
    assert json.loads(out)["already_running"] is True
    assert [s["pid"] for s in json.loads(out)["services"]] == [s["pid"] for s in document["services"]]
    said = mwfs("up", "--detach", "--home", home)[1]
    assert said.startswith(f"The platform is already running in {home}: ")
    assert said.endswith(f"; stop it with `mwfs down --home {home}`.\n")

    assert mwfs("down", "--home", home) == (0, f"Stopped the platform in {home}.\n", "")
    assert mwfs("down", "--home", home) == (0, f"Nothing was running in {home}.\n", "")
    code, out, _ = mwfs("down", "--home", home, "--purge", "--output", "json")
    assert json.loads(out) == {"home": str(home), "was_running": False, "purged": True}
    assert not home.exists()


def test_in_the_foreground_it_says_one_ready_line_and_ctrl_c_stops_it(plan: Callable[..., Plan]) -> None:
    home = plan().home
    dummy = Path(__file__).with_name("dummy_service.py")
    running = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(dummy), "up", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line.startswith(f"The platform is ready in {home}: postgres 127.0.0.1:")
    assert line.endswith("; stop it with Ctrl-C.\n")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=200)
    assert (running.returncode, out, err) == (0, "Stopped.\n", "")
