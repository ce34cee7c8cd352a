"""What becomes of the other nodes of a run when one has failed for good, and which failure is the run's. (pure)"""

from typing import TYPE_CHECKING, Final

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_types.run_options import policy_of

from .changes import Changes
from .graph import COMPILE_NODE, Graph
from .growth import NEVER
from .run_part import RunPart
from .states import CANCELLED, IS_END, PENDING, RUNNING, SKIPPED, UPSTREAM_FAILED

if TYPE_CHECKING:
    from .active_run import ActiveRun

_CONTINUE: Final = int(dag_pb2.FAILURE_POLICY_CONTINUE)
_CANCEL_DEPENDENTS: Final = int(dag_pb2.FAILURE_POLICY_CANCEL_DEPENDENTS)


class FailurePolicies(RunPart):
    """The failures of a run, and what follows from each."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: A node with the policy CANCEL_RUN has failed: what still runs is being stopped.
        self.stops_run = False
        #: The node of the Dag that the run's failure is of.
        self._failed_node = NEVER
        #: What a node with the policy CONTINUE has failed with, of the lowest such node: the run's failure when an output is missing.
        self.tolerated: tuple[int, events_pb2.Failure] | None = None

    def reset(self) -> None:
        """A new round."""
        self.stops_run, self._failed_node, self.tolerated = False, NEVER, None

    @property
    def _graph(self) -> Graph:
        graph = self._run.graph
        assert graph is not None, "only a run with a graph has nodes that fail"
        return graph

    def policy_of(self, node: int) -> int:
        """The policy that counts for a node."""
        graph = self._run.graph
        if graph is None or node < 0:
            return dag_pb2.FAILURE_POLICY_BLOCK_DEPENDENTS
        return policy_of(graph.operator_of(node), self._run.options)

    def cancels_run(self, node: int) -> bool:
        return self.policy_of(node) == dag_pb2.FAILURE_POLICY_CANCEL_RUN

    def cancels_dependents(self, node: int) -> bool:
        return self.policy_of(node) == _CANCEL_DEPENDENTS

    def goes_on(self, node: int) -> bool:
        """Whether the run goes on after a failure of the node as if it were of no importance."""
        return self.policy_of(node) == _CONTINUE

    def failed(self, node: int, failure: events_pb2.Failure, changes: Changes, now: int) -> None:
        """A node is not tried again: what becomes of the others."""
        run = self._run
        self._note(node, failure)
        if node == COMPILE_NODE or run.graph is None:
            run.ending.finish(changes, now)
            return
        self._give_up_others(node, changes, now)
        if self.cancels_run(node) and not self.stops_run:
            self.stops_run = True
            run.stopping.cancel_open_nodes(changes, now)
            run.stopping.stop_all(changes, now)

    def restore(self, node: int, failure: events_pb2.Failure) -> None:
        """After a restart: a node had failed for good."""
        self._note(node, failure)
        self.stops_run = self.stops_run or self.cancels_run(node)
        if self.goes_on(node):
            self.let_followers_go(node)

    def _note(self, node: int, failure: events_pb2.Failure) -> None:
        """A node has failed for good: a matter of the control node above it, or else of the run."""
        run = self._run
        if run.growth.made(node):
            run.growth.failures[node] = failure
            if not self.cancels_run(node):
                return
        elif self.goes_on(node):
            if self.tolerated is None or node < self.tolerated[0]:
                self.tolerated = node, failure
            return
        # Of several failures the run shows that of the lowest node, whichever came first: the same each time, and as in `run_local`.
        if run.failure is None or node < self._failed_node:
            run.failure, self._failed_node = failure, node

    def _fail_dependents(self, node: int, changes: Changes, now: int) -> None:
        run, graph = self._run, self._graph
        stack = [node]
        while stack:
            for dependent in graph.dependents_of(stack.pop()):
                if run.node_state[dependent] == PENDING:
                    run.settle(dependent, UPSTREAM_FAILED, events_pb2.EVENT_KIND_NODE_UPSTREAM_FAILED, changes, now)
                    stack.append(dependent)

    def _give_up_others(self, node: int, changes: Changes, now: int) -> None:
        """What becomes of the nodes around one that has failed for good."""
        if self.goes_on(node):
            self._go_on_without(node, changes, now)
        elif self.cancels_dependents(node):
            self.cancel_with(node, changes, now)
        else:
            self._fail_dependents(node, changes, now)

    def _go_on_without(self, node: int, changes: Changes, now: int) -> None:
        """What takes its result is skipped, and what takes theirs; what only follows them starts."""
        run, graph = self._run, self._graph
        stack = [node]
        while stack:
            one = stack.pop()
            for dependent in self.let_followers_go(one):
                free = run.missing[dependent] == 0 and run.node_state[dependent] == PENDING
                if free and run.cleaning.goes_on(dependent):
                    run.make_ready(dependent, changes, now)
            for dependent in graph.dependents_of(one):
                if run.node_state[dependent] == PENDING and graph.takes_from(dependent, one):
                    run.settle(dependent, SKIPPED, events_pb2.EVENT_KIND_NODE_SKIPPED, changes, now)
                    stack.append(dependent)

    def let_followers_go(self, node: int) -> list[int]:
        """Nodes that only follow this one wait for it no more."""
        run, graph = self._run, self._graph
        followers = [one for one in graph.dependents_of(node) if not graph.takes_from(one, node)]
        for dependent in followers:
            run.missing[dependent] -= 1
        return followers

    def cancel_with(self, node: int, changes: Changes, now: int) -> None:
        """What needs it is cancelled, and what is there only for those; also after a restart, for what was being stopped."""
        run, graph = self._run, self._graph
        doomed, stack = [], [node]
        while stack:
            for dependent in graph.dependents_of(stack.pop()):
                if run.node_state[dependent] == PENDING:
                    run.settle(dependent, CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
                    stack.append(dependent)
                    doomed.append(dependent)
                elif run.restoring.under_way and run.node_state[dependent] == CANCELLED:
                    stack.append(dependent)
                    doomed.append(dependent)
        results = graph.result_nodes()
        given_up = (CANCELLED, UPSTREAM_FAILED, SKIPPED)
        seen = set(doomed)
        while doomed:
            for one in graph.dependencies_of(doomed.pop()):
                state = run.node_state[one]
                if run.restoring.under_way and state == CANCELLED and one not in seen:
                    seen.add(one)
                    doomed.append(one)  # what is there only for that may still be going on
                if (
                    IS_END[state]
                    or one in results
                    or one in run.growth.abandoned
                    or one in run.cleaning.cleaning
                    or (run.restoring.under_way and state != RUNNING and one not in run.child_runs.going_on)
                ):
                    continue
                if all(
                    run.node_state[other] in given_up or other in run.growth.abandoned
                    for other in graph.dependents_of(one)
                ):
                    run.stopping.drop(one, changes, now)
                    doomed.append(one)
