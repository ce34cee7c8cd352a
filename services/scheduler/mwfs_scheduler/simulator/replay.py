"""The virtual clock: jobs come, run, leave and finish; the policy decides at ticks. The same for the same workload."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from mwfs_scheduler.simulator.ledger import Ledger
from mwfs_scheduler.simulator.model import Checkpoints, Work, Workload
from mwfs_scheduler.simulator.policies import Moves, Policy

#: At one time, who finishes goes before who comes.
_FINISH, _COME = 0, 1


class Replay:
    """One run of a workload under a policy."""

    def __init__(
        self,
        workload: Workload,
        policy: Policy,
        ledger: Ledger,
        *,
        interval_s: int,
        checkpoints: Checkpoints,
        cpu: Callable[[], float],
    ) -> None:
        self.policy = policy
        self._ledger = ledger
        self._interval = interval_s
        self._checkpoints = checkpoints
        self._cpu = cpu
        self.works = {job.id: Work(job=job, remaining=job.duration) for job in workload.jobs}
        #: (time, what happens, order, job, attempt).
        self._events = [(job.submit, _COME, at, job.id, 0) for at, job in enumerate(workload.jobs)]
        self._order = len(self._events)
        self.rounds = 0
        self.decisions = 0
        #: CPU seconds of all that the policy did.
        self.cpu_s = 0.0
        #: Jobs that can never start here; they do not wait.
        self.never: set[str] = set()

    def run(self, progress: Callable[[float], None] = lambda part: None) -> None:
        """Until every job has finished, or nothing will ever happen again."""
        wake: int | None = None
        done, all_ = 0, len(self.works) or 1
        while self._events or wake is not None:
            now = self._next(wake)
            while self._events and self._events[0][0] <= now:
                done += self._happen(*heappop(self._events))
            self._ledger.advance(now)
            began = self._cpu()
            moves = self.policy.decide(now)
            self.cpu_s += self._cpu() - began
            self.rounds += 1
            self._book(moves, now)
            wake = moves.wake
            if moves.left:
                # Who has left may fit elsewhere; in the same round it is not started again.
                soon = now + max(self._interval, 1)
                wake = soon if wake is None else min(wake, soon)
            if wake is not None and wake <= now:
                wake = now + 1
            if not self._events and not moves.started and not moves.left:
                return  # nothing runs, and nothing of what waits starts on idle hosts
            self._ledger.sample(now, self.policy.hosts)
            if self.rounds % 256 == 0:
                progress(done / all_)
        progress(1.0)

    def _next(self, wake: int | None) -> int:
        """When the next decision is made: at the tick after the next event, or when the policy wants to wake."""
        if not self._events:
            assert wake is not None
            return wake
        at = self._events[0][0]
        tick = -(-at // self._interval) * self._interval if self._interval else at
        return tick if wake is None else min(tick, wake)

    def _happen(self, at: int, what: int, order: int, job_id: str, attempt: int) -> bool:
        """One event; whether a job is done with by it."""
        work = self.works[job_id]
        if what == _FINISH and (work.attempt != attempt or work.started is None):
            return False
        self._ledger.advance(at)
        began = self._cpu()
        if what == _FINISH:
            self.policy.finish(job_id)
            self.cpu_s += self._cpu() - began
            self._ledger.stops(work, at)
            work.finished, work.started, work.remaining = at, None, 0
            return True
        possible = self.policy.submit(work)
        self.cpu_s += self._cpu() - began
        if not possible:
            self.never.add(job_id)
            return True
        work.waits_since = at
        self._ledger.waits(work, at)
        return False

    def _book(self, moves: Moves, now: int) -> None:
        # Who left has left before anybody started in its place.
        for job_id in moves.told:
            self.works[job_id].told = now
        for job_id in moves.left:
            self._leave(self.works[job_id], now)
        for job_id in moves.started:
            work = self.works[job_id]
            work.waited += now - work.waits_since
            self._ledger.starts(work, now)
            work.started, work.told = now, None
            work.attempt += 1
            self._order += 1
            heappush(self._events, (now + work.remaining, _FINISH, self._order, job_id, work.attempt))
        self.decisions += len(moves.started) + len(moves.left)

    def _leave(self, work: Work, now: int) -> None:
        assert work.started is not None
        kept = self._checkpoints.kept(work.started, work.told, now)
        lost = now - work.started - kept
        self._ledger.stops(work, now)
        work.remaining -= kept
        work.lost += lost
        work.evictions += 1
        work.started = work.told = None
        work.waits_since = now
        self._ledger.waits(work, now)
        self.policy.submit(work)
