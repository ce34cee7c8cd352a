"""Each rule of the contract, broken once: the checker says which one."""

from __future__ import annotations

from typing import Any

import pytest
from unit.scheduler.contract.checker import violations

#: ads is over its guarantee with three works, research waits for its own; ml is a child of research.
SNAPSHOT: dict[str, Any] = {
    "now": 100,
    "cluster": {"nodes": [{"id": "n1", "gpu": 4, "labels": {"zone": "a"}}, {"id": "n2", "gpu": 2}]},
    "teams": [
        {"id": "ads", "guaranteed": {"gpu": 2}, "burst": {"gpu": 6}},
        {"id": "research", "guaranteed": {"gpu": 3}},
        {"id": "ml", "parent": "research", "guaranteed": {"gpu": 3}, "burst": {"gpu": 5}},
    ],
    "running": [
        {"id": "r1", "team": "ads", "req": {"gpu": 2}, "start": 1, "on": ["n1"]},
        {"id": "r2", "team": "ads", "req": {"gpu": 2}, "start": 2, "on": ["n1"]},
        {"id": "r3", "team": "ads", "req": {"gpu": 1}, "start": 3, "on": ["n2"], "preemptible": False},
    ],
    "pending": [
        {"id": "p1", "team": "ml", "req": {"gpu": 1}, "submit": 10},
        {"id": "p2", "team": "ml", "req": {"gpu": 1}, "submit": 20, "members": 2, "labels": {"zone": ["a", "b"]}},
        {"id": "p3", "team": "ads", "req": {"gpu": 3}, "submit": 5},
        {"id": "p4", "team": "ml", "req": {"gpu": 3}, "members": 2},
    ],
}
P1, P2 = {"id": "p1", "on": ["n2"]}, {"id": "p2", "on": ["n1", "n1"]}
R2 = {"id": "r2", "for": "p2"}
P3 = {"id": "p3", "reason": "burst_in_use", "detail": {"team": "ads", "resource": "gpu", "burst": 6, "in_use": 3}}
P4 = {"id": "p4", "reason": "exceeds_burst", "detail": {"team": "ml", "resource": "gpu", "burst": 5, "requested": 6}}
P3_CAPACITY = {"id": "p3", "reason": "waiting_for_capacity", "detail": {"resource": "gpu", "requested": 3, "free": 0}}
SHARES = {
    "ads": {"dominant": 1 / 6, "resource": "gpu"},
    "research": {"dominant": 0, "resource": None},
    "ml": {"dominant": 0, "resource": None},
}
RIGHT = {"admitted": [P1, P2], "preempted": [R2], "waiting": [P3_CAPACITY, P4], "shares": SHARES}


def test_a_right_decision_has_nothing_wrong():
    assert violations(SNAPSHOT, RIGHT) == []


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("C1", {"admitted": [P1, {"id": "p2", "on": ["n1", "n1"]}], "preempted": []}),
        ("C1", {"admitted": [{"id": "p1", "on": ["n1"]}, P2]}),
        ("C2", {"admitted": [P1, P2, {"id": "p4", "on": ["n1", "n2"]}], "waiting": [P3_CAPACITY]}),
        ("gang", {"admitted": [P1, {"id": "p2", "on": ["n1"]}]}),
        ("labels", {"admitted": [P1, {"id": "p2", "on": ["n1", "n2"]}]}),
        ("C5", {"admitted": [P2], "waiting": [{"id": "p1", "reason": "reserved_for", "detail": {"owner": "p3"}}, P3, P4]}),
        ("C7", {"preempted": [{"id": "r3", "for": "p2"}, R2]}),
        ("C8", {"admitted": [{"id": "p3", "on": ["n1"]}], "preempted": [{"id": "r2", "for": "p3"}], "waiting": [P4]}),
        ("C9", {"preempted": [{"id": "r1", "for": "p2"}, R2]}),
        ("C9", {"preempted": [{"id": "r2", "for": "p3"}]}),
        ("C9", {"preempted": [{"id": "r2", "for": "p9"}]}),
        ("ids", {"admitted": [P1]}),
        ("ids", {"admitted": [P1, P2, P1]}),
        ("ids", {"admitted": [P1, P2, {"id": "p9", "on": ["n1"]}]}),
        ("ids", {"preempted": [{"id": "r9", "for": "p2"}]}),
        ("reason", {"waiting": [P3, P4]}),
        ("reason", {"waiting": [{**P3_CAPACITY, "reason": "fragmented"}, P4]}),
        ("reason", {"waiting": [{**P3_CAPACITY, "detail": {**P3_CAPACITY["detail"], "free": 2}}, P4]}),
        ("reason", {"waiting": [P3_CAPACITY, {**P4, "reason": "no_node_large_enough"}]}),
        ("reason", {"waiting": [P3_CAPACITY, {**P4, "detail": {**P4["detail"], "burst": 6}}]}),
        ("shares", {"shares": SHARES | {"ads": {"dominant": 0.5, "resource": "gpu"}}}),
        ("shares", {"shares": {"ads": SHARES["ads"]}}),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(rule: str, wrong: dict[str, Any]):
    found = violations(SNAPSHOT, RIGHT | wrong)
    assert any(one.startswith(f"round 1: {rule}: ") for one in found), found


