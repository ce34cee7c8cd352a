"""Examples that papers, manuals and bug reports of other schedulers work out, as snapshots with what must come of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from unit.scheduler.contract.checker import violations
from unit.scheduler.contract.planners import PLANNERS, Planner

EXAMPLES = sorted((Path(__file__).parent / "worked_examples").glob("*.json"))


def of_teams(snapshot: dict[str, Any], ids: list[str]) -> dict[str, int]:
    teams = {one["id"]: one["team"] for one in snapshot["pending"]}
    return dict(Counter(teams[name.partition("#")[0]] for name in ids))


@pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))
@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_a_worked_example_comes_out_as_published(planner: Planner, path: Path):
    example = json.loads(path.read_text())
    snapshot, expected = example["snapshot"], example["expected"]
    decisions = planner(snapshot, rounds=example.get("rounds", 1))
    assert violations(snapshot, decisions) == []
    for decision in decisions:
        admitted = [one["id"] for one in decision["admitted"]]
        preempted = [one["id"] for one in decision["preempted"]]
        reasons = {one["id"]: one["reason"] for one in decision["waiting"]}
        assert sorted(admitted) == sorted(expected.get("admitted", admitted))
        assert of_teams(snapshot, admitted) == expected.get("admitted_of", of_teams(snapshot, admitted))
        assert sorted(preempted) == sorted(expected.get("preempted", preempted))
        for name, reason in expected.get("reasons", {}).items():
            assert reasons[name] == reason
        for team, counts in expected.get("reasons_of", {}).items():
            mine = [name for name in reasons if of_teams(snapshot, [name]) == {team: 1}]
            assert Counter(reasons[name] for name in mine) == counts
        for team, (above, below, resource) in expected.get("shares", {}).items():
            assert decision["shares"][team] == {"dominant": pytest.approx(above / below), "resource": resource}
