"""Outcomes from the moment an attempt has ended until its replica has acknowledged: journal first, then told, and told again.

What ends within a few milliseconds is one transaction and one message.
"""

import asyncio
import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable

from mwfs_action_service.journal import Entry, Journal, LogRange
from mwfs_action_service.model import AttemptKey, key_proto
from mwfs_action_service.replicas import ReplicaStream
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

log = logging.getLogger(__name__)

#: For so long outcomes are collected when more are sure to come: one transaction, one message.
GROUP_SECONDS = 0.002
#: Acknowledged outcomes may stay in the journal a little longer: at worst they are told twice.
FORGET_SECONDS = 0.1
RETRY_SECONDS = 1.0
#: How often outcomes of replicas that are gone are told to the others.
ORPHAN_SECONDS = 30.0


class Outcomes:
    """Owns the replicas' streams and what they have not acknowledged."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        #: Who is to hear of each outcome, and the epoch of the slot by which that is so.
        self._unacknowledged = {key: (replica, 0) for key, replica in journal.unacknowledged().items()}
        self._orphans_told = 0.0
        self._streams: dict[str, ReplicaStream] = {}
        self._entries: list[Entry] = []
        self._untold: dict[str, list[action_pb2.Outcome]] = defaultdict(list)
        self._forget: list[AttemptKey] = []
        self._with_checkpoint: list[AttemptKey] = []
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._due = 0.0
        self._closed = False

    def __contains__(self, key: AttemptKey) -> bool:
        """Whether the attempt has ended and is not acknowledged."""
        return key in self._unacknowledged

    def __len__(self) -> int:
        return len(self._unacknowledged)

    def attach(self, replica: str, welcome: action_pb2.Welcome) -> ReplicaStream:
        """The replica's new stream, with its welcome and all its unacknowledged outcomes already told."""
        self.flush()
        previous = self._streams.get(replica)
        if previous is not None:
            previous.close(replaced=True)
        stream = self._streams[replica] = ReplicaStream(replica)
        stream.welcome(welcome)
        stream.tell_outcomes(self._journal.outcomes_for(replica))
        stream.tell_outcomes(self._orphans())
        # Only when the journal could not be written:
        stream.tell_outcomes(
            [action_pb2.Outcome.FromString(entry[2]) for entry in self._entries if entry[1] == replica]
        )
        return stream

    def detach(self, stream: ReplicaStream) -> None:
        if self._streams.get(stream.replica) is stream:
            del self._streams[stream.replica]

    def adopt(self, replica: str, key: AttemptKey, epoch: int) -> bool:
        """An outcome is for this replica from now on; it is told again. False when there is none."""
        owner = self._unacknowledged.get(key)
        if owner is None:
            return False
        if epoch >= owner[1]:
            self.flush()
            self._unacknowledged[key] = (replica, epoch)
            stream = self._streams.get(replica)
            found = self._journal.hand_over(key, replica)
            if stream is not None and found is not None:
                stream.tell_outcomes([found])
        return True

    def tell_orphans(self, now: float) -> None:
        """Outcomes of replicas that are gone are told to those that are here, now and then: who owns their runs acknowledges what is committed."""
        if now < self._orphans_told + ORPHAN_SECONDS or not self._unacknowledged:
            return
        self._orphans_told = now
        orphans = self._orphans()
        for stream in self._streams.values() if orphans else ():
            stream.tell_outcomes(orphans)

    def _orphans(self) -> list[action_pb2.Outcome]:
        absent = {replica for replica, _ in self._unacknowledged.values()} - self._streams.keys()
        return [outcome for replica in sorted(absent) for outcome in self._journal.outcomes_for(replica)]

    def record(
        self,
        key: AttemptKey,
        replica: str,
        epoch: int,
        outcome: action_pb2.Outcome,
        place: LogRange | None,
        *,
        more_follow: bool = False,
    ) -> None:
        """The attempt has ended. `more_follow`: the worker has others queued, so nothing is won by telling this one at once."""
        self._unacknowledged[key] = (replica, epoch)
        if outcome.HasField("checkpoint"):
            self._with_checkpoint.append(key)
        self._entries.append((key, replica, outcome.SerializeToString(), place, time.time_ns() // 1000))
        self._untold[replica].append(outcome)
        self._flush_in(GROUP_SECONDS if more_follow else 0.0)

    def tell_unknown(self, key: AttemptKey, replica: str, outcome: action_pb2.Outcome) -> None:
        """Answer for an attempt that was never here: told to the stream, and not kept."""
        stream = self._streams.get(replica)
        if stream is not None and key not in self._unacknowledged:
            stream.tell_outcomes([outcome])

    def tell_started(self, key: AttemptKey, replica: str, time_us: int, worker: str) -> None:
        stream = self._streams.get(replica)
        if stream is not None:
            stream.tell_started(action_pb2.Started(key=key_proto(key), time_us=time_us, worker=worker))

    def tell_kept(self, key: AttemptKey, replica: str, checkpoint: events_pb2.Checkpoint) -> None:
        """Told once: a stream that breaks is followed by one that is told all that live attempts have kept."""
        stream = self._streams.get(replica)
        if stream is not None:
            stream.tell_kept(action_pb2.Kept(key=key_proto(key), checkpoint=checkpoint))

    def acknowledge(self, keys: Iterable[AttemptKey]) -> None:
        """These outcomes are committed: forget them."""
        for key in keys:
            if self._unacknowledged.pop(key, None) is not None:
                self._forget.append(key)
        if self._forget:
            self._flush_in(FORGET_SECONDS)

    def flush(self) -> None:
        """Store what has ended, then tell it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._entries and not self._forget:
            return
        try:
            self._journal.write(self._entries, self._forget, self._with_checkpoint)
        except sqlite3.Error:
            # Told all the same: the replica's commit is as good a place. Stored as soon as the disk allows.
            log.exception("cannot write the journal", extra={"outcomes": len(self._entries)})
            self._flush_in(RETRY_SECONDS)
        else:
            self._entries, self._forget, self._with_checkpoint = [], [], []
        untold, self._untold = self._untold, defaultdict(list)
        for replica, outcomes in untold.items():
            stream = self._streams.get(replica)
            if stream is not None:
                stream.tell_outcomes(outcomes)

    def close(self) -> None:
        """Store what is left and end all streams."""
        self._closed = True
        self.flush()
        for stream in self._streams.values():
            stream.close()

    def _flush_in(self, seconds: float) -> None:
        if self._closed:
            return
        due = time.monotonic() + max(0.0, seconds)
        if self._timer is not None:
            if due >= self._due:
                return
            self._timer.cancel()
        self._due = due
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self.flush) if seconds > 0 else loop.call_soon(self.flush)
