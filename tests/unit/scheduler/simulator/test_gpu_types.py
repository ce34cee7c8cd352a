"""`--by-type`: each job gets one type of GPU that would do, and guarantees are of types."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders.simulations import run, workload

from mwfs_scheduler.simulator.entitlements import entitlements
from mwfs_scheduler.simulator.gpu_types import of_one_type
from mwfs_scheduler.simulator.model import PARTS, BadTrace, Machine, Workload
from mwfs_scheduler.simulator.pools import partition


def typed(*wanted: tuple[str, ...]) -> Workload:
    """A host of 4 GPUs of type a, one of 4 of type b and one of 8 of type b; a job of 4 GPUs for each tuple of types."""
    jobs = workload(*((f"j{at:03}", "xy"[at % 2], at, 100, 4) for at in range(len(wanted))))
    machines = [
        Machine(id=f"host-{at}", amounts=(gpus * PARTS,), labels={"gpu_type": kind})
        for at, (kind, gpus) in enumerate([("a", 4), ("b", 4), ("b", 8)])
    ]
    labelled = [
        replace(job, selector=(("gpu_type", types),) if types else ())
        for job, types in zip(jobs.jobs, wanted, strict=True)
    ]
    return replace(jobs, machines=machines, jobs=labelled)


def types_of(found: Workload) -> list[str]:
    return [found.resources[at] for job in found.jobs for at in found.kinds if job.amounts[at]]


def test_each_job_needs_as_many_gpus_of_one_of_the_types_that_would_do():
    found = of_one_type(typed(("a",), ("b",), (), ("a", "b"), ("c",)), seed=1)
    assert found.resources == ("gpu", "gpu:a", "gpu:b")
    assert [machine.amounts for machine in found.machines] == [
        (4 * PARTS, 4 * PARTS, 0),
        (4 * PARTS, 0, 4 * PARTS),
        (8 * PARTS, 0, 8 * PARTS),
    ]
    assert types_of(found)[:2] == ["gpu:a", "gpu:b"]
    assert len(types_of(found)) == 4
    assert [bool(job.selector) for job in found.jobs] == [False, False, False, False, True]


def test_types_are_chosen_in_proportion_to_their_gpus_and_by_the_seed():
    jobs = typed(*[()] * 400)
    chosen = types_of(of_one_type(jobs, seed=1))
    assert 60 < chosen.count("gpu:a") < 140
    assert chosen == types_of(of_one_type(jobs, seed=1)) != types_of(of_one_type(jobs, seed=2))


def test_a_type_whose_hosts_are_too_small_is_not_chosen():
    jobs = typed(*[()] * 50)
    wide = replace(jobs, jobs=[replace(job, amounts=(8 * PARTS,)) for job in jobs.jobs])
    assert set(types_of(of_one_type(wide, seed=1))) == {"gpu:b"}


@pytest.mark.parametrize("rule", ["equal", "gpu-hours", "peak"])
def test_guarantees_of_each_type_add_up_to_the_hosts_of_that_type(rule: str):
    found = of_one_type(typed(("a",), ("b",), ("b",), ("b",)), seed=1)
    guarantees = entitlements(found, rule)
    assert [sum(amounts) for amounts in zip(*guarantees.values(), strict=True)] == list(found.pools)
    if rule == "gpu-hours":
        assert guarantees == {"x": (8 * PARTS, 4 * PARTS, 4 * PARTS), "y": (8 * PARTS, 0, 8 * PARTS)}


def test_what_is_left_over_of_each_type_does_not_always_go_to_the_same_team():
    found = of_one_type(typed(("a",), ("b",), ("b",)), seed=1)
    odd = replace(
        found, machines=[replace(machine, amounts=tuple(a // 4 for a in machine.amounts)) for machine in found.machines]
    )
    guarantees = entitlements(odd, "equal")
    assert sorted(amounts[0] for amounts in guarantees.values()) == [2 * PARTS, 2 * PARTS]


def test_a_private_partition_has_the_types_that_are_promised():
    found = of_one_type(typed(("a",), ("b",), ("b",)), seed=1)
    guarantees = entitlements(found, "gpu-hours")
    for team, machines in partition(found, guarantees).items():
        has = [sum(machine.amounts[at] for machine in machines) for at in found.kinds]
        assert has == [guarantees[team][at] for at in found.kinds]


@pytest.mark.parametrize("policy", ["fifo-skip", "easy", "static", "drf", "ours"])
def test_every_policy_finishes_what_can_start(policy: str):
    outcome = run(of_one_type(typed(*[("a",), ("b",), ("a", "b"), ()] * 10, ("c",)), seed=1), policy, interval_s=10)
    ended = [work for work in outcome.works.values() if work.finished is not None]
    assert len(ended) + len(outcome.replay.never) == 41
    assert "j040" in outcome.replay.never


def test_within_a_guarantee_of_a_type_nobody_waits_longer_than_the_grace_and_a_decision():
    outcome = run(of_one_type(typed(*[("a",), ("b",), ("b",), ()] * 15), seed=1), "ours:backfill=none", interval_s=10)
    assert outcome.ledger.reclaim_s
    assert max(outcome.ledger.reclaim_s) <= 30 + 10


def test_a_trace_without_types_is_refused():
    with pytest.raises(BadTrace, match="no types of GPUs"):
        of_one_type(workload(("j", "x", 0, 10, 1)), seed=1)
