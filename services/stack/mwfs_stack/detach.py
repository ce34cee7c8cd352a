"""Starts a supervisor in the background and waits until it is ready, or says why it cannot be."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from typing import Any

from mwfs_stack.child import last_lines
from mwfs_stack.errors import CannotStart, StackError
from mwfs_stack.home_files import AlreadyRunning, Home
from mwfs_stack.supervisor import Plan

SUPERVISOR_LOG = "supervisor.log"
_SHOWN_LINES = 8


def start_detached(plan: Plan) -> dict[str, Any]:
    """Returns the document of the running platform. Raises AlreadyRunning, or the supervisor's own StackError."""
    home = Home.prepare(plan.home)
    reading, writing = os.pipe()
    order = {
        "home": str(plan.home),
        "capacity": dataclasses.asdict(plan.capacity),
        "port": plan.port,
        "services": {
            spec.name: {"command": spec.command, "environment": dict(spec.environment)} for spec in plan.services
        },
        "report_to": writing,
    }
    log_file = home.logs / SUPERVISOR_LOG
    with os.fdopen(reading, encoding="utf-8") as report, log_file.open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-P", "-m", "mwfs_stack", json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home.path,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        try:
            said = report.readline()
        except KeyboardInterrupt:
            supervisor.send_signal(signal.SIGTERM)
            supervisor.wait()
            raise
    document: dict[str, Any] = json.loads(said) if said else {}
    if "ready" in document:
        supervisor.returncode = 0  # it lives on: we do not wait for it
        ready: dict[str, Any] = document["ready"]
        return ready
    supervisor.wait()
    if "already_running" in document:
        raise AlreadyRunning
    if "error" in document:
        kinds = {kind.__name__: kind for kind in StackError.__subclasses__()}
        raise kinds.get(document["kind"], CannotStart)(document["error"], document["next_step"])
    end = "\n".join(f"  {line}" for line in last_lines(log_file, _SHOWN_LINES))
    raise CannotStart(f"The supervisor ended before the platform was ready. The end of its log {log_file}:\n{end}")
