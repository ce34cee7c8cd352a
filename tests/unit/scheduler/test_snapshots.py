"""A snapshot that cannot be right is refused with the place; nothing is guessed."""

from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from mwfs_scheduler.plan import plan
from mwfs_scheduler.snapshots import BadSnapshot, parse

GOOD: dict[str, Any] = {
    "cluster": {"nodes": [{"id": "n1", "cpu": 8, "gpu": 4}]},
    "teams": [{"id": "ads", "guaranteed": {"gpu": 2}}],
    "running": [{"id": "r1", "team": "ads", "req": {"gpu": 1}, "on": ["n1"]}],
    "pending": [{"id": "p1", "team": "ads", "req": {"gpu": 1}}],
}


def changed(**changes: Any) -> dict[str, Any]:
    """GOOD with keys of the first row of a part changed."""
    snapshot = deepcopy(GOOD)
    for part, keys in changes.items():
        if part == "nodes":
            snapshot["cluster"]["nodes"][0] |= keys
        elif isinstance(keys, dict) and part in ("teams", "running", "pending"):
            snapshot[part][0] |= keys
        else:
            snapshot[part] = keys
    return snapshot


@pytest.mark.parametrize(
    ("snapshot", "place"),
    [
        ([], "snapshot must be an object"),
        (changed(knobs={"colour": 1}), "knobs has no key 'colour'"),
        (changed(knobs={"backfill": "hard"}), "knobs.backfill must be one of none, easy"),
        (changed(knobs={"grace_s": -1}), "knobs.grace_s"),
        (changed(knobs={"half_life_s": 0}), "knobs.half_life_s must be above 0; found 0"),
        (changed(knobs={"rank": 1}), "knobs.rank must be on or off; found 1"),
        (changed(knobs={"max_preemptions_per_job": -1}), "knobs.max_preemptions_per_job must not be negative"),
        (changed(knobs=[]), "knobs must be an object; found a list"),
        (changed(cluster=0), "cluster must be an object; found a number"),
        (
            changed(teams=[{"id": f"t{at}", "parent": f"t{at + 1}" if at < 99 else None} for at in range(100)]),
            "deeper than 64",
        ),
        (changed(teams=[{"id": f"t{at}", "parent": f"t{(at + 1) % 100}"} for at in range(100)]), "circle: t0 → t1 →"),
        (changed(nodes={"gpu": -1}), "cluster.nodes[0].gpu must not be negative"),
        (changed(nodes={"gpu": "4"}), "cluster.nodes[0].gpu must be a number"),
        (changed(nodes={"gpu": True}), "cluster.nodes[0].gpu must be a number"),
        (changed(nodes={"gpu": 10**40}), "cluster.nodes[0].gpu must be at most"),
        (changed(nodes={"gpu": Decimal("1e400")}), "cluster.nodes[0].gpu must be at most"),
        (changed(nodes={"gpu\n\x1b[31m": -1}), r"cluster.nodes[0].'gpu\n\x1b[31m' must not be negative"),
        (changed(nodes={"labels": {"zone": ["a", "b"]}}), "cluster.nodes[0].labels.zone must be one value"),
        (changed(nodes={f"r{at}": 1 for at in range(300)}), "At most 256 resources may have names; found 302"),
        (changed(nodes={"id": ""}), "cluster.nodes[0].id must be a string of 1 to 500 characters; found ''"),
        (changed(teams={"weight": 0}), "teams[0].weight must be above 0"),
        (changed(teams={"parent": "ads"}), "circle: ads → ads"),
        (changed(teams={"parent": "nobody"}), "there is no team 'nobody'"),
        (changed(teams={"quota": 4}), "teams[0] has no key 'quota'"),
        (changed(pending={"team": "nobody"}), "pending[0].team: there is no team 'nobody'"),
        (changed(pending={"team": ["ads"]}), "pending[0].team"),
        (changed(pending={"req": [1]}), "pending[0].req must be an object"),
        (changed(pending={"members": 0}), "pending[0].members"),
        (changed(pending={"members": 10**9}), "pending[0].members must be between 1 and 100,000; found 1000000000"),
        (changed(pending={"members": 1000, "copies": 1001}), "at most 1,000,000 members may wait in all"),
        (changed(pending={"copies": -1}), "pending[0].copies must not be negative"),
        (changed(pending={"priority": 0.5}), "pending[0].priority must be a whole number; found 0.5"),
        (changed(pending={"submit": "noon"}), "pending[0].submit must be a number; found 'noon'"),
        (changed(pending={"members": 1.5}), "pending[0].members must be a whole number"),
        (changed(pending={"copies": 10**9}), "pending[0].copies"),
        (changed(pending={"id": "r1"}), "'r1' is there twice"),
        (changed(pending={"duration": -1}), "pending[0].duration"),
        (changed(pending={"labels": {"zone": []}}), "pending[0].labels.zone"),
        (changed(running={"on": "n1"}), "running[0].on must be a list"),
        (
            changed(running={"on": ["n1"], "members": 2}),
            "running[0].on must list a node for each of 2 members; found 1",
        ),
        (changed(running={"members": 0}), "running[0].on must list a node"),
        (changed(running={"preemptible": "yes"}), "running[0].preemptible must be true or false"),
        (changed(round_s=-1), "round_s"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_place(snapshot: Any, place: str):
    with pytest.raises(BadSnapshot) as refused:
        plan(snapshot)
    assert place in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *('{"now": NaN}', '{"now": Infinity}', "{", b"\xff\xfe", "[" * 100_000, '{"now": 1e99999999999999999999}'),
        *('{"now": ' + "1" * 5000 + "}", '{"teams": [], "teams": []}', '{"teams": [{"id": "\\ud800"}]}', b"\xc3("),
    ],
)
def test_what_is_not_json_with_finite_numbers_is_refused_in_one_line(text: str | bytes):
    with pytest.raises(BadSnapshot) as refused:
        parse(text)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 300


def test_numbers_of_any_length_are_read_exactly_or_to_the_last_digit_that_counts():
    read = parse(
        '{"now": 1700000000000000000, "pending": [{"id": "p", "team": "ads", "submit": 1e-400, "req": {"gpu": 1.'
        + "3" * 10_000
        + "}}]}"
    )
    [decision] = plan(GOOD | read)
    assert [each["id"] for each in decision["admitted"]] == ["p"]


def test_a_label_that_is_null_asks_for_nothing():
    [decision] = plan(changed(pending={"labels": {"zone": None}}))
    assert [each["id"] for each in decision["admitted"]] == ["p1"]


def test_a_snapshot_of_nothing_decides_nothing():
    assert plan({}) == [{"admitted": [], "preempted": [], "waiting": [], "shares": {}}]


def test_a_request_of_nothing_starts_wherever_a_node_is():
    assert plan(changed(pending={"req": {"gpu": 0}}))[0]["admitted"] == [{"id": "p1", "on": ["n1"]}]
    [decision] = plan(changed(pending={"req": None}, cluster={}))
    assert decision["waiting"] == [{"id": "p1", "reason": "no_such_type", "detail": {}}]


def test_a_running_request_whose_node_has_vanished_counts_for_its_team_and_uses_no_node():
    [decision] = plan(changed(running={"on": ["gone"]}, teams={"burst": {"gpu": 2}}, pending={"copies": 4}))
    assert [each["id"] for each in decision["admitted"]] == ["p1#1"]
    assert {each["reason"] for each in decision["waiting"]} == {"burst_in_use"}


def test_a_quota_that_was_cut_below_what_runs_stops_nobody_and_starts_nobody():
    [decision] = plan(changed(running={"req": {"gpu": 3}}, teams={"burst": {"gpu": 1}}))
    assert (decision["admitted"], decision["preempted"]) == ([], [])
    assert decision["waiting"][0]["detail"] == {
        "team": "ads", "resource": "gpu", "burst": 1, "in_use": 3
    }  # fmt: skip


def test_guarantees_that_exceed_the_cluster_are_scaled_in_proportion_and_that_is_said():
    teams = [{"id": "ads", "guaranteed": {"gpu": 6}}, {"id": "maps", "guaranteed": {"gpu": 2}}]
    running = [{"id": "r1", "team": "ads", "req": {"gpu": 4}, "on": ["n1"]}]
    [decision] = plan(changed(teams=teams, running=running, pending=[]))
    assert decision["shares"]["ads"] == {"dominant": 0.25, "resource": "gpu"}
    assert "gpu" in decision["warnings"][0]


def test_fractions_of_a_resource_are_exact():
    pending = [{"id": "p", "team": "ads", "req": {"gpu": 0.1}, "copies": 31}]
    [decision] = plan(parse(json.dumps(changed(running=[], pending=pending, nodes={"gpu": 3}))))
    assert len(decision["admitted"]) == 30
    assert decision["shares"]["ads"]["dominant"] == pytest.approx(1 / 3)
