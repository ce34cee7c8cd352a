"""The life of attempts on this host: launched, watched, stopped, their outcomes stored and told until acknowledged."""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mwfs_action_service import logs, verdicts
from mwfs_action_service.attempt_clock import Running
from mwfs_action_service.gpus import GpuSlots
from mwfs_action_service.journal import Journal, LogRange
from mwfs_action_service.kept import KeptCheckpoints
from mwfs_action_service.metrics import METRICS
from mwfs_action_service.model import Adoption, Attempt, AttemptKey, Notice, OperatorEntry, Verdict, key_proto
from mwfs_action_service.outcomes import Outcomes
from mwfs_action_service.pools import Pools
from mwfs_action_service.replicas import ReplicaStream
from mwfs_action_service.settings import WorkerLimits
from mwfs_action_service.verdicts import outcome_of
from mwfs_action_service.worker_process import MAX_PACKET, WorkerHome, WorkerProcess
from mwfs_api.action.v1 import action_pb2, worker_pb2
from mwfs_api.events.v1 import events_pb2

log = logging.getLogger(__name__)

#: How often running attempts are looked at while there are any.
TICK_SECONDS = 0.025
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
        self._limits = limits
        self._journal = journal
        self._home = home
        self._spool = spool
        self._pools = Pools(limits=limits, gpus=GpuSlots(gpus), spawn=self._spawn, monotonic=time.monotonic)
        self._gpu_total = gpus
        self._live: dict[AttemptKey, Attempt] = {}
        #: Those that have to begin in time, by their tickets.
        self._to_begin: dict[int, Attempt] = {}
        #: Attempts that were given up by their run's new owner before their launch came, and until when that is remembered.
        self._disowned: dict[AttemptKey, float] = {}
        self.outcomes = Outcomes(journal)
        self._kept = KeptCheckpoints(journal, self.outcomes, drop=drop_checkpoint)
        #: Highest epoch of a scheduler that this host has seen.
        self._epoch = journal.fact("epoch")
        self._worker_numbers = itertools.count(journal.fact("workers") + 1)
        self._tickets = itertools.count(1)
        self._tick_timer: asyncio.TimerHandle | None = None
        self._shrink_timer: asyncio.TimerHandle | None = None
        self._ticks = 0
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
        for timer in (self._tick_timer, self._shrink_timer):
            if timer is not None:
                timer.cancel()
        for attempt in list(self._live.values()):
            attempt.verdict = attempt.verdict or verdicts.SERVICE_STOPPED
            if self._pools.remove(attempt):
                self._finish(attempt, outcome_of(attempt.verdict), "", None)
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
            attempt.packet = self._packet(attempt, launch)
            self._live[key] = attempt
            accepted.append(attempt)
            if entry.start_timeout:
                self._to_begin[attempt.ticket] = attempt
        if accepted:
            self._pools.place(accepted)
            self._tick_soon()

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
                self._end_attempt(attempt, verdicts.CANCELLED)
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
                self._ask_for_room(attempt, attempt.notice)

    def _ask_for_room(self, attempt: Attempt, notice: Notice) -> None:
        """One that has not begun loses nothing and goes at once; one that has is told, and has its time."""
        if self._pools.remove(attempt):
            self._finish(attempt, _outcome_of_unbegun(attempt), "", None)
            return
        for worker in self._pools.workers:
            if attempt.ticket in worker.outstanding:
                back = worker.recall()
                self._pools.put_back([other for other in back if other is not attempt], worker)
                if attempt in back:
                    self._finish(attempt, _outcome_of_unbegun(attempt), "", None)
                else:
                    worker.ask(attempt.ticket, notice.deadline)
                self._pools.feed(worker)
                self._tick_soon()
                return

    def _tell_unknown(self, replica: str, key: AttemptKey) -> None:
        outcome = outcome_of(verdicts.UNKNOWN)
        outcome.key.CopyFrom(key_proto(key))
        self.outcomes.tell_unknown(key, replica, outcome)

    # -- logs -------------------------------------------------------------------------------------------------------

    def find_log(self, key: AttemptKey) -> tuple[Path, LogRange] | None:
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
        self.outcomes.flush()
        found = self._journal.find_log(key)
        return None if found is None else (logs.log_path(self._home.logs, found.worker, found.number), found)

    def ended(self, key: AttemptKey) -> asyncio.Event | None:
        """An event that is set when the attempt ends; None when it is not live."""
        if key not in self._live:
            return None
        return self._ended.setdefault(key, asyncio.Event())

    def sweep_logs(self, before_us: int) -> int:
        """Remove outputs of attempts that ended before, and files that nothing refers to. Gives the number of files removed."""
        self.outcomes.flush()
        kept = {logs.log_path(self._home.logs, *place).name for place in self._journal.prune(before_us)}
        alive = tuple(f"{worker.name}." for worker in self._pools.workers)
        removed = 0
        for path in self._home.logs.iterdir():
            if path.name not in kept and not path.name.startswith(alive):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

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
            place = self._trimmed_log(worker, running.log_number, running.log_start)
            self._finish(
                attempt,
                self._exit_outcome(attempt, worker, place),
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
            self._finish(attempt, _outcome_of_unbegun(attempt), "", None)
        path = worker.log_path(0)
        words = "" if worker.ready else logs.last_lines(path, 0, logs.size_of(path))
        if not worker.ready and not self._stopping:
            log.error(
                "a worker ended before it was ready",
                extra={"worker": worker.name, "code": worker.exit_code, "last_words": words},
            )
        for hopeless in self._pools.worker_gone(worker):
            verdict = verdicts.workers_do_not_start(worker.exit_code or 0, words)
            self._finish(hopeless, outcome_of(verdict), "", None)
        if self._stopping:
            if not self._pools.workers:
                self._gone.set()
        else:
            self._pools.balance()

    def _trimmed_log(self, worker: WorkerProcess, number: int, start: int) -> LogRange:
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

    def _exit_outcome(self, attempt: Attempt, worker: WorkerProcess, place: LogRange) -> action_pb2.Outcome:
        if attempt.verdict is not None:
            return outcome_of(attempt.verdict)
        if attempt.notice is not None:  # it ended by itself, to make room
            return outcome_of(verdicts.preempted(attempt.notice.reason, attempt.checkpoint))
        hint = logs.last_lines(worker.log_path(place.number), place.start, place.stop)
        return outcome_of(verdicts.exited(worker.exit_code or 0, hint))

    def _end_attempt(self, attempt: Attempt, verdict: Verdict) -> None:
        """Take it out of its queue, or end its worker if it has begun."""
        if attempt.verdict is not None:
            return
        attempt.verdict = verdict
        if self._pools.remove(attempt):
            self._finish(attempt, outcome_of(verdict), "", None)
            return
        for worker in self._pools.workers:
            if attempt.ticket in worker.outstanding:
                self._end_on(worker, attempt)
                return

    def _end_on(self, worker: WorkerProcess, attempt: Attempt) -> None:
        back = worker.recall()
        self._pools.put_back([other for other in back if other is not attempt], worker)
        if attempt in back:
            assert attempt.verdict is not None
            self._finish(attempt, outcome_of(attempt.verdict), "", None)
        elif worker.running().ticket == attempt.ticket:
            # Nothing else is queued there, so nothing else is hit. One that was asked to make room has had its time.
            asked = attempt.verdict is not None and attempt.verdict.state == events_pb2.ATTEMPT_STATE_PREEMPTED
            worker.end(0 if asked else self._limits.grace_seconds)
        # Else it has just ended, or is about to begin: its outcome is on its way, or the next tick ends it.
        self._pools.feed(worker)
        self._tick_soon()

    # -- time -------------------------------------------------------------------------------------------------------

    def _tick_soon(self) -> None:
        if self._tick_timer is None and not self._stopping:
            self._tick_timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._tick_timer = None
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
            self._tick_soon()

    def _end_late_starts(self) -> None:
        now = time.monotonic()
        for attempt in list(self._to_begin.values()):
            if now - attempt.received > attempt.entry.start_timeout:
                self._to_begin.pop(attempt.ticket, None)
                self._end_attempt(attempt, verdicts.not_begun(attempt.entry.start_timeout))

    def _look_at(self, worker: WorkerProcess, now_us: int) -> None:
        running = worker.running()
        attempt = worker.outstanding.get(running.ticket)
        if attempt is None:
            return
        elapsed = now_us - running.since_us
        if running.body_started_us and self._to_begin:
            self._to_begin.pop(attempt.ticket, None)
        if attempt.verdict is not None:
            self._end_on(worker, attempt)
            return
        if elapsed > self._limits.long_us and len(worker.outstanding) > 1:
            self._pools.put_back(worker.recall(), worker)
            self._pools.feed(worker)
        if elapsed > self._limits.report_started_us and running.body_started_us and not attempt.reported_started:
            attempt.reported_started = True
            self.outcomes.tell_started(attempt.key, attempt.replica, running.body_started_us, worker.name)
        if attempt.checkpoint is not None:
            self._kept.tell_in_time(attempt)
        if attempt.notice is not None and now_us > attempt.notice.deadline * 1e6:
            self._end_attempt(attempt, verdicts.preempted(attempt.notice.reason, attempt.checkpoint))
        elif attempt.entry.timeout and elapsed > attempt.entry.timeout * 1e6:
            self._end_attempt(attempt, verdicts.timed_out(attempt.entry.timeout))
        elif _is_silent(attempt, running, now_us):
            self._end_attempt(attempt, verdicts.silent(attempt.entry.heartbeat_timeout))
        elif self._ticks % 8 == 0:
            size = logs.size_of(worker.log_path(running.log_number)) - running.log_start
            if size > self._limits.max_log_bytes:
                self._end_attempt(attempt, verdicts.too_much_output(size, self._limits.max_log_bytes))

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

    def _packet(self, attempt: Attempt, launch: action_pb2.Launch) -> bytes:
        own = worker_pb2.WorkerLaunch(ticket=attempt.ticket, arguments=launch.arguments, key=launch.key)
        if launch.HasField("resume_from"):
            own.resume_from.CopyFrom(launch.resume_from)
        if launch.HasField("compile"):
            own.compile.CopyFrom(launch.compile)
        if launch.pending:
            own.pending.extend(launch.pending)
        packet = attempt.entry.packet_prefix + own.SerializeToString()
        if len(packet) > MAX_PACKET:
            path = self._spool / f"{attempt.ticket}.launch"
            path.write_bytes(packet)
            attempt.spool = str(path)
            packet = worker_pb2.WorkerLaunch(ticket=attempt.ticket, file=attempt.spool).SerializeToString()
        return packet

    def _refuse(self, attempt: Attempt, verdict: Verdict) -> None:
        self._live[attempt.key] = attempt
        self._finish(attempt, outcome_of(verdict), "", None)

    def _finish(
        self,
        attempt: Attempt,
        outcome: action_pb2.Outcome,
        worker: str,
        place: LogRange | None,
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
        if self._to_begin:
            self._to_begin.pop(attempt.ticket, None)
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


def _outcome_of_unbegun(attempt: Attempt) -> action_pb2.Outcome:
    """Of an attempt that was stopped, or asked to make room, before it began."""
    reason = attempt.notice.reason if attempt.notice is not None else ""
    return outcome_of(attempt.verdict or verdicts.preempted(reason, None))


def _is_silent(attempt: Attempt, running: Running, now_us: int) -> bool:
    limit = attempt.entry.heartbeat_timeout
    return bool(limit and running.body_started_us) and now_us - running.beat_us > limit * 1e6
