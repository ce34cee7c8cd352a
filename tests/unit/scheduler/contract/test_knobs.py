"""Each knob of C11, in the smallest snapshot that shows it."""

from __future__ import annotations

from typing import Any

import pytest
from unit.scheduler.contract.planners import PLANNERS, Planner

pytestmark = pytest.mark.parametrize("planner", PLANNERS.values(), ids=list(PLANNERS))


def machine(**resources: int) -> dict[str, Any]:
    return {"nodes": [{"id": "n", **resources}]}


def lent(**knobs: Any) -> dict[str, Any]:
    """`old` runs three works of a GPU on its guarantee of one, `new` asks for one within its own."""
    return {
        "knobs": knobs,
        "now": 100,
        "cluster": machine(gpu=3),
        "teams": [{"id": "old", "guaranteed": {"gpu": 1}}, {"id": "new", "guaranteed": {"gpu": 1}}],
        "running": [
            {"id": f"r{start}", "team": "old", "req": {"gpu": 1}, "priority": 1, "start": start, "on": ["n"]}
            for start in (10, 50, 90)
        ],
        "pending": [{"id": "p", "team": "new", "req": {"gpu": 1}, "priority": 1}],
    }


def evicted(decision: dict[str, Any]) -> list[str]:
    return [one["id"] for one in decision["preempted"]]


def started(decision: dict[str, Any]) -> list[str]:
    return [one["id"] for one in decision["admitted"]]


def reasons(decision: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["reason"] for one in decision["waiting"]}


@pytest.mark.parametrize(
    ("knobs", "victims"),
    [
        ({}, ["r90"]),
        ({"reclaim_priority": "lower_or_equal"}, ["r90"]),
        ({"reclaim_priority": "lower"}, []),
        ({"min_runtime_s": 10}, ["r90"]),
        ({"min_runtime_s": 11}, ["r50"]),
        ({"min_runtime_s": 91}, []),
        ({"max_preemptions_per_job": 1}, ["r90"]),
        ({"max_preemptions_per_job": 0}, []),
        ({"share_basis": "total"}, ["r90"]),
        ({"grace_s": None, "rank": None, "backfill": None}, ["r90"]),
    ],
)
def test_which_work_may_be_reclaimed(planner: Planner, knobs: dict[str, Any], victims: list[str]):
    [decision] = planner(lent(**knobs))
    assert evicted(decision) == victims
    assert started(decision) == ["p"] * len(victims)


def test_the_default_clock_protects_nobody_without_a_minimum_runtime(planner: Planner):
    """`now` is 0 when the file does not say, and then all running work starts after it."""
    snapshot = lent()
    del snapshot["now"]
    [decision] = planner(snapshot)
    assert evicted(decision) == ["r90"]


def test_grace_gives_notice_and_keeps_the_room(planner: Planner):
    snapshot = lent(grace_s=20) | {"round_s": 10}
    snapshot["pending"].append({"id": "late", "team": "old", "req": {"gpu": 1}})
    first, second, third = planner(snapshot, rounds=3)
    assert (started(first), evicted(first)) == ([], ["r90"])
    assert (started(second), evicted(second)) == ([], [])
    assert (started(third), evicted(third)) == (["p"], [])
    assert reasons(first)["p"] == reasons(second)["p"] == "waiting_for_preempted"
    [waits] = [one for one in first["waiting"] if one["id"] == "p"]
    assert (waits["detail"]["victims"], waits["detail"]["until"]) == (["r90"], 120)


def test_without_time_a_notice_never_ends(planner: Planner):
    decisions = planner(lent(grace_s=20), rounds=4)
    assert [evicted(one) for one in decisions] == [["r90"], [], [], []]
    assert [started(one) for one in decisions] == [[]] * 4


@pytest.mark.parametrize(("rank", "first"), [("off", "early"), ("on", "critical")])
def test_rank_goes_before_age_inside_a_team(planner: Planner, rank: str, first: str):
    snapshot = {
        "knobs": {"rank": rank},
        "cluster": machine(gpu=1),
        "teams": [{"id": "t"}],
        "pending": [
            {"id": "early", "team": "t", "req": {"gpu": 1}, "submit": 1},
            {"id": "critical", "team": "t", "req": {"gpu": 1}, "submit": 2, "rank": 7},
        ],
    }
    [decision] = planner(snapshot)
    assert started(decision) == [first]


