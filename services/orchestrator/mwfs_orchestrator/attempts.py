"""The attempts of a run: begun with the room that was granted, and what follows from how they end. (pure)"""

from typing import TYPE_CHECKING, Final

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

from .arguments import pack_list
from .changes import Changes
from .checkpoints import work_of
from .graph import COMPILE_NODE
from .model import Grant, Group, InFlight, StartedAttempt
from .retry import MAX_LOST_ATTEMPTS, delay_before, may_retry
from .run_part import RunPart
from .states import (
    CANCELLED,
    FAILED,
    READY,
    RUNNING,
    SUCCEEDED,
    SYSTEM_FAILURES,
    WAITING,
    AttemptState,
    NodeState,
    RunState,
)

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: For so long a chain of cheap nodes may keep its room: then other teams have their turn.
ROOM_HELD_US: Final = 5_000_000


class Attempts(RunPart):
    """Starts and ends the attempts of a run; those that go on are in its `in_flight`."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: Grants that the scheduler wants back: nothing goes on under them.
        self.revoked: set[str] = set()

    # Beginning.

    def start(self, group: Group, grant: Grant, changes: Changes, now: int) -> int:
        """Commits attempts for as many ready nodes of the group as the grant allows; returns for how many."""
        run = self._run
        group.asked = max(0, group.asked - grant.count)
        count = grant.count
        if run.options.max_parallel:
            count = min(count, max(0, run.options.max_parallel - len(run.in_flight)))
        states = run.node_state
        # What was cancelled since it became ready stays in its group until its turn comes.
        taken = [one for one in run.ready.take(group, count, now) if states[one[0]] == READY]
        for node, ready_us in taken:
            run.set_any_state(node, RUNNING)
            attempt = run.attempt[node] = run.attempt[node] + 1
            way = InFlight(
                attempt=attempt, host=grant.host, grant_id=grant.grant_id, resources=group.resources, held_us=now
            )
            self._begin(StartedAttempt(run=run, node=node, in_flight=way, grant=grant), ready_us, changes, now)
        run.ready.ask_for_more(changes)
        return len(taken)

    def _begin(self, started: StartedAttempt, ready_us: int, changes: Changes, now: int) -> None:
        run, node, way = started.run, started.node, started.in_flight
        run.in_flight[node] = way
        changes.start(started)
        batch = changes.event(run, events_pb2.EVENT_KIND_NODE_STARTED, now, node, way.attempt)
        batch.ready_us.append(ready_us)

    def take_over(self, node: int, way: InFlight, dependent: int, changes: Changes, now: int) -> bool:
        """Starts a node in the room of the one before it in its group: on the same host, without asking again."""
        run = self._run
        graph = run.graph
        assert graph is not None, "only nodes of a graph follow each other"
        if (
            not graph.is_next(node, dependent)
            or now - way.held_us > ROOM_HELD_US
            or way.grant_id in self.revoked
            or graph.is_control(dependent)
            or (graph.cached_operators and run.earlier_results.may_have(dependent))
            or not run.ready.may_take_over(node, dependent)
        ):
            return False
        run.set_state(dependent, READY)
        run.set_state(dependent, RUNNING)
        attempt = run.attempt[dependent] = run.attempt[dependent] + 1
        kept = InFlight(
            attempt=attempt, host=way.host, grant_id=way.grant_id, resources=way.resources, held_us=way.held_us
        )
        self._begin(StartedAttempt(run=run, node=dependent, in_flight=kept, grant=None), now, changes, now)
        return True

    # Ending.

    def expects(self, node: int, attempt: int) -> bool:
        """Whether an outcome of this attempt would still count."""
        way = self._run.in_flight.get(node)
        return way is not None and way.attempt == attempt

    def end(self, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        """The outcome of an attempt that `expects` says counts."""
        run, node = self._run, outcome.key.node
        way = run.in_flight.pop(node)
        if run.preemptions.told:
            run.preemptions.told.pop(node, None)
        if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
            taken_over = self._succeed(node, way, outcome, changes, now)
        else:
            self._fail(node, way, outcome, changes, now)
            taken_over = False
        if not taken_over:
            changes.releases[way.grant_id] += 1
            run.ready.ask_for_more(changes)
        run.go_on(changes, now)

    def _succeed(self, node: int, way: InFlight, outcome: action_pb2.Outcome, changes: Changes, now: int) -> bool:
        """Whether a dependent has taken over its room."""
        run = self._run
        graph = run.graph
        assert graph is not None, "only a run with a graph has nodes that succeed"
        run.set_state(node, SUCCEEDED)
        run.ready.took(node, way, changes, now)
        outputs = run.outputs[node] = tuple(outcome.outputs)
        changes.end(
            run.header.run_id,
            node,
            way.attempt,
            NodeState.SUCCEEDED,
            run.tries.get(node, 0),
            outputs=pack_list(outputs),
        )
        changes.body(
            changes.event(run, events_pb2.EVENT_KIND_NODE_SUCCEEDED, now, node, way.attempt), way.host, outcome
        )
        if run.checkpoints.last or outcome.HasField("checkpoint"):
            run.checkpoints.drop(node, changes, outcome.checkpoint if outcome.HasField("checkpoint") else None)
        if graph.cached_operators and graph.node_operator[node] in graph.cached_operators:
            changes.results.append((run, node))
        return run.follow(node, changes, now, way)

    def _fail(self, node: int, way: InFlight, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        run, state = self._run, AttemptState(outcome.state)
        graph, run_id = run.graph, run.header.run_id
        failure = events_pb2.Failure()
        failure.CopyFrom(outcome.failure)
        failure.node = node
        if failure.kind == events_pb2.FAILURE_KIND_ARGUMENTS and not failure.line and graph is not None:
            failure.file, failure.line = graph.source_of(node)  # a worker does not know it
        data = failure.SerializeToString()
        if outcome.HasField("checkpoint"):
            run.checkpoints.keep(node, outcome.checkpoint, changes, now)
        stopped = run.stopping.is_stopping(node)
        if stopped and not self._fails_itself(node, state):
            run.growth.abandoned.discard(node)
            run.set_any_state(node, CANCELLED)
            changes.end(run_id, node, way.attempt, NodeState.CANCELLED, run.tries.get(node, 0), failure=data)
            changes.event(run, events_pb2.EVENT_KIND_NODE_CANCELLED, now, node, way.attempt)
            return
        if state is AttemptState.PREEMPTED:
            # As often as the scheduler needs the room: it has its own bound, and is told how often it was.
            again, delay = True, 0.0
            _, lost_us = work_of(outcome)
            changes.lost_us[way.grant_id] += lost_us
            run.interruptions.preempted(node, lost_us, changes)
        elif state in SYSTEM_FAILURES:
            run.lost[node] = run.lost.get(node, 0) + 1
            again, delay = run.lost[node] < MAX_LOST_ATTEMPTS, 0.0
        else:
            run.tries[node] = run.tries.get(node, 0) + 1
            policy = None if node == COMPILE_NODE or graph is None else graph.operator_of(node).retry
            again = policy is not None and not stopped and may_retry(policy, run.tries[node], failure)
            delay = 0.0 if policy is None else delay_before(policy, run.tries[node], (run_id, node, way.attempt))
        kind = events_pb2.EVENT_KIND_NODE_RETRIED if again else events_pb2.EVENT_KIND_NODE_FAILED
        batch = changes.event(run, kind, now, node, way.attempt)
        changes.detail(batch).failure.CopyFrom(failure)
        changes.body(batch, way.host, outcome)
        tries = run.tries.get(node, 0)
        if again and delay > 0:
            run.set_any_state(node, WAITING)
            changes.end(run_id, node, way.attempt, NodeState.WAITING, tries, failure=data)
            changes.waits.append((delay, run, node))
        elif again:
            changes.end(run_id, node, way.attempt, NodeState.PENDING, tries, failure=data)
            run.make_ready(node, changes, now)
        else:
            run.set_any_state(node, FAILED)
            changes.end(run_id, node, way.attempt, NodeState.FAILED, tries, failure=data)
            run.policies.failed(node, failure, changes, now)

    def _fails_itself(self, node: int, state: AttemptState) -> bool:
        """Of an attempt that was told to stop because of a failure: whether it fails by itself, and so is a failure of the run too."""
        run = self._run
        return (
            run.policies.stops_run
            and run.state is not RunState.CANCELLING
            and node not in run.growth.abandoned
            and state not in (AttemptState.CANCELLED, *SYSTEM_FAILURES)
        )
