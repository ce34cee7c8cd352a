"""Whatever the policy: nothing is lost, nothing is over-allocated, and the same goes in gives the same."""

from __future__ import annotations

from random import Random

import pytest
from builders.simulations import run, workload

from mwfs_scheduler.simulator.entitlements import entitlements, peaks, shared_out
from mwfs_scheduler.simulator.model import PARTS, Checkpoints, Workload
from mwfs_scheduler.simulator.pools import partition, split_guarantees

POLICIES = [
    *("fifo", "fifo-skip", "easy", "easy:durations=limits", "static", "drf", "ours", "ours:durations=unknown"),
    *(
        "ours:grace_s=0",
        "ours:backfill=none",
        "ours:fair_preemption=on",
        "ours:aging_bound_s=500",
        "ours:half_life_s=none",
    ),
    *("ours:shards=2,splitter_s=100", "drf:shards=3"),
]


def crowded(seed: int, jobs: int = 120) -> Workload:
    """Three teams that want more than six hosts have."""
    random = Random(seed)
    rows = [
        (
            f"j{at:03}",
            random.choice("xxxyyz"),
            random.randrange(3000),
            random.randrange(1, 900),
            random.choice((1, 1, 1, 2, 4, 8)),
        )
        for at in range(jobs)
    ]
    return workload(*rows, hosts=6)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_gpu_second_is_work_that_was_asked_for_or_lost(policy: str):
    outcome = run(crowded(1), policy, interval_s=7, checkpoints=Checkpoints(every_s=60))
    done = lost = 0
    for work in outcome.works.values():
        gpus = work.job.total[0]
        assert (work.finished is None) == (work.job.id in outcome.replay.never)
        if work.finished is not None:
            done += gpus * work.job.duration
            lost += gpus * work.lost
            assert work.finished == work.job.submit + work.waited + work.job.duration + work.lost
    assert outcome.ledger.all_used_s == done + lost


@pytest.mark.parametrize("policy", POLICIES)
def test_at_the_end_every_host_is_free(policy: str):
    outcome = run(crowded(2), policy, interval_s=10)
    assert all(host.free == host.capacity for host in outcome.replay.policy.hosts())


@pytest.mark.parametrize("policy", ["easy", "drf", "ours", "ours:shards=2"])
def test_the_order_of_rows_does_not_matter(policy: str):
    jobs = crowded(3)
    mixed = list(jobs.jobs)
    Random(0).shuffle(mixed)
    rows = [(job.id, job.team, job.submit, job.duration, job.total[0] // PARTS) for job in mixed]
    assert run(jobs, policy).ends == run(workload(*rows, hosts=6), policy).ends


def test_reclaim_is_bounded_when_only_small_jobs_ask():
    random = Random(4)
    rows = [
        (f"j{at:03}", random.choice("xxxy"), random.randrange(5000), random.randrange(1, 900), 1) for at in range(250)
    ]
    outcome = run(workload(*rows, hosts=2), "ours", interval_s=10)
    assert any(work.evictions for work in outcome.works.values())
    assert max(outcome.ledger.reclaim_s) <= 30 + 10


def test_sharing_out_gives_all_and_rounds_by_largest_remainder():
    assert shared_out(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert shared_out(10, {"a": 6, "b": 3, "c": 0}) == {"a": 7, "b": 3, "c": 0}
    assert shared_out(10, {"a": 0}) == {"a": 0}


def test_the_rules_of_entitlement():
    jobs = workload(("a", "x", 0, 100, 2), ("b", "x", 100, 100, 1), ("c", "y", 0, 100, 1), hosts=2)
    assert entitlements(jobs, "equal") == {"x": (4 * PARTS,), "y": (4 * PARTS,)}
    assert entitlements(jobs, "gpu-hours") == {"x": (6 * PARTS,), "y": (2 * PARTS,)}
    assert peaks(jobs) == {"x": 2 * PARTS, "y": PARTS}
    assert entitlements(jobs, "peak") == {"x": (5 * PARTS,), "y": (3 * PARTS,)}


def test_a_partition_hands_out_every_gpu_once():
    jobs = workload(("a", "x", 0, 1, 1), ("b", "y", 0, 1, 1), ("c", "z", 0, 1, 1), hosts=2)
    guarantees = {"x": (5 * PARTS,), "y": (2 * PARTS,), "z": (PARTS,)}
    found = partition(jobs, guarantees)
    sizes = {team: [machine.amounts[0] // PARTS for machine in machines] for team, machines in found.items()}
    assert sizes == {"x": [4, 1], "y": [2], "z": [1]}


def test_the_splitter_follows_what_is_wanted():
    wanted = {"x": {0: 6 * PARTS, 1: 2 * PARTS}, "y": {0: 0, 1: 8 * PARTS}}
    # Both want just their guarantee. Pool 1 has 8 for the 2 of x and the 8 of y; what finds no place there goes to pool 0.
    assert split_guarantees({"x": 8, "y": 8}, wanted, [8, 8]) == {"x": {0: 6, 1: 2}, "y": {0: 2, 1: 6}}


def test_the_splitter_puts_the_guarantee_of_who_wants_too_much_where_there_is_room():
    wanted = {"x": {0: 8 * PARTS, 1: 8 * PARTS}, "y": {0: 8 * PARTS, 1: 0}}
    assert split_guarantees({"x": 8, "y": 8}, wanted, [8, 8]) == {"x": {0: 0, 1: 8}, "y": {0: 8, 1: 0}}


@pytest.mark.parametrize("seed", range(20))
def test_the_splitter_promises_all_and_no_pool_more_than_it_has(seed: int):
    random = Random(seed)
    pools = [random.randrange(1, 40) for _ in range(random.randrange(1, 5))]
    teams = [f"t{at}" for at in range(random.randrange(1, 6))]
    gpus = shared_out(sum(pools), {team: random.randrange(1, 9) for team in teams})
    wanted = {team: {at: random.randrange(60) * PARTS for at in range(len(pools))} for team in teams}
    found = split_guarantees(gpus, wanted, pools)
    assert {team: sum(parts.values()) for team, parts in found.items()} == gpus
    assert [sum(parts[at] for parts in found.values()) for at in range(len(pools))] == pools
