"""Processes that are not our children: whether one still is the one we meant, and whether it has ended."""

import contextlib
import time

import psutil

_POLL_S = 0.02


def same_process(pid: int, made_at: float) -> psutil.Process | None:
    """The process, if it still is the one that was recorded: pids are used again, a pid with its birth is not."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if pid > 0 and abs(process.create_time() - made_at) < 0.01 and not has_ended(process):
            return process
    return None


def has_ended(process: psutil.Process) -> bool:
    """Also true for one that nobody has waited for yet: in a container without an init it stays like that."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_ended(process: psutil.Process, timeout_s: float) -> bool:
    """Blocking. Whether it ended within this time."""
    deadline = time.monotonic() + timeout_s
    while not has_ended(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
