"""EASY backfilling: what starts ahead of the first that waits does not delay it."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from unit.scheduler.contract.checker import fits
from unit.scheduler.contract.cluster import Job, Number, parse
from unit.scheduler.contract.instances import Snapshot
from unit.scheduler.contract.planners import PLANNERS, Planner

MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "48"))

pytestmark = pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))


def queue(seed: int) -> Snapshot:
    """One team, first come first served, with all durations known."""
    random = Random(seed)
    sizes = {f"n{number}": random.choice([2, 4]) for number in range(random.randint(1, 4))}
    left, running = dict(sizes), []
    for number in range(random.randint(1, 6)):
        node, size = random.choice(sorted(left)), random.randint(1, 2)
        if left[node] >= size:
            left[node] -= size
            running.append(
                {"id": f"r{number}", "team": "t", "req": {"gpu": size}, "ends": random.randint(1, 20), "on": [node]}
            )
    pending = [
        {
            "id": f"p{number}", "team": "t", "req": {"gpu": random.randint(1, 3)}, "submit": number,
            "members": random.choice([1, 1, 2, 3]), "duration": random.randint(1, 20),
        }
        for number in range(random.randint(2, 8))
    ]  # fmt: skip
    nodes = [{"id": node, "gpu": size} for node, size in sizes.items()]
    return {
        "knobs": {"backfill": "easy"}, "round_s": 1, "cluster": {"nodes": nodes}, "teams": [{"id": "t"}],
        "running": running, "pending": pending,
    }  # fmt: skip


def earliest(snapshot: Snapshot, job: Job, running: dict[str, Job]) -> Number:
    """When a request could start if nothing else did."""
    for time in [0, *sorted(one.ends or 0 for one in running.values())]:
        cluster = parse(snapshot)
        cluster.running = {name: one for name, one in running.items() if (one.ends or 0) > time}
        if fits(cluster, job):
            return time
    raise AssertionError(f"{job.id} never fits")


def started(snapshot: Snapshot, decision: dict[str, Any]) -> dict[str, Job]:
    pending = parse(snapshot).pending
    return {
        one["id"]: replace(pending[one["id"]], on=tuple(one["on"]), ends=pending[one["id"]].duration)
        for one in decision["admitted"]
    }


def test_the_first_that_waits_is_not_delayed_and_others_do_start_ahead_of_it(planner: Planner):
    ahead = 0
    for seed in range(2 * MANY):
        snapshot = queue(seed)
        first, *rest = planner(deepcopy(snapshot), rounds=25)
        lasting = [one["id"] for one in first["waiting"] if one["reason"] != "no_node_large_enough"]
        if not lasting:
            continue
        cluster = parse(snapshot)
        owner = min((cluster.pending[name] for name in lasting), key=lambda job: job.submit)
        begun = started(snapshot, first)
        before = {name: job for name, job in begun.items() if job.submit < owner.submit}
        ahead += len(begun) - len(before)
        due = earliest(snapshot, owner, cluster.running | before)
        assert earliest(snapshot, owner, cluster.running | begun) == due, f"seed {seed}: {owner.id}"
        times = [time for time, one in enumerate(rest, 1) if owner.id in {job["id"] for job in one["admitted"]}]
        assert min(times, default=999) <= due, f"seed {seed}: {owner.id} starts at {times}, not at {due}"
    assert ahead > MANY / 4
