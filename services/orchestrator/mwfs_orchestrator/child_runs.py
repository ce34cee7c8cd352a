"""The child runs of a run: which nodes wait for one, and what becomes of a node when its child has ended. (pure)

A node that waits for its child has a row in the state WAITING, and in the same commit one of `children`, which is the command to submit the child. The id
of a child follows from run, node and round. A child that nobody needs any more is treated like an attempt that is told to stop: its node waits until it has ended.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import check
from mwfs_types.child_runs import MAX_DEPTH, child_dag, too_deep
from mwfs_types.errors import BadValue
from mwfs_types.growth import failure_of

from .changes import Changes
from .graph import COMPILE_NODE
from .growth import Question
from .model import run_id_of
from .run_part import RunPart
from .states import CANCELLED, WAITING

if TYPE_CHECKING:
    from .active_run import ActiveRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnd:
    """How a child run has ended: with a value that is small enough to travel inline, or by a failure; neither: it was cancelled, as it was told."""

    value: types_pb2.Value | None = None
    failure: events_pb2.Failure | None = None


def request_id_of(run_id: UUID, node: int, round: int) -> str:
    """The request id of a child run: so it is submitted once, whoever does it."""
    return f"child:{run_id}:{node}:{round}"


class ChildRuns(RunPart):
    """The child runs of a run that go on, as far as it knows."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: Nodes that wait for their child.
        self.going_on: dict[int, UUID] = {}

    def starts_one(self, node: int) -> bool:
        """Whether the result of a node is that of a run of its own."""
        graph = self._run.graph
        return (
            graph is not None
            and node != COMPILE_NODE
            and graph.operator_of(node).control.kind == dag_pb2.CONTROL_KIND_CHILD
        )

    def id_of(self, node: int) -> UUID:
        """The id of the child that a node has in this round."""
        header = self._run.header
        return run_id_of(header.team, request_id_of(header.run_id, node, self._run.round))

    def refusal(self) -> events_pb2.Failure | None:
        """Why the run may not have children."""
        return too_deep() if self._run.header.options.child_depth >= MAX_DEPTH else None

    def start(self, question: Question, patch: dag_pb2.DagPatch, changes: Changes, now: int) -> None:
        """The node waits for its child from now on, which is submitted once this is committed."""
        run, node = self._run, question.node
        dag = child_dag(question.dag, question.operator, question.arguments, patch)
        child = self.going_on[node] = self.id_of(node)
        run.set_state(node, WAITING)
        changes.waiting.append((run.header.run_id, node, now, 0))
        facts = changes.detail(changes.event(run, events_pb2.EVENT_KIND_NODE_WAITING, now, node)).waiting
        facts.child_run_id = str(child)
        data = dag.SerializeToString(deterministic=True)
        changes.children.append((run.header.run_id, node, run.round, child, data))
        changes.child_starts.append((run, node, child, True))

    def restore(self, node: int, changes: Changes) -> None:
        """After a restart: the child may have been submitted, or not."""
        child = self.going_on[node] = self.id_of(node)
        changes.child_starts.append((self._run, node, child, False))

    def stop(self, node: int, changes: Changes, *, skip_cleanups: bool = False) -> None:
        """Nobody needs the child of a node any more."""
        changes.child_stops.append((self._run, node, skip_cleanups))

    def ended(self, node: int, child: UUID, end: ChildEnd, changes: Changes, now: int) -> None:
        """What a child has ended with, which counts once."""
        run = self._run
        if run.ended or self.going_on.get(node) != child or run.node_state[node] != WAITING:
            return
        of_no_use = run.stopping.is_stopping(node)
        del self.going_on[node]
        run.growth.abandoned.discard(node)
        if of_no_use or (end.value is None and end.failure is None):
            run.settle(node, CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
        else:
            failure = end.failure if end.value is None else self._mismatch(node, end.value)
            if failure is None and end.value is not None:
                run.controls.succeed(node, (end.value.SerializeToString(),), changes, now)
            elif failure is not None:
                run.controls.fail(node, failure, changes, now)
        run.go_on(changes, now)

    def _mismatch(self, node: int, value: types_pb2.Value) -> events_pb2.Failure | None:
        graph = self._run.graph
        assert graph is not None, "only a run with a graph has nodes"
        try:
            check(value, graph.types_of(node)[graph.operator_of(node).outputs[0].type])
        except BadValue as error:
            return failure_of("ValueError", f"the result of the child run: {error}")
        return None

    def reset(self) -> None:
        """A new round: nodes begin anew, with new children."""
        self.going_on.clear()
