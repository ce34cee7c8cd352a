"""Attempts of a run that have to make room. (pure)"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

from .changes import Changes
from .run_part import RunPart
from .time_limits import STOP_SECONDS, left_until, never_made_room

if TYPE_CHECKING:
    from .active_run import ActiveRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An attempt was told to make room."""

    attempt: int
    deadline_us: int
    reason: str


class Preemptions(RunPart):
    """Tells attempts to make room. It ends like any: most as PREEMPTED, one that is quick as it would have anyway."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: Attempts in flight, by node.
        self.told: dict[int, Told] = {}

    def choose(self, grant_id: str, count: int, unsent: set[int]) -> list[int]:
        """The nodes that have to make room so that `count` of the grant do, without those that are about to: those whose launch was not sent, then
        the latest first. All are of one team, run and priority.
        """
        run = self._run
        ways = [(node, way) for node, way in run.in_flight.items() if way.grant_id == grant_id]
        leaving = sum(node in self.told or run.stopping.is_stopping(node) for node, _ in ways)
        open_ = [(node not in unsent, -way.held_us, node) for node, way in ways if node not in self.told]
        staying = sorted(one for one in open_ if not run.stopping.is_stopping(one[2]))
        return [node for _, _, node in staying[: max(0, count - leaving)]]

    def tell(self, node: int, grace_ms: int, reason: str, changes: Changes, now: int) -> None:
        """The attempt has so much time. One that does not say in time that it has ended is given up."""
        run = self._run
        way = run.in_flight[node]
        facts = events_pb2.PreemptionFacts(reason=reason, deadline_us=now + grace_ms * 1000)
        batch = changes.event(run, events_pb2.EVENT_KIND_NODE_PREEMPTING, now, node, way.attempt)
        changes.detail(batch).preempting.CopyFrom(facts)
        run.interruptions.told(node, way.attempt, facts, changes)
        self._pass_on(node, way.attempt, facts, changes, now)

    def restore(self, changes: Changes, now: int) -> None:
        """Those that were told before the restart. Nobody hears of it again but their hosts, which may not have been told."""
        run = self._run
        for node, way in run.in_flight.items():
            known = run.interruptions.of.get(node)
            if known is not None and known.told_attempt == way.attempt:
                run.attempts.revoked.add(way.grant_id)
                self._pass_on(node, way.attempt, known.told, changes, now)

    def _pass_on(self, node: int, attempt: int, facts: events_pb2.PreemptionFacts, changes: Changes, now: int) -> None:
        run = self._run
        self.told[node] = Told(attempt=attempt, deadline_us=facts.deadline_us, reason=facts.reason)
        changes.notices.append((run, node))
        patience = left_until(facts.deadline_us, now) + STOP_SECONDS
        changes.timers.append((patience, run, partial(_give_up_on, node=node, attempt=attempt)))

    def end_unsent(self, node: int, reason: str, changes: Changes, now: int) -> None:
        """The attempt was not launched, and will not be."""
        run = self._run
        key = action_pb2.AttemptKey(run_id=run.header.run_text, node=node, attempt=run.in_flight[node].attempt)
        outcome = action_pb2.Outcome(key=key, state=events_pb2.ATTEMPT_STATE_PREEMPTED, failure=_not_begun(reason))
        run.attempts.end(outcome, changes, now)


def _not_begun(reason: str) -> events_pb2.Failure:
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_PREEMPTED,
        message=f"The attempt made room before it was launched: {reason or 'others were to have it'}.",
        next_step="It is tried again when there is room.",
    )


def _give_up_on(run: "ActiveRun", /, *, node: int, attempt: int, changes: Changes, now: int) -> None:
    """The time in which the host had to say that the attempt has ended is over."""
    if run.attempts.expects(node, attempt) and node in run.preemptions.told:
        key = action_pb2.AttemptKey(run_id=run.header.run_text, node=node, attempt=attempt)
        outcome = action_pb2.Outcome(key=key, state=events_pb2.ATTEMPT_STATE_LOST, failure=never_made_room(node))
        run.attempts.end(outcome, changes, now)
