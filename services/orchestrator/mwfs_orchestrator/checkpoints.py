"""What attempts of a run have kept for the next ones of their nodes. (pure)"""

from typing import TYPE_CHECKING

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

from .changes import Changes
from .run_part import RunPart

if TYPE_CHECKING:
    from .active_run import ActiveRun


class Checkpoints(RunPart):
    """The last one of each node that has any; it stays when the node fails, for the next round."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        self.last: dict[int, events_pb2.Checkpoint] = {}

    def keep(self, node: int, checkpoint: events_pb2.Checkpoint, changes: Changes, now: int) -> None:
        """An attempt that goes on, or has just ended, has kept this. What is older than what is known is ignored."""
        run, known = self._run, self.last.get(node)
        if known is not None:
            if (known.attempt, known.number) >= (checkpoint.attempt, checkpoint.number):
                return
            changes.dropped.append(known.key)
        self.last[node] = checkpoint
        changes.checkpoints[run.header.run_id, node] = checkpoint.SerializeToString()
        run.interruptions.kept(node, checkpoint, known, changes)
        batch = changes.event(run, events_pb2.EVENT_KIND_NODE_CHECKPOINTED, now, node, checkpoint.attempt)
        changes.detail(batch).checkpoint.CopyFrom(checkpoint)

    def drop(self, node: int, changes: Changes, last: events_pb2.Checkpoint | None = None) -> None:
        """The node has succeeded: nothing of it is needed. last: one that nobody was told of before."""
        known = self.last.pop(node, None)
        changes.dropped.extend({one.key for one in (known, last) if one is not None})
        if last is not None and (known is None or known.key != last.key):
            self._run.interruptions.kept(node, last, known, changes)
        if known is not None:
            changes.checkpoints[self._run.header.run_id, node] = None


def work_of(outcome: action_pb2.Outcome) -> tuple[int, int]:
    """For how many microseconds an attempt ran until its last checkpoint, and after it. All three times are of one host's clock, which may jump."""
    began, ended = outcome.body_started_us, outcome.body_ended_us
    kept = max(began, min(ended, outcome.checkpoint.time_us))
    return kept - began, max(0, ended - kept)
