"""Who gets a place, and where: the rules one by one, and the promises under any history."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwfs_scheduler import ledger as ledger_module
from mwfs_scheduler.fair_share.hosts import fitting
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Held, Holding, Inventory, Need
from unit.scheduler.ledgers import GIB, by_group, by_host, check_books, decide, demand, host, ledger_with, need


def test_a_group_gets_as_many_places_as_there_are_in_one_grant() -> None:
    ledger = ledger_with(host(cpu=4))
    demand(ledger, "g", 10)
    [grant] = decide(ledger)
    assert (grant.group_id, grant.count, grant.host, grant.grant_id) == ("g", 4, "local", "7.1")
    assert decide(ledger) == []


def test_released_places_go_to_who_waits() -> None:
    ledger = ledger_with(host(cpu=2))
    demand(ledger, "g", 5)
    [first] = decide(ledger)
    ledger.release("r", first.grant_id, 1)
    [second] = decide(ledger)
    assert second.count == 1
    assert second.grant_id != first.grant_id


def test_inside_a_team_priority_then_rank_then_age_then_id() -> None:
    ledger = ledger_with(host(cpu=1))
    demand(ledger, "late", 1, submit_time_us=2)
    demand(ledger, "b", 1, submit_time_us=1)
    demand(ledger, "a", 1, submit_time_us=1)
    demand(ledger, "critical", 1, submit_time_us=9, rank_band=3)
    demand(ledger, "urgent", 1, submit_time_us=9, priority=1)
    order = []
    while grants := decide(ledger):
        order.append(grants[0].group_id)
        ledger.release("r", grants[0].grant_id, 1)
    assert order == ["urgent", "critical", "a", "b", "late"]


def test_a_blocked_group_does_not_block_later_ones() -> None:
    ledger = ledger_with(host(cpu=2))
    demand(ledger, "large", 1, need=need(cpu=8), priority=5)
    demand(ledger, "small", 2, submit_time_us=1)
    assert by_group(decide(ledger)) == {"small": 2}


def test_teams_take_turns_by_what_they_hold() -> None:
    ledger = ledger_with(host(cpu=12))
    demand(ledger, "first", 100, team="ads", submit_time_us=1)
    demand(ledger, "second", 100, team="feed", submit_time_us=2)
    demand(ledger, "third", 100, team="search", submit_time_us=3)
    assert by_group(decide(ledger)) == {"first": 4, "second": 4, "third": 4}


def test_a_team_that_holds_much_waits_for_one_that_holds_little() -> None:
    ledger = ledger_with(host(cpu=10))
    demand(ledger, "early", 100, team="ads")
    [early] = decide(ledger)
    demand(ledger, "late", 3, team="feed", submit_time_us=5)
    ledger.release("r", early.grant_id, 4)
    assert by_group(decide(ledger)) == {"late": 3, "early": 1}


def test_a_memory_hungry_team_is_measured_by_its_memory() -> None:
    ledger = ledger_with(host(cpu=100, memory=100))
    demand(ledger, "memory", 100, team="ads", need=need(cpu=1, memory=3))
    demand(ledger, "cores", 100, team="feed", need=need(cpu=3, memory=1))
    counts = by_group(decide(ledger))
    assert abs(counts["memory"] - counts["cores"]) <= 1


def test_gpus_are_packed_and_cpu_work_stays_off_gpu_hosts() -> None:
    ledger = ledger_with(host("big", cpu=64, gpus=8), host("half", cpu=64, gpus=8), host("plain", cpu=2))
    demand(ledger, "one", 4, need=need(gpus=1))
    assert [(g.host, g.count) for g in decide(ledger)] == [("big", 4)]
    demand(ledger, "two", 2, need=need(gpus=2))
    assert [(g.host, g.count) for g in decide(ledger)] == [("big", 2)]
    demand(ledger, "whole", 1, need=need(gpus=8))
    assert [(g.host, g.count) for g in decide(ledger)] == [("half", 1)]
    demand(ledger, "cpu", 2)
    assert [(g.host, g.count) for g in decide(ledger)] == [("plain", 2)]


def test_gpu_types_restrict_placement() -> None:
    ledger = ledger_with(host("a", gpus=1, gpu_type="a100"), host("h", gpus=1, gpu_type="h100"))
    demand(ledger, "g", 2, need=need(gpus=1, gpu_type="h100"))
    assert [(g.host, g.count) for g in decide(ledger)] == [("h", 1)]
    demand(ledger, "any", 1, need=need(gpus=1))
    assert [(g.host, g.count) for g in decide(ledger)] == [("a", 1)]


def test_a_draining_host_takes_nothing_new() -> None:
    ledger = ledger_with(host())
    ledger.offer(Inventory(host="local", address="127.0.0.1:1", capacity=host().capacity, draining=True))
    demand(ledger, "g", 1)
    assert decide(ledger) == []
    ledger.offer(host())
    assert by_group(decide(ledger)) == {"g": 1}


def test_a_host_that_comes_back_still_counts_what_was_granted_on_it() -> None:
    ledger = ledger_with(host(cpu=4))
    demand(ledger, "g", 3)
    [grant] = decide(ledger)
    ledger.withdraw_host("local")
    demand(ledger, "h", 9)
    assert decide(ledger) == []
    ledger.offer(host(cpu=4))
    assert by_group(decide(ledger)) == {"h": 1}
    ledger.release("r", grant.grant_id, 3)
    assert by_group(decide(ledger)) == {"h": 3}


def test_unknown_releases_are_counted_and_ignored() -> None:
    ledger = ledger_with(host(cpu=1))
    demand(ledger, "g", 2)
    [grant] = decide(ledger)
    ledger.release("r", "1.99", 1)
    ledger.release("r", grant.grant_id, 5)
    ledger.release("r", grant.grant_id, 1)
    assert ledger.unknown_releases == 3
    assert by_group(decide(ledger)) == {"g": 1}


def test_what_a_replica_adopts_is_no_longer_held_by_the_other() -> None:
    ledger = ledger_with(host(cpu=4), replicas=("a", "b"))
    demand(ledger, "g", 4, replica="a")
    [grant] = decide(ledger)
    held = Held(grant_id=grant.grant_id, host="local", count=3, need=need(), team="ads")
    ledger.adopt("b", held)
    assert (ledger.grants["a"][grant.grant_id].count, ledger.grants["b"][grant.grant_id].count) == (1, 3)
    assert ledger.nodes_granted == 4
    demand(ledger, "h", 1, replica="b")
    assert decide(ledger) == [], "nothing became free"
    ledger.forget_grants("a")
    ledger.release("b", grant.grant_id, 3)
    assert (ledger.nodes_granted, ledger.unknown_releases) == (0, 0)
    assert by_group(decide(ledger)) == {"h": 1}


def test_a_grant_that_was_freed_too_early_is_held_again_once_it_is_adopted() -> None:
    ledger = ledger_with(host(cpu=4), replicas=("a", "b"))
    demand(ledger, "g", 4, replica="a")
    [grant] = decide(ledger)
    ledger.forget_grants("a")
    ledger.adopt("b", Held(grant_id=grant.grant_id, host="local", count=4, need=need(), team="ads"))
    demand(ledger, "h", 1, replica="b")
    assert decide(ledger) == []


def test_a_hello_replaces_all_that_was_known() -> None:
    ledger = ledger_with(host(cpu=4))
    demand(ledger, "g", 10)
    [grant] = decide(ledger)
    held = Held(grant_id=grant.grant_id, host="local", count=3, need=need(), team="ads")
    ledger.hello("r", [held])
    assert ledger.nodes_granted == 3
    assert ledger.nodes_waiting == 0
    demand(ledger, "g2", 10)
    assert by_group(decide(ledger)) == {"g2": 1}
    ledger.release("r", grant.grant_id, 3)
    assert by_group(decide(ledger)) == {"g2": 3}


def test_held_grants_of_a_host_that_is_not_here_yet_are_not_granted_twice() -> None:
    ledger = Ledger(epoch=8)
    ledger.hello("r", [Held(grant_id="7.1", host="local", count=3, need=need(), team="ads")])
    demand(ledger, "g", 10)
    assert decide(ledger) == []
    ledger.offer(host(cpu=4))
    assert by_group(decide(ledger)) == {"g": 1}


def test_nothing_is_granted_while_a_replica_is_awaited() -> None:
    ledger = Ledger(epoch=8)
    ledger.awaited = {"r", "other"}
    ledger.hello("r", [])
    ledger.offer(host(cpu=4))
    demand(ledger, "g", 10)
    assert decide(ledger) == []
    ledger.hello("other", [Held(grant_id="7.5", host="local", count=4, need=need(), team="ads")])
    assert decide(ledger) == []
    ledger.release("other", "7.5", 2)
    assert by_group(decide(ledger)) == {"g": 2}


def test_a_withdrawn_group_gets_nothing() -> None:
    ledger = ledger_with(host(cpu=1))
    demand(ledger, "g", 10)
    demand(ledger, "h", 1, submit_time_us=1)
    [grant] = decide(ledger)
    ledger.withdraw("r", "g")
    ledger.withdraw("r", "never seen")
    ledger.release("r", grant.grant_id, 1)
    assert by_group(decide(ledger)) == {"h": 1}


def test_empty_groups_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "IDLE_GROUPS_KEPT", 2)
    ledger = ledger_with(host(cpu=10))
    for name in "abcd":
        demand(ledger, name, 1)
        decide(ledger)
    assert [name for name in "abcd" if ledger.knows("r", name)] == ["c", "d"]


# --- promises under any history -------------------------------------------------------------------------------------

SHAPES = [
    shape(0.001),
    shape(0.5),
    shape(1, GIB),
    shape(2, 3 * GIB),
    shape(1, 0, 1),
    shape(1, GIB, 2, "h100"),
    shape(64),
]
HOSTS = [
    host("a", cpu=3, memory=4 * GIB),
    host("b", cpu=8, memory=16 * GIB, gpus=4, gpu_type="h100"),
    host("c", cpu=2, memory=2 * GIB, gpus=2, gpu_type="a100"),
]

actions = st.lists(
    st.one_of(
        st.tuples(st.just("demand"), st.integers(0, 1), st.integers(0, 11), st.integers(1, 30)),
        st.tuples(st.just("release"), st.integers(0, 1), st.integers(0, 99), st.integers(1, 5)),
        st.tuples(st.just("withdraw"), st.integers(0, 1), st.integers(0, 11), st.just(0)),
        st.tuples(st.just("hello"), st.integers(0, 1), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("offer"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("gone"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("decide"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=60,
)


def act(ledger: Ledger, action: tuple[str, int, int, int]) -> list[Grant]:
    what, who, which, count = action
    replica = f"r{who}"
    grants = list(ledger.grants[replica].values()) if who < 2 else []
    match what:
        case "demand":
            about = {
                "team": f"t{which % 4}",
                "shape": SHAPES[which % len(SHAPES)],
                "priority": which % 3,
                "rank_band": which % 2,
                "submit_time_us": which * 7 % 5,
            }
            demand(ledger, f"g{which}", count, replica=replica, **about)
        case "release" if grants:
            grant = grants[which % len(grants)]
            ledger.release(replica, grant.grant_id, min(count, grant.count))
        case "withdraw":
            ledger.withdraw(replica, f"g{which}")
        case "hello":
            kept = [grant for index, grant in enumerate(grants) if (which >> (index % 6)) & 1]
            ledger.hello(
                replica,
                [Held(grant_id=g.grant_id, host=g.host, count=g.count, shape=g.shape, team=g.team) for g in kept],
            )
        case "offer":
            ledger.offer(HOSTS[who])
        case "gone":
            ledger.withdraw_host(HOSTS[who].host)
        case "decide":
            return decide(ledger)
    return []


def check_books(ledger: Ledger) -> None:
    """The counters are what the grants and groups add up to, and no connected host holds more than it has."""
    every = [grant for of_replica in ledger.grants.values() for grant in of_replica.values()]
    for known in ledger.hosts.values():
        here = [grant for grant in every if grant.host == known.host]
        assert known.used_cpu == sum(g.count * g.shape.cpu_millis for g in here)
        assert known.used_memory == sum(g.count * g.shape.memory_bytes for g in here)
        assert known.used_gpus == sum(g.count * g.shape.gpus for g in here)
        capacity = next(one for one in HOSTS if one.host == known.host).capacity
        assert known.used_cpu <= capacity.cpu_millis
        assert known.used_memory <= capacity.memory_bytes
        assert known.used_gpus <= capacity.gpus
    for team in ledger.teams.values():
        assert team.held_cpu == sum(g.count * g.shape.cpu_millis for g in every if g.team == team.team)
    groups = [group for of_replica in ledger.groups.values() for group in of_replica.values()]
    assert ledger.nodes_waiting == sum(group.waiting for group in groups)
    assert ledger.nodes_granted == sum(grant.count for grant in every)
    lined_up = sorted(key for team in ledger.teams.values() for line in team.lines.values() for key in line)
    assert lined_up == sorted(group.key for group in groups if group.waiting)
    assert {(s, t.team) for t in ledger.teams.values() for s in t.lines} == {
        (s, name) for s, names in ledger.waiters.items() for name in names
    }


@settings(max_examples=300, deadline=None)
@given(actions)
def test_hosts_are_never_over_allocated_and_no_fitting_node_waits(history: list[tuple[str, int, int, int]]) -> None:
    ledger = ledger_with(*HOSTS, replicas=("r0", "r1"))
    for action in history:
        before = deepcopy(ledger) if action[0] == "decide" else None
        grants = act(ledger, action)
        check_books(ledger)
        if before is not None:
            assert decide(before) == grants, "the same snapshot gave another answer"
            for waiting in ledger.waiters:
                assert not any(fitting(known, waiting) for known in ledger.hosts.values()), "room was left unused"
            assert decide(ledger) == [], "a pass at rest must change nothing"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SHAPES[:4]), st.integers(1, 40)), min_size=1, max_size=12))
def test_no_team_is_ahead_of_a_waiting_one_by_more_than_one_node(wants: list[tuple[int, Shape, int]]) -> None:
    """Progressive filling with equal shapes: who waits holds at most one node less than any other."""
    each = wants[0][1]
    ledger = ledger_with(HOSTS[0])
    for index, (team, _, count) in enumerate(wants):
        demand(ledger, f"g{index}", count, team=f"t{team}", shape=each)
    decide(ledger)
    held = {team.team: team.held_cpu // each.cpu_millis for team in ledger.teams.values()}
    for name in ledger.waiters.get(each, {}):
        assert max(held.values()) - held[name] <= 1
