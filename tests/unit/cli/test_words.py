"""How figures, times and bars are shown."""

import pytest

from mwfs.bench.figures import breakdown_ms, hops_ms, percentiles
from mwfs.cli import words
from mwfs.cli.gantt import bar_of
from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1 import observability_pb2


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0032, "3.2 ms"), (0.5, "500 ms"), (1.5, "1.5 s"), (59.9, "59.9 s"), (123, "2 min 3 s"), (7260, "2 h 1 min")],
)
def test_durations(seconds, shown):
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(12, "12 B"), (2048, "2.0 KiB"), (5 * 2**30, "5.0 GiB")])
def test_sizes(count, shown):
    assert words.size(count) == shown


def test_states_lose_their_prefix_and_unknown_ones_keep_their_number():
    assert words.run_state(events_pb2.RUN_STATE_SUCCEEDED) == "SUCCEEDED"
    assert words.node_state(events_pb2.NODE_STATE_UPSTREAM_FAILED) == "UPSTREAM_FAILED"
    assert words.run_state(99) == "99"


def test_times_are_utc_and_may_be_missing():
    assert words.iso_time(1_500_000) == "1970-01-01T00:00:01.500000Z"
    assert words.iso_time(0) is None


def span(**times: int) -> observability_pb2.AttemptSpan:
    return observability_pb2.AttemptSpan(**{f"{name}_time_us": time for name, time in times.items()})


def test_a_bar_waits_then_runs():
    assert bar_of(span(ready=20, commit=30, body_start=50, body_end=80, end=80), 0, 100, 10) == "  ···████"


def test_a_short_body_is_still_seen():
    assert bar_of(span(ready=10, commit=10, body_start=10, body_end=10, end=10), 0, 100, 10) == " █"


def test_a_bar_that_has_not_begun_only_waits():
    assert bar_of(span(ready=50, commit=60), 0, 100, 10) == "     ·····"


def test_hops_are_the_gaps_between_ends():
    assert hops_ms([3000, 1000, 0, 7000]) == [2.0, 4.0]


def test_percentiles_are_of_nearest_rank():
    assert percentiles(list(range(100))) == {"median": 50, "p90": 90, "p99": 99, "max": 99}
    assert percentiles([]) == {}


def test_the_time_of_an_attempt_is_divided():
    divided = breakdown_ms([span(ready=1000, commit=3000, body_start=6000, body_end=7000, end=12000), span(ready=1)])
    assert {name: figures["median"] for name, figures in divided.items()} == {
        "ready_to_granted": 2,
        "granted_to_body": 3,
        "body": 1,
        "body_to_stored": 5,
    }
