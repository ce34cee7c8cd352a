"""What the rules are for: nobody gets less than a split cluster would give, nobody envies, what is guaranteed is given."""

from __future__ import annotations

import os
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from unit.scheduler.contract.cluster import Cluster, Job, parse
from unit.scheduler.contract.instances import Snapshot
from unit.scheduler.contract.planners import PLANNERS, Planner

MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "48")) // 4

pytestmark = pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))


def after(snapshot: Snapshot, decisions: list[dict[str, Any]]) -> Cluster:
    """What runs once those rounds, without time between them, are done."""
    cluster = parse(snapshot)
    jobs = cluster.running | cluster.pending
    for decision in decisions:
        for one in decision["preempted"]:
            cluster.running.pop(one["id"])
        for one in decision["admitted"]:
            cluster.running[one["id"]] = jobs[one["id"]]
    return cluster


def crowd(random: Random) -> Snapshot:
    """One machine, some teams without guarantees, each with one kind of work and more of it than fits."""
    capacity = {name: random.randint(8, 24) for name in ("cpu", "mem", "gpu")}
    teams = [f"t{number}" for number in range(random.randint(2, 5))]
    pending = []
    for team in teams:
        request = {name: random.randint(1, 5) for name in random.sample(sorted(capacity), random.randint(1, 3))}
        pending.append(
            {"id": f"{team}.job", "team": team, "req": request, "copies": 24, "submit": random.randint(0, 9)}
        )
    return {
        "cluster": {"nodes": [{"id": "n", **capacity}]},
        "teams": [{"id": team} for team in teams],
        "pending": pending,
    }


def dominant(cluster: Cluster, held: dict[str, Any]) -> Fraction:
    return max((Fraction(amount) / cluster.pool(name) for name, amount in held.items()), default=Fraction(0))


def kinds(snapshot: Snapshot) -> dict[str, Job]:
    """The one kind of work of each team."""
    return {job.team: job for job in parse(snapshot).pending.values()}


def test_everyone_gets_a_fair_part_of_the_cluster_but_for_one_job(planner: Planner):
    for seed in range(MANY):
        snapshot = crowd(Random(seed))
        cluster = after(snapshot, planner(snapshot))
        used = cluster.usage(cluster.running.values())
        steps = {team: dominant(cluster, job.req) for team, job in kinds(snapshot).items()}
        full = 1 - max(steps.values())
        for team, step in steps.items():
            assert dominant(cluster, used[team]) >= full / len(steps) - step, f"seed {seed}: {team}"


def test_nobody_would_do_more_with_the_part_of_another_but_for_the_jobs_at_the_edge(planner: Planner):
    for seed in range(MANY):
        snapshot = crowd(Random(seed))
        cluster = after(snapshot, planner(snapshot))
        used = cluster.usage(cluster.running.values())
        for team, job in kinds(snapshot).items():
            own = min(used[team].get(name, 0) // amount for name, amount in job.req.items())
            for other in used:
                with_theirs = min(used[other].get(name, 0) // amount for name, amount in job.req.items())
                assert with_theirs <= own + 2, f"seed {seed}: {team} envies {other}"


def test_what_is_guaranteed_and_wanted_is_held_when_the_cluster_rests(planner: Planner):
    for seed in range(MANY):
        random = Random(seed)
        size = random.randint(4, 16)
        teams, running, pending, left, room = [], [], [], size, size
        for number in range(random.randint(2, 5)):
            name = f"t{number}"
            guaranteed = random.randint(0, left)
            left -= guaranteed
            teams.append({"id": name, "guaranteed": {"gpu": guaranteed}, "weight": random.choice([1, 2])})
            runs = random.randint(0, room)
            room -= runs
            running += [
                {"id": f"{name}.r{one}", "team": name, "req": {"gpu": 1}, "on": ["n"], "priority": random.randint(0, 3)}
                for one in range(runs)
            ]
            pending.append({"id": f"{name}.p", "team": name, "req": {"gpu": 1}, "copies": random.randint(0, 12)})
        machines = {"nodes": [{"id": "n", "gpu": size}]}
        snapshot = {"cluster": machines, "teams": teams, "running": running, "pending": pending}
        cluster = after(snapshot, planner(snapshot, rounds=2))
        used = cluster.usage(cluster.running.values())
        wanted = parse(snapshot)
        total = wanted.usage([*wanted.running.values(), *wanted.pending.values()])
        for team in teams:
            due = min(team["guaranteed"]["gpu"], total[team["id"]].get("gpu", 0))
            assert used[team["id"]].get("gpu", 0) >= due, f"seed {seed}: {team['id']}"


def test_weights_split_a_single_resource_but_for_one_job(planner: Planner):
    for seed in range(MANY):
        random = Random(seed)
        weights = {f"t{number}": random.randint(1, 4) for number in range(random.randint(2, 5))}
        size = random.randint(8, 24)
        snapshot = {
            "cluster": {"nodes": [{"id": "n", "gpu": size}]},
            "teams": [{"id": team, "weight": weight} for team, weight in weights.items()],
            "pending": [{"id": team, "team": team, "req": {"gpu": 1}, "copies": size} for team in weights],
        }
        cluster = after(snapshot, planner(snapshot))
        used = cluster.usage(cluster.running.values())
        assert sum(held.get("gpu", 0) for held in used.values()) == size
        for team, weight in weights.items():
            for other, theirs in weights.items():
                next_share = Fraction(used[team].get("gpu", 0) + 1, weight)
                assert next_share >= Fraction(used[other].get("gpu", 0), theirs), f"seed {seed}: {team}, {other}"


def test_reclaiming_does_not_thrash(planner: Planner):
    """Two teams at their guarantees with more waiting: nothing moves, however long it goes on."""
    snapshot = {
        "cluster": {"nodes": [{"id": "n", "gpu": 4}]},
        "teams": [{"id": "a", "guaranteed": {"gpu": 2}}, {"id": "b", "guaranteed": {"gpu": 2}}],
        "running": [{"id": f"r{one}", "team": "b", "req": {"gpu": 1}, "on": ["n"]} for one in range(4)],
        "pending": [{"id": team, "team": team, "req": {"gpu": 1}, "copies": 5} for team in ("a", "b")],
    }
    first, *rest = planner(snapshot, rounds=5)
    assert len(first["admitted"]) == len(first["preempted"]) == 2
    assert [(one["admitted"], one["preempted"]) for one in rest] == [([], [])] * 4
