"""Room for runs: counted now and then, and refused with a time."""

from dataclasses import dataclass
from typing import Any

import pytest
from builders.clocks import HandClock

from mwfs_chassis.errors import Overloaded
from mwfs_orchestrator.admission import RUN_COSTS, Admission
from mwfs_types.child_runs import MAX_DEPTH


@dataclass
class Shape:
    size: int


@dataclass
class Run:
    graph: Any


def test_what_is_let_in_counts_at_once() -> None:
    most = 100 + 2 * RUN_COSTS
    admission = Admission(clock=HandClock(), max_nodes=most)
    admission.admit(50, [], behind_s=0)
    admission.admit(50, [], behind_s=0)
    with pytest.raises(
        Overloaded, match=rf"runs of {most} nodes going on, and this one has 1; it takes {most}"
    ) as refused:
        admission.admit(1, [], behind_s=0)
    assert refused.value.retry_after_s > 0


def test_room_that_ended_runs_have_left_is_found() -> None:
    clock = HandClock()
    admission = Admission(clock=clock, max_nodes=160 + 2 * RUN_COSTS)
    runs: list[Any] = [Run(Shape(150)), Run(None)]
    with pytest.raises(Overloaded):
        admission.admit(50, runs, behind_s=0)
    clock.now = 1.0
    admission.admit(50, runs[1:], behind_s=0)


def test_a_run_larger_than_all_room_is_let_in_when_nothing_else_goes_on() -> None:
    Admission(clock=HandClock(), max_nodes=10).admit(1_000_000, [], behind_s=0)


def test_a_shard_that_does_not_keep_up_gets_nothing_new() -> None:
    admission = Admission(clock=HandClock(), max_nodes=1_000)
    admission.admit(1, [], behind_s=1.0)
    with pytest.raises(Overloaded, match="does not keep up") as refused:
        admission.admit(1, [], behind_s=30.0)
    assert refused.value.retry_after_s > 0


def test_runs_that_wait_for_their_children_leave_them_room() -> None:
    clock = HandClock()
    share = 2 * RUN_COSTS
    admission = Admission(clock=clock, max_nodes=share * MAX_DEPTH)
    waiting: list[Any] = [Run(Shape(share * MAX_DEPTH - RUN_COSTS))]
    with pytest.raises(Overloaded):
        admission.admit(1, waiting, behind_s=0)
    for depth in range(1, MAX_DEPTH + 1):
        clock.now += 1
        admission.admit(1_000, waiting, behind_s=0, child_depth=depth)
        # These wait in their turn, and have filled the room of their depth.
        waiting.append(Run(Shape(share - RUN_COSTS)))
        clock.now += 1
        with pytest.raises(Overloaded):
            admission.admit(1, waiting, behind_s=0)
    clock.now += 1
    with pytest.raises(Overloaded, match=f"it takes {2 * share * MAX_DEPTH:,} in all"):
        admission.admit(1, [*waiting, Run(Shape(1))], behind_s=0, child_depth=MAX_DEPTH)
