"""A service as a process: it stops on a signal, says in one line why it cannot start, and dies with its parent."""

import os
import signal
import subprocess
import sys

PRELUDE = """
import os, sys
from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.lifecycle import run_service

class Talking:
    async def start(self): print("started", os.getpid(), flush=True)
    async def stop(self): print("stopped", flush=True)

async def build():
    return [Talking()]
"""


def spawn(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_sigterm_stops_it_in_order() -> None:
    service = spawn("run_service('x', build)")
    assert service.stdout is not None
    assert service.stdout.readline().startswith("started")
    service.send_signal(signal.SIGTERM)
    out, _ = service.communicate(timeout=200)
    assert out == "stopped\n"
    assert service.returncode == 0


def test_an_expected_failure_is_one_line_without_a_traceback() -> None:
    service = spawn("""
async def fails():
    raise FailedPrecondition("The port is taken.", "Free it.")
run_service('x', fails)
""")
    out, err = service.communicate(timeout=200)
    assert service.returncode == 1
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.endswith("ERROR x cannot start: The port is taken. Free it.\n")


def test_it_dies_with_its_parent() -> None:
    parent = spawn(
        """
import subprocess
os.environ |= {"MWFS_DIE_WITH_PARENT": "1", "MWFS_PARENT_PID": str(os.getpid())}
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
os.kill(os.getpid(), 19)
""".replace("sys.argv[1]", repr(PRELUDE + "run_service('x', build)"))
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().startswith("started")
    parent.kill()
    out, _ = parent.communicate(timeout=200)  # ends when the child has closed the pipe as well
    assert out == "stopped\n"
