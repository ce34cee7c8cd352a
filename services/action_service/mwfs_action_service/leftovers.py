"""Processes that operators of an earlier, killed service left behind: workers die with their service, their children do not."""

import contextlib
import logging
from pathlib import Path

import psutil

log = logging.getLogger(__name__)


def end_leftovers(scratch: Path) -> int:
    """Kill every process whose temporary folder is in `scratch`: each worker's is, and its children inherit that. Gives their number."""
    mark = f"{scratch}/"
    ended = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("TMPDIR", "").startswith(mark):
                process.kill()
                ended += 1
    if ended:
        log.warning("ended processes of an earlier service", extra={"processes": ended})
    return ended
