"""The life of attempts on this host: launched, given to workers, stopped, their outcomes stored and told until acknowledged."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mwfs_action_service import logs, verdicts
from mwfs_action_service.attempt_logs import AttemptLogs
from mwfs_action_service.attempt_watch import AttemptWatch
from mwfs_action_service.gpus import GpuSlots
from mwfs_action_service.journal import Journal, LogRange
from mwfs_action_service.kept import KeptCheckpoints
from mwfs_action_service.metrics import METRICS
from mwfs_action_service.model import Adoption, Attempt, AttemptKey, Notice, OperatorEntry, Verdict, key_proto
from mwfs_action_service.outcomes import Outcomes
from mwfs_action_service.packets import packet_of
from mwfs_action_service.pools import Pools
from mwfs_action_service.replicas import ReplicaStream
from mwfs_action_service.settings import WorkerLimits
from mwfs_action_service.stops import outcome_of_exit, outcome_of_unbegun
from mwfs_action_service.verdicts import outcome_of
from mwfs_action_service.worker_process import WorkerHome, WorkerProcess
from mwfs_api.action.v1 import action_pb2, worker_pb2
from mwfs_api.events.v1 import events_pb2

log = logging.getLogger(__name__)

SHRINK_SECONDS = 5.0
#: A launch that its replica sent before it lost the run comes within this time, or never.
DISOWNED_SECONDS = 60.0
#: With so many left on its worker, an outcome is not told alone.
QUEUED_ENOUGH = 4


class Engine:
    """Everything runs on one event loop; every method returns without waiting. `start` it inside the loop."""

    def __init__(
        self,
        *,
        host: str,
        limits: WorkerLimits,
        gpus: int,
        journal: Journal,
        home: WorkerHome,
        spool: Path,
        drop_checkpoint: Callable[[str], None],
    ) -> None:
        self._host = host
        self._journal = journal
        self._home = home
        self._spool = spool
        self._pools = Pools(limits=limits, gpus=GpuSlots(gpus), spawn=self._spawn, monotonic=time.monotonic)
        self._gpu_total = gpus
        self._live: dict[AttemptKey, Attempt] = {}
        #: Attempts that were given up by their run's new owner before their launch came, and until when that is remembered.
        self._disowned: dict[AttemptKey, float] = {}
        self.outcomes = Outcomes(journal)
        self._kept = KeptCheckpoints(journal, self.outcomes, drop=drop_checkpoint)
        self.logs = AttemptLogs(live=self._live, pools=self._pools, outcomes=self.outcomes, journal=journal, home=home)
        self._watch = AttemptWatch(
            live=self._live,
            pools=self._pools,
            limits=limits,
            outcomes=self.outcomes,
            kept=self._kept,
            finish=self._finish,
        )
        self._stops = self._watch.stops
        #: Highest epoch of a scheduler that this host has seen.
        self._epoch = journal.fact("epoch")
        self._worker_numbers = itertools.count(journal.fact("workers") + 1)
        self._tickets = itertools.count(1)
        self._shrink_timer: asyncio.TimerHandle | None = None
        self._ended: dict[AttemptKey, asyncio.Event] = {}
        self._stopping = False

    # -- part -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept.give_up_lost()
        self._pools.balance()
        self._shrink_later()
        METRICS.watch(
            live=lambda: len(self._live),
            waiting=lambda: self._pools.waiting,
            workers=lambda: len(self._pools.workers),
            unacknowledged=lambda: len(self.outcomes),
        )

    async def stop(self) -> None:
        """End all workers; what was queued or running is LOST."""
        if self._stopping or not hasattr(self, "_loop"):
            return
        self._stopping = True
        self._watch.stop()
        if self._shrink_timer is not None:
            self._shrink_timer.cancel()
        for attempt in list(self._live.values()):
            attempt.verdict = attempt.verdict or verdicts.SERVICE_STOPPED
            if self._pools.remove(attempt):
                self._finish(attempt, outcome_of(attempt.verdict))
        self._gone = asyncio.Event()
        self._pools.end_all()
        if self._pools.workers:
            await self._gone.wait()
        self.outcomes.close()
        self._journal.close()

    # -- what replicas ask ------------------------------------------------------------------------------------------

    def attach(self, replica: str, holds: Iterable[Adoption]) -> ReplicaStream:
        """The replica's new stream, with its welcome and all its unacknowledged outcomes already told."""
        for key, epoch in holds:
            self._adopt(replica, key, epoch)
        live = [attempt for attempt in self._live.values() if attempt.replica == replica]
        welcome = action_pb2.Welcome(host=self._host, live=[key_proto(attempt.key) for attempt in live])
        stream = self.outcomes.attach(replica, welcome)
        for attempt in live:
            self._kept.tell(attempt)
        return stream

    def adopt(self, replica: str, adoptions: Iterable[Adoption]) -> None:
        """These attempts belong to the replica from now on. What is not known here is answered as LOST, and will never be launched."""
        for key, epoch in adoptions:
            if not self._adopt(replica, key, epoch):
                self._disowned[key] = time.monotonic() + DISOWNED_SECONDS
                self._tell_unknown(replica, key)
            elif key in self._live:
                # The owner before may have died before it committed what it was told.
                self._kept.tell(self._live[key])

    def _adopt(self, replica: str, key: AttemptKey, epoch: int) -> bool:
        """False when there is no such attempt here. The claim of an earlier owner that comes late changes nothing."""
        attempt = self._live.get(key)
        if attempt is None:
            return self.outcomes.adopt(replica, key, epoch)
        if epoch >= attempt.epoch:
            attempt.replica, attempt.epoch = replica, epoch
        return True

    def see_epoch(self, epoch: int) -> None:
        """A scheduler of this epoch exists: grants of lower ones are void."""
        if epoch > self._epoch:
            self._epoch = epoch
            self._journal.remember("epoch", epoch)

    def launch(self, replica: str, launches: Iterable[tuple[AttemptKey, OperatorEntry, action_pb2.Launch]]) -> None:
        """Queue new attempts. A key that is known is ignored."""
        now = time.monotonic()
        accepted = []
        for key, entry, launch in launches:
            if key in self._live or key in self.outcomes:
                continue
            if self._disowned.pop(key, 0.0) > now:
                continue  # its new owner was told that it is lost
            attempt = Attempt(
                key=key,
                ticket=next(self._tickets),
                replica=replica,
                epoch=launch.owner_epoch,
                entry=entry,
                packet=b"",
                gpu_count=launch.resources.gpus,
                received=now,
            )
            if launch.grant_epoch < self._epoch:
                self._refuse(attempt, verdicts.stale_grant(launch.grant_epoch, self._epoch))
                continue
            self.see_epoch(launch.grant_epoch)
            if attempt.gpu_count > self._gpu_total:
                self._refuse(attempt, verdicts.too_many_gpus(attempt.gpu_count, self._gpu_total))
                continue
            attempt.packet = packet_of(attempt, launch, self._spool)
            self._live[key] = attempt
            accepted.append(attempt)
            if entry.start_timeout:
                self._watch.expect(attempt)
        if accepted:
            self._pools.place(accepted)
            self._watch.look_soon()

    def refuse(self, replica: str, key: AttemptKey, entry: OperatorEntry, verdict: Verdict) -> None:
        """Answer a launch that cannot be tried."""
        if key not in self._live and key not in self.outcomes:
            self._refuse(
                Attempt(
                    key=key, ticket=0, replica=replica, epoch=0, entry=entry, packet=b"", gpu_count=0, received=0.0
                ),
                verdict,
            )

    def stop_attempts(self, replica: str, keys: Iterable[AttemptKey]) -> None:
        """End these attempts as CANCELLED. What is not known here is answered as LOST."""
        for key in keys:
            attempt = self._live.get(key)
            if attempt is not None:
                self._stops.end(attempt, verdicts.CANCELLED)
            else:
                self._tell_unknown(replica, key)

    def notify(self, replica: str, notices: Iterable[tuple[AttemptKey, float, str]]) -> None:
        """These attempts have to make room within so many seconds, for a reason. What is not known here is answered as LOST."""
        now = time.monotonic()
        for key, grace_seconds, reason in notices:
            attempt = self._live.get(key)
            if attempt is None:
                self._tell_unknown(replica, key)
            elif attempt.notice is None and attempt.verdict is None:
                attempt.notice = Notice(deadline=now + grace_seconds, reason=reason)
                self._stops.ask_for_room(attempt, attempt.notice)

    def _tell_unknown(self, replica: str, key: AttemptKey) -> None:
        outcome = outcome_of(verdicts.UNKNOWN)
        outcome.key.CopyFrom(key_proto(key))
        self.outcomes.tell_unknown(key, replica, outcome)

    def ended(self, key: AttemptKey) -> asyncio.Event | None:
        """An event that is set when the attempt ends; None when it is not live."""
        if key not in self._live:
            return None
        return self._ended.setdefault(key, asyncio.Event())

    # -- workers ----------------------------------------------------------------------------------------------------

    def _spawn(self) -> WorkerProcess:
        number = next(self._worker_numbers)
        self._journal.remember("workers", number)
        worker = WorkerProcess(
            name=f"worker-{number}", home=self._home, on_results=self._worker_results, on_exit=self._worker_exited
        )
        worker.start()
        return worker

    def _worker_results(self, worker: WorkerProcess, results: list[worker_pb2.WorkerResult]) -> None:
        done: list[tuple[Attempt, worker_pb2.WorkerResult]] = []
        for result in results:
            if result.HasField("checkpoint"):
                going_on = worker.outstanding.get(result.ticket)
                if going_on is not None:
                    self._kept.keep(going_on, result.checkpoint)
                continue
            attempt = worker.outstanding.pop(result.ticket, None)
            if attempt is not None:
                outcome = result.outcome
                if outcome.body_started_us:
                    attempt.entry.learn(outcome.body_ended_us - outcome.body_started_us)
                done.append((attempt, result))
            elif result.ticket == 0:
                self._pools.worker_ready(worker)
        # The worker first: it goes on while the rest is done here.
        self._pools.feed(worker)
        more_follow = len(worker.outstanding) >= QUEUED_ENOUGH
        for attempt, result in done:
            place = LogRange(
                worker=worker.name,
                number=result.log_number,
                start=result.log_start,
                stop=result.log_end,
                dropped=result.log_dropped,
            )
            self._finish(attempt, result.outcome, worker.name, place, more_follow=more_follow)

    def _worker_exited(self, worker: WorkerProcess) -> None:
        running = worker.running()
        attempt = worker.outstanding.pop(running.ticket, None)
        if attempt is not None:
            place = self.logs.trimmed(worker, running.log_number, running.log_start)
            self._finish(
                attempt,
                outcome_of_exit(attempt, worker, place),
                worker.name,
                place,
                body_started_us=running.body_started_us,
            )
        # The others were not begun.
        rest = list(worker.outstanding.values())
        worker.outstanding.clear()
        stopped = [attempt for attempt in rest if attempt.verdict or attempt.notice]
        self._pools.put_back([attempt for attempt in rest if not attempt.verdict and not attempt.notice], worker)
        for attempt in stopped:
            self._finish(attempt, outcome_of_unbegun(attempt))
        path = worker.log_path(0)
        words = "" if worker.ready else logs.last_lines(path, 0, logs.size_of(path))
        if not worker.ready and not self._stopping:
            log.error(
                "a worker ended before it was ready",
                extra={"worker": worker.name, "code": worker.exit_code, "last_words": words},
            )
        for hopeless in self._pools.worker_gone(worker):
            verdict = verdicts.workers_do_not_start(worker.exit_code or 0, words)
            self._finish(hopeless, outcome_of(verdict))
        if self._stopping:
            if not self._pools.workers:
                self._gone.set()
        else:
            self._pools.balance()

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def _shrink_later(self) -> None:
        self._shrink_timer = self._loop.call_later(SHRINK_SECONDS, self._shrink)

    def _shrink(self) -> None:
        self._pools.shrink()
        self._pools.balance()
        now = time.monotonic()
        self._disowned = {key: until for key, until in self._disowned.items() if until > now}
        self.outcomes.tell_orphans(now)
        self._shrink_later()

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _refuse(self, attempt: Attempt, verdict: Verdict) -> None:
        self._live[attempt.key] = attempt
        self._finish(attempt, outcome_of(verdict))

    def _finish(
        self,
        attempt: Attempt,
        outcome: action_pb2.Outcome,
        worker: str = "",
        place: LogRange | None = None,
        *,
        body_started_us: int = 0,
        more_follow: bool = False,
    ) -> None:
        key = attempt.key
        outcome.key.run_id, outcome.key.node, outcome.key.attempt = key
        outcome.worker = worker
        if attempt.checkpoint is not None:
            outcome.checkpoint.CopyFrom(attempt.checkpoint)
        if attempt.notice is not None and outcome.state == events_pb2.ATTEMPT_STATE_PREEMPTED:
            outcome.failure.CopyFrom(outcome_of(verdicts.preempted(attempt.notice.reason, attempt.checkpoint)).failure)
        if body_started_us:
            outcome.body_started_us, outcome.body_ended_us = body_started_us, time.time_ns() // 1000
        del self._live[key]
        self._watch.ended(attempt)
        self.outcomes.record(key, attempt.replica, attempt.epoch, outcome, place, more_follow=more_follow)
        METRICS.finished(outcome, time.monotonic() - attempt.received)
        if attempt.spool:
            Path(attempt.spool).unlink(missing_ok=True)
        if attempt.gpus:
            self._pools.release_gpus(attempt)
        if self._ended:
            ended = self._ended.pop(key, None)
            if ended is not None:
                ended.set()
