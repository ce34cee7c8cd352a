"""What each policy makes of a few jobs; all times were worked out by hand."""

from __future__ import annotations

import pytest
from builders.simulations import run, workload

from mwfs_scheduler.simulator.model import Checkpoints

#: `wide` is blocked behind `first`; `long` would fit but delay it; `short` would be done in time.
QUEUE = workload(("first", "x", 0, 100, 2), ("wide", "x", 1, 50, 4), ("long", "y", 2, 200, 2), ("short", "y", 3, 50, 2))


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ("fifo", {"first": 100, "wide": 150, "long": 350, "short": 200}),
        ("fifo-skip", {"first": 100, "wide": 252, "long": 202, "short": 150}),
        ("easy", {"first": 100, "wide": 150, "long": 350, "short": 53}),
        # Nothing says when `first` ends, so nothing is kept for `wide`.
        ("easy:durations=unknown", {"first": 100, "wide": 252, "long": 202, "short": 150}),
        # `short` says ten minutes, so it would be in the way.
        ("easy:durations=limits", {"first": 100, "wide": 150, "long": 350, "short": 200}),
    ],
)
def test_queues(policy: str, ends: dict[str, int]):
    assert run(QUEUE, policy).ends == ends


def test_in_a_static_partition_each_team_has_hosts_of_its_own():
    outcome = run(QUEUE, "static")
    assert outcome.ends == {"first": 100, "wide": None, "long": 202, "short": 252}
    assert outcome.replay.never == {"wide"}


#: x borrows the half of y, until y wants it.
BORROWED = workload(("kept", "x", 0, 1000, 2), ("borrows", "x", 1, 1000, 2), ("owner", "y", 10, 100, 2))


def test_a_team_within_its_guarantee_starts_when_the_grace_has_passed():
    outcome = run(BORROWED, "ours:backfill=none")
    assert outcome.ends == {"kept": 1000, "owner": 140, "borrows": 1140}
    assert sorted(outcome.ledger.reclaim_s) == [0, 30]
    assert outcome.waits == {"kept": 0, "owner": 30, "borrows": 100}


def test_without_grace_it_starts_at_once():
    assert run(BORROWED, "ours:grace_s=0,backfill=none").ends == {"kept": 1000, "owner": 110, "borrows": 1110}


@pytest.mark.parametrize(
    ("checkpoints", "lost", "end"),
    [
        # It runs from 1 to 40, and is told at 10.
        (Checkpoints(), 39, 1140),
        (Checkpoints(every_s=10), 9, 1110),
        (Checkpoints(rule="notice"), 30, 1131),
        (Checkpoints(rule="none", every_s=10), 39, 1140),
    ],
)
def test_evicted_work_runs_again_from_what_it_kept(checkpoints: Checkpoints, lost: int, end: int):
    work = run(BORROWED, "ours:backfill=none", checkpoints=checkpoints).works["borrows"]
    assert (work.evictions, work.lost, work.finished) == (1, lost, end)


def test_who_is_told_at_once_keeps_its_last_checkpoint():
    checkpoints = Checkpoints(rule="notice", every_s=5)
    assert run(BORROWED, "ours:grace_s=0,backfill=none", checkpoints=checkpoints).works["borrows"].lost == 4


def test_plain_drf_has_no_guarantees_and_evicts_nobody():
    outcome = run(BORROWED, "drf")
    assert outcome.ends == {"kept": 1000, "borrows": 1001, "owner": 1100}
    # It is measured against the same guarantee all the same.
    assert outcome.ledger.reclaim_s == [0, 990]


def test_a_team_that_uses_less_goes_first_under_drf():
    jobs = workload(
        ("x1", "x", 0, 100, 2),
        ("y1", "y", 0, 200, 1),
        ("y2", "y", 0, 200, 1),
        ("x2", "x", 1, 100, 2),
        ("y3", "y", 2, 100, 2),
    )
    # At 100 both would have as much as before: the earlier goes first. At 200 y has nothing.
    assert run(jobs, "drf").ends == {"x1": 100, "y1": 200, "y2": 200, "x2": 200, "y3": 300}


def test_a_knob_changes_who_is_evicted():
    assert run(BORROWED, "ours:backfill=none,reclaim_priority=lower").works["borrows"].evictions == 0
    assert run(BORROWED, "ours:backfill=none,min_runtime_s=5000").works["borrows"].evictions == 0


def test_decisions_are_made_at_ticks():
    outcome = run(BORROWED, "fifo", interval_s=60)
    # `borrows` comes at 1 and is seen at 60; `owner` waits from 10 until the tick after 1000.
    assert outcome.waits == {"kept": 0, "borrows": 59, "owner": 1010}


def test_a_job_wider_than_a_host_starts_on_all_its_hosts_at_once():
    jobs = workload(("small", "x", 0, 50, 1), ("gang", "x", 1, 10, 8), hosts=2)
    assert jobs.jobs[1].members == 2
    assert run(jobs, "fifo").ends == {"small": 50, "gang": 60}


def test_what_can_never_start_blocks_nobody():
    jobs = workload(("huge", "x", 0, 10, 8), ("small", "x", 1, 10, 1))
    for policy in ("fifo", "fifo-skip", "easy", "static", "drf", "ours", "ours:shards=1"):
        outcome = run(jobs, policy)
        assert (outcome.replay.never, outcome.ends["small"]) == ({"huge"}, 11), policy


#: On two pools of one host each: x has both, and y wants one of them.
TWO_POOLS = workload(("a", "x", 0, 1000, 4), ("b", "x", 1, 1000, 4), ("c", "y", 10, 100, 4), hosts=2)


def test_a_team_reclaims_in_its_pool_once_the_splitter_has_looked():
    assert run(TWO_POOLS, "ours:backfill=none").waits["c"] == 30
    # The pools promise 2 GPUs each until the splitter looks at 60.
    assert run(TWO_POOLS, "ours:backfill=none,shards=2,splitter_s=60").waits["c"] == 50 + 30


def test_a_job_stays_in_the_pool_that_it_was_sent_to():
    jobs = workload(("a", "x", 0, 100, 4), ("b", "y", 1, 49, 4), ("c", "x", 2, 10, 2), ("wide", "y", 3, 10, 8), hosts=2)
    assert run(jobs, "drf").ends == {"a": 100, "b": 50, "c": 60, "wide": 110}
    outcome = run(jobs, "drf:shards=2")
    assert outcome.ends == {"a": 100, "b": 50, "c": 110, "wide": None}
    assert outcome.replay.never == {"wide"}
