"""A run that goes on: decides what each event means for its nodes. No I/O; whatever follows is written into `Changes`.

The hot path of the orchestrator. State lives in arrays indexed by node and is changed in place, ahead of the commit: should a commit be
refused, the run is dropped and read again from its shard.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Final
from uuid import UUID

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import check
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import Await, Done, Failed, Grow, Outcome, Step, in_cleanup
from mwfs_types.errors import BadValue
from mwfs_types.files import is_spilled
from mwfs_types.growth import GrowthLimits, failure_of, signal_timed_out
from mwfs_types.limits import MAX_COLLECTED_BYTES
from mwfs_types.run_options import merge_options

from .arguments import OutputFailed, outputs_of, pack_list, unpack_list, value_at
from .changes import Changes
from .child_runs import ChildRuns
from .cleaning import Cleaning
from .computed import ContentNeeded
from .failure_policies import FailurePolicies
from .graph import COMPILE_NODE, Graph
from .growth import NEVER, Growth, Question, Scope
from .model import Grant, Group, InFlight, RunHeader, RunMove, StartedAttempt, Taken
from .ready_nodes import ReadyNodes
from .retry import MAX_LOST_ATTEMPTS, delay_before, may_retry
from .states import NODE_ENDED, SYSTEM_FAILURES, AttemptState, NodeState, RunState
from .time_limits import STOP_SECONDS, never_stopped, waited_too_long
from .waits import NodeWait, SentSignal, Waits

# Plain integers: an IntEnum costs ten times as much in a comparison of the hot path.
_PENDING, _READY, _RUNNING = int(NodeState.PENDING), int(NodeState.READY), int(NodeState.RUNNING)
_SUCCEEDED, _FAILED, _CANCELLED = int(NodeState.SUCCEEDED), int(NodeState.FAILED), int(NodeState.CANCELLED)
_SKIPPED, _WAITING = int(NodeState.SKIPPED), int(NodeState.WAITING)
_NOTHING: Final[Mapping[int, Taken]] = {}
_STATE_COUNT: Final = max(NodeState) + 1
_ENDED: Final = bytes(state in NODE_ENDED for state in range(_STATE_COUNT))
_RACE: Final = int(dag_pb2.CONTROL_KIND_RACE)
_NULL: Final = types_pb2.Value(null=True).SerializeToString()
#: How far runs may grow.
LIMITS: Final = GrowthLimits()
#: Arguments of a control node, and results of all its instances: of a race, not all are kept.
_OUTCOME_BYTES: Final = 2 * MAX_COLLECTED_BYTES
#: For so long a chain of cheap nodes may keep its room: then other teams have their turn.
ROOM_HELD_US: Final = 5_000_000


class ActiveRun:
    """The state of one run, from its acceptance to its end."""

    def __init__(self, header: RunHeader, group_ids: Iterator[str]) -> None:
        self.header = header
        self.state = RunState.ACCEPTED
        self.round = 1
        self.last_event = 0
        self.start_us = 0
        self.end_us = 0
        #: Since when it has been in its state.
        self.since_us = 0
        #: While it is restored: when a node was made, or last ended, as far as rows say so.
        self._row_times: dict[int, int] = {}
        self.restoring = False
        #: The end is committed: until then nobody may hear of it.
        self.end_committed = False
        self._state_before_end = RunState.ACCEPTED
        self.graph: Graph | None = None
        self.failure: events_pb2.Failure | None = None
        #: A node with the policy CANCEL_RUN has failed: what still runs is being stopped.
        self.stopping = False
        self.options = header.options
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
        #: Grants that the scheduler wants back: nothing goes on under them.
        self.revoked: set[str] = set()
        self._cached: set[int] = set()
        self._controls: set[int] = set()
        self.growth = Growth()
        self.cleaning = Cleaning(self)
        self.policies = FailurePolicies(self)
        self.waits = Waits()
        self.child_runs = ChildRuns(self)
        #: The first node that a control node made.
        self._grown_from = NEVER
        #: Nodes that were made in earlier rounds: what has not succeeded of them is not needed.
        self._history: list[range] = []
        #: Control nodes whose newest patch has ended, or for a race one instance of it.
        self._due: set[int] = set()
        #: Values from the object store that outputs are computed from, by digest.
        self._contents: dict[str, types_pb2.Value] = {}
        #: Ready nodes for which an earlier result is being looked for; they are in no group yet.
        self.looking: set[int] = set()
        #: Keys of the results of cached operators, as far as they are known: filled by the cache.
        self.result_keys: dict[int, tuple[str, dict[str, str]]] = {}
        self.counts = [0] * _STATE_COUNT
        self.ready = ReadyNodes(self, group_ids)

    # Beginning.

    def accept(
        self,
        dag_chunks: Iterable[bytes],
        graph: Graph | None,
        changes: Changes,
        now: int,
        taken: Mapping[int, Taken] | None = None,
    ) -> None:
        """Accepts the run, and starts it with its graph and what it takes from an earlier run, or with a compile attempt."""
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
            self._begin(graph, changes, now, taken or {})

    def _begin_compiling(self, changes: Changes, now: int) -> None:
        self._move(RunState.COMPILING, now)
        changes.event(self, events_pb2.EVENT_KIND_RUN_COMPILING, now)
        self.make_ready(COMPILE_NODE, changes, now)

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
        paused = self.state is RunState.PAUSED
        self._begin(graph, changes, now)
        if paused:
            self.pause(changes, now)
        changes.moved.append(RunMove(run_id=run_id, state=self.state, start_us=now, node_count=graph.size))

    def _begin(self, graph: Graph, changes: Changes, now: int, taken: Mapping[int, Taken] = _NOTHING) -> None:
        self.attach(graph)
        self._move(RunState.RUNNING, now)
        self._tell_start(graph, changes, now)
        for node, result in sorted(taken.items()):
            self._take(node, result.outputs, result.origin, changes, now)
            for dependent in graph.dependents_of(node):
                self.missing[dependent] -= 1
        self._resume(changes, now)

    def _tell_start(self, graph: Graph, changes: Changes, now: int) -> None:
        self.start_us = now
        facts = changes.detail(changes.event(self, events_pb2.EVENT_KIND_RUN_STARTED, now)).started
        facts.node_count = graph.size
        facts.operators.extend(f"{operator.module}:{operator.qualname}" for operator in graph.operators)
        facts.node_operator.extend(graph.node_operator)

    def attach(self, graph: Graph) -> None:
        """Gives the run its graph; all nodes are PENDING."""
        self.graph = graph
        self.options = merge_options(graph.dag.options, self.header.options)
        self._cached = graph.cached_operators
        self._controls = graph.control_operators
        self._grown_from = graph.size
        self.growth.begin(graph.size)
        self.node_state = bytearray([_PENDING]) * graph.size + self.node_state[-1:]
        self.attempt = array("I", bytes(4 * graph.size)) + self.attempt[-1:]
        self.missing = array("I", graph.waits_for)
        self.counts = [0] * _STATE_COUNT
        self.counts[_PENDING] = graph.size
        self.ready.shape(graph)

    def attach_patch(self, patch: dag_pb2.DagPatch, round: int, create_us: int) -> None:
        """Grows as the run once did, in its round `round`. Before `restore`."""
        first, end = self._append(patch)
        if self.graph is not None and self.graph.queue_limits:
            self._row_times.update(dict.fromkeys(range(first, end), create_us))
        if round == self.round:
            assert self.graph is not None
            dynamic = self.is_dynamic(patch.parent)
            self.growth.add(patch.parent, patch, first, self.graph.last_items, dynamic=dynamic)
            if self.node_state[patch.parent] == _PENDING:
                self._set(patch.parent, _WAITING)
        else:
            self.growth.add(patch.parent, patch, first, 0)
            del self.growth.scopes[patch.parent]
            self._history.append(range(first, end))

    def restore(self, rows: Iterable[dict[str, object]], changes: Changes, now: int) -> None:
        """Takes up the run where its rows say it was. Emits no event; demands go to `changes`."""
        graph = self.graph
        self.restoring = True
        for row in rows:
            node, state, attempt = int(row["node"]), int(row["state"]), int(row["attempt"])  # type: ignore[call-overload]
            self.attempt[node] = attempt
            if tries := int(row["tries"]):  # type: ignore[call-overload]
                self.tries[node] = tries
            if graph is not None and graph.queue_limits:
                self._row_times[node] = max(self._row_times.get(node, 0), int(row["end_us"]))  # type: ignore[call-overload]
            if node == COMPILE_NODE:
                self.node_state[COMPILE_NODE] = state
            elif (
                state != _PENDING or node not in self.growth.scopes
            ):  # the row of an earlier round does not know what it has grown
                self._set(node, state)
            if state == _RUNNING:
                self.in_flight[node] = InFlight(
                    attempt=attempt,
                    host=str(row["host"]),
                    grant_id=str(row["grant_id"]),
                    resources=self.ready.resources_of(node),
                    held_us=int(row["start_us"]),  # type: ignore[call-overload]
                )
            elif state == _SUCCEEDED and node != COMPILE_NODE and graph is not None:
                self.outputs[node] = unpack_list(row["outputs"])  # type: ignore[arg-type]
                for dependent in graph.dependents_of(node):
                    self.missing[dependent] -= 1
            elif state == _FAILED:
                self.policies.note(node, events_pb2.Failure.FromString(row["failure"]))  # type: ignore[arg-type]
                self.stopping = self.stopping or self.policies.cancels_run(node)
                if self.policies.goes_on(node):
                    self.policies.let_followers_go(node)
            elif state == _SKIPPED:
                self.policies.let_followers_go(node)
            elif state == _WAITING and graph is not None and self.cleaning.is_due(node):
                self.cleaning.begin(node)
            elif state == _WAITING and self.child_runs.starts_one(node):
                self.child_runs.restore(node, changes)
            elif state == _WAITING and graph is not None and graph.is_control(node):
                until_us = int(row["end_us"])  # type: ignore[call-overload]
                signal = graph.operator_of(node).control.name
                wait = NodeWait(signal=signal, since_us=int(row["start_us"]), until_us=until_us)  # type: ignore[call-overload]
                self.waits.add(node, wait)
                if until_us:
                    changes.waits.append((max(0.0, (until_us - now) / 1e6), self, node))
            elif state == _WAITING and graph is not None and node not in self.growth.scopes:
                delay = delay_before(
                    graph.operator_of(node).retry, self.tries.get(node, 0), (self.header.run_id, node, attempt)
                )
                over_us = int(row["end_us"]) + int(delay * 1e6)  # type: ignore[call-overload]
                if over_us > now:
                    changes.waits.append(((over_us - now) / 1e6, self, node))
                else:
                    self._set(node, _PENDING)
                    self._row_times[node] = over_us
        self._restore_growth(changes, now)
        if self.state is RunState.COMPILING:
            if not self.in_flight:
                self.make_ready(COMPILE_NODE, changes, now)
        elif self.state is RunState.RUNNING:
            self._resume(changes, now)
        elif self.state is RunState.CANCELLING:
            self._stop_all(changes, now)
            self._go_on_cleaning(changes, now)
        elif self.state is RunState.PAUSED and self._nothing_open():
            self._finish(changes, now)
        self._row_times.clear()
        self.restoring = False

    def _restore_growth(self, changes: Changes, now: int) -> None:
        for nodes in self._history:
            for node in nodes:
                if self.node_state[node] != _SUCCEEDED:
                    self._set(node, _CANCELLED)
        for node in [one for one in self.growth.scopes if _ENDED[self.node_state[one]]]:
            del self.growth.scopes[node]
        for node in [*self.in_flight, *self.child_runs.going_on]:
            if self.cleaning.is_of_no_use(node):
                self.drop(node, changes, now)
        for node in [one for one in range(len(self.missing)) if self.node_state[one] == _FAILED]:
            if self.policies.cancels_dependents(node) and not self.ended:
                self.policies.cancel_with(node, changes, now)
        if self.stopping and self.state in (RunState.RUNNING, RunState.PAUSED):
            self._stop_all(changes, now)
        # Asked too early does no harm: the answer is to wait.
        self._due.update(self.growth.scopes)

    def _resume(self, changes: Changes, now: int) -> None:
        """Makes ready whatever can start; ends the run when nothing is left to do."""
        self._ask(changes)
        states, missing = self.node_state, self.missing
        for node in range(len(missing)):
            if missing[node] == 0 and states[node] == _PENDING:
                self.make_ready(node, changes, now)
        if self._nothing_open():
            self._finish(changes, now)

    # Starting nodes.

    def make_ready(self, node: int, changes: Changes, now: int) -> None:
        """All that a node needs is there."""
        if self.state is RunState.PAUSED:
            self._set_any(node, _PENDING)
            return
        self._set_any(node, _READY)
        if self._controls and self._is_control(node):
            changes.questions.append((self, node))
        elif self._cached and self._may_reuse(node):
            self.looking.add(node)
            changes.lookups.append((self, node))
        else:
            self._queue(node, changes, now)

    def _queue(self, node: int, changes: Changes, now: int) -> None:
        """The node waits for room."""
        since = now
        graph = self.graph
        if graph is not None and graph.queue_limits and node != COMPILE_NODE:
            limit = graph.queue_limits.get(graph.node_operator[node])
            if limit:
                since = self._ready_since(node, now)
                left = max(0.0, limit - (now - since) / 1e6)
                changes.timers.append((left, self, partial(ActiveRun.leave_queue, node=node, since=since)))
        group = self.ready.add(node, since)
        more = self.ready.more_of(group)
        if more:
            changes.demands[group] += more

    def _ready_since(self, node: int, now: int) -> int:
        """After a restart a node has been ready since what it needs was there, and its last attempt had ended."""
        times, graph = self._row_times, self.graph
        if not self.restoring or graph is None:
            return now
        needed = max((times.get(one, 0) for one in graph.dependencies_of(node)), default=0)
        return min(now, max(self.since_us, needed, times.get(node, 0)))

    def leave_queue(self, node: int, since: int, changes: Changes, now: int) -> None:
        """The time in which a node that is ready since then had to find room is over."""
        graph = self.graph
        if graph is None or self.node_state[node] != _READY or self.ready.since(node) != since:
            return
        operator = graph.operator_of(node)
        failure = waited_too_long(node, operator.queue_timeout_seconds)
        failure.file, failure.line = graph.source_of(node)
        self.ready.remove(node)
        tries = self.tries[node] = self.tries.get(node, 0) + 1
        again = may_retry(operator.retry, tries, failure)
        kind = events_pb2.EVENT_KIND_NODE_RETRIED if again else events_pb2.EVENT_KIND_NODE_FAILED
        # There was no attempt.
        batch = changes.event(self, kind, now, node)
        changes.detail(batch).failure.CopyFrom(failure)
        changes.body(batch, "", action_pb2.Outcome())
        delay = delay_before(operator.retry, tries, (self.header.run_id, node, self.attempt[node])) if again else 0.0
        state = (NodeState.WAITING if delay else NodeState.PENDING) if again else NodeState.FAILED
        changes.settled.append((self.header.run_id, node, state, tries, failure.SerializeToString()))
        if delay:
            self._set(node, _WAITING)
            changes.waits.append((delay, self, node))
        elif again:
            self.make_ready(node, changes, now)
        else:
            self._set(node, _FAILED)
            self._failed_for_good(node, failure, changes, now)
            self._ask(changes)
            if self._nothing_open():
                self._finish(changes, now)

    def _may_reuse(self, node: int) -> bool:
        """Whether an earlier result is looked for: of a cached operator, before its first attempt in this round."""
        graph = self.graph
        return (
            graph is not None
            and node != COMPILE_NODE
            and graph.node_operator[node] in self._cached
            and node not in self.tries
            and node not in self.lost
        )

    def reuse(self, node: int, outputs: bytes, origin: events_pb2.ResultOrigin, changes: Changes, now: int) -> None:
        """An earlier result was found: a serialised ListValue of the node's outputs."""
        if node not in self.looking:
            return
        self.looking.discard(node)
        self._take(node, outputs, origin, changes, now)
        self._follow(node, changes, now)
        self._ask(changes)
        if self._nothing_open():
            self._finish(changes, now)

    def _take(self, node: int, outputs: bytes, origin: events_pb2.ResultOrigin, changes: Changes, now: int) -> None:
        self._set(node, _SUCCEEDED)
        self.outputs[node] = unpack_list(outputs)
        changes.reused.append((self.header.run_id, node, outputs, origin.SerializeToString()))
        batch = changes.event(self, events_pb2.EVENT_KIND_NODE_REUSED, now, node, self.attempt[node])
        changes.detail(batch).reused.CopyFrom(origin)

    def run_anew(self, node: int, changes: Changes, now: int) -> None:
        """No earlier result was found."""
        if node in self.looking:
            self.looking.discard(node)
            self._queue(node, changes, now)

    def start(self, group: Group, grant: Grant, changes: Changes, now: int) -> int:
        """Commits attempts for as many ready nodes of the group as the grant allows; returns for how many."""
        group.asked = max(0, group.asked - grant.count)
        count = grant.count
        if self.options.max_parallel:
            count = min(count, max(0, self.options.max_parallel - len(self.in_flight)))
        # What was cancelled since it became ready stays in its group until its turn comes.
        taken = [one for one in self.ready.take(group, count, now) if self._starts(one[0])]
        for node, ready_us in taken:
            self._set_any(node, _RUNNING)
            attempt = self.attempt[node] = self.attempt[node] + 1
            way = InFlight(
                attempt=attempt, host=grant.host, grant_id=grant.grant_id, resources=group.resources, held_us=now
            )
            self._start(StartedAttempt(run=self, node=node, in_flight=way, grant=grant), ready_us, changes, now)
        self._use_room(changes)
        return len(taken)

    def _start(self, started: StartedAttempt, ready_us: int, changes: Changes, now: int) -> None:
        node, way = started.node, started.in_flight
        self.in_flight[node] = way
        changes.start(started)
        batch = changes.event(self, events_pb2.EVENT_KIND_NODE_STARTED, now, node, way.attempt)
        batch.ready_us.append(ready_us)

    def _take_over(self, node: int, way: InFlight, dependent: int, changes: Changes, now: int) -> bool:
        """Starts a node in the room of the one before it in its group: on the same host, without asking again."""
        graph = self.graph
        assert graph is not None, "only nodes of a graph follow each other"
        if (
            not graph.is_next(node, dependent)
            or now - way.held_us > ROOM_HELD_US
            or way.grant_id in self.revoked
            or self._is_control(dependent)
            or (self._cached and self._may_reuse(dependent))
            or not self.ready.may_take_over(node, dependent)
        ):
            return False
        self._set(dependent, _READY)
        self._set(dependent, _RUNNING)
        attempt = self.attempt[dependent] = self.attempt[dependent] + 1
        kept = InFlight(
            attempt=attempt, host=way.host, grant_id=way.grant_id, resources=way.resources, held_us=way.held_us
        )
        self._start(StartedAttempt(run=self, node=dependent, in_flight=kept, grant=None), now, changes, now)
        return True

    def _use_room(self, changes: Changes) -> None:
        """A run that may not do everything at once asks for more when it may do more."""
        if self.options.max_parallel and not self.ended:
            for group in self.ready.groups():
                more = self.ready.more_of(group)
                if more:
                    changes.demands[group] += more

    def _starts(self, node: int) -> bool:
        return self.node_state[node] == _READY

    def wake(self, node: int, changes: Changes, now: int) -> None:
        """The wait before a node's next attempt is over, or that of a control node."""
        if node in self.growth.scopes:
            return
        if node in self.waits.nodes:
            self._wait_is_over(node, changes, now)
        elif self.node_state[node] == _WAITING and not self.ended:
            self.make_ready(node, changes, now)

    # Growing.

    def _is_control(self, node: int) -> bool:
        graph = self.graph
        return graph is not None and node != COMPILE_NODE and graph.node_operator[node] in self._controls

    def is_dynamic(self, node: int) -> bool:
        """Whether the attempts of this node give a Dag that the run grows by."""
        graph = self.graph
        return graph is not None and node != COMPILE_NODE and graph.node_operator[node] in graph.dynamic_operators

    def _ask(self, changes: Changes) -> None:
        """Control nodes above what has ended are asked what they do next."""
        if self._due:
            changes.questions.extend((self, node) for node in sorted(filter(self.cleaning.goes_on, self._due)))
        self._due.clear()

    def question(self, node: int) -> Question | None:
        """What a control node is to be asked; None when it waits for nothing that has ended. Raises FunctionFailed, ContentNeeded."""
        graph, scope = self.graph, self.growth.scopes.get(node)
        if graph is None or self.node_state[node] not in (_READY, _WAITING) or not self.cleaning.goes_on(node):
            return None
        dag, local = graph.part_of(node)
        operator = dag.node_operator[local]
        if scope is not None and scope.open and dag.operators[operator].control.kind != _RACE:
            return None
        if scope is not None and self.cleaning.holds_back(node, scope):
            return None
        arguments, size = [], 0
        rows = range(graph.argument_start[node], graph.argument_start[node + 1])
        for row in (
            rows if scope is None or not scope.dynamic else ()
        ):  # what a dynamic operator took, its attempt has had
            data = value_at(graph, graph.arguments, row, self.outputs.__getitem__, self.read_content)
            value = types_pb2.Value.FromString(data)
            arguments.append(self.read_content(value) if is_spilled(value) else value)
            size += arguments[-1].ByteSize()
            if size > _OUTCOME_BYTES:
                raise FunctionFailed("OverflowError", f"the arguments have more than {_OUTCOME_BYTES:,} bytes together")
        if scope is not None and self.cleaning.was_cancelled(node, scope):
            outcomes: list[Outcome | None] = [Outcome(cancelled=True)]
        else:
            outcomes = [] if scope is None else self._outcomes(graph, scope)
        return Question(node=node, dag=dag, operator=operator, arguments=arguments, scope=scope, outcomes=outcomes)

    def _outcomes(self, graph: Graph, scope: Scope) -> list[Outcome | None]:
        """One for each instance. Raises FunctionFailed when the values are too large together."""
        outcomes: list[Outcome | None] = []
        size = 0
        for instance in range(len(scope.open_of)):
            outcome = self._outcome(graph, scope, instance)
            outcomes.append(outcome)
            if outcome is not None and outcome.value is not None:
                size += outcome.value.ByteSize()
            if size > _OUTCOME_BYTES:
                raise FunctionFailed("OverflowError", f"the results have more than {_OUTCOME_BYTES:,} bytes together")
        return outcomes

    def _outcome(self, graph: Graph, scope: Scope, instance: int) -> Outcome | None:
        if scope.open_of[instance]:
            return None
        nodes = scope.nodes_of(instance)
        failed = [node for node in nodes if self.node_state[node] == _FAILED]
        failures = tuple(self.growth.failures[node] for node in failed)
        if not all(map(self.policies.goes_on, failed)):
            return Outcome(failures=failures)
        try:
            data = value_at(graph, graph.items, scope.items[instance], self.outputs.__getitem__, self.read_content)
        except KeyError:
            return Outcome(failures=failures)  # its result was given up
        except FunctionFailed as error:
            return Outcome(failures=(failure_of_function(error),))
        return Outcome(value=types_pb2.Value.FromString(data))

    def answer(self, question: Question, step: Step, changes: Changes, now: int) -> None:
        """What a control node does next. A done value is small enough to travel inline."""
        node = question.node
        if (
            self.node_state[node] not in (_READY, _WAITING)
            or not self.cleaning.goes_on(node)
            or self.growth.scopes.get(node) is not question.scope
            or node in self.waits.nodes  # asked twice, before and after a pause
            or node in self.child_runs.going_on
        ):
            return
        if node in self.cleaning.cleaning and not (isinstance(step, Grow) and in_cleanup(step.patch)):
            self._cleaned(node, step, changes, now)
        elif isinstance(step, Grow):
            is_child = self.child_runs.starts_one(node)
            refused = self.child_runs.refusal() if is_child else self._refusal(node, step.patch)
            if refused is not None:
                self.fail_for_good(node, refused, changes, now)
            elif is_child:
                self.child_runs.start(question, step.patch, changes, now)
            else:
                self._grow(node, step.patch, changes, now)
        elif isinstance(step, Done):
            self._close(node, changes, now)
            self.compute(node, tuple(value.SerializeToString() for value in step.values), changes, now)
        elif isinstance(step, Await):
            self._await(node, step, changes, now)
        elif isinstance(step, Failed):
            self.fail_for_good(node, step.failure, changes, now)
        self._contents.clear()
        self._ask(changes)
        if self._nothing_open():
            self._finish(changes, now)

    def compute(self, node: int, outputs: tuple[bytes, ...], changes: Changes, now: int) -> None:
        """A control node has its result."""
        self._set(node, _SUCCEEDED)
        self.outputs[node] = outputs
        changes.reused.append((self.header.run_id, node, pack_list(outputs), None))
        changes.event(self, events_pb2.EVENT_KIND_NODE_COMPUTED, now, node)
        self._follow(node, changes, now)

    # Waiting for signals and for time.

    def _await(self, node: int, step: Await, changes: Changes, now: int) -> None:
        sent = self.waits.sent.get(step.signal) if step.signal else None
        if sent is not None:
            self._take_payload(node, sent, changes, now)
            return
        self._set(node, _WAITING)
        until_us = now + int(step.seconds * 1e6) if step.seconds else 0
        self.waits.add(node, NodeWait(signal=step.signal, since_us=now, until_us=until_us))
        changes.waiting.append((self.header.run_id, node, now, until_us))
        facts = changes.detail(changes.event(self, events_pb2.EVENT_KIND_NODE_WAITING, now, node)).waiting
        facts.signal, facts.until_time_us = step.signal, until_us
        if until_us:
            changes.waits.append((step.seconds, self, node))

    def signal(self, signal: SentSignal, changes: Changes, now: int) -> None:
        """A signal of a name that was not sent before: for the nodes that wait for it, and those that will."""
        changes.signals.append(
            (self.header.run_id, signal.name, signal.request_id, signal.payload, signal.principal, signal.sent_us)
        )
        facts = changes.detail(changes.event(self, events_pb2.EVENT_KIND_RUN_SIGNALLED, now)).signalled
        facts.name, facts.principal = signal.name, signal.principal
        for node in self.waits.send(signal):
            if self.node_state[node] == _WAITING:
                self._take_payload(node, signal, changes, now)
        self._ask(changes)
        if self._nothing_open():
            self._finish(changes, now)

    def _take_payload(self, node: int, signal: SentSignal, changes: Changes, now: int) -> None:
        graph = self.graph
        assert graph is not None, "only a run with a graph has nodes"
        try:
            check(
                types_pb2.Value.FromString(signal.payload),
                graph.types_of(node)[graph.operator_of(node).outputs[0].type],
            )
        except BadValue as error:
            failure = failure_of("ValueError", f"the payload of the signal `{signal.name}`: {error}")
            self.fail_for_good(node, failure, changes, now)
        else:
            self.compute(node, (signal.payload,), changes, now)

    def _wait_is_over(self, node: int, changes: Changes, now: int) -> None:
        if self.node_state[node] != _WAITING or self.ended:
            return
        wait = self.waits.nodes.pop(node)
        if wait.signal:
            self.waits.by_signal[wait.signal].remove(node)
            seconds = (wait.until_us - wait.since_us) / 1e6
            self.fail_for_good(node, signal_timed_out(wait.signal, seconds), changes, now)
        else:
            self.compute(node, (_NULL,), changes, now)
        self._ask(changes)
        if self._nothing_open():
            self._finish(changes, now)

    # Waiting for child runs.

    def wait_for_child(self, node: int, child: UUID, changes: Changes, now: int) -> None:
        """A control node waits for a run of its own."""
        self._set(node, _WAITING)
        changes.waiting.append((self.header.run_id, node, now, 0))
        facts = changes.detail(changes.event(self, events_pb2.EVENT_KIND_NODE_WAITING, now, node)).waiting
        facts.child_run_id = str(child)

    def go_on(self, changes: Changes, now: int) -> None:
        """Something has ended: control nodes are asked, and the run may be over."""
        self._ask(changes)
        if self._is_over():
            self._finish(changes, now)

    # Growing by what an attempt made.

    def grown(self, outcome: action_pb2.Outcome, patch: dag_pb2.DagPatch, changes: Changes, now: int) -> None:
        """The attempt of a dynamic operator, which `expects` says counts, gave a Dag that has passed all checks."""
        graph = self.graph
        assert graph is not None, "only a run with a graph has nodes"
        node = outcome.key.node
        instead = action_pb2.Outcome()
        instead.CopyFrom(outcome)
        refused = self._refusal(node, patch)
        if self.is_stopping(node):
            instead.state = events_pb2.ATTEMPT_STATE_CANCELLED
            instead.failure.kind = events_pb2.FAILURE_KIND_CANCELLED
        elif refused is not None:
            instead.state = events_pb2.ATTEMPT_STATE_FAILED
            instead.failure.CopyFrom(refused)
            instead.failure.file, instead.failure.line = graph.source_of(node)
        else:
            way = self.in_flight.pop(node)
            changes.releases[way.grant_id] += 1
            changes.end(self.header.run_id, node, way.attempt, NodeState.WAITING, self.tries.get(node, 0))
            batch = changes.event(self, events_pb2.EVENT_KIND_NODE_GREW, now, node, way.attempt)
            changes.body(batch, way.host, outcome)
            self._grow(node, patch, changes, now)
            self._use_room(changes)
            self._ask(changes)
            return
        self.end(instead, changes, now)

    def _refusal(self, node: int, patch: dag_pb2.DagPatch) -> events_pb2.Failure | None:
        """Why the run may not grow by this patch."""
        assert self.graph is not None
        added = len(patch.dag.node_operator)
        return LIMITS.refusal(added=added, nodes=self.graph.size, depth=self.growth.depth_of(node))

    def _append(self, patch: dag_pb2.DagPatch) -> tuple[int, int]:
        """Makes room for the nodes of a patch; gives the first one, and the one after the last."""
        graph = self.graph
        assert graph is not None, "only a run with a graph grows"
        first = graph.append(patch.dag)
        size = graph.size - first
        self.node_state[-1:-1] = bytes([_PENDING]) * size
        self.attempt[-1:-1] = array("I", bytes(4 * size))
        self.missing.extend(graph.waits_for[first:])
        self.counts[_PENDING] += size
        self.ready.shape(graph)
        return first, graph.size

    def _grow(self, node: int, patch: dag_pb2.DagPatch, changes: Changes, now: int) -> None:
        graph = self.graph
        assert graph is not None
        first, end = self._append(patch)
        scope = self.growth.add(node, patch, first, graph.last_items, dynamic=self.is_dynamic(node))
        if self.node_state[node] != _WAITING:
            self._set(node, _WAITING)
        run_id = self.header.run_id
        changes.patches.append((run_id, graph.parts - 1, node, patch.SerializeToString()))
        changes.moved.append(RunMove(run_id=run_id, state=self.state, node_count=graph.size))
        facts = changes.detail(changes.event(self, events_pb2.EVENT_KIND_RUN_GREW, now, node)).grown
        facts.node_count = graph.size
        facts.operators.extend(f"{operator.module}:{operator.qualname}" for operator in patch.dag.operators)
        facts.node_operator.extend(patch.dag.node_operator)
        for one in range(first, end):
            if self.missing[one] == 0:
                self.make_ready(one, changes, now)
        if not all(scope.open_of):
            self._due.add(node)

    def fail_control(self, node: int, failure: events_pb2.Failure, changes: Changes, now: int) -> None:
        """A control node cannot be asked: what it takes is not there, or cannot be computed."""
        if self.node_state[node] in (_READY, _WAITING) and self.cleaning.goes_on(node):
            self.fail_for_good(node, failure, changes, now)
            self._ask(changes)
            if self._nothing_open():
                self._finish(changes, now)

    def fail_for_good(self, node: int, failure: events_pb2.Failure, changes: Changes, now: int) -> None:
        """A control node has failed, and with it perhaps the run."""
        graph = self.graph
        assert graph is not None
        if node in self.cleaning.cleaning:
            self._cleaned(node, Failed(failure), changes, now)
            return
        self._close(node, changes, now)
        found = events_pb2.Failure()
        found.CopyFrom(failure)
        if not found.file:
            found.file, found.line = graph.source_of(node)
        if found.node < 0:
            found.node = node
        self.policies.note(node, found)
        self._set(node, _FAILED)
        changes.settled.append((self.header.run_id, node, _FAILED, self.tries.get(node, 0), found.SerializeToString()))
        batch = changes.event(self, events_pb2.EVENT_KIND_NODE_FAILED, now, node)
        changes.detail(batch).failure.CopyFrom(found)
        changes.body(batch, "", action_pb2.Outcome())
        self.policies.give_up_others(node, changes, now)
        if self.policies.cancels_run(node) and not self.stopping:
            self.stopping = True
            self._cancel_open_nodes(changes, now)
            self._stop_all(changes, now)

    def _close(self, node: int, changes: Changes, now: int) -> None:
        """Forgets what a control node has grown; what has not ended in it, at any depth, is dropped."""
        scope = self.growth.scopes.pop(node, None)
        if scope is not None:
            self._drop_all(scope, changes, now)

    def _drop_all(self, scope: Scope, changes: Changes, now: int) -> None:
        if scope.open:
            for node in range(scope.first, scope.end):
                self.drop(node, changes, now)

    def drop(self, node: int, changes: Changes, now: int) -> None:
        """What comes of a node is of no use any more: it is cancelled, what it has grown with it, and what has a cleanup cleans up first."""
        state = self.node_state[node]
        if state == _RUNNING:
            self.growth.abandoned.add(node)
            self.cleaning.linger(node)
            self._stop(node, changes, now, now)
        elif node in self.child_runs.going_on:
            self.growth.abandoned.add(node)
            self.cleaning.linger(node)
            self.child_runs.stop(node, changes)
        elif self.cleaning.is_due(node):
            if node not in self.cleaning.cleaning:
                self.cleaning.start(node, changes)
                if not in_cleanup(self.growth.scopes[node].last):
                    self._drop_all(self.growth.scopes[node], changes, now)
        elif not _ENDED[state]:
            self.looking.discard(node)
            self.ready.remove(node)
            self.settle(node, _CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
            self._close(node, changes, now)

    # Cleaning up what is cancelled.

    def _cleaned(self, node: int, step: Step, changes: Changes, now: int) -> None:
        """A cleaning node was asked and would not grow by its cleanup."""
        if isinstance(step, Grow):
            self._due.add(node)  # it was asked before its body was cancelled
            return
        self._close(node, changes, now)
        self.settle(node, _CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)

    def _go_on_cleaning(self, changes: Changes, now: int) -> None:
        """A cancelled run does nothing but what is sheltered, for a while."""
        if self.cleaning.cleaning:
            changes.timers.append((self.cleaning.seconds_left(now), self, cleanups_take_too_long))
            self._due.update(self.growth.scopes)  # it may have been paused
            self._resume(changes, now)

    def skip_cleanups(self, changes: Changes, now: int) -> None:
        """Of a run that is CANCELLING: cleanups that have not ended are cancelled too."""
        if self.state is not RunState.CANCELLING:
            return
        for node in self.child_runs.going_on:
            self.child_runs.stop(node, changes, skip_cleanups=True)
        if not self.cleaning.cleaning:
            return
        sheltered = [node for node in self.in_flight if self.cleaning.shelters(node)]
        self.cleaning.give_up()
        self._cancel_open_nodes(changes, now, given_up=True)
        for node in sheltered:
            self._stop(node, changes, now, now)
        if self._is_over():
            self._finish(changes, now)

    # Ending attempts.

    def expects(self, node: int, attempt: int) -> bool:
        """Whether an outcome of this attempt would still count."""
        way = self.in_flight.get(node)
        return way is not None and way.attempt == attempt

    def end(self, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        """The outcome of an attempt that `expects` says counts."""
        node = outcome.key.node
        way = self.in_flight.pop(node)
        if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
            taken_over = self._succeed(node, way, outcome, changes, now)
        else:
            self._fail(node, way, outcome, changes, now)
            taken_over = False
        if not taken_over:
            changes.releases[way.grant_id] += 1
            self._use_room(changes)
        self._ask(changes)
        if self._is_over():
            self._finish(changes, now)

    def _is_over(self) -> bool:
        if self.state is RunState.CANCELLING:
            return not self.in_flight and not self.cleaning.cleaning and not self.child_runs.going_on
        return self._nothing_open()

    def _succeed(self, node: int, way: InFlight, outcome: action_pb2.Outcome, changes: Changes, now: int) -> bool:
        """Whether a dependent has taken over its room."""
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
        if self._cached and graph.node_operator[node] in self._cached:
            changes.results.append((self, node))
        return self._follow(node, changes, now, way)

    def _follow(self, node: int, changes: Changes, now: int, way: InFlight | None = None) -> bool:
        """A node has succeeded: those that waited for it alone are ready. Whether one of them has taken over its room, which was `way`."""
        graph = self.graph
        assert graph is not None, "only a run with a graph has nodes that succeed"
        missing = self.missing
        goes_on = self.state is RunState.RUNNING
        taken_over = False
        for dependent in graph.dependents_of(node):
            missing[dependent] -= 1
            free = missing[dependent] == 0 and self.node_state[dependent] == _PENDING
            if free and (goes_on or self.cleaning.goes_on(dependent)):
                if way is not None and self._take_over(node, way, dependent, changes, now):
                    way, taken_over = None, True
                else:
                    self.make_ready(dependent, changes, now)
        return taken_over

    def _fail(self, node: int, way: InFlight, outcome: action_pb2.Outcome, changes: Changes, now: int) -> None:
        state = AttemptState(outcome.state)
        failure = events_pb2.Failure()
        failure.CopyFrom(outcome.failure)
        failure.node = node
        if failure.kind == events_pb2.FAILURE_KIND_ARGUMENTS and not failure.line and self.graph is not None:
            failure.file, failure.line = self.graph.source_of(node)  # a worker does not know it
        data = failure.SerializeToString()
        run_id = self.header.run_id
        stopping = self.is_stopping(node)
        failed_itself = self.stopping and state not in (AttemptState.CANCELLED, *SYSTEM_FAILURES)
        if stopping and (self.state is RunState.CANCELLING or node in self.growth.abandoned or not failed_itself):
            self.growth.abandoned.discard(node)
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
            again = policy is not None and not stopping and may_retry(policy, self.tries[node], failure)
            delay = 0.0 if policy is None else delay_before(policy, self.tries[node], (run_id, node, way.attempt))
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
            self.make_ready(node, changes, now)
        else:
            self._set_any(node, _FAILED)
            changes.end(run_id, node, way.attempt, NodeState.FAILED, tries, failure=data)
            self._failed_for_good(node, failure, changes, now)

    def _failed_for_good(self, node: int, failure: events_pb2.Failure, changes: Changes, now: int) -> None:
        """A node is not tried again: what becomes of the others."""
        self.policies.note(node, failure)
        if node == COMPILE_NODE or self.graph is None:
            self._finish(changes, now)
            return
        self.policies.give_up_others(node, changes, now)
        if self.policies.cancels_run(node):
            self.stopping = True
            self._cancel_open_nodes(changes, now)
            self._stop_all(changes, now)

    # Cancelling, reviving, finishing.

    def cancel(self, changes: Changes, now: int, *, skip_cleanups: bool = False) -> None:
        """Nothing new starts but cleanups; what runs is stopped; the run ends when that has ended."""
        self._cancel(changes, now)
        if skip_cleanups:
            self.skip_cleanups(changes, now)

    def _cancel(self, changes: Changes, now: int) -> None:
        if self.state not in (RunState.RUNNING, RunState.COMPILING, RunState.PAUSED):
            return
        self._move(RunState.CANCELLING, now)
        changes.event(self, events_pb2.EVENT_KIND_RUN_CANCELLING, now)
        changes.moved.append(RunMove(run_id=self.header.run_id, state=self.state))
        self._cancel_open_nodes(changes, now)
        self._stop_all(changes, now)
        self._go_on_cleaning(changes, now)
        if self._is_over():
            self._finish(changes, now)

    def pause(self, changes: Changes, now: int) -> None:
        """Nothing new starts until `resume`; what runs goes on. What was ready is pending again, which nothing stored says otherwise."""
        if self.ended or self.state not in (RunState.RUNNING, RunState.COMPILING):
            return
        self._move(RunState.PAUSED, now)
        changes.event(self, events_pb2.EVENT_KIND_RUN_PAUSED, now)
        changes.moved.append(RunMove(run_id=self.header.run_id, state=self.state))
        for node in range(-1, len(self.node_state) - 1):
            if self.node_state[node] == _READY:
                self._set_any(node, _PENDING)
        self._withdraw(changes)

    def resume(self, changes: Changes, now: int) -> None:
        """A paused run goes on where it was."""
        if self.ended or self.state is not RunState.PAUSED:
            return
        self._move(RunState.RUNNING if self.graph is not None else RunState.COMPILING, now)
        changes.event(self, events_pb2.EVENT_KIND_RUN_RESUMED, now)
        changes.moved.append(RunMove(run_id=self.header.run_id, state=self.state))
        if self.graph is not None:
            # Asked too early does no harm: the answer is to wait.
            self._due.update(self.growth.scopes)
            self._resume(changes, now)
        elif self.node_state[COMPILE_NODE] == _PENDING:
            self.make_ready(COMPILE_NODE, changes, now)

    def _cancel_open_nodes(self, changes: Changes, now: int, *, given_up: bool = False) -> None:
        """All but what cleans up, and its cleanups."""
        cleaning, sheltered = self.cleaning, []
        for node in range(len(self.node_state) - 1):  # control nodes come before what they have made
            state = self.node_state[node]
            if _ENDED[state] or node in cleaning.cleaning:
                continue
            if cleaning.cleaning and cleaning.shelters(node):
                if state == _READY:
                    sheltered.append(node)
            elif state == _RUNNING or node in self.child_runs.going_on:
                cleaning.linger(node)
            elif state == _WAITING and not given_up and cleaning.is_due(node):
                cleaning.start(node, changes)
            else:
                self.settle(node, _CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
        self._withdraw(changes)
        for node in sheltered:
            self.make_ready(node, changes, now)

    def _withdraw(self, changes: Changes) -> None:
        """Nothing is to start any more, or for now."""
        self.looking.clear()
        for group in self.ready.clear():
            changes.withdrawn.append(group.group_id)
            changes.demands.pop(group, None)

    def _stop_all(self, changes: Changes, now: int) -> None:
        # A restart does not give cancelled runs more time.
        since = self.since_us if self.state is RunState.CANCELLING else now
        for node in self.in_flight:
            if not self.cleaning.shelters(node):
                self._stop(node, changes, since, now)
        for node in self.child_runs.going_on:
            if not self.cleaning.shelters(node):
                self.child_runs.stop(node, changes)

    def _stop(self, node: int, changes: Changes, since: int, now: int) -> None:
        """Tells an attempt to stop. One that does not say in time that it has is given up."""
        way = self.in_flight[node]
        changes.stops.append((way.host, (self.header.run_id, node, way.attempt)))
        left = max(0.0, STOP_SECONDS - (now - since) / 1e6)
        changes.timers.append((left, self, partial(ActiveRun.give_up_on, node=node, attempt=way.attempt)))

    def is_stopping(self, node: int) -> bool:
        """Whether an attempt of the node is of no use any more."""
        if self.state is RunState.CANCELLING or self.stopping:
            return node in self.growth.abandoned or not self.cleaning.shelters(node)
        return node in self.growth.abandoned

    def give_up_on(self, node: int, attempt: int, changes: Changes, now: int) -> None:
        """The time in which an attempt had to say that it has stopped is over."""
        if self.expects(node, attempt) and self.is_stopping(node):
            key = action_pb2.AttemptKey(run_id=str(self.header.run_id), node=node, attempt=attempt)
            outcome = action_pb2.Outcome(key=key, state=events_pb2.ATTEMPT_STATE_LOST, failure=never_stopped(node))
            self.end(outcome, changes, now)

    def revive(self, request_id: str, changes: Changes, now: int) -> None:
        """Opens the next round of a failed or cancelled run: succeeded nodes stay, all others begin anew."""
        self.round += 1
        self.end_us = 0
        self.end_committed = False
        self.failure = None
        self.policies.reset()
        self.stopping = False
        self.growth.reset()
        self.cleaning.reset()
        self.waits.reset()
        self.child_runs.reset()
        self.tries.clear()
        self.lost.clear()
        for node in range(len(self.node_state) - 1):
            if self.node_state[node] != _SUCCEEDED:
                self._set(node, _PENDING)
                if self.growth.made(node):
                    # What was grown is not gone back to: control nodes begin anew.
                    self._set(node, _CANCELLED)
        self._due.clear()
        self._count_missing()
        changes.event(self, events_pb2.EVENT_KIND_RUN_REVIVED, now)
        self._move(RunState.RUNNING if self.graph is not None else RunState.COMPILING, now)
        changes.revived.append((self.header.run_id, self.state, request_id))
        if self.graph is None:
            self.node_state[COMPILE_NODE] = _PENDING
            self.make_ready(COMPILE_NODE, changes, now)
            return
        if not self.start_us:  # it was cancelled while it was compiled
            self._tell_start(self.graph, changes, now)
            changes.moved.append(
                RunMove(run_id=self.header.run_id, state=self.state, start_us=now, node_count=self.graph.size)
            )
        self._resume(changes, now)

    def _count_missing(self) -> None:
        graph = self.graph
        if graph is None:
            return
        self.missing = array("I", graph.waits_for)
        for node in self.outputs:
            for dependent in graph.dependents_of(node):
                self.missing[dependent] -= 1

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
                outputs = outputs_of(self.graph, self.outputs.__getitem__, self.read_content)
            except OutputFailed as error:
                self.failure = error.failure
            except ContentNeeded as needed:
                changes.contents.append((self, needed.artifact))
                return
            except KeyError:
                # An output was given up by a node after whose failure the run went on.
                assert self.policies.tolerated is not None, "without a failure all outputs are there"
                self.failure = self.policies.tolerated[1]
            if self.failure is not None:
                state, kind = RunState.FAILED, events_pb2.EVENT_KIND_RUN_FAILED
        self._state_before_end = self.state
        self._move(state, now)
        self.end_us = now
        # Of nodes that were cancelled while they waited for room, the scheduler does not know.
        for group in self.ready.groups():
            if group.asked:
                changes.withdrawn.append(group.group_id)
                changes.demands.pop(group, None)
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

    def read_content(self, value: types_pb2.Value) -> types_pb2.Value:
        """What a value in the object store stands for. Raises ContentNeeded."""
        known = self._contents.get(value.artifact.digest)
        if known is None:
            raise ContentNeeded(value.artifact)
        return known

    def take_content(
        self, digest: str, content: types_pb2.Value | events_pb2.Failure, changes: Changes, now: int
    ) -> None:
        """What an output is computed from has been read, or cannot be."""
        if self.ended or not self._nothing_open():
            return
        if isinstance(content, events_pb2.Failure):
            self.failure = self.failure or content
        else:
            self._contents[digest] = content
        self._finish(changes, now)

    def keep_content(self, digest: str, content: types_pb2.Value) -> None:
        """What a control node is asked with has been read."""
        self._contents[digest] = content

    # Bookkeeping.

    def _move(self, state: RunState, now: int) -> None:
        self.state, self.since_us = state, now

    def _set(self, node: int, state: int) -> None:
        counts = self.counts
        counts[self.node_state[node]] -= 1
        counts[state] += 1
        self.node_state[node] = state
        if node >= self._grown_from and _ENDED[state]:
            ended = self.growth.ended(node)
            if ended is not None:
                parent, scope, instance = ended
                if not scope.open or (instance and self._races(parent)):
                    self._due.add(parent)
        if self.cleaning.lingering and _ENDED[state]:
            self._due.update(filter(self.cleaning.has_cleanup, self.cleaning.ended(node)))

    def _races(self, node: int) -> bool:
        graph = self.graph
        return graph is not None and graph.operator_of(node).control.kind == _RACE

    def _set_any(self, node: int, state: int) -> None:
        """Like `_set`; the compile attempt is in no count."""
        if node == COMPILE_NODE:
            self.node_state[node] = state
        else:
            self._set(node, state)

    def settle(self, node: int, state: int, kind: int, changes: Changes, now: int) -> None:
        """A node ends in this state without an attempt that says so."""
        self._set(node, state)
        changes.settled.append((self.header.run_id, node, state, self.tries.get(node, 0), None))
        changes.event(self, kind, now, node, self.attempt[node])

    @property
    def ended(self) -> bool:
        return self.end_us != 0

    @property
    def shown_state(self) -> RunState:
        """What callers may know: an end that a crash can still take back is not shown."""
        return self._state_before_end if self.ended and not self.end_committed else self.state


def cleanups_take_too_long(run: ActiveRun, *, changes: Changes, now: int) -> None:
    """The time that a cancelled run has for its cleanups is over."""
    run.skip_cleanups(changes, now)
