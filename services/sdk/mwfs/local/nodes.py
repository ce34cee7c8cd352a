"""Where the nodes of a local run are, and what they have given."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from mwfs.artifacts import Store
from mwfs.local.segments import Segment, Segments
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.growth import GrowthLimits
from mwfs_types.run_options import policy_of
from mwfs_types.values import unspill

if TYPE_CHECKING:
    from mwfs.operators import Operator

Value = types_pb2.Value
Failure = events_pb2.Failure


class State(Enum):
    """Where a node of a local run is."""

    PENDING = "PENDING"
    #: A control node whose patch has not ended.
    WAITING = "WAITING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UPSTREAM_FAILED = "UPSTREAM_FAILED"
    #: What it takes was given up by a node after whose failure the run goes on.
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


class GivenUp(Exception):
    """There is no such output: its node has failed, and the run went on."""


class Nodes:
    """Of the Dag, and of all that it has grown by."""

    def __init__(
        self,
        dag: dag_pb2.Dag,
        store: Store,
        *,
        operators: Sequence[Operator[..., Any] | None] = (),
        limits: GrowthLimits | None = None,
    ) -> None:
        self.store = store
        self.limits = limits or GrowthLimits()
        self.segments = Segments()
        self.state: list[State] = []
        self.results: list[list[Value] | None] = []
        #: Attempts of each node, 0 before the first.
        self.attempts: list[int] = []
        #: The control node that made a node; -1 for those that were compiled.
        self.parent: list[int] = []
        self.failures: dict[int, Failure] = {}
        self._depth: list[int] = []
        self._waits: list[int] = []
        self.dependents: list[list[int]] = []
        self._instance: list[int] = []
        self._ready: list[int] = []
        #: What a node follows without taking anything.
        self._follows: dict[int, set[int]] = {}
        self._ended: deque[int] = deque()
        self._stopped = False
        #: Nodes whose failure cancelled the run.
        self.fatal: list[int] = []
        self._options = dag.options
        self.base = self._append(dag, -1, operators)

    def output(self, node: int, output: int) -> Value:
        """An output of a node that has succeeded. Raises GivenUp."""
        results = self.results[node]
        if results is None:
            raise GivenUp
        return results[output]

    def _read(self, value: Value) -> Value:
        return unspill(value, self.store)

    def _append(self, dag: dag_pb2.Dag, parent: int, operators: Sequence[Operator[..., Any] | None] = ()) -> Segment:
        segment = Segment(dag, len(self.state), self.output, self._read, operators)
        first, size = segment.first, segment.size
        self.segments.append(segment)
        self.state += [State.PENDING] * size
        self.results += [None] * size
        self.attempts += [0] * size
        self.parent += [parent] * size
        self._depth += [0 if parent < 0 else self._depth[parent] + 1] * size
        self._instance += [0] * size
        self._waits += [0] * size
        self.dependents += [[] for _ in range(size)]
        earlier = self._follows
        for node, before in zip(dag.order_node, dag.order_after, strict=True):
            earlier.setdefault(node + first, set()).add(before + first)
        for node in range(first, first + size):
            needs = segment.needs(node) | earlier.get(node, set())
            self._waits[node] = len(needs)
            for one in needs:
                self.dependents[one].append(node)
            if not needs:
                heapq.heappush(self._ready, node)
        return segment

    def _at(self, segment: Segment, node: int, failure: Failure) -> Failure:
        """A failure of the engine's own, at the user's line that called the node."""
        if not failure.file:
            file, _, line = segment.where(node).rpartition(":")
            failure.file, failure.line = file, int(line)
        if failure.node < 0:
            failure.node = node
        return failure

    def _succeed(self, node: int, outputs: list[Value]) -> None:
        self.results[node] = outputs
        self.state[node] = State.SUCCEEDED
        self._ended.append(node)

    def _fail(self, node: int, failure: Failure) -> None:
        self.failures[node] = failure
        self.state[node] = State.FAILED
        self._ended.append(node)
        if self._policy_of(node) == dag_pb2.FAILURE_POLICY_CANCEL_RUN:
            self._stopped = True
            self.fatal.append(node)

    def _policy_of(self, node: int) -> int:
        return policy_of(self.segments.of(node).row(node), self._options)

    def is_tolerated(self, node: int) -> bool:
        """Whether the run goes on after a failure of the node as if it were of no importance."""
        return self._policy_of(node) == dag_pb2.FAILURE_POLICY_CONTINUE

    def _cancel(self, node: int) -> None:
        self.state[node] = State.CANCELLED
        self._ended.append(node)
