"""Starting and stopping platforms, and homes and ports that cannot be used."""

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from mwfs_stack.states import states_of

PATIENCE_S = 180


def test_a_platform_from_its_first_up_to_its_purge(mwfs_alone, mwfs):
    # Ready when `up` returns, and one however often it is started.
    up = mwfs_alone("up", "--detach", check=True)
    assert "127.0.0.1:" in up.out
    services = mwfs_alone.json("status")["services"]
    assert oct((mwfs_alone.home / "token").stat().st_mode & 0o777) == "0o600"
    mwfs_alone("up", "--detach", check=True)
    assert [each["pid"] for each in mwfs_alone.json("status")["services"]] == [each["pid"] for each in services]

    # Beside that of another home.
    run_id = mwfs_alone.json("run", "journeys:sums")["run_id"]
    assert run_id not in [run["run_id"] for run in mwfs.json("runs", "list")["runs"]]

    # Stopped, nothing of it runs, and the other goes on.
    mwfs_alone("down", check=True)
    assert not [service for service in services if is_alive(service["pid"])]
    assert mwfs_alone("status").code == 3
    assert mwfs.json("run", "journeys:sums")["state"] == "SUCCEEDED"

    # Started again it has what was stored, until all of it is removed.
    mwfs_alone("up", "--detach", check=True)
    assert mwfs_alone.json("runs", "show", run_id)["state"] == "SUCCEEDED"
    mwfs_alone("down", "--purge", check=True)
    assert not mwfs_alone.home.exists()


def test_down_where_nothing_runs_is_fine(mwfs_alone):
    assert mwfs_alone("down").code == 0


@pytest.mark.parametrize("service", ["orchestrator", "scheduler", "action_service", "observability"])
def test_a_run_outlives_a_killed_service(mwfs, tmp_path, service):
    gate = tmp_path / "open"
    watching = mwfs.start("run", "journeys:waits", "--input", f"path={gate}", "--watch")
    run_id = submitted(watching)
    mwfs.read_logs(run_id, 0, until="waiting")
    pids = {each["name"]: each["pid"] for each in mwfs.json("status")["services"]}

    os.kill(pids[service], signal.SIGKILL)
    gate.touch()

    _, said = watching.communicate(timeout=PATIENCE_S)
    assert watching.returncode == 0, said
    while not all(each.state == "SERVING" for each in asyncio.run(states_of(mwfs.home)) or ()):
        pass  # a round trip to each service
    assert {each["state"] for each in mwfs.json("status")["services"]} == {"SERVING"}
    assert mwfs.json("runs", "show", run_id)["state"] == "SUCCEEDED"


def submitted(process) -> str:
    """The id of the run that a `mwfs run --watch` says it has submitted."""
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"run ([0-9a-f-]{36})", line):
            return found[1]
    raise AssertionError(said)


def test_a_port_that_is_taken(mwfs_alone, assert_one_paragraph):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = mwfs_alone("up", "--detach", "--port", port)
    assert str(port) in assert_one_paragraph(answer)


@pytest.mark.parametrize("home", ["/proc/mwfs-home", "/dev/null/home"])
def test_a_home_that_cannot_be_written(mwfs_alone, assert_one_paragraph, home):
    answer = mwfs_alone.at(Path(home))("up", "--detach")
    assert home in assert_one_paragraph(answer)


def test_a_home_that_is_a_folder_of_something_else(mwfs_alone, assert_one_paragraph, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear all")
    answer = mwfs_alone.at(folder)("up", "--detach")
    assert "letters" in assert_one_paragraph(answer)
    assert (folder / "letter.txt").read_text() == "Dear all"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"
