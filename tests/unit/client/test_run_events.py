"""Batches of events as columns, read one by one."""

from mwfs.client.run_events import events_of
from mwfs_api.events.v1 import events_pb2 as ev


def test_each_event_has_the_body_of_its_own_attempt() -> None:
    kinds = [
        ev.EVENT_KIND_NODE_STARTED,
        ev.EVENT_KIND_NODE_GREW,
        ev.EVENT_KIND_NODE_CHECKPOINTED,
        ev.EVENT_KIND_NODE_SUCCEEDED,
    ]
    batch = ev.RunEvents(
        first_number=5,
        kind=kinds,
        node=[0, 1, 2, 3],
        attempt=[1] * 4,
        time_us=[10, 20, 30, 40],
        body_started_us=[11, 31],
        body_ended_us=[12, 32],
        place=[1, 0],
        places=["h/a", "h/b"],
        ready_us=[9],
    )
    batch.details.add(index=2).checkpoint.step = 7
    started, grew, kept, succeeded = events_of(batch)
    assert (started.ready_us, started.body_started_us) == (9, 0)
    assert (grew.body_started_us, grew.place) == (11, "h/b")
    assert (kept.fact, kept.body_ended_us, kept.number) == (ev.Checkpoint(step=7), 0, 7)
    assert (succeeded.body_ended_us, succeeded.place) == (32, "h/a")
