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
