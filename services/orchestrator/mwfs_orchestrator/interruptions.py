"""What has interrupted the nodes of a run, and what they have kept against it. (pure)"""

from typing import TYPE_CHECKING, Final

from mwfs_api.events.v1 import events_pb2

from .changes import Changes
from .run_part import RunPart

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: Nodes that were preempted as often are asked for together. More often than this is told as this, so that there are not too many groups.
MOST_TOLD_APART: Final = 100


class Interruptions(RunPart):
    """Of those nodes that were told to make room or have kept a checkpoint; it is stored with the node, and outlives attempts and rounds."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        self.of: dict[int, events_pb2.Interruptions] = {}

    def preemptions(self, node: int) -> int:
        """How often it was preempted, as the scheduler is told."""
        known = self.of.get(node)
        return min(known.preemptions, MOST_TOLD_APART) if known is not None else 0

    def told(self, node: int, attempt: int, facts: events_pb2.PreemptionFacts, changes: Changes) -> None:
        """An attempt was told to make room."""
        known = self._known(node)
        known.told_attempt = attempt
        known.told.CopyFrom(facts)
        self._store(node, known, changes)

    def preempted(self, node: int, lost_us: int, changes: Changes) -> None:
        """An attempt has made room, and what it did since its last checkpoint is lost."""
        known = self._known(node)
        known.preemptions += 1
        known.lost_us += lost_us
        self._store(node, known, changes)

    def kept(
        self, node: int, checkpoint: events_pb2.Checkpoint, before: events_pb2.Checkpoint | None, changes: Changes
    ) -> None:
        """An attempt has kept this, and perhaps some that nobody was told of since the one before."""
        known = self._known(node)
        same = before is not None and before.attempt == checkpoint.attempt
        known.checkpoints += checkpoint.number - (before.number if before is not None and same else 0)
        known.checkpoint_step, known.checkpoint_time_us = checkpoint.step, checkpoint.time_us
        self._store(node, known, changes)

    def restore(self, node: int, data: bytes | None) -> None:
        """As its row says."""
        if data is not None:
            self.of[node] = events_pb2.Interruptions.FromString(data)

    def _known(self, node: int) -> events_pb2.Interruptions:
        return self.of.setdefault(node, events_pb2.Interruptions())

    def _store(self, node: int, known: events_pb2.Interruptions, changes: Changes) -> None:
        changes.interruptions[self._run.header.run_id, node] = known.SerializeToString()
