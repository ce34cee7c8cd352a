"""What attempts have written: found by attempt, trimmed when a worker could not, removed when its time is over."""

import os
from collections.abc import Mapping
from pathlib import Path

from mwfs_action_service import logs
from mwfs_action_service.journal import Journal, LogRange
from mwfs_action_service.model import Attempt, AttemptKey
from mwfs_action_service.outcomes import Outcomes
from mwfs_action_service.pools import Pools
from mwfs_action_service.worker_process import WorkerHome, WorkerProcess


class AttemptLogs:
    """Of attempts that are live, and of those that have ended."""

    def __init__(
        self,
        *,
        live: Mapping[AttemptKey, Attempt],
        pools: Pools,
        outcomes: Outcomes,
        journal: Journal,
        home: WorkerHome,
    ) -> None:
        self._live = live
        self._pools = pools
        self._outcomes = outcomes
        self._journal = journal
        self._home = home

    def find(self, key: AttemptKey) -> tuple[Path, LogRange] | None:
        """File and range of the output of an attempt, as far as it is written; None when it is not known or has not begun."""
        if key in self._live:
            for worker in self._pools.workers:
                running = worker.running()
                attempt = worker.outstanding.get(running.ticket)
                if attempt is not None and attempt.key == key:
                    path = worker.log_path(running.log_number)
                    place = LogRange(
                        worker=worker.name,
                        number=running.log_number,
                        start=running.log_start,
                        stop=max(running.log_start, logs.size_of(path)),
                    )
                    return path, place
            return None
        self._outcomes.flush()
        found = self._journal.find_log(key)
        return None if found is None else (logs.log_path(self._home.logs, found.worker, found.number), found)

    def sweep(self, before_us: int) -> int:
        """Remove outputs of attempts that ended before, and files that nothing refers to. Gives the number of files removed."""
        self._outcomes.flush()
        kept = {logs.log_path(self._home.logs, *place).name for place in self._journal.prune(before_us)}
        alive = tuple(f"{worker.name}." for worker in self._pools.workers)
        removed = 0
        for path in self._home.logs.iterdir():
            if path.name not in kept and not path.name.startswith(alive):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def trimmed(self, worker: WorkerProcess, number: int, start: int) -> LogRange:
        """The output of an attempt whose worker can no longer trim it."""
        path = worker.log_path(number)
        stop, dropped = logs.size_of(path), 0
        if stop - start > logs.KEEP_HEAD + logs.KEEP_TAIL:
            fd = logs.open_log(path)
            try:
                stop, dropped = logs.trim(fd, start, stop)
            finally:
                os.close(fd)
        return LogRange(worker=worker.name, number=number, start=start, stop=max(start, stop), dropped=dropped)
