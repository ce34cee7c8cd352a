"""Who gets a place, and where: the rules one by one, and the promises under any history."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.scheduler.ledgers import (
    GIB,
    by_group,
    by_host,
    check_books,
    decide,
    decided,
    demand,
    host,
    ledger_with,
    need,
    quota,
    quotas,
)

from mwfs_scheduler import ledger as ledger_module
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.ledger import Ledger, Outcome
from mwfs_scheduler.model import Held, Holding, Inventory, Need


def test_a_group_gets_as_many_places_as_there_are_in_one_grant() -> None:
    ledger = ledger_with(host(cpu=1))
    demand(ledger, "g", 10, need=need(0.25))
    [grant] = decide(ledger)
    assert (grant.group_id, grant.count, grant.host, grant.grant_id) == ("g", 4, "local", "7.1")
    assert decide(ledger) == []


def test_what_is_larger_than_a_core_or_needs_gpus_is_granted_by_itself() -> None:
    ledger = ledger_with(host(cpu=9, gpus=2))
    demand(ledger, "large", 3, need=need(2))
    assert [grant.count for grant in decide(ledger)] == [1, 1, 1]
    demand(ledger, "gpus", 2, need=need(0.1, gpus=1))
    assert [grant.count for grant in decide(ledger)] == [1, 1]
    demand(ledger, "small", 30, need=need(0.1))
    assert sorted(grant.count for grant in decide(ledger)) == [8, 10, 10]


def test_released_places_go_to_who_waits() -> None:
    ledger = ledger_with(host(cpu=0.2))
    demand(ledger, "g", 5, need=need(0.1))
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
    ledger = ledger_with(host(cpu=1))
    demand(ledger, "early", 100, team="ads", need=need(0.1))
    [early] = decide(ledger)
    demand(ledger, "late", 3, team="feed", submit_time_us=5, need=need(0.1))
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
    assert by_host(decide(ledger)) == {"big": 4}
    demand(ledger, "two", 2, need=need(gpus=2))
    assert by_host(decide(ledger)) == {"big": 2}
    demand(ledger, "whole", 1, need=need(gpus=8))
    assert by_host(decide(ledger)) == {"half": 1}
    demand(ledger, "cpu", 2)
    assert by_host(decide(ledger)) == {"plain": 2}


def test_gpu_types_restrict_placement() -> None:
    ledger = ledger_with(host("a", gpus=1, gpu_type="a100"), host("h", gpus=1, gpu_type="h100"))
    demand(ledger, "g", 2, need=need(gpus=1, gpu_type="h100"))
    assert by_host(decide(ledger)) == {"h": 1}
    demand(ledger, "any", 1, need=need(gpus=1))
    assert by_host(decide(ledger)) == {"a": 1}


def test_a_draining_host_takes_nothing_new() -> None:
    ledger = ledger_with(host())
    ledger.offer(Inventory(host="local", address="127.0.0.1:1", capacity=host().capacity, draining=True))
    demand(ledger, "g", 1)
    assert decide(ledger) == []
    ledger.offer(host())
    assert by_group(decide(ledger)) == {"g": 1}


def test_a_host_that_comes_back_still_counts_what_was_granted_on_it() -> None:
    ledger = ledger_with(host(cpu=0.4))
    demand(ledger, "g", 3, need=need(0.1))
    [grant] = decide(ledger)
    ledger.withdraw_host("local")
    demand(ledger, "h", 9, need=need(0.1))
    assert decide(ledger) == []
    ledger.offer(host(cpu=0.4))
    assert by_group(decide(ledger)) == {"h": 1}
    ledger.release("r", grant.grant_id, 3)
    assert by_group(decide(ledger)) == {"h": 3}


def test_unknown_releases_are_counted_and_ignored() -> None:
    ledger = ledger_with(host(cpu=0.1))
    demand(ledger, "g", 2, need=need(0.1))
    [grant] = decide(ledger)
    ledger.release("r", "1.99", 1)
    ledger.release("r", grant.grant_id, 5)
    ledger.release("r", grant.grant_id, 1)
    assert ledger.unknown_releases == 3
    assert by_group(decide(ledger)) == {"g": 1}


def test_what_a_replica_adopts_is_no_longer_held_by_the_other() -> None:
    ledger = ledger_with(host(cpu=0.4), replicas=("a", "b"))
    demand(ledger, "g", 4, need=need(0.1), replica="a")
    [grant] = decide(ledger)
    held = Held(grant_id=grant.grant_id, host="local", count=3, need=need(0.1), team="ads")
    ledger.adopt("b", held)
    assert (ledger.holdings["a"][grant.grant_id].count, ledger.holdings["b"][grant.grant_id].count) == (1, 3)
    assert ledger.nodes_granted == 4
    demand(ledger, "h", 1, need=need(0.1), replica="b")
    assert decide(ledger) == [], "nothing became free"
    ledger.forget_grants("a")
    ledger.release("b", grant.grant_id, 3)
    assert (ledger.nodes_granted, ledger.unknown_releases) == (0, 0)
    assert by_group(decide(ledger)) == {"h": 1}


def test_a_grant_that_was_freed_too_early_is_held_again_once_it_is_adopted() -> None:
    ledger = ledger_with(host(cpu=0.4), replicas=("a", "b"))
    demand(ledger, "g", 4, need=need(0.1), replica="a")
    [grant] = decide(ledger)
    ledger.forget_grants("a")
    ledger.adopt("b", Held(grant_id=grant.grant_id, host="local", count=4, need=need(0.1), team="ads"))
    demand(ledger, "h", 1, need=need(0.1), replica="b")
    assert decide(ledger) == []


def test_a_hello_replaces_all_that_was_known() -> None:
    ledger = ledger_with(host(cpu=0.4))
    demand(ledger, "g", 10, need=need(0.1))
    [grant] = decide(ledger)
    held = Held(grant_id=grant.grant_id, host="local", count=3, need=need(0.1), team="ads")
    ledger.hello("r", [held])
    assert ledger.nodes_granted == 3
    assert ledger.nodes_waiting == 0
    demand(ledger, "g2", 10, need=need(0.1))
    assert by_group(decide(ledger)) == {"g2": 1}
    ledger.release("r", grant.grant_id, 3)
    assert by_group(decide(ledger)) == {"g2": 3}


def test_held_grants_of_a_host_that_is_not_here_yet_are_not_granted_twice() -> None:
    ledger = Ledger(epoch=8)
    ledger.hello("r", [Held(grant_id="7.1", host="local", count=3, need=need(0.1), team="ads")])
    demand(ledger, "g", 10, need=need(0.1))
    assert decide(ledger) == []
    ledger.offer(host(cpu=0.4))
    assert by_group(decide(ledger)) == {"g": 1}


def test_nothing_is_granted_while_a_replica_is_awaited() -> None:
    ledger = Ledger(epoch=8)
    ledger.awaited = {"r", "other"}
    ledger.hello("r", [])
    ledger.offer(host(cpu=0.4))
    demand(ledger, "g", 10, need=need(0.1))
    assert decide(ledger) == []
    ledger.hello("other", [Held(grant_id="7.5", host="local", count=4, need=need(0.1), team="ads")])
    assert decide(ledger) == []
    ledger.release("other", "7.5", 2)
    assert by_group(decide(ledger)) == {"g": 2}


def test_a_withdrawn_group_gets_nothing() -> None:
    ledger = ledger_with(host(cpu=0.1))
    demand(ledger, "g", 10, need=need(0.1))
    demand(ledger, "h", 1, need=need(0.1), submit_time_us=1)
    [grant] = decide(ledger)
    ledger.withdraw("r", "g")
    ledger.withdraw("r", "never seen")
    ledger.release("r", grant.grant_id, 1)
    assert by_group(decide(ledger)) == {"h": 1}


def test_empty_groups_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "IDLE_GROUPS_KEPT", 2)
    ledger = ledger_with(host(cpu=1))
    for name in "abcd":
        demand(ledger, name, 1, need=need(0.1))
        decide(ledger)
    assert [name for name in "abcd" if ledger.knows("r", name)] == ["c", "d"]


# --- promises under any history -------------------------------------------------------------------------------------

NEEDS = [
    need(0.001),
    need(0.5),
    need(1, GIB),
    need(2, 3 * GIB),
    need(1, 0, 1),
    need(1, GIB, 2, "h100"),
    need(64),
    need(0.5)._replace(custom=(("licenses", 1),)),
    need(0.5)._replace(labels=(("zone", ("x", "y")),)),
    need(1)._replace(custom=(("fpga", 1), ("licenses", 2)), labels=(("zone", ("y",)),)),
]


def having(inventory: Inventory, zone: str, **custom: int) -> Inventory:
    capacity = inventory.capacity._replace(custom=tuple(sorted(custom.items())), labels=(("zone", (zone,)),))
    return replace(inventory, capacity=capacity)


HOSTS = [
    having(host("a", cpu=3, memory=4 * GIB), "x", licenses=2),
    having(host("b", cpu=8, memory=16 * GIB, gpus=4, gpu_type="h100"), "y", fpga=1, licenses=3),
    host("c", cpu=2, memory=2 * GIB, gpus=2, gpu_type="a100"),
]
SMALLER = [
    having(host("a", cpu=1, memory=GIB), "y"),
    having(host("b", cpu=8, memory=16 * GIB), "z", licenses=1, tapes=1),
    host("c", cpu=2, memory=2 * GIB, gpus=1),
]
TREES = [
    (),
    (quota("t0", guaranteed={"cpu": 4000, "memory": 8 * GIB, "gpu": 2}), quota("t1", burst={"cpu": 3000})),
    (
        quota("org", guaranteed={"cpu": 9000, "memory": 9 * GIB, "gpu": 4, "gpu:h100": 2}),
        quota("t0", "org", 2, guaranteed={"cpu": 6000, "memory": 8 * GIB}),
        quota("t1", "org", guaranteed={"gpu": 4, "gpu:h100": 4}, burst={"gpu:h100": 2, "licenses": 2}),
        quota("t2", guaranteed={"cpu": 100_000, "licenses": 1}),
    ),
]

#: Passes within which a ledger comes to rest when nothing arrives or ends.
SOON = 4

actions = st.lists(
    st.one_of(
        st.tuples(st.just("demand"), st.integers(0, 1), st.integers(0, 11), st.integers(1, 30)),
        st.tuples(st.just("release"), st.integers(0, 1), st.integers(0, 99), st.integers(1, 5)),
        st.tuples(st.just("withdraw"), st.integers(0, 1), st.integers(0, 11), st.just(0)),
        st.tuples(st.just("hello"), st.integers(0, 1), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("adopt"), st.integers(0, 1), st.integers(0, 99), st.integers(1, 5)),
        st.tuples(st.just("lost"), st.integers(0, 1), st.just(0), st.just(0)),
        st.tuples(st.just("offer"), st.integers(0, 2), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("gone"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("apply"), st.just(0), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("time"), st.just(0), st.integers(-5, 50), st.just(0)),
        st.tuples(st.just("decide"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=60,
)


def held(holding: Holding, count: int) -> Held:
    return Held(grant_id=holding.grant_id, host=holding.host, count=count, need=holding.need, team=holding.team)


def act(ledger: Ledger, action: tuple[str, int, int, int]) -> None:
    what, who, which, count = action
    replica, other = f"r{who}", f"r{1 - who}"
    holdings = list(ledger.holdings[replica].values()) if who < 2 else []
    match what:
        case "demand":
            demand(
                ledger,
                f"g{which}",
                count,
                replica=replica,
                team=f"t{which % 4}",
                need=NEEDS[which % len(NEEDS)],
                priority=which % 3,
                rank_band=which % 2,
                submit_time_us=which * 7 % 5,
                preemptible=which % 5 > 0,
            )
        case "release" if holdings:
            holding = holdings[which % len(holdings)]
            ledger.release(replica, holding.grant_id, min(count, holding.count))
        case "withdraw":
            ledger.withdraw(replica, f"g{which}")
        case "hello":
            kept = [one for index, one in enumerate(holdings) if (which >> (index % 6)) & 1]
            ledger.hello(replica, [held(one, one.count) for one in kept])
        case "adopt" if holdings:
            holding = holdings[which % len(holdings)]
            ledger.adopt(other, held(holding, min(count, holding.count)))
        case "lost":
            ledger.forget_groups(replica)
            ledger.forget_grants(replica)
            ledger.hello(replica, [])
        case "offer":
            inventory = (HOSTS, HOSTS, SMALLER)[which][who]
            ledger.offer(replace(inventory, draining=which == 1))
        case "gone":
            ledger.withdraw_host(HOSTS[who].host)
        case "apply":
            ledger.apply(quotas(*TREES[which]))
        case "time":
            ledger.pass_time(int(ledger.cluster.now) + which)


def waits_in_vain(ledger: Ledger) -> list[str]:
    """Groups that would fit into free room within their burst limits, and have none made for them."""
    cluster = ledger.cluster
    return [
        request.id
        for request in cluster.waiting.requests.values()
        if all(team.past_burst(team.usage, request.total) is None for team in request.team.path)
        and any(fitting(each.free, request.shape.needs) for each in cluster.hosts.usable(request.shape))
    ]


@settings(max_examples=300, deadline=None)
@given(actions)
def test_the_promises_hold_under_any_history(history: list[tuple[str, int, int, int]]) -> None:
    ledger = ledger_with(*HOSTS, replicas=("r0", "r1"), given=TREES[1])
    for action in history:
        act(ledger, action)
        check_books(ledger)
        if action[0] == "decide":
            used = {team.id: list(team.usage) for team in ledger.cluster.teams.values()}
            room = {known.host.id: list(known.host.free) for known in ledger.hosts.values()}
            twin = deepcopy(ledger)
            outcome = decided(ledger)
            assert as_told(decided(twin)) == as_told(outcome), "the same ledger gave another answer"
            assert waits_in_vain(ledger) == []
            for known in ledger.hosts.values():
                for left, before in zip(known.host.free, room[known.host.id], strict=True):
                    assert left >= min(0, before), "more was given than there is"
            for team in ledger.cluster.teams.values():
                for limit, now, before in zip(team.burst, team.usage, used.get(team.id, team.usage), strict=True):
                    assert limit is None or now <= max(limit, before), "the burst limit was passed"
            # What has started in a pass may be asked in the next one.
            passes = [decided(ledger) for _ in range(SOON + 1)]
            assert (passes[-1].granted, passes[-1].notices) == ([], []), "what nothing happens to must come to rest"


def as_told(outcome: Outcome) -> tuple[object, ...]:
    return (
        [(each.grant_id, each.replica, each.group_id, each.host, each.count) for each in outcome.granted],
        [(each.holding.grant_id, each.holding.replica, each.count) for each in outcome.notices],
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(NEEDS[:4]), st.integers(1, 40)), min_size=1, max_size=12))
def test_no_team_is_ahead_of_a_waiting_one_by_more_than_one_node(wants: list[tuple[int, Need, int]]) -> None:
    """Progressive filling with equal shapes: who waits holds at most one node less than any other."""
    each = wants[0][1]
    ledger = ledger_with(HOSTS[0])
    for index, (team, _, count) in enumerate(wants):
        demand(ledger, f"g{index}", count, team=f"t{team}", need=each)
    decide(ledger)
    teams = ledger.cluster.teams.values()
    nodes = {team.id: team.usage[0] // each.cpu_millis for team in teams}
    for team in teams:
        if team.lines:
            assert max(nodes.values()) - nodes[team.id] <= 1


@settings(max_examples=200, deadline=None)
@given(actions)
def test_what_has_grown_by_messages_decides_as_what_is_built_anew(history: list[tuple[str, int, int, int]]) -> None:
    ledger = ledger_with(*HOSTS, replicas=("r0", "r1"), given=TREES[1])
    for action in history:
        act(ledger, action)
        if action[0] == "decide":
            decided(ledger)
    built = deepcopy(ledger)
    # Where room is being made already, what is built anew finds it by who leaves, and not by for whom.
    if not ledger.cluster.intents:
        built._begin_again(built.tree.quotas)
        assert as_told(decided(built)) == as_told(decided(ledger))
