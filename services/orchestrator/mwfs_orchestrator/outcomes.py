"""What the action services say: how attempts ended, and which of them are gone with their host."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import prometheus_client

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.clock import Clock
from mwfs_chassis.postgres import AWAY

from .active_run import ActiveRun
from .changes import AttemptId
from .checkpoints import work_of
from .compiling import CompiledDag, CompiledDags
from .graph import COMPILE_NODE
from .host_links import HostLinks, attempt_id, attempt_key
from .model import TakenResults, slot_of
from .rerun import Reruns
from .states import RUN_ENDED, AttemptState, NodeState, RunState
from .time_limits import left_until

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger(__name__)

OUTCOMES = prometheus_client.Counter("mwfs_orchestrator_outcomes", "Outcomes of attempts.", ("state", "counted"))
_COUNTED = {state: OUTCOMES.labels(state.name.lower(), "yes") for state in AttemptState}
PREEMPTED_WORK = prometheus_client.Counter(
    "mwfs_orchestrator_preempted_work_seconds",
    "How long preempted attempts ran until their last checkpoint (kept), and after it (lost).",
    ("what",),
)
_KEPT_WORK, _LOST_WORK = PREEMPTED_WORK.labels("kept"), PREEMPTED_WORK.labels("lost")
_REFUSED = OUTCOMES.labels("any", "no")


class Outcomes:
    """Tells the runs of an engine what has become of their attempts. An outcome is acknowledged when it is committed, and at once when it comes
    too late to count."""

    def __init__(
        self, engine: "Engine", *, clock: Clock, hosts: HostLinks, compiled: CompiledDags, reruns: Reruns
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hosts = hosts
        self._compiled = compiled
        self._reruns = reruns

    def failed(self, why: str) -> None:
        self._engine.failed(why)

    def holds(self, host: str) -> list[tuple[AttemptId, int]]:
        """All attempts on the host, each with the epoch of its slot."""
        return [
            ((run_id, node, way.attempt), self._engine.epoch_of(run.header.slot))
            for run_id, run in self._engine.runs.items()
            for node, way in run.in_flight.items()
            if way.host == host
        ]

    def attached(self, host: str, live: set[AttemptId], outcomes: set[AttemptId], unsent: set[AttemptId]) -> None:
        """What we believe to run on the host and the host does not know is lost."""
        known = live | outcomes | unsent
        self._lose(host, lambda attempt: attempt not in known, "The action service of the host restarted.")
        for run in self._engine.runs.values():
            for node, way in run.in_flight.items():
                if way.host == host and run.stopping.is_stopping(node):
                    self._hosts[host].stop_attempt((run.header.run_id, node, way.attempt))
            for node in run.preemptions.told:
                if node in run.in_flight and run.in_flight[node].host == host:
                    self.tell_to_make_room(run, node)
        leftovers = [one for one in live if not self._expects(one)]
        if leftovers:
            self._engine.spawn(self._stop_leftovers(host, leftovers))

    def tell_to_make_room(self, run: ActiveRun, node: int) -> None:
        """Passes on to the host what time an attempt has left. Repeating it changes nothing."""
        told, way = run.preemptions.told.get(node), run.in_flight.get(node)
        if told is not None and way is not None and way.attempt == told.attempt:
            left = left_until(told.deadline_us, self._clock.now_us())
            self._hosts[way.host].notify((run.header.run_id, node, way.attempt), left, told.reason)

    def kept(self, host: str, kept: Iterable[action_pb2.Kept]) -> None:
        """Attempts that go on have kept checkpoints. Those of attempts that count no more are of no use."""
        now = self._clock.now_us()
        for one in kept:
            run_id, node, attempt = attempt_id(one.key)
            run = self._engine.runs.get(run_id)
            if run is not None and run.attempts.expects(node, attempt):
                committer = self._engine.committer_of(run)
                run.checkpoints.keep(node, one.checkpoint, committer.pending, now)
                committer.flush()

    def _expects(self, attempt: AttemptId) -> bool:
        run = self._engine.runs.get(attempt[0])
        return run is not None and run.attempts.expects(attempt[1], attempt[2])

    async def _stop_leftovers(self, host: str, attempts: list[AttemptId]) -> None:
        """Attempts that were given up while their host was away still run on it."""
        for attempt in attempts:
            if attempt[0] not in self._engine.runs:
                row = await self._engine.shard_of(slot_of(attempt[0])).get_run(attempt[0])
                if row is not None and RunState(row["state"]) not in RUN_ENDED:
                    continue  # it will be taken up, here or elsewhere
            if not self._expects(attempt):
                log.warning("stopping what was given up", extra={"host": host, "run": str(attempt[0])})
                self._hosts[host].stop_attempt(attempt)

    def host_lost(self, host: str) -> None:
        self._lose(host, lambda _attempt: True, "The host could not be reached any more.")

    def _lose(self, host: str, lost: Callable[[AttemptId], bool], why: str) -> None:
        outcomes = []
        for run_id, run in self._engine.runs.items():
            for node, way in run.in_flight.items():
                attempt = (run_id, node, way.attempt)
                if way.host == host and lost(attempt):
                    failure = events_pb2.Failure(
                        kind=events_pb2.FAILURE_KIND_LOST,
                        error_type="HostLost",
                        message=why,
                        next_step="It is tried again.",
                    )
                    outcomes.append(
                        action_pb2.Outcome(
                            key=attempt_key(attempt), state=events_pb2.ATTEMPT_STATE_LOST, failure=failure
                        )
                    )
        if outcomes:
            log.warning("attempts lost", extra={"host": host, "attempts": len(outcomes), "why": why})
            self.outcomes(host, outcomes)

    def outcomes(self, host: str, outcomes: Iterable[action_pb2.Outcome]) -> None:
        """Outcomes are acknowledged when they are committed, and at once when they come too late to count."""
        now = self._clock.now_us()
        strangers = []
        counted: Counter[int] = Counter()
        for outcome in outcomes:
            attempt = attempt_id(outcome.key)
            run = self._engine.runs.get(attempt[0])
            if run is None and not self._engine.owns(slot_of(attempt[0])):
                strangers.append(attempt)
                continue
            if run is None or not run.attempts.expects(attempt[1], attempt[2]):
                _REFUSED.inc()
                committer = self._engine.shards.any_committer()
                committer.pending.acknowledged.append((host, attempt))
                committer.flush()
                continue
            counted[outcome.state] += 1
            if outcome.state == events_pb2.ATTEMPT_STATE_PREEMPTED and outcome.body_ended_us:
                _count_work(outcome)
            if attempt[1] == COMPILE_NODE and outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
                self._engine.spawn(self._take_compiled(host, run, outcome))
                continue
            if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED and run.growth.is_dynamic(attempt[1]):
                self._engine.spawn(self._take_grown(host, run, outcome))
                continue
            committer = self._engine.committer_of(run)
            run.attempts.end(outcome, committer.pending, now)
            committer.pending.acknowledged.append((host, attempt))
            committer.flush()
        for state, count in counted.items():
            _COUNTED[AttemptState(state)].inc(count)
        if strangers:
            self._engine.spawn(self._acknowledge_committed(host, strangers))

    async def _acknowledge_committed(self, host: str, attempts: list[AttemptId]) -> None:
        """Outcomes of runs that are not here: what is committed is acknowledged, the rest is for the owner to ask for."""
        for run_id, node, attempt in attempts:
            try:
                rows = await self._engine.shard_of(slot_of(run_id)).load_results(run_id, [node])
            except AWAY:
                return  # the host tells it again
            row = rows.get(node)
            if row is not None and (row["attempt"], row["state"] != NodeState.RUNNING) >= (attempt, True):
                self._hosts[host].acknowledge((run_id, node, attempt))

    async def _take_grown(self, host: str, run: ActiveRun, outcome: action_pb2.Outcome) -> None:
        """Fetches the Dag that a dynamic operator made, and believes it only after all checks."""
        attempt = attempt_id(outcome.key)
        graph = run.graph
        assert graph is not None, "only a run with a graph has dynamic operators"
        operator, types = graph.operator_of(attempt[1]), graph.types_of(attempt[1])
        result = await self._compiled.fetch_patch(self._hosts.address_of(host), operator, types, outcome)
        if not run.attempts.expects(attempt[1], attempt[2]):
            return
        committer = self._engine.committer_of(run)
        if isinstance(result, action_pb2.Outcome):
            result.failure.file, result.failure.line = graph.source_of(attempt[1])
            run.attempts.end(result, committer.pending, self._clock.now_us())
        else:
            run.growth.grow_by_attempt(outcome, result, committer.pending, self._clock.now_us())
        committer.pending.acknowledged.append((host, attempt))
        committer.flush()

    async def _take_compiled(self, host: str, run: ActiveRun, outcome: action_pb2.Outcome) -> None:
        """Fetches what the compile attempt made, and believes it only after all checks."""
        attempt = attempt_id(outcome.key)
        made = await self._fetch_compiled(self._hosts.address_of(host), run, outcome)
        if self._engine.runs.get(attempt[0]) is not run or not run.attempts.expects(attempt[1], attempt[2]):
            return
        committer = self._engine.committer_of(run)
        now = self._clock.now_us()
        if isinstance(made, events_pb2.Failure):
            lost = made.kind == events_pb2.FAILURE_KIND_LOST
            state = events_pb2.ATTEMPT_STATE_LOST if lost else events_pb2.ATTEMPT_STATE_FAILED
            refused = action_pb2.Outcome(key=outcome.key, state=state, failure=made, worker=outcome.worker)
            run.attempts.end(refused, committer.pending, now)
        else:
            compiled, taken = made
            run.compiled(compiled.chunks, compiled.graph, outcome, committer.pending, now, taken)
        committer.pending.acknowledged.append((host, attempt))
        committer.flush()

    async def _fetch_compiled(
        self, address: str, run: ActiveRun, outcome: action_pb2.Outcome
    ) -> tuple[CompiledDag, TakenResults | None] | events_pb2.Failure:
        compiled = await self._compiled.fetch(address, run.header, outcome)
        if isinstance(compiled, events_pb2.Failure):
            return compiled
        taken = await self._reruns.planned(address, run.header, outcome, compiled.graph)
        return taken if isinstance(taken, events_pb2.Failure) else (compiled, taken)


def _count_work(outcome: action_pb2.Outcome) -> None:
    kept_us, lost_us = work_of(outcome)
    _KEPT_WORK.inc(kept_us / 1e6)
    _LOST_WORK.inc(lost_us / 1e6)
