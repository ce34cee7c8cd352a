"""What a run has grown by: which control node made which nodes, and how far its newest patch is; and how it grows. (pure)"""

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_answers import Outcome
from mwfs_types.dag_patches import rows_copied
from mwfs_types.growth import GrowthLimits

from .changes import Changes
from .graph import COMPILE_NODE
from .model import RunMove
from .run_part import RunPart
from .states import PENDING, WAITING, NodeState

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: More than any node's index: nothing has grown.
NEVER = 1 << 62
#: How far runs may grow.
LIMITS: Final = GrowthLimits()


@dataclass(slots=True, kw_only=True, eq=False)
class Scope:
    """The newest patch of a control node."""

    #: Without its Dag.
    last: dag_pb2.DagPatch
    #: Its nodes, by their numbers in the run.
    first: int
    end: int
    #: Row of the graph's items for the result of each instance.
    items: list[int]
    #: Nodes that have not ended, in all and of each instance.
    open: int
    open_of: "array[int]"

    #: Made by a dynamic operator: each result depends on all nodes.
    dynamic: bool

    def nodes_of(self, instance: int) -> range:
        """The nodes that an instance depends on."""
        if self.dynamic:
            return range(self.first, self.end)
        ends = self.last.instance_end
        return range(self.first + (ends[instance - 1] if instance else 0), self.first + ends[instance])


