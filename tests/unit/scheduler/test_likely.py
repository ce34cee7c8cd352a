"""When the first of a run's nodes is likely to end, and on what ground."""

from __future__ import annotations

from mwfs_api.orchestrator.v1.orchestrator_pb2 import Node
from mwfs_scheduler.what_if.likely import likely_end


def node(number: int, operator: str, *, started_s: float) -> Node:
    return Node(node=number, operator=operator, start_time_us=round(started_s * 1e6))


def test_the_first_that_is_likely_to_end_counts() -> None:
    running = [node(1, "m:long", started_s=100), node(2, "m:short", started_s=100), node(3, "m:new", started_s=100)]
    found = likely_end(running, {"m:long": 60, "m:short": 30}, 110)
    assert found is not None
    assert found.seconds == 20
    assert found.basis.startswith("then node 2 of this run is likely to end (m:short took 30 s at the median")


def test_who_takes_longer_than_before_may_end_now() -> None:
    found = likely_end([node(1, "m:a", started_s=100)], {"m:a": 5}, 1000)
    assert found is not None
    assert found.seconds == 0


def test_a_clock_that_is_behind_makes_nobody_younger() -> None:
    found = likely_end([node(1, "m:a", started_s=100)], {"m:a": 5}, 90)
    assert found is not None
    assert found.seconds == 5


def test_without_earlier_runs_there_is_no_guess() -> None:
    assert likely_end([node(1, "m:a", started_s=100)], {}, 110) is None
    assert likely_end([Node(node=1, operator="m:a")], {"m:a": 5}, 110) is None
    assert likely_end([], {"m:a": 5}, 110) is None
