"""Control nodes of a local run: what they add, what becomes of it, and what follows when a node has ended."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mwfs.artifacts import Store
from mwfs.local.nodes import Failure, GivenUp, Nodes, State, Value
from mwfs.local.segments import Segment
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.cleanups import Cleanups
from mwfs_types.dag_answers import Await, Done, Failed, Grow, Outcome, Step
from mwfs_types.dag_check import check_patch
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import in_cleanup, next_step
from mwfs_types.growth import GrowthLimits

if TYPE_CHECKING:
    from mwfs.operators import Operator

_GIVEN_UP = (State.UPSTREAM_FAILED, State.SKIPPED, State.CANCELLED)


@dataclass(slots=True, kw_only=True)
class _Scope:
    """The patch that a control node waits for."""

    patch: dag_pb2.DagPatch
    segment: Segment
    #: Nodes that have not ended: of the whole patch, and of each instance.
    open: int
    open_of: list[int]
    #: Made by a dynamic operator: each result depends on all nodes.
    dynamic: bool

    @property
    def nodes(self) -> range:
        return range(self.segment.first, self.segment.first + self.segment.size)


class GrowingNodes(Nodes):
    """Grows where control nodes say so, and keeps what waits for what."""

    def __init__(
        self,
        dag: dag_pb2.Dag,
        store: Store,
        *,
        operators: Sequence[Operator[..., Any] | None] = (),
        limits: GrowthLimits | None = None,
    ) -> None:
        super().__init__(dag, store, operators=operators, limits=limits)
        self._scopes: dict[int, _Scope] = {}
        self._arguments: dict[int, list[Value]] = {}
        self.cleanups = Cleanups(self.parent.__getitem__, self._patch_around)

    # Growing.

    def _refused(self, node: int, patch: dag_pb2.DagPatch) -> Failure | None:
        """Why the run may not grow by this patch."""
        added = len(patch.dag.node_operator)
        return self.limits.refusal(added=added, nodes=len(self.state), depth=self._depth[node])

    def _adopt(self, node: int, patch: dag_pb2.DagPatch) -> None:
        """Appends a patch and waits for it."""
        check_patch(patch)
        segment = self._append(patch.dag, node)
        start = 0
        sizes: list[int] = []
        for instance, end in enumerate(patch.instance_end):
            for local in range(start, end):
                self._instance[segment.first + local] = instance
            sizes.append(end - start)
            start = end
        kind = self.segments.of(node).row(node).control.kind
        self._scopes[node] = _Scope(
            patch=patch,
            segment=segment,
            open=segment.size,
            open_of=sizes,
            dynamic=kind == dag_pb2.CONTROL_KIND_DYNAMIC,
        )
        racing = kind == dag_pb2.CONTROL_KIND_RACE
        if not segment.size or (racing and not all(sizes)):
            self._settled(node)

    def _advance(self, node: int) -> None:
        """Asks what a control node does next."""
        segment = self.segments.of(node)
        scope = self._scopes.get(node)
        if self._is_held_back(node):
            return
        step: Step = next_step(
            segment.dag,
            segment.row_index(node),
            self._arguments.get(node, ()),
            scope.patch if scope is not None else None,
            self._outcomes(node, scope) if scope is not None else (),
            parent=node,
            limits=self.limits,
            read=self._read,
        )
        if isinstance(step, Grow):
            refused = self._refused(node, step.patch)
            if refused is None:
                self._adopt(node, step.patch)
                return
            step = Failed(refused)
        if node in self.cleanups.cleaning:
            self._close(node)
            self._cancel(node)
        elif isinstance(step, Done):
            self._close(node)
            self._succeed(node, [self.store.spill(value) for value in step.values])
        elif isinstance(step, Await):  # a sleep: waits are left out here
            self._succeed(node, [Value(null=True)])
        elif isinstance(step, Failed):
            self._close(node)
            self._fail(node, self._at(segment, node, step.failure))

    def _is_held_back(self, node: int) -> bool:
        """Whether a cleanup has to wait for another one in its body."""
        return self.cleanups.waits(node) and self._has_cleanup_due(node) and not in_cleanup(self._scopes[node].patch)

    def _outcomes(self, node: int, scope: _Scope) -> list[Outcome | None]:
        if node in self.cleanups.cleaning and not in_cleanup(scope.patch):
            return [Outcome(cancelled=True)]
        found: list[Outcome | None] = []
        start = 0
        first = scope.segment.first
        for instance, end in enumerate(scope.patch.instance_end):
            if scope.open_of[instance]:
                found.append(None)
            else:
                nodes = range(first if scope.dynamic else first + start, first + end)
                failed = [node for node in nodes if self.state[node] is State.FAILED]
                failures = tuple(self.failures[node] for node in failed)
                serious = not all(map(self.is_tolerated, failed))
                found.append(Outcome(failures=failures) if serious else self._value(scope, instance, failures))
            start = end
        return found

    def _value(self, scope: _Scope, instance: int, failures: tuple[Failure, ...]) -> Outcome:
        output = scope.patch.dag.outputs[instance]
        try:
            return Outcome(value=scope.segment.values.item(output.item))
        except FunctionFailed as error:
            return Outcome(failures=(failure_of_function(error),))
        except GivenUp:
            return Outcome(failures=failures)

    def _close(self, node: int) -> None:
        """Forgets a control node's scope; what has not ended in it, at any depth, is dropped."""
        self._arguments.pop(node, None)
        scope = self._scopes.pop(node, None)
        if scope is not None:
            self._drop_all(scope)

    def _drop_all(self, scope: _Scope) -> None:
        if scope.open:
            for node in range(scope.segment.first, scope.segment.first + scope.segment.size):
                self._drop(node)

    def _drop(self, node: int) -> None:
        """What comes of a node is of no use any more: it is cancelled, what it has grown with it, and what has a cleanup cleans up first."""
        if self.state[node] not in (State.PENDING, State.WAITING) or node in self.cleanups.cleaning:
            return
        if self._has_cleanup_due(node):
            scope = self._scopes[node]
            self.cleanups.begin(node)
            if not in_cleanup(scope.patch):
                self._drop_all(scope)
            if not scope.open:
                self._settled(node)  # an interruption came before it was asked
        else:
            self._cancel(node)
            self._close(node)

    def _drop_everything(self) -> None:
        """The run is not to go on. What cleans up does, and its cleanups."""
        for node in range(len(self.state)):
            if not self.cleanups.shelters(node):
                self._drop(node)

    def _has_cleanup_due(self, node: int) -> bool:
        return node in self._scopes and self.segments.of(node).row(node).control.cleanup > 0

    def _patch_around(self, node: int) -> dag_pb2.DagPatch | None:
        scope = self._scopes.get(self.parent[node])
        return scope.patch if scope is not None and node in scope.nodes else None

    # Endings.

    def _node_ended(self, node: int) -> None:
        state = self.state[node]
        policy = self._policy_of(node) if state is State.FAILED else 0
        goes_on = state is State.SKIPPED or policy == dag_pb2.FAILURE_POLICY_CONTINUE
        if policy == dag_pb2.FAILURE_POLICY_CANCEL_DEPENDENTS:
            self._cancel_with(node)
        for dependent in self.dependents[node]:
            if self.state[dependent] is not State.PENDING:
                continue
            if state is State.SUCCEEDED or (goes_on and node not in self.segments.of(dependent).needs(dependent)):
                self._waits[dependent] -= 1
                if not self._waits[dependent]:
                    heapq.heappush(self._ready, dependent)
            elif state is not State.CANCELLED:
                self.state[dependent] = State.SKIPPED if goes_on else State.UPSTREAM_FAILED
                self._ended.append(dependent)
        self._tell_parent(node)
        for one in self.cleanups.ended(node):
            if self._has_cleanup_due(one) and not self._scopes[one].open:
                self._settled(one)

    def _tell_parent(self, node: int) -> None:
        parent = self.parent[node]
        scope = self._scopes.get(parent)
        if scope is None or node not in scope.nodes:
            return
        scope.open -= 1
        instance = self._instance[node]
        scope.open_of[instance] -= 1
        racing = self.segments.of(parent).row(parent).control.kind == dag_pb2.CONTROL_KIND_RACE
        if not scope.open or (racing and not scope.open_of[instance]):
            self._settled(parent)

    def _cancel_with(self, node: int) -> None:
        """What needs it is cancelled, and what is there only for those."""
        doomed, stack = [], [node]
        while stack:
            for dependent in self.dependents[stack.pop()]:
                if self.state[dependent] is State.PENDING:
                    stack.append(dependent)
                    doomed.append(dependent)
                    self._cancel(dependent)
        while doomed:
            segment = self.segments.of(doomed[-1])
            one = doomed.pop()
            needs = segment.needs(one) | self._follows.get(one, set())
            for need in needs:
                idle = self.state[need] in (State.PENDING, State.WAITING) and need not in self.cleanups.cleaning
                if (
                    idle
                    and need not in segment.results()
                    and all(self.state[other] in _GIVEN_UP for other in self.dependents[need])
                ):
                    self._drop(need)
                    doomed.append(need)

    def _settled(self, node: int) -> None:
        if self.state[node] is not State.WAITING:
            return
        self._advance(node)
