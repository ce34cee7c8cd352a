"""Commits become rows, each once."""

from __future__ import annotations

from fixtures.run_events import BEGIN_US, RUN_ID, Story

from mwfs_api.events.v1 import events_pb2 as pb
from mwfs_observability.projection import Batch


def commit(position: int, *runs: pb.RunEvents, stream: str = "0/1") -> pb.Commit:
    return pb.Commit(stream=stream, position=position, runs=runs)


def test_a_commit_is_one_row_per_run() -> None:
    first, second = Story().accept().commit().start(1).begin(0).events()
    batch = Batch(positions={})
    batch.add(commit(1, first))
    batch.add(commit(2, second))
    assert batch.run_ids == [RUN_ID, RUN_ID]
    assert batch.first_numbers == [1, 2]
    assert batch.counts == [1, 2]
    assert [pb.RunEvents.FromString(payload) for payload in batch.payloads] == [first, second]
    assert batch.moved == {"0/1": 2}
    assert batch.newest_us == BEGIN_US + 2_000
    [row] = batch.runs.values()
    assert (row.team, row.workflow, row.accept_us) == ("ads", "shop:train", BEGIN_US)
    assert (row.last_kind, row.last_number) == (pb.EVENT_KIND_RUN_STARTED, 2)


def test_what_is_stored_already_is_left_out() -> None:
    [told] = Story().accept().events()
    batch = Batch(positions={"0/1": 5})
    batch.add(commit(5, told))
    assert (batch.run_ids, batch.duplicates, batch.moved) == ([], 1, {})


def test_a_skipped_position_is_noticed() -> None:
    batch = Batch(positions={"0/1": 5})
    batch.add(commit(7))
    assert (batch.gaps, batch.moved) == (1, {"0/1": 7})


def test_a_batch_that_is_being_stored_does_not_move_with_the_next_one() -> None:
    positions: dict[str, int] = {}
    storing, following = Batch(positions), Batch(positions)
    storing.add(commit(1))
    following.add(commit(2))
    assert (storing.moved, following.moved) == ({"0/1": 1}, {"0/1": 2})
    assert following.gaps == 0


def test_what_could_never_be_stored_is_counted_and_skipped() -> None:
    [told] = Story("not an id").accept().events()
    batch = Batch(positions={})
    batch.add(
        commit(
            1, told, pb.RunEvents(run_id=RUN_ID, first_number=1 << 63, kind=[pb.EVENT_KIND_RUN_ACCEPTED], time_us=[1])
        )
    )
    batch.add(commit(1 << 63))
    batch.add(commit(1, stream="\0"))
    assert (batch.run_ids, batch.malformed, batch.moved) == ([], 4, {"0/1": 1})
