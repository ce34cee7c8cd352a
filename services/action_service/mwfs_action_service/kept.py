"""Checkpoints that attempts on this host have kept: in the journal first, then told; those that a later one has replaced are removed."""

import time
from collections.abc import Callable

from mwfs_action_service import verdicts
from mwfs_action_service.journal import Journal
from mwfs_action_service.model import Attempt
from mwfs_action_service.outcomes import Outcomes
from mwfs_api.events.v1 import events_pb2

#: An attempt may keep many a second; the replica is told of the newest one so often.
TELL_SECONDS = 1.0


class KeptCheckpoints:
    """Notes what attempts keep. `drop` removes a checkpoint from the object store, sooner or later."""

    def __init__(self, journal: Journal, outcomes: Outcomes, *, drop: Callable[[str], None]) -> None:
        self._journal = journal
        self._outcomes = outcomes
        self._drop = drop

    def give_up_lost(self) -> None:
        """What ran when the service last ended is lost, and says so itself if it has kept something: so nothing of that is lost."""
        for key, replica, checkpoint in self._journal.kept():
            outcome = verdicts.outcome_of(verdicts.RESTARTED)
            outcome.key.run_id, outcome.key.node, outcome.key.attempt = key
            outcome.checkpoint.CopyFrom(checkpoint)
            self._outcomes.record(key, replica, 0, outcome, None)

    def keep(self, attempt: Attempt, checkpoint: events_pb2.Checkpoint) -> None:
        """An attempt that goes on has stored this."""
        replaced, attempt.checkpoint = attempt.checkpoint, checkpoint
        self._journal.keep(attempt.key, attempt.replica, checkpoint)
        if replaced is not None and replaced.number > attempt.told_checkpoint:
            self._drop(replaced.key)  # nobody else knows of it
        self.tell_in_time(attempt)

    def tell_in_time(self, attempt: Attempt) -> None:
        """Tells of what is new, unless it has just told of something."""
        checkpoint = attempt.checkpoint
        if checkpoint is None or checkpoint.number <= attempt.told_checkpoint:
            return
        if attempt.notice is not None or time.monotonic() > attempt.told_at + TELL_SECONDS:
            self.tell(attempt)

    def tell(self, attempt: Attempt) -> None:
        """Tells of the newest one, if there is any."""
        if attempt.checkpoint is not None:
            attempt.told_checkpoint, attempt.told_at = attempt.checkpoint.number, time.monotonic()
            self._outcomes.tell_kept(attempt.key, attempt.replica, attempt.checkpoint)
