"""A run that goes on: where it and its nodes are, and how the end of one node leads to the start of others. No I/O; whatever follows is written into
`Changes`.

The hot path of the orchestrator. State lives in arrays indexed by node and is changed in place, ahead of the commit: should a commit be refused, the
run is dropped and read again from its shard. What is decided about one subject is decided by a part of the run, which knows the run.
"""

from array import array
from collections.abc import Iterable, Iterator

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.run_options import merge_options

from .attempts import Attempts
from .changes import Changes
from .checkpoints import Checkpoints
from .child_runs import ChildRuns
from .cleaning import Cleaning
from .computed import ContentNeeded
from .control_steps import ControlSteps
from .durations import Durations
from .earlier_results import EarlierResults
from .ending import Ending
from .failure_policies import FailurePolicies
from .graph import COMPILE_NODE, Graph
from .growth import Growth
from .interruptions import Interruptions
from .model import InFlight, RunHeader, RunMove, TakenResults
from .preemptions import Preemptions
from .ready_nodes import ReadyNodes
from .restoring import Restoring
from .run_part import RunPart
from .states import IS_END, PENDING, READY, RUNNING, STATE_COUNT, SUCCEEDED, WAITING, NodeState, RunState
from .stopping import Stopping
from .waits import Waits


class ActiveRun:
    """The state of one run, from its acceptance to its end."""

    def __init__(self, header: RunHeader, group_ids: Iterator[str], durations: Durations | None = None) -> None:
        self.header = header
        #: What nodes took, of all runs of this replica.
        self.durations = Durations() if durations is None else durations
        self.state = RunState.ACCEPTED
        self.round = 1
        self.last_event = 0
        self.start_us = 0
        self.end_us = 0
        #: Since when it has been in its state.
        self.since_us = 0
        #: The end is committed: until then nobody may hear of it.
        self.end_committed = False
        self.failure: events_pb2.Failure | None = None
        self.graph: Graph | None = None
        self.options = header.options

        #: Index -1 is the compile attempt in all of these.
        self.node_state = bytearray([PENDING])
        self.attempt = array("I", [0])
        #: User failures of this round, for nodes that had one.
        self.tries: dict[int, int] = {}
        self.lost: dict[int, int] = {}
        self.missing = array("I")
        self.outputs: dict[int, tuple[bytes, ...]] = {}
        self.in_flight: dict[int, InFlight] = {}
        self.counts = [0] * STATE_COUNT
        #: Values from the object store that outputs, and questions to control nodes, are computed from, by digest.
        self.contents: dict[str, types_pb2.Value] = {}

        self.growth = Growth(self)
        self.controls = ControlSteps(self)
        self.waits = Waits(self)
        self.child_runs = ChildRuns(self)
        self.cleaning = Cleaning(self)
        self.policies = FailurePolicies(self)
        self.stopping = Stopping(self)
        self.earlier_results = EarlierResults(self)
        self.ready = ReadyNodes(self, group_ids)
        self.attempts = Attempts(self)
        self.preemptions = Preemptions(self)
        self.checkpoints = Checkpoints(self)
        self.interruptions = Interruptions(self)
        self.ending = Ending(self)
        self.restoring = Restoring(self)

    # Beginning.

    def accept(
        self,
        dag_chunks: Iterable[bytes],
        graph: Graph | None,
        changes: Changes,
        now: int,
        taken: TakenResults | None = None,
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
            self._begin(graph, changes, now, taken)

    def _begin_compiling(self, changes: Changes, now: int) -> None:
        self.move(RunState.COMPILING, now)
        changes.event(self, events_pb2.EVENT_KIND_RUN_COMPILING, now)
        self.make_ready(COMPILE_NODE, changes, now)

    def compiled(
        self,
        dag_chunks: list[bytes],
        graph: Graph,
        outcome: action_pb2.Outcome,
        changes: Changes,
        now: int,
        taken: TakenResults | None = None,
    ) -> None:
        """The compile attempt gave a Dag that has passed all checks, and what the run takes from an earlier one."""
        way = self.in_flight.pop(COMPILE_NODE)
        self.preemptions.told.pop(COMPILE_NODE, None)
        self.ready.took(COMPILE_NODE, way, changes, now)
        changes.releases[way.grant_id] += 1
        run_id = self.header.run_id
        changes.end(run_id, COMPILE_NODE, way.attempt, NodeState.SUCCEEDED, 0)
        self.node_state[COMPILE_NODE] = SUCCEEDED
        changes.body(
            changes.event(self, events_pb2.EVENT_KIND_NODE_SUCCEEDED, now, COMPILE_NODE, way.attempt), way.host, outcome
        )
        changes.dag_chunks.extend((run_id, index, chunk) for index, chunk in enumerate(dag_chunks))
        if self.state is RunState.CANCELLING:
            self.ending.finish(changes, now)
            return
        paused = self.state is RunState.PAUSED
        self._begin(graph, changes, now, taken)
        if paused:
            self.stopping.pause(changes, now)
        changes.moved.append(RunMove(run_id=run_id, state=self.state, start_us=now, node_count=graph.size))

    def _begin(self, graph: Graph, changes: Changes, now: int, taken: TakenResults | None) -> None:
        self.attach(graph)
        self.move(RunState.RUNNING, now)
        self.tell_start(graph, changes, now, taken.why if taken is not None else None)
        for node, result in sorted(taken.nodes.items() if taken is not None else ()):
            self.earlier_results.take(node, result.outputs, result.origin, changes, now)
            for dependent in graph.dependents_of(node):
                self.missing[dependent] -= 1
        self.start_what_can(changes, now)

    def tell_start(self, graph: Graph, changes: Changes, now: int, why: events_pb2.RerunFacts | None = None) -> None:
        """The run begins now, with these nodes."""
        self.start_us = now
        facts = changes.detail(changes.event(self, events_pb2.EVENT_KIND_RUN_STARTED, now)).started
        facts.node_count = graph.size
        facts.operators.extend(f"{operator.module}:{operator.qualname}" for operator in graph.operators)
        facts.node_operator.extend(graph.node_operator)
        if why is not None:
            facts.rerun.CopyFrom(why)

    def attach(self, graph: Graph) -> None:
        """Gives the run its graph; all nodes are PENDING."""
        self.graph = graph
        self.options = merge_options(graph.dag.options, self.header.options)
        self.growth.begin(graph.size)
        self.node_state = bytearray([PENDING]) * graph.size + self.node_state[-1:]
        self.attempt = array("I", bytes(4 * graph.size)) + self.attempt[-1:]
        self.missing = array("I", graph.waits_for)
        self.counts = [0] * STATE_COUNT
        self.counts[PENDING] = graph.size
        self.ready.shape(graph)

    # Going on.

    def start_what_can(self, changes: Changes, now: int) -> None:
        """Makes ready whatever can start; ends the run when nothing is left to do."""
        self.controls.ask(changes)
        states, missing = self.node_state, self.missing
        for node in range(len(missing)):
            if missing[node] == 0 and states[node] == PENDING:
                self.make_ready(node, changes, now)
        if self.nothing_open():
            self.ending.finish(changes, now)

    def make_ready(self, node: int, changes: Changes, now: int) -> None:
        """All that a node needs is there."""
        if self.state is RunState.PAUSED:
            self.set_any_state(node, PENDING)
            return
        self.set_any_state(node, READY)
        graph = self.graph
        if graph is None or node == COMPILE_NODE:
            self.ready.queue(node, changes, now)
        elif graph.control_operators and graph.is_control(node):
            changes.questions.append((self, node))
        elif graph.cached_operators and self.earlier_results.may_have(node):
            self.earlier_results.look_for(node, changes)
        else:
            self.ready.queue(node, changes, now)

    def follow(self, node: int, changes: Changes, now: int, way: InFlight | None = None) -> bool:
        """A node has succeeded: those that waited for it alone are ready. Whether one of them has taken over its room, which was `way`."""
        graph = self.graph
        assert graph is not None, "only a run with a graph has nodes that succeed"
        missing, states = self.missing, self.node_state
        goes_on = self.state is RunState.RUNNING
        taken_over = False
        for dependent in graph.dependents_of(node):
            missing[dependent] -= 1
            free = missing[dependent] == 0 and states[dependent] == PENDING
            if free and (goes_on or self.cleaning.goes_on(dependent)):
                if way is not None and graph.grouped and self.attempts.take_over(node, way, dependent, changes, now):
                    way, taken_over = None, True
                else:
                    self.make_ready(dependent, changes, now)
        return taken_over

    def go_on(self, changes: Changes, now: int) -> None:
        """Something has ended: control nodes are asked, and the run may be over."""
        self.controls.ask(changes)
        if self.is_over():
            self.ending.finish(changes, now)

    def is_over(self) -> bool:
        if self.state is RunState.CANCELLING:
            return not self.in_flight and not self.cleaning.cleaning and not self.child_runs.going_on
        return self.nothing_open()

    def nothing_open(self) -> bool:
        """Whether all nodes have ended."""
        counts = self.counts
        return self.graph is not None and not (counts[PENDING] or counts[READY] or counts[RUNNING] or counts[WAITING])

    # Bookkeeping.

    def move(self, state: RunState, now: int) -> None:
        self.state, self.since_us = state, now

    def set_state(self, node: int, state: int) -> None:
        """A node is in another state."""
        counts = self.counts
        counts[self.node_state[node]] -= 1
        counts[state] += 1
        self.node_state[node] = state
        if IS_END[state] and (self.growth.scopes or self.cleaning.lingering):
            self.controls.note_end(node)

    def set_any_state(self, node: int, state: int) -> None:
        """Like `set_state`; the compile attempt is in no count."""
        if node == COMPILE_NODE:
            self.node_state[node] = state
        else:
            self.set_state(node, state)

    def settle(self, node: int, state: int, kind: int, changes: Changes, now: int) -> None:
        """A node ends in this state without an attempt that says so."""
        self.set_state(node, state)
        changes.settled.append((self.header.run_id, node, state, self.tries.get(node, 0), None))
        changes.event(self, kind, now, node, self.attempt[node])

    def read_content(self, value: types_pb2.Value) -> types_pb2.Value:
        """What a value in the object store stands for. Raises ContentNeeded."""
        known = self.contents.get(value.artifact.digest)
        if known is None:
            raise ContentNeeded(value.artifact)
        return known

    def loosen(self) -> None:
        """It has ended and is forgotten: see `RunPart.loosen`."""
        for part in vars(self).values():
            if isinstance(part, RunPart):
                part.loosen()

    @property
    def ended(self) -> bool:
        return self.end_us != 0

    @property
    def shown_state(self) -> RunState:
        """What callers may know: an end that a crash can still take back is not shown."""
        return self.ending.state_before if self.ended and not self.end_committed else self.state