def small(**changed: Any) -> dict[str, Any]:
    """One node of 2 GPUs, two teams of which `old` runs two works on it, and one request of `new` that waits."""
    return {
        "cluster": {"nodes": [{"id": "n", "gpu": 2}]},
        "teams": [{"id": "old", "guaranteed": {"gpu": 1}}, {"id": "new", "guaranteed": {"gpu": 1}}],
        "running": [{"id": one, "team": "old", "req": {"gpu": 1}, "on": ["n"]} for one in ("a", "b")],
        "pending": [{"id": "p", "team": "new", "req": {"gpu": 1}}],
    } | changed


def decision(admitted: dict[str, list[str]], preempted: dict[str, str], **shares: float) -> dict[str, Any]:
    return {
        "admitted": [{"id": name, "on": on} for name, on in admitted.items()],
        "preempted": [{"id": name, "for": owner} for name, owner in preempted.items()],
        "waiting": [],
        "shares": {team: {"dominant": share, "resource": "gpu" if share else None} for team, share in shares.items()},
    }


RECLAIM = decision({"p": ["n"]}, {"b": "p"}, old=0, new=0)


def test_a_reclaim_within_guarantee_is_right():
    assert violations(small(), RECLAIM) == []


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ("C6", {"teams": [{"id": "old", "guaranteed": {"gpu": 2}}, {"id": "new", "guaranteed": {"gpu": 1}}]}),
        ("C6", {"teams": [{"id": "old", "guaranteed": {"gpu": 1}}, {"id": "new"}]}),
        ("min_runtime_s", {"knobs": {"min_runtime_s": 1}}),
        ("max_preemptions_per_job", {"knobs": {"max_preemptions_per_job": 0}}),
        ("reclaim_priority", {"knobs": {"reclaim_priority": "lower"}}),
        ("C9", {"cluster": {"nodes": [{"id": "n", "gpu": 3}]}}),
        ("C9", {"knobs": {"grace_s": 10}}),
    ],
)
def test_a_reclaim_that_is_not_allowed_is_named(rule: str, changed: dict[str, Any]):
    found = violations(small(**changed), RECLAIM)
    assert any(one.startswith(f"round 1: {rule}") for one in found), found


def test_order_is_checked_inside_and_between_teams():
    pending = [
        {"id": "late", "team": "old", "req": {"gpu": 1}, "submit": 9},
        {"id": "early", "team": "old", "req": {"gpu": 1}},
    ]
    wrong = decision({"late": ["n"]}, {}, old=1, new=0)
    wrong["waiting"] = [{"id": "early", "reason": "waiting_for_capacity", "detail": {}}]
    running = small()["running"]
    assert any("C3" in one for one in violations(small(pending=pending, running=running[:1]), wrong))
    pending = [{"id": "late", "team": "old", "req": {"gpu": 1}}, {"id": "early", "team": "new", "req": {"gpu": 1}}]
    assert any("C4" in one for one in violations(small(pending=pending, running=running[:1]), wrong))


def test_a_victim_is_not_started_in_its_round_and_nobody_is_evicted_when_nobody_waits():
    again = decision({"p": ["n"], "b": ["n"]}, {"b": "p"}, old=0, new=0)
    assert any("C12" in one for one in violations(small(), again))
    assert any("C10" in one for one in violations(small(pending=[]), decision({}, {"b": "p"}, old=0, new=0)))


def test_a_round_after_one_at_rest_must_rest():
    nothing = decision({}, {}, old=0.5, new=0)
    nothing["waiting"] = [{"id": "p", "reason": "waiting_for_capacity", "detail": {}}]
    assert any("rest" in one for one in violations(small(), [nothing, RECLAIM]))
