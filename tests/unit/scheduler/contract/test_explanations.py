"""A reason for waiting is true if doing what it asks for moves the request on."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from typing import Any

import pytest
from unit.scheduler.contract.check_reasons import OWNERS, as_list
from unit.scheduler.contract.cluster import parse
from unit.scheduler.contract.instances import CORE, EVERYTHING, Snapshot, small
from unit.scheduler.contract.planners import PLANNERS, Planner
from unit.scheduler.contract.wide import wide

#: Families in which nothing is kept for anybody, so that a request can be looked at alone.
FAMILIES = ["deep", "gangs", "labelled", "odd_numbers", "many_resources", "over_limits", "knobs"]
MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "48")) // 2

CAPACITY = {"no_node_large_enough", "no_such_type", "waiting_for_capacity", "fragmented"}


def remedied(snapshot: Snapshot, waiting: dict[str, Any]) -> Snapshot | None:
    """The snapshot with what the reason asks for; None when only time helps."""
    changed = deepcopy(snapshot)
    detail = waiting["detail"]
    if waiting["reason"] in ("exceeds_burst", "burst_in_use"):
        [team] = [team for team in changed["teams"] if team["id"] == detail["team"]]
        del team["burst"][detail["resource"]]
    elif waiting["reason"] in CAPACITY:
        job = parse(snapshot).pending[waiting["id"]]
        labels = {key: value[0] if isinstance(value, list) else value for key, value in job.labels.items()}
        machine = {"id": "new", "labels": labels, **dict.fromkeys(["gpu", "cpu", "mem", *job.req], 1_000)}
        changed["cluster"]["nodes"].append(machine)
    elif waiting["reason"] in ("reserved_for", "over_quota_behind"):
        ahead = [name.partition("#")[0] for key in OWNERS if key in detail for name in as_list(detail[key])]
        if waiting["id"].partition("#")[0] in ahead:
            return None
        changed["pending"] = [one for one in changed["pending"] if one["id"] not in ahead]
    else:
        return None
    return changed


@pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))
@pytest.mark.parametrize("features", [CORE, EVERYTHING], ids=["core", "everything"])
def test_the_remedy_of_a_reason_moves_the_request_on(planner: Planner, features: Any):
    for seed in range(50_000, 50_000 + MANY):
        snapshot = small(seed, features)
        [decision] = planner(snapshot)
        for waiting in decision["waiting"][:4]:
            changed = remedied(snapshot, waiting)
            if changed is None:
                continue
            [after] = planner(changed)
            still = [one for one in after["waiting"] if one["id"] == waiting["id"]]
            asked = {key: waiting["detail"].get(key) for key in ("team", "resource", *OWNERS)}
            same = [
                one
                for one in still
                if one["reason"] == waiting["reason"] and asked == {key: one["detail"].get(key) for key in asked}
            ]
            assert same == [], f"seed {seed}: {waiting}\n{json.dumps(snapshot)}"


def alone(snapshot: Snapshot, decision: dict[str, Any], name: str) -> Snapshot:
    """The state after the decision, in which nobody else waits."""
    cluster = parse(snapshot)
    rows = {id: one for one in snapshot["pending"] for id in [one["id"], *(f"{one['id']}#{at}" for at in range(1, 20))]}
    gone = {one["id"] for one in decision["preempted"]}
    started = [
        {key: value for key, value in rows[one["id"]].items() if key not in ("copies", "members", "submit")}
        | {"id": one["id"], "on": one["on"], "start": 1_000}
        for one in decision["admitted"]
    ]
    running = [one for one in snapshot["running"] if one["id"] not in gone]
    waits = {key: value for key, value in rows[name].items() if key != "copies"} | {"id": name}
    assert name in cluster.pending
    return deepcopy(snapshot | {"running": running + started, "pending": [waits]})


def just_enough(snapshot: Snapshot, waiting: dict[str, Any]) -> Snapshot:
    """The snapshot with as much more as the numbers of the reason say, and no more."""
    job = parse(snapshot).pending[waiting["id"]]
    detail, resource = waiting["detail"], waiting["detail"].get("resource")
    labels = {key: value[0] if isinstance(value, list) else value for key, value in job.labels.items()}
    if waiting["reason"] in ("exceeds_burst", "burst_in_use"):
        [team] = [team for team in snapshot["teams"] if team["id"] == detail["team"]]
        more = detail.get("in_use", 0) + float(job.total(resource))
        team["burst"][resource] = more if more % 1 else int(more)
    elif waiting["reason"] == "waiting_for_capacity":
        more = detail["requested"] - detail["free"]
        snapshot["cluster"]["nodes"].append({"id": "new", "labels": labels, resource: round(more, 9)})
    else:
        machine = {name: float(amount) if amount % 1 else int(amount) for name, amount in job.req.items()}
        snapshot["cluster"]["nodes"] += [{"id": f"new{at}", "labels": labels, **machine} for at in range(job.members)]
    return snapshot


@pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))
@pytest.mark.parametrize("family", FAMILIES)
def test_as_much_as_a_reason_says_is_enough(planner: Planner, family: str):
    for seed in range(MANY // 3):
        snapshot = wide(seed, family)
        [decision] = planner(snapshot)
        for waiting in decision["waiting"][:4]:
            changed = just_enough(alone(snapshot, decision, waiting["id"]), waiting)
            [after] = planner(changed)
            where = ("team", "resource")
            same = [
                one
                for one in after["waiting"]
                if one["id"] == waiting["id"]
                and one["reason"] == waiting["reason"]
                and all(one["detail"].get(key) == waiting["detail"].get(key) for key in where)
            ]
            assert same == [], f"seed {seed}: {waiting}\n{json.dumps(snapshot)}"


@pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))
def test_who_waits_for_preempted_work_starts_when_that_was_said(planner: Planner):
    for seed in range(MANY):
        snapshot = wide(seed, "grace")
        snapshot["round_s"] = snapshot["knobs"]["grace_s"]
        first, second = planner(snapshot, rounds=2)
        promised = {one["id"]: one["detail"] for one in first["waiting"] if one["reason"] == "waiting_for_preempted"}
        started = {one["id"] for one in second["admitted"]}
        assert all(detail["until"] == snapshot["now"] + snapshot["round_s"] for detail in promised.values())
        assert promised.keys() <= started, f"seed {seed}\n{json.dumps(snapshot)}"


@pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))
def test_room_that_is_kept_is_said_to_be_of_who_has_it_kept_there(planner: Planner):
    """Both p1 and p2 have room kept, and what `other` would fit into is of p2."""
    snapshot: Snapshot = {
        "knobs": {"grace_s": 10},
        "cluster": {"nodes": [{"id": zone, "gpu": 4, "labels": {"zone": zone}} for zone in ("a", "b")]},
        "teams": [{"id": "new", "guaranteed": {"gpu": 8}}, {"id": "old"}],
        "running": [{"id": f"r{zone}", "team": "old", "req": {"gpu": 2}, "on": [zone]} for zone in ("a", "b")],
        "pending": [
            {"id": "p1", "team": "new", "req": {"gpu": 3}, "labels": {"zone": "a"}},
            {"id": "p2", "team": "new", "req": {"gpu": 3}, "labels": {"zone": "b"}},
            {"id": "other", "team": "old", "req": {"gpu": 2}, "labels": {"zone": "b"}},
        ],
    }
    [decision] = planner(snapshot)
    reasons = {one["id"]: (one["reason"], one["detail"].get("owner")) for one in decision["waiting"]}
    assert reasons["other"] == ("reserved_for", "p2")
