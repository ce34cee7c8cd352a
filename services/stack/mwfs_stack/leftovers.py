"""Ends what a supervisor left behind when it was killed."""

import contextlib
import logging
from pathlib import Path

import psutil

from mwfs_stack.home_files import ENDPOINTS_FILE, read_json
from mwfs_stack.processes import same_process, wait_ended

log = logging.getLogger(__name__)

_PATIENCE_S = 5.0


def end_leftovers(home: Path) -> None:
    """Blocking. Services get a moment to stop; PostgreSQL is left to `Cluster.stop_leftover`, which stops it its own way."""
    services = read_json(home / ENDPOINTS_FILE).get("services")
    processes = []
    for name, entry in services.items() if isinstance(services, dict) else ():
        if name != "postgres" and isinstance(entry, dict):
            process = same_process(int(entry.get("pid") or 0), float(entry.get("made_at") or 0))
            if process is not None:
                log.warning("a service was left behind; stopping it", extra={"service": name, "pid": process.pid})
                processes.append(process)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in processes:
        if not wait_ended(process, _PATIENCE_S):
            with contextlib.suppress(psutil.Error):
                process.kill()
            wait_ended(process, _PATIENCE_S)
    (home / ENDPOINTS_FILE).unlink(missing_ok=True)
