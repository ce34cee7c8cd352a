"""Results that nodes take instead of running: found in the cache when they become ready, or given when the run begins. (pure)"""

from typing import TYPE_CHECKING

from mwfs_api.events.v1 import events_pb2

from .arguments import unpack_list
from .changes import Changes
from .run_part import RunPart
from .states import SUCCEEDED

if TYPE_CHECKING:
    from .active_run import ActiveRun


class EarlierResults(RunPart):
    """What nodes of a run look for, and take."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: Ready nodes for which an earlier result is being looked for; they are in no group yet.
        self.looking: set[int] = set()
        #: Keys of the results of cached operators, as far as they are known: filled by the cache.
        self.keys: dict[int, tuple[str, dict[str, str]]] = {}

    def may_have(self, node: int) -> bool:
        """Whether an earlier result is looked for: of a cached operator, before its first attempt in this round."""
        run = self._run
        graph = run.graph
        assert graph is not None, "only nodes of a graph have results"
        return graph.node_operator[node] in graph.cached_operators and node not in run.tries and node not in run.lost

    def look_for(self, node: int, changes: Changes) -> None:
        """`found` or `not_found` is the answer."""
        self.looking.add(node)
        changes.lookups.append((self._run, node))

    def found(self, node: int, outputs: bytes, origin: events_pb2.ResultOrigin, changes: Changes, now: int) -> None:
        """An earlier result: a serialised ListValue of the node's outputs."""
        if node not in self.looking:
            return
        self.looking.discard(node)
        self.take(node, outputs, origin, changes, now)
        self._run.follow(node, changes, now)
        self._run.go_on(changes, now)

    def not_found(self, node: int, changes: Changes, now: int) -> None:
        """The node runs."""
        if node in self.looking:
            self.looking.discard(node)
            self._run.ready.queue(node, changes, now)

    def take(self, node: int, outputs: bytes, origin: events_pb2.ResultOrigin, changes: Changes, now: int) -> None:
        """The node has succeeded with what it gave elsewhere."""
        run = self._run
        run.set_state(node, SUCCEEDED)
        run.outputs[node] = unpack_list(outputs)
        run.checkpoints.drop(node, changes)
        changes.reused.append((run.header.run_id, node, outputs, origin.SerializeToString()))
        batch = changes.event(run, events_pb2.EVENT_KIND_NODE_REUSED, now, node, run.attempt[node])
        changes.detail(batch).reused.CopyFrom(origin)
