"""Ending attempts before their time, and asking them to make room."""

from collections.abc import Callable

from mwfs_action_service import logs, verdicts
from mwfs_action_service.journal import LogRange
from mwfs_action_service.model import Attempt, Notice, Verdict
from mwfs_action_service.pools import Pools
from mwfs_action_service.settings import WorkerLimits
from mwfs_action_service.verdicts import outcome_of
from mwfs_action_service.worker_process import WorkerProcess
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2


class Stops:
    """Takes attempts out of their queue, or ends their worker if they have begun."""

    def __init__(
        self,
        *,
        pools: Pools,
        limits: WorkerLimits,
        finish: Callable[[Attempt, action_pb2.Outcome], None],
        look_soon: Callable[[], None],
    ) -> None:
        """`finish` is told of those that had not begun; `look_soon`, that a running one is to be looked at."""
        self._pools = pools
        self._limits = limits
        self._finish = finish
        self._look_soon = look_soon

    def end(self, attempt: Attempt, verdict: Verdict) -> None:
        """Take it out of its queue, or end its worker if it has begun."""
        if attempt.verdict is not None:
            return
        attempt.verdict = verdict
        if self._pools.remove(attempt):
            self._finish(attempt, outcome_of(verdict))
            return
        for worker in self._pools.workers:
            if attempt.ticket in worker.outstanding:
                self.end_on(worker, attempt)
                return

    def end_on(self, worker: WorkerProcess, attempt: Attempt) -> None:
        back = worker.recall()
        self._pools.put_back([other for other in back if other is not attempt], worker)
        if attempt in back:
            assert attempt.verdict is not None
            self._finish(attempt, outcome_of(attempt.verdict))
        elif worker.running().ticket == attempt.ticket:
            # Nothing else is queued there, so nothing else is hit. One that was asked to make room has had its time.
            asked = attempt.verdict is not None and attempt.verdict.state == events_pb2.ATTEMPT_STATE_PREEMPTED
            worker.end(0 if asked else self._limits.grace_seconds)
        # Else it has just ended, or is about to begin: its outcome is on its way, or the next tick ends it.
        self._pools.feed(worker)
        self._look_soon()

    def ask_for_room(self, attempt: Attempt, notice: Notice) -> None:
        """One that has not begun loses nothing and goes at once; one that has is told, and has its time."""
        if self._pools.remove(attempt):
            self._finish(attempt, outcome_of_unbegun(attempt))
            return
        for worker in self._pools.workers:
            if attempt.ticket in worker.outstanding:
                back = worker.recall()
                self._pools.put_back([other for other in back if other is not attempt], worker)
                if attempt in back:
                    self._finish(attempt, outcome_of_unbegun(attempt))
                else:
                    worker.ask(attempt.ticket, notice.deadline)
                self._pools.feed(worker)
                self._look_soon()
                return


def outcome_of_unbegun(attempt: Attempt) -> action_pb2.Outcome:
    """Of an attempt that was stopped, or asked to make room, before it began."""
    reason = attempt.notice.reason if attempt.notice is not None else ""
    return outcome_of(attempt.verdict or verdicts.preempted(reason, None))


def outcome_of_exit(attempt: Attempt, worker: WorkerProcess, place: LogRange) -> action_pb2.Outcome:
    """Of an attempt whose worker has ended under it."""
    if attempt.verdict is not None:
        return outcome_of(attempt.verdict)
    if attempt.notice is not None:  # it ended by itself, to make room
        return outcome_of(verdicts.preempted(attempt.notice.reason, attempt.checkpoint))
    hint = logs.last_lines(worker.log_path(place.number), place.start, place.stop)
    return outcome_of(verdicts.exited(worker.exit_code or 0, hint))
