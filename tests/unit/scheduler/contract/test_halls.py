"""What holds also where a search cannot try everything: dozens of hosts, hundreds of grants, wide gangs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import pytest
from unit.scheduler.contract import reasons
from unit.scheduler.contract.check_steps import could_leave, works
from unit.scheduler.contract.checker import violations
from unit.scheduler.contract.cluster import Cluster, Job, parse
from unit.scheduler.contract.halls import hall
from unit.scheduler.contract.instances import Snapshot
from unit.scheduler.contract.planners import PLANNERS, Planner
from unit.scheduler.contract.test_properties import SOON, permuted

MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "48")) // 4

#: The reference would take minutes.
pytestmark = pytest.mark.parametrize("planner", [one for name, one in PLANNERS.items() if name != "reference"])


def test_no_rule_of_the_contract_is_broken_in_a_hall_and_it_comes_to_rest(planner: Planner):
    evicting = 0
    for seed in range(MANY):
        snapshot = hall(seed)
        decisions = planner(snapshot, rounds=SOON + 2)
        assert violations(snapshot, decisions) == [], f"seed {seed}\n{json.dumps(snapshot)}"
        assert not any(one["admitted"] or one["preempted"] for one in decisions[SOON:]), f"seed {seed}"
        evicting += sum(len(one["preempted"]) for one in decisions)
    assert evicting > MANY


def test_the_order_of_the_file_does_not_matter_in_a_hall(planner: Planner):
    for seed in range(MANY // 2):
        snapshot = hall(seed)
        assert planner(permuted(snapshot, Random(seed)), rounds=2) == planner(snapshot, rounds=2), f"seed {seed}"


def test_nobody_waits_for_whom_a_few_on_one_host_could_be_asked(planner: Planner):
    looked_at = 0
    for seed in range(MANY // 2):
        snapshot = hall(seed)
        cluster = after(snapshot, planner(snapshot, rounds=SOON))
        asked: set[object] = set()
        for job in cluster.pending.values():
            kind = job.team, tuple(sorted(job.req.items())), job.priority, json.dumps(job.labels)
            if job.members == 1 and kind not in asked and reasons.permanent(cluster, job) is None:
                asked.add(kind)
                looked_at += 1
                found = a_few_on_one_host(cluster, job)
                assert found is None, f"seed {seed}: {job.id} would start without {[one.id for one in found or ()]}"
    assert looked_at > MANY


def test_nobody_waits_below_a_burst_limit_for_whom_one_could_be_asked(planner: Planner):
    held = 0
    for seed in range(MANY):
        snapshot = hall(seed)
        decisions = planner(snapshot, rounds=SOON)
        reason = {one["id"]: one["reason"] for one in decisions[-1]["waiting"]}
        cluster = after(snapshot, decisions)
        for job in cluster.pending.values():
            if reason.get(job.id) == "burst_in_use":
                held += 1
                found = [
                    one.id
                    for one in cluster.running.values()
                    if could_leave(cluster, job, one) and works(cluster, job, [one])
                ]
                assert not found, f"seed {seed}: {job.id} would start without any of {found}"
    assert held > MANY // 4


def after(snapshot: Snapshot, decisions: Sequence[dict[str, Any]]) -> Cluster:
    """What runs and waits once those rounds are done."""
    cluster = parse(snapshot)
    for decision in decisions:
        left = {one["id"]: cluster.running.pop(one["id"]) for one in decision["preempted"]}
        for one in decision["admitted"]:
            job = cluster.pending.pop(one["id"])
            cluster.running[job.id] = replace(job, on=tuple(one["on"]), start=cluster.now)
        cluster.pending |= {name: replace(job, on=()) for name, job in left.items()}
    return cluster


def a_few_on_one_host(cluster: Cluster, job: Job) -> Sequence[Job] | None:
    """Up to three without whom the job would start, all lawfully and without a team under its guarantee."""
    free = cluster.free(cluster.running.values())
    may = [one for one in cluster.running.values() if could_leave(cluster, job, one)]
    for node in cluster.matching(job):
        there = [one for one in may if node.id in one.on]
        for size in (1, 2, 3):
            for chosen in combinations(there, size):
                given = [(one, one.on.count(node.id)) for one in chosen]
                if all(
                    free[node.id].get(name, 0) + sum(one.req.get(name, 0) * members for one, members in given)
                    >= job.req[name]
                    for name in job.requested
                ) and works(cluster, job, chosen):
                    return chosen
    return None
