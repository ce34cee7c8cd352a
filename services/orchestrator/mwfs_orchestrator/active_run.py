"""A run that goes on: decides what each event means for its nodes. No I/O; whatever follows is written into `Changes`.

The hot path of the orchestrator. State lives in arrays indexed by node and is changed in place, ahead of the commit: should a commit be
refused, the run is dropped and read again from its shard.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2

from .arguments import FieldOfArtifact, outputs_of, pack_list, unpack_list
from .changes import Changes
from .graph import COMPILE_NODE, Graph
from .model import Grant, Group, InFlight, RunHeader, RunMove, StartedAttempt
from .ready_nodes import COMPILE_RESOURCES, ReadyNodes
from .retry import MAX_LOST_ATTEMPTS, delay_before, may_retry
from .states import SYSTEM_FAILURES, AttemptState, NodeState, RunState

# Plain integers: an IntEnum costs ten times as much in a comparison of the hot path.
_PENDING, _READY, _RUNNING = int(NodeState.PENDING), int(NodeState.READY), int(NodeState.RUNNING)
_SUCCEEDED, _FAILED, _CANCELLED = int(NodeState.SUCCEEDED), int(NodeState.FAILED), int(NodeState.CANCELLED)
_UPSTREAM_FAILED, _WAITING = int(NodeState.UPSTREAM_FAILED), int(NodeState.WAITING)
_STATE_COUNT: Final = max(NodeState) + 1


class ActiveRun:
    """The state of one run, from its acceptance to its end."""

    def __init__(self, header: RunHeader, group_ids: Iterator[str]) -> None:
        self.header = header
        self.state = RunState.ACCEPTED
        self.round = 1
        self.last_event = 0
        self.start_us = 0
        self.end_us = 0
        self.graph: Graph | None = None
        self.failure: events_pb2.Failure | None = None
        #: A node with the policy CANCEL_RUN has failed: what still runs is being stopped.
        self.stopping = False
        #: Id of each operator's specification, filled by the launcher.
        self.spec_ids: dict[int, int] = {}
        #: Index -1 is the compile attempt in all of these.
        self.node_state = bytearray([_PENDING])
        self.attempt = array("I", [0])
        #: User failures of this round, for nodes that had one.
        self.tries: dict[int, int] = {}
        self.lost: dict[int, int] = {}
        self.missing = array("I")
        self.outputs: dict[int, tuple[bytes, ...]] = {}
        self.in_flight: dict[int, InFlight] = {}
        self.counts = [0] * _STATE_COUNT
        self.ready = ReadyNodes(self, group_ids)

    # Beginning.

    def accept(self, dag_chunks: Iterable[bytes], graph: Graph | None, changes: Changes, now: int) -> None:
        """Accepts the run, and starts it with its graph or with a compile attempt."""
        run_id = self.header.run_id
        batch = changes.event(self, events_pb2.EVENT_KIND_RUN_ACCEPTED, now)
        facts = changes.detail(batch).accepted
        facts.team, facts.principal, facts.workflow = self.header.team, self.header.principal, self.header.workflow
        facts.version_digest, facts.request_id = self.header.version_digest, self.header.request_id
        changes.dag_chunks.extend((run_id, index, chunk) for index, chunk in enumerate(dag_chunks))
        changes.new_runs.append(
            (
                self.header,
                RunState.COMPILING if graph is None else RunState.RUNNING,
                graph.size if graph else 0,
                now,
                self,
            )
        )
        if graph is None:
            self._begin_compiling(changes, now)
        else:
            self._begin(graph, changes, now)

    def _begin_compiling(self, changes: Changes, now: int) -> None:
        self.state = RunState.COMPILING
        changes.event(self, events_pb2.EVENT_KIND_RUN_COMPILING, now)
        self._make_ready(COMPILE_NODE, changes, now)

    def compiled(
        self, dag_chunks: list[bytes], graph: Graph, outcome: action_pb2.Outcome, changes: Changes, now: int
    ) -> None:
        """The compile attempt gave a Dag that has passed all checks."""
        way = self.in_flight.pop(COMPILE_NODE)
        changes.releases[way.grant_id] += 1
        run_id = self.header.run_id
        changes.end(run_id, COMPILE_NODE, way.attempt, NodeState.SUCCEEDED, 0)
        self.node_state[COMPILE_NODE] = _SUCCEEDED
        changes.body(
            changes.event(self, events_pb2.EVENT_KIND_NODE_SUCCEEDED, now, COMPILE_NODE, way.attempt), way.host, outcome
        )
        changes.dag_chunks.extend((run_id, index, chunk) for index, chunk in enumerate(dag_chunks))
        if self.state is RunState.CANCELLING:
            self._finish(changes, now)
            return
        self._begin(graph, changes, now)
        changes.moved.append(RunMove(run_id=run_id, state=self.state, start_us=now, node_count=graph.size))

    def _begin(self, graph: Graph, changes: Changes, now: int) -> None:
        self.attach(graph)
        self.state = RunState.RUNNING
        self.start_us = now
        batch = changes.event(self, events_pb2.EVENT_KIND_RUN_STARTED, now)
        facts = changes.detail(batch).started
        facts.node_count = graph.size
        facts.operators.extend(f"{operator.module}:{operator.qualname}" for operator in graph.dag.operators)
        facts.node_operator.extend(graph.node_operator)
        self._resume(changes, now)

    def attach(self, graph: Graph) -> None:
        """Gives the run its graph; all nodes are PENDING."""
        self.graph = graph
        self.node_state = bytearray([_PENDING]) * graph.size + self.node_state[-1:]
        self.attempt = array("I", bytes(4 * graph.size)) + self.attempt[-1:]
        self.missing = array("I", graph.waits_for)
        self.counts = [0] * _STATE_COUNT
        self.counts[_PENDING] = graph.size
        self.ready.shape(graph)

    def restore(self, rows: Iterable[dict[str, object]], changes: Changes, now: int) -> None:
        """Takes up the run where its rows say it was. Emits no event; demands go to `changes`."""
        graph = self.graph
        for row in rows:
            node, state, attempt = int(row["node"]), int(row["state"]), int(row["attempt"])  # type: ignore[call-overload]
            self.attempt[node] = attempt
            if tries := int(row["tries"]):  # type: ignore[call-overload]
                self.tries[node] = tries
            if node == COMPILE_NODE:
                self.node_state[COMPILE_NODE] = state
            else:
                self._set(node, state)
            if state == _RUNNING:
                resources = (
                    COMPILE_RESOURCES if node == COMPILE_NODE or graph is None else graph.operator_of(node).resources
                )
                self.in_flight[node] = InFlight(
                    attempt=attempt, host=str(row["host"]), grant_id=str(row["grant_id"]), resources=resources
                )
            elif state == _SUCCEEDED and node != COMPILE_NODE and graph is not None:
                self.outputs[node] = unpack_list(row["outputs"])  # type: ignore[arg-type]
                for dependent in graph.dependents_of(node):
                    self.missing[dependent] -= 1
            elif state == _FAILED and self.failure is None:
                self.failure = events_pb2.Failure.FromString(row["failure"])  # type: ignore[arg-type]
                self.stopping = self.stopping or self._cancels_run(node)
            elif state == _WAITING and graph is not None:
                delay = delay_before(graph.operator_of(node).retry, self.tries.get(node, 0))
                left = delay - (now - int(row["end_us"])) / 1e6  # type: ignore[call-overload]
                changes.waits.append((max(0.0, left), self, node))
        if self.state is RunState.COMPILING:
            if not self.in_flight:
                self._make_ready(COMPILE_NODE, changes, now)
        elif self.state is RunState.RUNNING:
            self._resume(changes, now)
        elif self.state is RunState.CANCELLING:
            self._stop_all(changes)

    def _resume(self, changes: Changes, now: int) -> None:
        """Makes ready whatever can start; ends the run when nothing is left to do."""
        states, missing = self.node_state, self.missing
        for node in range(len(missing)):
            if missing[node] == 0 and states[node] == _PENDING:
                self._make_ready(node, changes, now)
        if self._nothing_open():
            self._finish(changes, now)

    # Starting nodes.

    def _make_ready(self, node: int, changes: Changes, now: int) -> None:
        self._set_any(node, _READY)
        changes.demands[self.ready.add(node, now)] += 1

    def start(self, group: Group, grant: Grant, changes: Changes, now: int) -> int:
        """Commits attempts for as many ready nodes of the group as the grant allows; returns for how many."""
        taken = self.ready.take(group, grant.count, now)
        for node, ready_us in taken:
            self._set_any(node, _RUNNING)
            attempt = self.attempt[node] + 1
            self.attempt[node] = attempt
            way = InFlight(attempt=attempt, host=grant.host, grant_id=grant.grant_id, resources=group.resources)
            self.in_flight[node] = way
            changes.start(StartedAttempt(run=self, node=node, in_flight=way, grant=grant))
            batch = changes.event(self, events_pb2.EVENT_KIND_NODE_STARTED, now, node, attempt)
            batch.ready_us.append(ready_us)
        return len(taken)

    def wake(self, node: int, changes: Changes, now: int) -> None:
        """The wait before a node's next attempt is over."""
        if self.node_state[node] == _WAITING and self.state is RunState.RUNNING:
            self._make_ready(node, changes, now)

    # Ending attempts.

    def expects(self, node: int, attempt: int) -> bool:
        """Whether an outcome of this attempt would still count."""
        way = self.in_flight.get(node)
        return way is not None and way.attempt == attempt

    def end(self, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        """The outcome of an attempt that `expects` says counts."""
        node = outcome.key.node
        way = self.in_flight.pop(node)
        changes.releases[way.grant_id] += 1
        if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
            self._succeed(node, way, outcome, changes, now)
        else:
            self._fail(node, way, outcome, changes, now)
        if self.state is RunState.CANCELLING:
            if not self.in_flight:
                self._finish(changes, now)
        elif self._nothing_open():
            self._finish(changes, now)

    def _succeed(self, node: int, way: InFlight, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        graph = self.graph
        assert graph is not None, "only a run with a graph has nodes that succeed"
        self._set(node, _SUCCEEDED)
        outputs = tuple(outcome.outputs)
        self.outputs[node] = outputs
        changes.end(
            self.header.run_id,
            node,
            way.attempt,
            NodeState.SUCCEEDED,
            self.tries.get(node, 0),
            outputs=pack_list(outputs),
        )
        changes.body(
            changes.event(self, events_pb2.EVENT_KIND_NODE_SUCCEEDED, now, node, way.attempt), way.host, outcome
        )
        missing = self.missing
        goes_on = self.state is RunState.RUNNING
        for dependent in graph.dependents_of(node):
            missing[dependent] -= 1
            if missing[dependent] == 0 and goes_on and self.node_state[dependent] == _PENDING:
                self._make_ready(dependent, changes, now)

    def _fail(self, node: int, way: InFlight, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        state = AttemptState(outcome.state)
        failure = events_pb2.Failure()
        failure.CopyFrom(outcome.failure)
        failure.node = node
        data = failure.SerializeToString()
        run_id = self.header.run_id
        if self.state is RunState.CANCELLING or (self.stopping and state is AttemptState.CANCELLED):
            self._set_any(node, _CANCELLED)
            changes.end(run_id, node, way.attempt, NodeState.CANCELLED, self.tries.get(node, 0), failure=data)
            changes.event(self, events_pb2.EVENT_KIND_NODE_CANCELLED, now, node, way.attempt)
            return
        if state in SYSTEM_FAILURES:
            self.lost[node] = self.lost.get(node, 0) + 1
            again, delay = self.lost[node] < MAX_LOST_ATTEMPTS, 0.0
        else:
            self.tries[node] = self.tries.get(node, 0) + 1
            policy = None if node == COMPILE_NODE or self.graph is None else self.graph.operator_of(node).retry
            again = policy is not None and may_retry(policy, self.tries[node], failure)
            delay = 0.0 if policy is None else delay_before(policy, self.tries[node])
        kind = events_pb2.EVENT_KIND_NODE_RETRIED if again else events_pb2.EVENT_KIND_NODE_FAILED
        batch = changes.event(self, kind, now, node, way.attempt)
        changes.detail(batch).failure.CopyFrom(failure)
        changes.body(batch, way.host, outcome)
        tries = self.tries.get(node, 0)
        if again and delay > 0:
            self._set_any(node, _WAITING)
            changes.end(run_id, node, way.attempt, NodeState.WAITING, tries, failure=data)
            changes.waits.append((delay, self, node))
        elif again:
            changes.end(run_id, node, way.attempt, NodeState.PENDING, tries, failure=data)
            self._make_ready(node, changes, now)
        else:
            self._set_any(node, _FAILED)
            changes.end(run_id, node, way.attempt, NodeState.FAILED, tries, failure=data)
            if self.failure is None:
                self.failure = failure
            if node == COMPILE_NODE or self.graph is None:
                self._finish(changes, now)
                return
            self._fail_dependents(node, changes, now)
            if self._cancels_run(node):
                self.stopping = True
                self._cancel_open_nodes(changes, now)
                self._stop_all(changes)

    def _fail_dependents(self, node: int, changes: Changes, now: int) -> None:
        graph = self.graph
        assert graph is not None
        stack = [node]
        while stack:
            for dependent in graph.dependents_of(stack.pop()):
                if self.node_state[dependent] == _PENDING:
                    self._settle(dependent, _UPSTREAM_FAILED, events_pb2.EVENT_KIND_NODE_UPSTREAM_FAILED, changes, now)
                    stack.append(dependent)

    # Cancelling, reviving, finishing.

    def cancel(self, changes: Changes, now: int) -> None:
        """Nothing new starts; what runs is stopped; the run ends when that has ended."""
        if self.state not in (RunState.RUNNING, RunState.COMPILING, RunState.PAUSED):
            return
        self.state = RunState.CANCELLING
        changes.event(self, events_pb2.EVENT_KIND_RUN_CANCELLING, now)
        changes.moved.append(RunMove(run_id=self.header.run_id, state=self.state))
        self._cancel_open_nodes(changes, now)
        self._stop_all(changes)
        if not self.in_flight:
            self._finish(changes, now)

    def _cancel_open_nodes(self, changes: Changes, now: int) -> None:
        for node in range(len(self.node_state) - 1):
            if self.node_state[node] in (_PENDING, _READY, _WAITING):
                self._settle(node, _CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
        for group in self.ready.clear():
            changes.withdrawn.append(group.group_id)
            changes.demands.pop(group, None)

    def _stop_all(self, changes: Changes) -> None:
        for node, way in self.in_flight.items():
            changes.stops.append((way.host, (self.header.run_id, node, way.attempt)))

    def revive(self, request_id: str, changes: Changes, now: int) -> None:
        """Opens the next round of a failed or cancelled run: succeeded nodes stay, all others begin anew."""
        self.round += 1
        self.end_us = 0
        self.failure = None
        self.stopping = False
        self.tries.clear()
        self.lost.clear()
        for node in range(len(self.node_state) - 1):
            if self.node_state[node] != _SUCCEEDED:
                self._set(node, _PENDING)
        changes.event(self, events_pb2.EVENT_KIND_RUN_REVIVED, now)
        self.state = RunState.RUNNING if self.graph is not None else RunState.COMPILING
        changes.revived.append((self.header.run_id, self.state, request_id))
        if self.graph is None:
            self.node_state[COMPILE_NODE] = _PENDING
            self._make_ready(COMPILE_NODE, changes, now)
        else:
            self._resume(changes, now)

    def _nothing_open(self) -> bool:
        counts = self.counts
        return self.graph is not None and not (
            counts[_PENDING] or counts[_READY] or counts[_RUNNING] or counts[_WAITING]
        )

    def _finish(self, changes: Changes, now: int) -> None:
        outputs: bytes | None = None
        if self.failure is not None:
            state, kind = RunState.FAILED, events_pb2.EVENT_KIND_RUN_FAILED
        elif self.state is RunState.CANCELLING:
            state, kind = RunState.CANCELLED, events_pb2.EVENT_KIND_RUN_CANCELLED
        else:
            state, kind = RunState.SUCCEEDED, events_pb2.EVENT_KIND_RUN_SUCCEEDED
            assert self.graph is not None, "only a run with a graph succeeds"
            try:
                outputs = outputs_of(self.graph, self.outputs.__getitem__)
            except FieldOfArtifact:
                self.failure = field_of_artifact(-1)
                state, kind = RunState.FAILED, events_pb2.EVENT_KIND_RUN_FAILED
        self.state = state
        self.end_us = now
        batch = changes.event(self, kind, now)
        if self.failure is not None:
            changes.detail(batch).failure.CopyFrom(self.failure)
        changes.moved.append(
            RunMove(
                run_id=self.header.run_id,
                state=state,
                end_us=now,
                failure=self.failure.SerializeToString() if self.failure is not None else None,
                outputs=outputs,
                node_counts=list(self.counts),
            )
        )
        changes.finished_runs.append(self)

    # Bookkeeping.

    def _cancels_run(self, node: int) -> bool:
        graph = self.graph
        return (
            graph is not None
            and node >= 0
            and graph.operator_of(node).failure_policy == dag_pb2.FAILURE_POLICY_CANCEL_RUN
        )

    def _set(self, node: int, state: int) -> None:
        counts = self.counts
        counts[self.node_state[node]] -= 1
        counts[state] += 1
        self.node_state[node] = state

    def _set_any(self, node: int, state: int) -> None:
        """Like `_set`; the compile attempt is in no count."""
        if node == COMPILE_NODE:
            self.node_state[node] = state
        else:
            self._set(node, state)

    def _settle(self, node: int, state: int, kind: int, changes: Changes, now: int) -> None:
        self._set(node, state)
        changes.settled.append((self.header.run_id, node, state))
        changes.event(self, kind, now, node, self.attempt[node])

    @property
    def ended(self) -> bool:
        return self.end_us != 0


def field_of_artifact(node: int) -> events_pb2.Failure:
    """The failure of asking for a field of a record that does not travel inline."""
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_LIMIT,
        error_type="RecordTooLarge",
        message="A field is read from a record that is too large to travel inline.",
        next_step="Return the record's parts as named outputs, or read the field inside an operator.",
        node=node,
    )
