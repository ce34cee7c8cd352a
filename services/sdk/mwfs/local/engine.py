"""The engine of `run_local`: nodes one at a time, lowest ready number first, growing the run where control nodes say so.

Iterative throughout: a chain of a hundred thousand nodes, or loops inside maps inside loops, need no Python stack.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from mwfs.artifacts import Store
from mwfs.attempt_context import CurrentAttempt, Preempted, entered
from mwfs.checkpoints import CheckpointShelf
from mwfs.errors import BadResult, CompileError, NotLoadable
from mwfs.failures import describe_exception
from mwfs.invoke import invoke
from mwfs.local.preemptions import Preemption, planned_for
from mwfs.local.segments import Segment, Segments
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.cleanups import Cleanups
from mwfs_types.dag_check import check_patch
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import (
    Await,
    Done,
    Failed,
    Grow,
    Outcome,
    Step,
    in_cleanup,
    next_step,
    patch_of,
)
from mwfs_types.errors import BadValue
from mwfs_types.growth import GrowthLimits, failure_of, signal_timed_out
from mwfs_types.run_options import policy_of
from mwfs_types.values import is_spilled, unspill

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


_GIVEN_UP = (State.UPSTREAM_FAILED, State.SKIPPED, State.CANCELLED)


class ResultCache(Protocol):
    """Earlier results of pure operators."""

    def lookup(
        self,
        operator: dag_pb2.Operator,
        types: Sequence[types_pb2.Type],
        arguments: Sequence[Value],
        files: Store | None = None,
    ) -> list[Value] | None:
        """The outputs of an earlier call with the same code, environment and arguments; their files become known to `files`."""

    def store(
        self,
        operator: dag_pb2.Operator,
        types: Sequence[types_pb2.Type],
        arguments: Sequence[Value],
        outputs: Sequence[Value],
        files: Store,
    ) -> None:
        """Keeps the outputs of a call."""


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


class LocalEngine:
    """One local run. `run()` once; then `state`, `results`, `failures` and the rest tell what happened."""

    def __init__(
        self,
        dag: dag_pb2.Dag,
        store: Store,
        *,
        operators: Sequence[Operator[..., Any] | None] = (),
        replace: Mapping[str, Callable[..., Any]] | None = None,
        signals: Mapping[str, Any] | None = None,
        cache: ResultCache | None = None,
        limits: GrowthLimits | None = None,
    ) -> None:
        self.store = store
        self.replace = replace or {}
        self.signals = signals or {}
        self.cache = cache
        self.limits = limits or GrowthLimits()
        self.segments = Segments()
        self.state: list[State] = []
        self.results: list[list[Value] | None] = []
        #: Attempts of each node, 0 before the first.
        self.attempts: list[int] = []
        #: The control node that made a node; -1 for those that were compiled.
        self.parent: list[int] = []
        self.cached: set[int] = set()
        self.failures: dict[int, Failure] = {}
        #: The exceptions behind failures, by the number of the node that raised.
        self.errors: dict[int, BaseException] = {}
        self._depth: list[int] = []
        self._waits: list[int] = []
        self.dependents: list[list[int]] = []
        self._instance: list[int] = []
        self._ready: list[int] = []
        #: What a node follows without taking anything.
        self._follows: dict[int, set[int]] = {}
        self._ended: deque[int] = deque()
        self._scopes: dict[int, _Scope] = {}
        self._arguments: dict[int, list[Value]] = {}
        self.cleanups = Cleanups(self.parent.__getitem__, self._patch_around)
        self._stopped = False
        #: Nodes whose failure cancelled the run.
        self.fatal: list[int] = []
        self._shelf = CheckpointShelf()
        #: What the attempts of a node have kept last.
        self._kept: dict[int, events_pb2.Checkpoint] = {}
        self._options = dag.options
        self.base = self._append(dag, -1, operators)

    # The run.

    def run(self) -> None:
        """Runs until nothing can happen any more. When it is interrupted, the cleanups of what had begun run first."""
        try:
            self._go_on()
        except KeyboardInterrupt:
            self._drop_everything()
            self._go_on()
            raise

    def _go_on(self) -> None:
        while True:
            while self._ended:
                self._node_ended(self._ended.popleft())
            if self._stopped:
                self._stopped = False
                self._drop_everything()
            elif self._ready:
                node = heapq.heappop(self._ready)
                if self.state[node] is State.PENDING:
                    self._start(node)
            else:
                break

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

    # One node.

    def _start(self, node: int) -> None:
        segment = self.segments.of(node)
        row = segment.row(node)
        try:
            arguments = segment.arguments(node)
        except FunctionFailed as error:
            self._fail(node, self._at(segment, node, failure_of_function(error)))
            return
        kind = row.control.kind if row.HasField("control") else 0
        if kind == dag_pb2.CONTROL_KIND_SIGNAL:
            self._take_signal(node, segment, row)
        elif kind and kind != dag_pb2.CONTROL_KIND_DYNAMIC:
            spilled = [self._read(value) if is_spilled(value) else value for value in arguments]
            self._arguments[node] = spilled
            self.state[node] = State.WAITING
            self._advance(node)
        else:
            self._call(node, segment, row, arguments)

    def _at(self, segment: Segment, node: int, failure: Failure) -> Failure:
        """A failure of the engine's own, at the user's line that called the node."""
        if not failure.file:
            file, _, line = segment.where(node).rpartition(":")
            failure.file, failure.line = file, int(line)
        if failure.node < 0:
            failure.node = node
        return failure

    def _take_signal(self, node: int, segment: Segment, row: dag_pb2.Operator) -> None:
        name = row.control.name
        kind = segment.dag.types[row.outputs[0].type]
        if name not in self.signals:
            if row.control.timeout_seconds:
                failure = signal_timed_out(name, row.control.timeout_seconds)
            else:
                failure = failure_of(
                    "ValueError", f"the workflow waits for the signal `{name}`, which nobody sends here"
                )
            failure.next_step = f"Give it: mwfs.LocalRun(signals={{{name!r}: …}}).run(…)."
            self._fail(node, self._at(segment, node, failure))
            return
        from mwfs_types.values import encode

        try:
            value = encode(self.signals[name], kind, self.store)
        except BadValue as error:
            failure = failure_of("ValueError", f"the payload of the signal `{name}`: {error}")
            self._fail(node, self._at(segment, node, failure))
            return
        self._succeed(node, [self.store.spill(value)])

    def _call(self, node: int, segment: Segment, row: dag_pb2.Operator, arguments: list[Value]) -> None:
        dynamic = row.control.kind == dag_pb2.CONTROL_KIND_DYNAMIC
        if self.cache is not None and row.cached and not dynamic:
            known = self.cache.lookup(row, segment.dag.types, arguments, self.store)
            if known is not None:
                self.cached.add(node)
                self._succeed(node, known)
                return
        preemption = planned_for(f"{row.module}:{row.qualname}")
        tries = 0
        while True:
            self.attempts[node] += 1
            attempt = self._attempt(node, preemption)
            try:
                operator = segment.operator(node)
                with entered(attempt):
                    if dynamic:
                        self._grow_by(node, segment, operator, arguments)
                    else:
                        outputs = invoke(operator, arguments, self.store, function=self._replacement(row))
                        if self.cache is not None and row.cached:
                            self.cache.store(row, segment.dag.types, arguments, outputs, self.store)
                        self._succeed(node, outputs)
                self._drop_kept(node)
                return
            except (Exception, SystemExit, Preempted) as error:
                if preemption is not None and attempt.deadline() is not None and isinstance(error, Preempted):
                    preemption.happened(attempt)
                    continue
                tries += 1
                hopeless = isinstance(error, (BadResult, CompileError, NotLoadable))
                if tries < max(1, row.retry.attempts) and not hopeless and _covers(row, error):
                    continue
                failure = describe_exception(error)
                failure.node = node
                self.errors[node] = error
                self._fail(node, failure)
                return

    def _attempt(self, node: int, preemption: Preemption | None) -> CurrentAttempt:
        def keep(checkpoint: events_pb2.Checkpoint) -> None:
            self._drop_kept(node)
            self._kept[node] = checkpoint

        attempt = CurrentAttempt(
            run_id="local",
            node=node,
            number=self.attempts[node],
            shelf=self._shelf,
            resume_from=self._kept.get(node),
            deadline=lambda: None if preemption is None else preemption.deadline(attempt),
            kept=keep,
        )
        return attempt

    def _drop_kept(self, node: int) -> None:
        kept = self._kept.pop(node, None)
        if kept is not None:
            self._shelf.drop(kept)

    def _replacement(self, row: dag_pb2.Operator) -> Callable[..., Any] | None:
        return self.replace.get(f"{row.module}:{row.qualname}") if self.replace else None

    # Growing.

    def _grow_by(self, node: int, segment: Segment, operator: Operator[..., Any], arguments: list[Value]) -> None:
        """Appends what a dynamic operator returns."""
        from mwfs.structure.dynamic import compile_call

        dag = compile_call(operator, arguments, self.store)
        patch = patch_of(dag, node)
        refused = self._refused(node, patch)
        if refused is not None:
            self._fail(node, self._at(segment, node, refused))
            return
        self.state[node] = State.WAITING
        self._adopt(node, patch)

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

    def _cancel(self, node: int) -> None:
        self.state[node] = State.CANCELLED
        self._ended.append(node)

    def _settled(self, node: int) -> None:
        if self.state[node] is not State.WAITING:
            return
        self._advance(node)


def _covers(row: dag_pb2.Operator, error: BaseException) -> bool:
    """Whether this error may be tried again."""
    classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    classes.add("exited" if isinstance(error, SystemExit) else "raised")
    only = row.retry.only_errors
    return classes.isdisjoint(row.retry.except_errors) and (not only or not classes.isdisjoint(only))
