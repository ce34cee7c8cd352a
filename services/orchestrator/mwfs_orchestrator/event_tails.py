"""The events of one run for those who watch: from its shard for the past, from memory for what is committed now."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Container, Iterable
from contextlib import aclosing
from typing import Final
from uuid import UUID

from mwfs_api.events.v1 import events_pb2

from .model import slot_of
from .shard.store import ShardStore

#: Events that wait in memory for one watcher. One that is further behind goes on from the shard.
MAX_WAITING: Final = 10_000
_ROWS: Final = 8


class EventTail:
    """What is committed of a run while somebody watches it."""

    def __init__(self, run_id: UUID, *, max_waiting: int = MAX_WAITING) -> None:
        self.run_id = str(run_id)
        self.wake = asyncio.Event()
        #: Something was left out: the shard has it.
        self.overflowed = False
        #: The run has another owner now.
        self.moved = False
        self._batches: deque[events_pb2.RunEvents] = deque()
        self._waiting = 0
        self._max_waiting = max_waiting

    def put(self, batch: events_pb2.RunEvents) -> None:
        self._waiting += len(batch.kind)
        if self._waiting > self._max_waiting:
            self._batches.clear()
            self.overflowed = True
        if not self.overflowed:
            self._batches.append(batch)
        self.wake.set()

    def move(self) -> None:
        self.moved = True
        self.wake.set()

    def take(self, first: int) -> list[events_pb2.RunEvents]:
        """All that waits and does not end before event `first`."""
        self.wake.clear()
        batches = [batch for batch in self._batches if end_of(batch) >= first]
        self._batches.clear()
        self._waiting = 0
        return batches

    def start_over(self) -> None:
        """Before the shard is read: what is committed from now on waits here."""
        self.take(0)
        self.overflowed = False


class EventTails:
    """Who watches the events of which runs. Costs a look into an empty dict when nobody does."""

    def __init__(self) -> None:
        self._by_run: dict[str, set[EventTail]] = {}

    @property
    def watched(self) -> int:
        """How many runs are watched."""
        return len(self._by_run)

    def add(self, tail: EventTail) -> None:
        self._by_run.setdefault(tail.run_id, set()).add(tail)

    def remove(self, tail: EventTail) -> None:
        tails = self._by_run.get(tail.run_id, set())
        tails.discard(tail)
        if not tails:
            self._by_run.pop(tail.run_id, None)

    def publish(self, commit: events_pb2.Commit) -> None:
        """This was committed here."""
        if self._by_run:
            for batch in commit.runs:
                for tail in self._by_run.get(batch.run_id, ()):
                    tail.put(batch)

    def move(self, slots: Container[int]) -> None:
        """Runs of these slots have another owner now."""
        for run_id, tails in self._by_run.items():
            if slot_of(UUID(run_id)) in slots:
                for tail in tails:
                    tail.move()


def end_of(batch: events_pb2.RunEvents) -> int:
    """The number of its last event."""
    return batch.first_number + len(batch.kind) - 1


async def stored_events(
    store: ShardStore, run_id: UUID, first: int
) -> AsyncGenerator[list[events_pb2.RunEvents], None]:
    """The run's events from `first` on as far as they are committed, in order and without a gap."""
    # Before history is read: what is moved there meanwhile is seen twice, never missed.
    unfolded: list[events_pb2.RunEvents] = []
    async with aclosing(store.read_unfolded()) as commits:
        async for commit in commits:
            unfolded += [batch for batch in commit.runs if batch.run_id == str(run_id) and end_of(batch) >= first]
    unfolded.sort(key=lambda batch: batch.first_number)
    while True:
        while rows := await store.read_run_events(run_id, first, _ROWS):
            found, first = _next_batches((batch for row in rows for batch in row.batches), first)
            if not found:
                break
            yield found
        # What a past owner left may be older than what history has of the present one: then history goes on after it.
        found, first = _next_batches(unfolded, first)
        if not found:
            return
        yield found


def _next_batches(batches: Iterable[events_pb2.RunEvents], first: int) -> tuple[list[events_pb2.RunEvents], int]:
    """Those that go on from event `first` without a gap, and the number after them."""
    found = []
    for batch in batches:
        if batch.first_number <= first <= end_of(batch):
            found.append(batch)
            first = end_of(batch) + 1
    return found, first
