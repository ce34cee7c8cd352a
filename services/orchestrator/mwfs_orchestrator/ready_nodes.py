"""The nodes of a run that may start, in the groups in which the scheduler is asked for them. (pure)"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from mwfs_api.dags.v1 import dag_pb2

from .graph import COMPILE_NODE, Graph
from .model import Group

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: What compiling asks for.
COMPILE_RESOURCES: Final = dag_pb2.Resources(cpu_millis=1000)
_COMPILE_SHAPE: Final = (b"compile", COMPILE_RESOURCES, 0)
_MAX_RANK: Final = 1 << 31
#: The compile node, -1, is this in a heap.
_NODE_MASK: Final = (1 << 32) - 1


class ReadyNodes:
    """Nodes of the same shape, priority and rank band are one group: a million nodes are a handful of requests."""

    def __init__(self, run: "ActiveRun", group_ids: Iterator[str]) -> None:
        self._run = run
        self._group_ids = group_ids
        self._groups: dict[tuple[bytes, int, int], Group] = {}
        #: For each operator of the Dag: what its nodes ask for, as a key and as a message, and their priority.
        self._shapes: list[tuple[bytes, dag_pb2.Resources, int]] = []
        self._ready_us: dict[int, int] = {}

    def shape(self, graph: Graph) -> None:
        """The run has its graph now."""
        self._shapes = [
            (operator.resources.SerializeToString(deterministic=True), operator.resources, operator.priority)
            for operator in graph.dag.operators
        ]

    def add(self, node: int, now: int) -> Group:
        """A node is ready; its group wants one more."""
        graph = self._run.graph
        if node == COMPILE_NODE or graph is None:
            (shape, resources, priority), rank = _COMPILE_SHAPE, 1
        else:
            (shape, resources, priority), rank = self._shapes[graph.node_operator[node]], graph.rank[node]
        key = (shape, priority, rank.bit_length())
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(
                group_id=next(self._group_ids),
                run=self._run,
                resources=resources,
                priority=priority + self._run.header.priority,
                rank_band=rank.bit_length(),
            )
        heappush(group.ready, (_MAX_RANK - rank) << 32 | node & _NODE_MASK)
        self._ready_us[node] = now
        return group

    def take(self, group: Group, count: int, now: int) -> list[tuple[int, int]]:
        """Up to `count` nodes of the group, by rank and then by index, each with the time at which it became ready."""
        taken = []
        for _ in range(min(count, len(group.ready))):
            node = heappop(group.ready) & _NODE_MASK
            if node == _NODE_MASK:
                node = COMPILE_NODE
            taken.append((node, self._ready_us.pop(node, now)))
        return taken

    def clear(self) -> list[Group]:
        """Nothing is to start any more; the groups that there were."""
        groups = list(self._groups.values())
        for group in groups:
            group.ready.clear()
        self._groups.clear()
        self._ready_us.clear()
        return groups

    def groups(self) -> list[Group]:
        return list(self._groups.values())
