"""How a run ends: with its outputs, or the failure that counts. (pure)"""

from typing import TYPE_CHECKING

from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

from .arguments import OutputFailed, outputs_of
from .changes import Changes
from .computed import ContentNeeded
from .model import RunMove
from .run_part import RunPart
from .states import RunState

if TYPE_CHECKING:
    from .active_run import ActiveRun


class Ending(RunPart):
    """Ends a run once nothing of it goes on."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: The state that the run has ended from.
        self.state_before = RunState.ACCEPTED

    def finish(self, changes: Changes, now: int) -> None:
        """Ends the run; only asks for a value of the object store if its outputs are computed from one."""
        run = self._run
        outputs: bytes | None = None
        if run.failure is None and run.state is not RunState.CANCELLING:
            try:
                outputs = self._outputs()
            except ContentNeeded as needed:
                changes.contents.append((run, needed.artifact))
                return
        if run.failure is not None:
            state, kind = RunState.FAILED, events_pb2.EVENT_KIND_RUN_FAILED
        elif run.state is RunState.CANCELLING:
            state, kind = RunState.CANCELLED, events_pb2.EVENT_KIND_RUN_CANCELLED
        else:
            state, kind = RunState.SUCCEEDED, events_pb2.EVENT_KIND_RUN_SUCCEEDED
        self.state_before = run.state
        run.move(state, now)
        run.end_us = now
        # Of nodes that were cancelled while they waited for room, the scheduler does not know.
        for group in run.ready.groups():
            if group.asked:
                changes.withdrawn.append(group.group_id)
                changes.demands.pop(group, None)
        batch = changes.event(run, kind, now)
        if run.failure is not None:
            changes.detail(batch).failure.CopyFrom(run.failure)
        changes.moved.append(
            RunMove(
                run_id=run.header.run_id,
                state=state,
                end_us=now,
                failure=run.failure.SerializeToString() if run.failure is not None else None,
                outputs=outputs,
                node_counts=list(run.counts),
            )
        )
        changes.finished_runs.append(run)

    def _outputs(self) -> bytes | None:
        """The outputs of the run; None with the failure of the run when it has none. Raises ContentNeeded."""
        run = self._run
        assert run.graph is not None, "only a run with a graph succeeds"
        try:
            return outputs_of(run.graph, run.outputs.__getitem__, run.read_content)
        except OutputFailed as error:
            run.failure = error.failure
        except KeyError:
            # An output was given up by a node after whose failure the run went on.
            assert run.policies.tolerated is not None, "without a failure all outputs are there"
            run.failure = run.policies.tolerated[1]
        return None

    def take_content(
        self, digest: str, content: types_pb2.Value | events_pb2.Failure, changes: Changes, now: int
    ) -> None:
        """What an output is computed from has been read, or cannot be."""
        run = self._run
        if run.ended or not run.nothing_open():
            return
        if isinstance(content, events_pb2.Failure):
            run.failure = run.failure or content
        else:
            run.contents[digest] = content
        self.finish(changes, now)
