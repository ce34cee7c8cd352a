"""The supervisor in the background: `python -m mwfs_stack ORDER`, started by `detach.py`, which listens for its report."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from mwfs_chassis.telemetry import configure_logging
from mwfs_stack.errors import StackError
from mwfs_stack.home_files import AlreadyRunning
from mwfs_stack.services import Capacity, ServiceSpec
from mwfs_stack.supervisor import Plan, supervise

log = logging.getLogger(__name__)


def main(order: dict[str, Any]) -> None:
    configure_logging("supervisor")
    report_to: int = order["report_to"]
    os.set_inheritable(report_to, False)

    def report(document: dict[str, Any]) -> None:
        with os.fdopen(report_to, "w", encoding="utf-8") as pipe:
            pipe.write(json.dumps(document) + "\n")

    plan = Plan(
        home=Path(order["home"]),
        capacity=Capacity(**order["capacity"]),
        port=order["port"],
        services=[
            ServiceSpec(name=name, command=tuple(one["command"]), environment=one["environment"])
            for name, one in order["services"].items()
        ],
    )
    try:
        asyncio.run(supervise(plan, on_ready=lambda endpoints: report({"ready": endpoints})))
    except AlreadyRunning:
        report({"already_running": True})
    except StackError as error:
        log.error("cannot start: %s", error)
        report({"error": error.message, "next_step": error.next_step, "kind": type(error).__name__})
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
