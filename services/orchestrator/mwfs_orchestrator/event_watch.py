"""One watcher's stream of a run's events. It holds a number and nothing else: whatever was too much for memory comes from the shard."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.errors import DataLoss, Unavailable

from .engine import Engine
from .event_tails import MAX_WAITING, EventTail, end_of, stored_events
from .model import slot_of


async def watch_events(
    engine: Engine, run_id: UUID, first: int, *, follow: bool, max_waiting: int = MAX_WAITING
) -> AsyncGenerator[list[events_pb2.RunEvents], None]:
    """The run's events from number `first` on, until it has ended; with `follow` without end."""
    slot = slot_of(run_id)
    store = engine.shard_of(slot)
    first = max(first, 1)
    tail = EventTail(run_id, max_waiting=max_waiting)
    engine.event_tails.add(tail)  # before the shard is read, so that nothing falls between
    try:
        while True:
            tail.start_over()
            async with aclosing(stored_events(store, run_id, first)) as stored:
                async for batches in stored:
                    yield batches
                    first = end_of(batches[-1]) + 1
            while not tail.overflowed:
                if tail.moved or not engine.owns(slot):  # a run that goes is not here any more, and has not ended
                    raise Unavailable("The run has another owner now.", f"Watch again from event {first}.")
                batches = tail.take(first)
                if batches:
                    if batches[0].first_number > first:
                        raise DataLoss(f"Events {first} to {batches[0].first_number - 1} of run {run_id} are missing.")
                    yield batches
                    first = end_of(batches[-1]) + 1
                elif not follow and run_id not in engine.runs:
                    return
                else:
                    await tail.wake.wait()
    finally:
        engine.event_tails.remove(tail)
