"""Stops the platform of a home from outside, and removes it when asked to."""

import contextlib
import logging
import os
import signal
import time
from pathlib import Path

from mwfs_stack.errors import CannotStop
from mwfs_stack.home_files import MARKER_FILE, Home, supervisor_of
from mwfs_stack.leftovers import end_leftovers
from mwfs_stack.postgres import Cluster

log = logging.getLogger(__name__)

_PATIENCE_S = 40.0
_POLL_S = 0.05


def stop(path: Path) -> bool:
    """Blocking. Returns whether something was running. What a killed supervisor left behind is stopped as well."""
    pid = supervisor_of(path)
    was_running = pid is not None
    if pid is not None:
        deadline = time.monotonic() + _PATIENCE_S
        asked = 0
        while (pid := supervisor_of(path)) is not None:
            if pid and pid != asked:
                asked = pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            if time.monotonic() > deadline:
                raise CannotStop(
                    f"The supervisor of {path} (process {pid}) did not stop within {_PATIENCE_S:g} s.",
                    f"Look at {path / 'logs'}, then end it with `kill -9 {pid}` and run `mwfs down` again.",
                )
            time.sleep(_POLL_S)
    if (path / MARKER_FILE).exists():
        home = Home.find(path)
        end_leftovers(path)
        Cluster(directory=home.database_directory, password_file=home.password_file, port=0).stop_leftover()
    return was_running


def purge(path: Path) -> bool:
    """Remove the home with its database, once nothing runs in it; returns whether there was one."""
    if not (path / MARKER_FILE).exists():
        return False
    Home.find(path).purge()
    return True
