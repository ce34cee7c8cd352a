"""What a run has grown by: which control node made which nodes, and how far its newest patch is. (pure)"""

from array import array
from dataclasses import dataclass
from typing import Final

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_steps import Outcome, rows_copied

#: More than any node's index: nothing has grown.
NEVER = 1 << 62


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


class Growth:
    """The control nodes of a run that have grown it, and the nodes that they made."""

    def __init__(self) -> None:
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
        """A grown node has ended: its control node, the scope, and whether the node's instance has ended with it. None when nobody waits for it."""
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