def test_priority_goes_before_rank(planner: Planner):
    snapshot = {
        "knobs": {"rank": "on"},
        "cluster": machine(gpu=1),
        "teams": [{"id": "t"}],
        "pending": [
            {"id": "critical", "team": "t", "req": {"gpu": 1}, "rank": 7},
            {"id": "urgent", "team": "t", "req": {"gpu": 1}, "priority": 1, "submit": 9},
        ],
    }
    [decision] = planner(snapshot)
    assert started(decision) == ["urgent"]


@pytest.mark.parametrize(("basis", "first"), [("borrowed", "rich"), ("total", "poor")])
def test_the_basis_of_shares_decides_who_is_ahead(planner: Planner, basis: str, first: str):
    """`rich` uses 4 of its 4 and asks for one more, `poor` uses 1 of 0."""
    snapshot = {
        "knobs": {"share_basis": basis},
        "cluster": machine(gpu=6),
        "teams": [{"id": "rich", "guaranteed": {"gpu": 4}}, {"id": "poor"}],
        "running": [
            {"id": "r", "team": "rich", "req": {"gpu": 4}, "on": ["n"]},
            {"id": "q", "team": "poor", "req": {"gpu": 1}, "on": ["n"]},
        ],
        "pending": [{"id": team, "team": team, "req": {"gpu": 1}} for team in ("rich", "poor")],
    }
    [decision] = planner(snapshot)
    assert started(decision) == [first]
    shares = {"borrowed": (1, 1), "total": (5, 2)}[basis] if first == "rich" else (4, 2)
    assert [decision["shares"][team]["dominant"] for team in ("rich", "poor")] == [
        pytest.approx(share / 6) for share in shares
    ]


def test_past_use_counts_only_with_a_half_life_and_fades(planner: Planner):
    """`busy` asked first; it used 4 in the past. Two half-lives later that is 1, less than what `quiet` holds by then."""
    snapshot = {
        "round_s": 20,
        "cluster": machine(gpu=2),
        "teams": [{"id": "busy", "past_usage": {"gpu": 4}}, {"id": "quiet"}],
        "pending": [
            {"id": "b", "team": "busy", "req": {"gpu": 1}, "submit": 1, "copies": 3},
            {"id": "q", "team": "quiet", "req": {"gpu": 1}, "submit": 2, "copies": 3, "duration": 20},
        ],
    }
    [without] = planner(snapshot)
    assert started(without) == ["b#1", "q#1"]
    [with_memory] = planner(snapshot | {"knobs": {"half_life_s": 10}})
    assert started(with_memory) == ["q#1", "q#2"]


def easy(**knobs: Any) -> dict[str, Any]:
    """Four GPUs on one machine that come free one by one, a work that needs all, and small ones behind it."""
    return {
        "knobs": knobs,
        "round_s": 5,
        "cluster": machine(gpu=4),
        "teams": [{"id": "t"}],
        "running": [{"id": f"r{n}", "team": "t", "req": {"gpu": 1}, "ends": 5 * n, "on": ["n"]} for n in (1, 2, 3, 4)],
        "pending": [
            {"id": "whole", "team": "t", "req": {"gpu": 4}, "submit": 1, "duration": 5},
            {"id": "small", "team": "t", "req": {"gpu": 1}, "submit": 2, "copies": 30, "duration": 25},
        ],
    }


def round_of(name: str, decisions: list[dict[str, Any]]) -> int | None:
    return next((number for number, one in enumerate(decisions) if name in started(one)), None)


@pytest.mark.parametrize(
    "knobs", [{"backfill": "easy"}, {"aging_bound_s": 4}, {"backfill": "easy", "aging_bound_s": 4}]
)
def test_a_large_work_is_not_starved_by_small_ones(planner: Planner, knobs: dict[str, Any]):
    assert round_of("whole", planner(easy(), rounds=8)) is None
    assert round_of("whole", planner(easy(**knobs), rounds=8)) == 4


def test_a_borrower_evicts_a_larger_borrower_only_with_fair_preemption(planner: Planner):
    snapshot = {
        "cluster": machine(gpu=4),
        "teams": [{"id": "much"}, {"id": "little"}],
        "running": [{"id": f"r{n}", "team": "much", "req": {"gpu": 1}, "start": n, "on": ["n"]} for n in (1, 2, 3, 4)],
        "pending": [{"id": "p", "team": "little", "req": {"gpu": 1}, "copies": 4}],
    }
    [without] = planner(snapshot)
    assert evicted(without) == []
    fair = {"fair_preemption": True, "max_preemptions_per_job": 1}
    decisions = planner(snapshot | {"knobs": fair}, rounds=4)
    assert sorted(evicted(decisions[0])) == ["r3", "r4"]
    assert [evicted(one) for one in decisions[1:]] == [[]] * 3