#: What copying a row takes.
_ROW_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `next_step` is asked."""

    node: int
    dag: dag_pb2.Dag
    operator: int
    arguments: list[types_pb2.Value]
    #: None: it is asked for the first time.
    scope: Scope | None
    outcomes: list[Outcome | None]

    @property
    def size(self) -> int:
        """About how many bytes the answer is made from."""
        rows = rows_copied(self.dag.operators[self.operator].control, self.dag, self.arguments)
        return _ROW_BYTES * rows + sum(argument.ByteSize() for argument in self.arguments)


class Growth(RunPart):
    """The control nodes of a run that have grown it, and the nodes that they made."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        self._base = NEVER
        #: Of each grown node: the control node that made it, its instance, and how many control nodes are around it.
        self._parent = array("I")
        self._instance = array("I")
        self._depth = array("I")
        #: The newest patch of each control node that has not ended.
        self.scopes: dict[int, Scope] = {}
        #: Failures of grown nodes of this round: matters of the control nodes above them, not of the run.
        self.failures: dict[int, events_pb2.Failure] = {}
        #: Grown nodes whose result is of no use any more and whose attempts are being stopped.
        self.abandoned: set[int] = set()

    def begin(self, size: int) -> None:
        """The run has its Dag."""
        self._base = size

    def made(self, node: int) -> bool:
        """Whether a control node made this node."""
        return node >= self._base

    def parent_of(self, node: int) -> int:
        return self._parent[node - self._base]

    def depth_of(self, node: int) -> int:
        """Control nodes around a node."""
        return self._depth[node - self._base] if self.made(node) else 0

    def add(self, node: int, patch: dag_pb2.DagPatch, first: int, first_item: int, *, dynamic: bool = False) -> Scope:
        """A control node has grown the run by a patch, whose nodes and items begin at these numbers."""
        last = dag_pb2.DagPatch(
            parent=patch.parent,
            round=patch.round,
            instance_end=patch.instance_end,
            phase=patch.phase,
            carried=patch.carried,
        )
        sizes = array(
            "I", (end - start for start, end in zip([0, *patch.instance_end], patch.instance_end, strict=False))
        )
        size = len(patch.dag.node_operator)
        depth = self.depth_of(node) + 1
        self._parent.extend([node] * size)
        self._depth.extend([depth] * size)
        for instance, count in enumerate(sizes):
            self._instance.extend([instance] * count)
        scope = self.scopes[node] = Scope(
            last=last,
            first=first,
            end=first + size,
            items=[first_item + output.item for output in patch.dag.outputs],
            open=size,
            open_of=sizes,
            dynamic=dynamic,
        )
        return scope

    def ended(self, node: int) -> tuple[int, Scope, bool] | None:
        """A node has ended: the control node that made it, the scope, and whether its instance has ended with it. None when none waits for it."""
        if not self.made(node):
            return None
        parent = self.parent_of(node)
        scope = self.scopes.get(parent)
        if scope is None or not scope.first <= node < scope.end:
            return None
        scope.open -= 1
        instance = self._instance[node - self._base]
        scope.open_of[instance] -= 1
        return parent, scope, not scope.open_of[instance]

    def scope_of(self, node: int) -> Scope | None:
        """The newest patch of a control node that has not ended, if the node belongs to it."""
        scope = self.scopes.get(self.parent_of(node)) if self.made(node) else None
        return scope if scope is not None and scope.first <= node < scope.end else None

    def reset(self) -> None:
        """A new round: control nodes that had not succeeded begin anew."""
        self.scopes.clear()
        self.failures.clear()
        self.abandoned.clear()

    # Growing.

    def is_dynamic(self, node: int) -> bool:
        """Whether the attempts of this node give a Dag that the run grows by."""
        graph = self._run.graph
        return graph is not None and node != COMPILE_NODE and graph.node_operator[node] in graph.dynamic_operators

    def refusal(self, node: int, patch: dag_pb2.DagPatch) -> events_pb2.Failure | None:
        """Why the run may not grow by this patch."""
        graph = self._run.graph
        assert graph is not None, "only a run with a graph grows"
        return LIMITS.refusal(added=len(patch.dag.node_operator), nodes=graph.size, depth=self.depth_of(node))

    def append(self, patch: dag_pb2.DagPatch) -> tuple[int, int]:
        """Makes room for the nodes of a patch; gives the first one, and the one after the last."""
        run = self._run
        graph = run.graph
        assert graph is not None, "only a run with a graph grows"
        first = graph.append(patch.dag)
        size = graph.size - first
        run.node_state[-1:-1] = bytes([PENDING]) * size
        run.attempt[-1:-1] = array("I", bytes(4 * size))
        run.missing.extend(graph.waits_for[first:])
        run.counts[PENDING] += size
        run.ready.shape(graph)
        return first, graph.size

    def grow(self, node: int, patch: dag_pb2.DagPatch, changes: Changes, now: int) -> None:
        """By the patch of a node, which waits for it from now on."""
        run = self._run
        graph = run.graph
        assert graph is not None, "only a run with a graph grows"
        first, end = self.append(patch)
        scope = self.add(node, patch, first, graph.last_items, dynamic=self.is_dynamic(node))
        if run.node_state[node] != WAITING:
            run.set_state(node, WAITING)
        run_id = run.header.run_id
        changes.patches.append((run_id, graph.parts - 1, node, patch.SerializeToString()))
        changes.moved.append(RunMove(run_id=run_id, state=run.state, node_count=graph.size))
        facts = changes.detail(changes.event(run, events_pb2.EVENT_KIND_RUN_GREW, now, node)).grown
        facts.node_count = graph.size
        facts.operators.extend(f"{operator.module}:{operator.qualname}" for operator in patch.dag.operators)
        facts.node_operator.extend(patch.dag.node_operator)
        for one in range(first, end):
            if run.missing[one] == 0:
                run.make_ready(one, changes, now)
        if not all(scope.open_of):
            run.controls.ask_soon(node)

    def grow_by_attempt(self, outcome: action_pb2.Outcome, patch: dag_pb2.DagPatch, changes: Changes, now: int) -> None:
        """The attempt of a dynamic operator, which `expects` says counts, gave a Dag that has passed all checks."""
        run, node = self._run, outcome.key.node
        graph = run.graph
        assert graph is not None, "only a run with a graph has nodes"
        instead = action_pb2.Outcome()
        instead.CopyFrom(outcome)
        refused = self.refusal(node, patch)
        if run.stopping.is_stopping(node):
            instead.state = events_pb2.ATTEMPT_STATE_CANCELLED
            instead.failure.kind = events_pb2.FAILURE_KIND_CANCELLED
        elif refused is not None:
            instead.state = events_pb2.ATTEMPT_STATE_FAILED
            instead.failure.CopyFrom(refused)
            instead.failure.file, instead.failure.line = graph.source_of(node)
        else:
            way = run.in_flight.pop(node)
            run.preemptions.told.pop(node, None)
            run.ready.took(node, way, changes, now)
            run.checkpoints.drop(node, changes, outcome.checkpoint if outcome.HasField("checkpoint") else None)
            changes.releases[way.grant_id] += 1
            changes.end(run.header.run_id, node, way.attempt, NodeState.WAITING, run.tries.get(node, 0))
            batch = changes.event(run, events_pb2.EVENT_KIND_NODE_GREW, now, node, way.attempt)
            changes.body(batch, way.host, outcome)
            self.grow(node, patch, changes, now)
            run.ready.ask_for_more(changes)
            run.controls.ask(changes)
            return
        run.attempts.end(instead, changes, now)
