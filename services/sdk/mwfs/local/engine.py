"""The engine of `run_local`: nodes one at a time, lowest ready number first, growing the run where control nodes say so.

Iterative throughout: a chain of a hundred thousand nodes, or loops inside maps inside loops, need no Python stack.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mwfs.artifacts import Store
from mwfs.attempt_context import CurrentAttempt, Preempted, entered
from mwfs.checkpoints import CheckpointShelf
from mwfs.errors import BadResult, CompileError, NotLoadable
from mwfs.failures import describe_exception
from mwfs.invoke import invoke
from mwfs.local.growing import GrowingNodes
from mwfs.local.nodes import State, Value
from mwfs.local.preemptions import Preemption, planned_for
from mwfs.local.segments import Segment
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import patch_of
from mwfs_types.errors import BadValue
from mwfs_types.growth import GrowthLimits, failure_of, signal_timed_out
from mwfs_types.values import is_spilled

if TYPE_CHECKING:
    from mwfs.operators import Operator


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


class LocalEngine(GrowingNodes):
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
        super().__init__(dag, store, operators=operators, limits=limits)
        self.replace = replace or {}
        self.signals = signals or {}
        self.cache = cache
        self.cached: set[int] = set()
        #: The exceptions behind failures, by the number of the node that raised.
        self.errors: dict[int, BaseException] = {}
        self._shelf = CheckpointShelf()
        #: What the attempts of a node have kept last.
        self._kept: dict[int, events_pb2.Checkpoint] = {}

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


def _covers(row: dag_pb2.Operator, error: BaseException) -> bool:
    """Whether this error may be tried again."""
    classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    classes.add("exited" if isinstance(error, SystemExit) else "raised")
    only = row.retry.only_errors
    return classes.isdisjoint(row.retry.except_errors) and (not only or not classes.isdisjoint(only))
