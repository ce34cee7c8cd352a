"""Looks at attempts that run: who has begun too late, runs for too long, is silent, writes too much, or had its time to make room."""

import asyncio
import time
from collections.abc import Callable, Mapping

from mwfs_action_service import logs, verdicts
from mwfs_action_service.attempt_clock import Running
from mwfs_action_service.kept import KeptCheckpoints
from mwfs_action_service.model import Attempt, AttemptKey
from mwfs_action_service.outcomes import Outcomes
from mwfs_action_service.pools import Pools
from mwfs_action_service.settings import WorkerLimits
from mwfs_action_service.stops import Stops
from mwfs_action_service.worker_process import WorkerProcess
from mwfs_api.action.v1 import action_pb2

#: How often running attempts are looked at while there are any.
TICK_SECONDS = 0.025


class AttemptWatch:
    """From the first `look_soon` until nothing is live any more, then from the next."""

    def __init__(
        self,
        *,
        live: Mapping[AttemptKey, Attempt],
        pools: Pools,
        limits: WorkerLimits,
        outcomes: Outcomes,
        kept: KeptCheckpoints,
        finish: Callable[[Attempt, action_pb2.Outcome], None],
    ) -> None:
        """`finish` is told of those that end without having begun."""
        self._live = live
        self._pools = pools
        self._limits = limits
        self._outcomes = outcomes
        self._kept = kept
        self.stops = Stops(pools=pools, limits=limits, finish=finish, look_soon=self.look_soon)
        #: Those that have to begin in time, by their tickets.
        self._to_begin: dict[int, Attempt] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._stopped = False

    def stop(self) -> None:
        """Nothing is looked at any more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def expect(self, attempt: Attempt) -> None:
        """It has to begin in time."""
        self._to_begin[attempt.ticket] = attempt

    def ended(self, attempt: Attempt) -> None:
        """It need not begin any more."""
        if self._to_begin:
            self._to_begin.pop(attempt.ticket, None)

    def look_soon(self) -> None:
        """Something has begun, or is to end."""
        if self._timer is None and not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._ticks += 1
        now_us = time.monotonic_ns() // 1000
        for worker in list(self._pools.workers):
            if worker.outstanding and not worker.ending:
                self._look_at(worker, now_us)
        if self._to_begin:
            self._end_late_starts()
        if self._pools.waiting:
            self._pools.balance()
        if self._live:
            self.look_soon()

    def _end_late_starts(self) -> None:
        now = time.monotonic()
        for attempt in list(self._to_begin.values()):
            if now - attempt.received > attempt.entry.start_timeout:
                self._to_begin.pop(attempt.ticket, None)
                self.stops.end(attempt, verdicts.not_begun(attempt.entry.start_timeout))

    def _look_at(self, worker: WorkerProcess, now_us: int) -> None:
        running = worker.running()
        attempt = worker.outstanding.get(running.ticket)
        if attempt is None:
            return
        elapsed = now_us - running.since_us
        if running.body_started_us and self._to_begin:
            self._to_begin.pop(attempt.ticket, None)
        if attempt.verdict is not None:
            self.stops.end_on(worker, attempt)
            return
        if elapsed > self._limits.long_us and len(worker.outstanding) > 1:
            self._pools.put_back(worker.recall(), worker)
            self._pools.feed(worker)
        if elapsed > self._limits.report_started_us and running.body_started_us and not attempt.reported_started:
            attempt.reported_started = True
            self._outcomes.tell_started(attempt.key, attempt.replica, running.body_started_us, worker.name)
        if attempt.checkpoint is not None:
            self._kept.tell_in_time(attempt)
        if attempt.notice is not None and now_us > attempt.notice.deadline * 1e6:
            self.stops.end(attempt, verdicts.preempted(attempt.notice.reason, attempt.checkpoint))
        elif attempt.entry.timeout and elapsed > attempt.entry.timeout * 1e6:
            self.stops.end(attempt, verdicts.timed_out(attempt.entry.timeout))
        elif _is_silent(attempt, running, now_us):
            self.stops.end(attempt, verdicts.silent(attempt.entry.heartbeat_timeout))
        elif self._ticks % 8 == 0:
            size = logs.size_of(worker.log_path(running.log_number)) - running.log_start
            if size > self._limits.max_log_bytes:
                self.stops.end(attempt, verdicts.too_much_output(size, self._limits.max_log_bytes))


def _is_silent(attempt: Attempt, running: Running, now_us: int) -> bool:
    limit = attempt.entry.heartbeat_timeout
    return bool(limit and running.body_started_us) and now_us - running.beat_us > limit * 1e6
