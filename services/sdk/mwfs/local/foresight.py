"""How far a run is known before it starts: earlier results are taken, control nodes grow it where their arguments are known, nothing is called."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from mwfs.artifacts import Store
from mwfs.errors import ArtifactDamaged, ArtifactMissing
from mwfs.local.engine import LocalEngine
from mwfs.local.nodes import State
from mwfs.local.segments import Segment
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.cache_keys import key_of, key_parts
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.growth import GrowthLimits

Value = types_pb2.Value

#: Control nodes whose one patch says all that they will ever add.
_ONE_PATCH = frozenset(
    (
        dag_pb2.CONTROL_KIND_MAP,
        dag_pb2.CONTROL_KIND_FILTER,
        dag_pb2.CONTROL_KIND_GROUP,
        dag_pb2.CONTROL_KIND_REDUCE,
        dag_pb2.CONTROL_KIND_WHEN,
        dag_pb2.CONTROL_KIND_CALL,
        dag_pb2.CONTROL_KIND_CHILD,
    )
)


class EarlierResults(Protocol):
    """Results that earlier runs left."""

    def find(self, keys: Sequence[str]) -> Mapping[str, list[Value]]:
        """Outputs by key; keys without a result are not there."""


class Foresight(LocalEngine):
    """A run that is thought through. After `run()`: `cached` are the nodes whose earlier result is taken, `calls` those that are called for sure
    as soon as their turn comes, `maybe` those of which only the run will know whether there is a result, `open` the control nodes that may add
    more nodes than are there now.
    """

    def __init__(
        self,
        dag: dag_pb2.Dag,
        store: Store,
        *,
        results: EarlierResults | None = None,
        limits: GrowthLimits | None = None,
    ) -> None:
        super().__init__(dag, store, limits=limits)
        self._earlier = results
        self._known: dict[str, list[Value] | None] = {}
        self._missed: set[str] = set()
        self.calls: set[int] = set()
        self.maybe: set[int] = set()
        self.open: set[int] = set()

    def run(self) -> None:
        """Thinks until nothing more is known."""
        while self._ended or self._ready:
            while self._ended:
                self._node_ended(self._ended.popleft())
            ready, self._ready = sorted(self._ready), []
            heapq.heapify(self._ready)
            self._look_up(ready)
            for node in ready:
                if self.state[node] is State.PENDING:
                    self._start(node)
        for segment in self.segments.all:
            for node in range(segment.first, segment.first + segment.size):
                self._judge(node, segment.row(node))

    def _judge(self, node: int, row: dag_pb2.Operator) -> None:
        if row.HasField("control") and row.control.kind != dag_pb2.CONTROL_KIND_SIGNAL:
            ended = self.state[node] not in (State.PENDING, State.WAITING)
            grown = self.state[node] is State.WAITING and row.control.kind in _ONE_PATCH
            if not ended and not grown:
                self.open.add(node)
        elif self.state[node] is State.PENDING and node not in self.calls and row.cached:
            self.maybe.add(node)

    def _look_up(self, nodes: Iterable[int]) -> None:
        """Asks for all results that these nodes may take, at once."""
        keys = {key for node in nodes if (key := self._key(node)) is not None} - self._known.keys()
        if keys and self._earlier is not None:
            found = self._earlier.find(sorted(keys))
            self._known.update((key, found.get(key)) for key in keys)

    def _key(self, node: int) -> str | None:
        segment = self.segments.of(node)
        row = segment.row(node)
        if not row.cached or row.HasField("control"):
            return None
        try:
            arguments = segment.arguments(node)
        except (FunctionFailed, ArtifactMissing, ArtifactDamaged):
            return None
        return key_of(key_parts(row, segment.dag.types, arguments))

    def _start(self, node: int) -> None:
        try:
            super()._start(node)
        except (ArtifactMissing, ArtifactDamaged):  # the content of a value decides, and it is not here
            self.calls.discard(node)

    def _take_signal(self, node: int, segment: Segment, row: dag_pb2.Operator) -> None:
        """Only the run will get it."""

    def _call(self, node: int, segment: Segment, row: dag_pb2.Operator, arguments: list[Value]) -> None:
        key = key_of(key_parts(row, segment.dag.types, arguments)) if row.cached else ""
        known = self._known.get(key)
        if known is not None:
            self.cached.add(node)
            self._succeed(node, known)
        elif key and key in self._missed:
            self.maybe.add(node)  # an equal call of this very run may be first
        else:
            self._missed.add(key)
            self.calls.add(node)


__all__ = ["EarlierResults", "Foresight"]
