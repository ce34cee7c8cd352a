"""What holds for every planner on random snapshots."""

from __future__ import annotations

import json
import os

import pytest
from unit.scheduler.contract.checker import violations
from unit.scheduler.contract.instances import CORE, EVERYTHING, Features, small
from unit.scheduler.contract.planners import PLANNERS, Planner

#: How many random snapshots each test takes; more on demand.
MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "150"))

pytestmark = pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))


@pytest.mark.parametrize("features", [CORE, EVERYTHING], ids=["core", "everything"])
def test_no_rule_of_the_contract_is_broken(planner: Planner, features: Features):
    for seed in range(MANY):
        snapshot = small(seed, features)
        found = violations(snapshot, planner(snapshot, rounds=3))
        assert found == [], f"seed {seed}: {found[:5]}\n{json.dumps(snapshot)}"
