"""Carrying out control nodes: what they are asked with is fetched, the decision is made, large results are stored, and the run is told."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_answers import Done, Grow, Step
from mwfs_types.dag_check import check_patch
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import next_step

from .active_run import ActiveRun
from .argument_failures import argument_failure
from .changes import Changes
from .computed import ContentNeeded
from .contents import Contents
from .growth import LIMITS, Question

log = logging.getLogger(__name__)

#: Questions about more than this are answered on a thread, so that leases are renewed meanwhile.
_THREAD_BYTES: Final = 8 * 1024
#: Results that are larger travel as artifacts, as those of operators do.
_INLINE_BYTES: Final = 32 * 1024


class ControlNodes:
    """Asks `next_step` for the runs of one engine. `change` lets it change a run that is still there."""

    def __init__(
        self,
        contents: Contents,
        *,
        change: Callable[[ActiveRun, Callable[[Changes, int], None]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._contents = contents
        self._change = change
        self._spawn = spawn

    def carry_out(self, run: ActiveRun, node: int) -> None:
        """The node is ready, or what it waited for has ended."""
        try:
            question = run.controls.question(node)
        except ContentNeeded as needed:
            self._spawn(self._fetch(run, node, needed.artifact))
            return
        except FunctionFailed as error:
            self._fail(run, node, argument_failure(error, run.graph, node))
            return
        if question is None:
            return
        if question.size > _THREAD_BYTES:
            self._spawn(self._decide_beside(run, question))
        else:
            self._take(run, question, lambda: _decide(run, question))

    async def _decide_beside(self, run: ActiveRun, question: Question) -> None:
        try:
            step: Step | ContentNeeded = await asyncio.to_thread(_decide, run, question)
        except ContentNeeded as needed:
            step = needed

        def decided() -> Step:
            if isinstance(step, ContentNeeded):
                raise step
            return step

        self._take(run, question, decided)

    def _take(self, run: ActiveRun, question: Question, decide: Callable[[], Step]) -> None:
        try:
            step = decide()
        except ContentNeeded as needed:
            self._spawn(self._fetch(run, question.node, needed.artifact))
            return
        except Exception as error:
            log.critical(
                "a control node could not be carried out", exc_info=error, extra={"run": str(run.header.run_id)}
            )
            self._fail(run, question.node, _defect(error))
            return
        if isinstance(step, Done) and any(value.ByteSize() > _INLINE_BYTES for value in step.values):
            self._spawn(self._store(run, question, step.values))
        else:
            self._change(run, lambda changes, now: run.controls.answer(question, step, changes, now))

    async def _store(self, run: ActiveRun, question: Question, values: Sequence[types_pb2.Value]) -> None:
        """Ends the node with these values, those that are large as artifacts."""
        small = []
        for value in values:
            kept = await self._contents.keep(value) if value.ByteSize() > _INLINE_BYTES else value
            if isinstance(kept, events_pb2.Failure):
                self._fail(run, question.node, kept)
                return
            small.append(kept if isinstance(kept, types_pb2.Value) else types_pb2.Value(artifact=kept))
        done = Done(small[0], tuple(small[1:]))
        self._change(run, lambda changes, now: run.controls.answer(question, done, changes, now))

    async def _fetch(self, run: ActiveRun, node: int, artifact: types_pb2.Artifact) -> None:
        content = await self._contents.fetch(artifact)
        if isinstance(content, events_pb2.Failure):
            self._fail(run, node, content)
        else:
            run.contents[artifact.digest] = content
            self.carry_out(run, node)

    def _fail(self, run: ActiveRun, node: int, failure: events_pb2.Failure) -> None:
        self._change(run, lambda changes, now: run.controls.cannot_ask(node, failure, changes, now))


def _decide(run: ActiveRun, question: Question) -> Step:
    """Raises ContentNeeded."""
    step = next_step(
        question.dag,
        question.operator,
        question.arguments,
        question.scope.last if question.scope is not None else None,
        question.outcomes,
        parent=question.node,
        limits=LIMITS,
        read=run.read_content,
    )
    if isinstance(step, Grow):
        check_patch(step.patch)
    return step


def _defect(error: Exception) -> events_pb2.Failure:
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_LIMIT,
        error_type="ControlNodeFailed",
        message=f"The platform could not carry out this node: {type(error).__name__}: {error}"[:2000],
        next_step="This is a defect of mwfs; its log says more.",
        node=-1,
    )
