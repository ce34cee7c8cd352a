"""Quotas, reclaim with notice, and what the world may do meanwhile: the decision engine as the service drives it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.scheduler.ledgers import (
    GIB,
    by_group,
    by_host,
    decide,
    decided,
    demand,
    host,
    ledger_with,
    need,
    quota,
    quotas,
    release_all,
)

from mwfs_scheduler.ledger import Ledger, Outcome
from mwfs_scheduler.model import Held
from mwfs_scheduler.resources import MAX_GPU_TYPES
from mwfs_scheduler.settings import RUNNING

GPU = need(0.001, 0, 1)
PROMISED = {"cpu": 1000, "gpu": 3}


def told(outcome: Outcome) -> dict[str, int]:
    counts: dict[str, int] = {}
    for notice in outcome.notices:
        counts[notice.holding.team] = counts.get(notice.holding.team, 0) + notice.count
    return counts


def leave(ledger: Ledger, outcome: Outcome) -> None:
    """Who was told to leave does so."""
    for notice in outcome.notices:
        ledger.release(notice.holding.replica, notice.holding.grant_id, notice.holding.count)


def borrowed(gpus: int = 4, **about: object) -> Ledger:
    """Team `feed` has all the GPUs, though half of them are promised to `ads`."""
    ledger = ledger_with(host(gpus=gpus), given=[quota("ads", guaranteed={"cpu": 1000, "gpu": gpus // 2})])
    demand(ledger, "borrowed", 2 * gpus, team="feed", need=GPU, **about)
    assert by_group(decide(ledger)) == {"borrowed": gpus}
    return ledger


# --- reclaim ------------------------------------------------------------------------------------------------------------


def test_a_guarantee_is_put_right_by_notice_and_the_room_goes_to_whom_it_was_made_for() -> None:
    ledger = borrowed()
    demand(ledger, "g", 3, need=GPU)
    outcome = decided(ledger)
    assert (by_group(outcome.granted), told(outcome)) == ({}, {"feed": 2})
    assert {notice.grace_s for notice in outcome.notices} == {30}
    assert {notice.beneficiary.group_id for notice in outcome.notices} == {"g"}
    assert decide(ledger) == [], "they still run"
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 2}
    assert decide(ledger) == []


def test_who_was_told_counts_until_it_is_released_however_long_that_takes() -> None:
    ledger = borrowed()
    demand(ledger, "g", 2, need=GPU)
    outcome = decided(ledger)
    ledger.pass_time(1000)
    assert decide(ledger) == []
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 2}


def test_room_that_comes_by_itself_is_used_and_nobody_is_told_twice() -> None:
    ledger = borrowed()
    demand(ledger, "g", 1, need=GPU)
    outcome = decided(ledger)
    [notice] = outcome.notices
    other = next(each for each in ledger.holdings["r"].values() if each is not notice.holding)
    ledger.release("r", other.grant_id, 1)
    assert by_group(decide(ledger)) == {"g": 1}
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"borrowed": 1}


def test_what_leaves_already_makes_room_for_the_next_one_too() -> None:
    ledger = ledger_with(host(gpus=4), given=[quota("ads", guaranteed={"cpu": 1000, "gpu": 4})])
    demand(ledger, "whole", 1, team="feed", need=need(0.001, 0, 4))
    decide(ledger)
    demand(ledger, "g", 1, need=GPU)
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 1}
    demand(ledger, "h", 3, need=GPU, submit_time_us=1)
    assert told(decided(ledger)) == {}
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 1, "h": 3}


def test_those_for_whom_room_is_made_are_looked_at_once_when_something_has_happened() -> None:
    ledger = borrowed()
    demand(ledger, "else", 1, team="feed", need=need(1), preemptible=False)
    demand(ledger, "g", 1, need=need(0.5, 0, 1))  # half a core is free, and kept
    demand(ledger, "h", 1, need=need(0.5, 0, 1), priority=-1)
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 2}
    [holding] = [each for each in ledger.holdings["r"].values() if each.group_id == "else"]
    ledger.release("r", holding.grant_id, 1)
    assert ledger.cluster.intents_changed, "there is more room on their host"
    assert decide(ledger) == []
    assert not ledger.cluster.intents_changed, "neither has made room for the other by being looked at"
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 1, "h": 1}


def test_small_nodes_are_reclaimed_in_small_pieces() -> None:
    """Never more than one grant too much: a grant of many is at most a core."""
    ledger = ledger_with(host(cpu=8), given=[quota("ads", guaranteed={"cpu": 2500})])
    demand(ledger, "borrowed", 10_000, team="feed", need=need(0.01))
    decide(ledger)
    demand(ledger, "g", 10_000, need=need(0.05))
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 300}
    leave(ledger, outcome)
    granted = by_group(decide(ledger))
    assert granted["g"] >= 50, "its guarantee"


def test_a_group_that_is_withdrawn_while_room_is_made_leaves_that_to_others() -> None:
    ledger = borrowed()
    demand(ledger, "g", 2, need=GPU)
    outcome = decided(ledger)
    ledger.withdraw("r", "g")
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"borrowed": 2}


def test_work_that_is_not_preemptible_is_not_asked() -> None:
    ledger = borrowed(preemptible=False)
    demand(ledger, "g", 2, need=GPU)
    assert decide(ledger) == []


def test_how_often_one_made_room_is_counted_by_node_and_bounded() -> None:
    ledger = ledger_with(
        host(gpus=2), knobs=replace(RUNNING, max_preemptions_per_job=1), given=[quota("ads", guaranteed=PROMISED)]
    )
    demand(ledger, "alike", 2, team="feed", need=GPU)
    decide(ledger)
    demand(ledger, "g", 1, need=GPU)
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 1}
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 1}
    demand(ledger, "alike again", 1, team="feed", need=GPU, preemptions=1)
    demand(ledger, "g", 1, need=GPU)
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 1}, "the other of the two has not made room so far"
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 1}
    release_all(ledger, "g")
    assert by_group(decide(ledger)) == {"alike again": 1}
    demand(ledger, "g", 2, need=GPU)
    outcome = decided(ledger)
    assert (by_group(outcome.granted), told(outcome)) == ({"g": 1}, {}), "it has made room as often as the bound says"


def test_how_often_one_made_room_is_known_after_a_hello_and_when_the_cluster_is_made_anew() -> None:
    ledger = ledger_with(
        host(gpus=2), knobs=replace(RUNNING, max_preemptions_per_job=1), given=[quota("ads", guaranteed=PROMISED)]
    )
    running = [
        Held(grant_id=name, host="local", count=1, need=GPU, team="feed", age_s=age, preemptions=times)
        for name, age, times in (("worn", 0, 1), ("fresh", 10, 0))
    ]
    ledger.hello("r", running)
    ledger.offer(host("other", gpus=1, gpu_type="h100"))
    demand(ledger, "g", 3, need=GPU)
    outcome = decided(ledger)
    assert by_group(outcome.granted) == {"g": 1}
    assert [notice.holding.grant_id for notice in outcome.notices] == ["fresh"], "not the latest, which is at the bound"
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 1}
    assert told(decided(ledger)) == {}


def test_a_higher_priority_of_the_same_team_makes_room() -> None:
    ledger = ledger_with(host(gpus=2))
    demand(ledger, "low", 2, need=GPU)
    decide(ledger)
    demand(ledger, "high", 1, need=GPU, priority=1)
    assert told(decided(ledger)) == {"ads": 1}


def test_who_leaves_already_when_its_replica_comes_back_is_waited_for_and_nobody_else_is_told() -> None:
    ledger = borrowed()
    ledger.hello("s", [])
    demand(ledger, "mine", 2, replica="s", need=GPU)
    outcome = decided(ledger)
    leaving = {notice.holding.grant_id for notice in outcome.notices}
    assert len(leaving) == 2
    held = [
        Held(
            grant_id=each.grant_id,
            host=each.host,
            count=each.count,
            need=each.need,
            team=each.team,
            # Those that were not told are the latest now.
            age_s=9 if each.grant_id in leaving else 0,
            leaving_s=20 if each.grant_id in leaving else None,
        )
        for each in ledger.holdings["r"].values()
    ]
    ledger.hello("r", held)
    assert told(decided(ledger)) == {}
    for grant_id in leaving:
        ledger.release("r", grant_id, 1)
    assert by_group(decide(ledger)) == {"mine": 2}


def test_a_replica_that_comes_back_without_having_heard_is_told_again() -> None:
    ledger = borrowed()
    demand(ledger, "g", 2, replica="r", need=GPU)
    ledger.hello("s", [])
    demand(ledger, "mine", 2, replica="s", need=GPU)
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 2}
    held = [
        Held(grant_id=each.grant_id, host=each.host, count=each.count, need=each.need, team=each.team)
        for each in ledger.holdings["r"].values()
    ]
    ledger.hello("r", held)
    again = decided(ledger)
    assert told(again) == {"feed": 2}
    leave(ledger, again)
    assert by_group(decide(ledger)) == {"mine": 2}


def test_who_has_not_had_the_turn_to_ask_has_it_in_the_next_pass() -> None:
    names = [f"t{number}" for number in range(4)]
    given = [quota(name, guaranteed={"cpu": 1000, "gpu": 1}) for name in names]
    ledger = ledger_with(host(gpus=4), given=given)
    demand(ledger, "borrowed", 4, team="feed", need=GPU)
    decide(ledger)
    for name in names:
        demand(ledger, name, 1, team=name, need=GPU)
    assert len(ledger.decide(searches=1).notices) == 1
    assert ledger.unfinished
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 3}
    assert {notice.beneficiary.group_id for notice in outcome.notices} <= set(names)
    ledger.withdraw("r", names[0])
    assert decide(ledger) == []


# --- quotas -------------------------------------------------------------------------------------------------------------


def test_quotas_apply_to_what_waits_and_runs_without_a_restart() -> None:
    ledger = ledger_with(host(gpus=4))
    demand(ledger, "borrowed", 9, team="feed", need=GPU)
    decide(ledger)
    demand(ledger, "g", 9, need=GPU)
    assert decide(ledger) == []
    ledger.apply(
        quotas(
            quota("org", guaranteed={"cpu": 1000, "gpu": 4}), quota("ads", "org", guaranteed={"cpu": 1000, "gpu": 3})
        )
    )
    outcome = decided(ledger)
    assert told(outcome) == {"feed": 4}, "ads has room in what org is promised"
    leave(ledger, outcome)
    assert by_group(decided(ledger).granted)["g"] >= 3
    ledger.apply(quotas(version=2))
    assert by_group(decided(ledger).granted) == {}


def test_a_cut_below_what_runs_stops_nothing_and_starts_nothing() -> None:
    ledger = ledger_with(host(gpus=4), given=[quota("ads", burst={"gpu": 4})])
    demand(ledger, "g", 6, need=GPU)
    assert by_group(decide(ledger)) == {"g": 4}
    ledger.apply(quotas(quota("ads", burst={"gpu": 1})))
    assert decide(ledger) == []
    release_all(ledger, "g")
    assert by_group(decide(ledger)) == {"g": 1}


def test_weights_share_what_is_borrowed() -> None:
    ledger = ledger_with(host(cpu=9), given=[quota("ads", weight=2), quota("feed")])
    for team in ("ads", "feed"):
        demand(ledger, team, 1000, team=team, need=need(0.1))
    assert by_group(decide(ledger)) == {"ads": 60, "feed": 30}


def test_teams_without_a_quota_are_forgotten_with_their_past() -> None:
    ledger = ledger_with(host(cpu=4))
    for number in range(50):
        demand(ledger, f"g{number}", 1, team=f"t{number}", need=need(0.05))
    decide(ledger)
    assert len(ledger.cluster.teams) == 50
    ledger.pass_time(3600)
    for number in range(50):
        release_all(ledger, f"g{number}")
    ledger.pass_time(3610)
    assert len(ledger.cluster.teams) == 50, "each has had more than a thousandth of the cluster"
    ledger.pass_time(360_000)
    assert len(ledger.cluster.teams) == 0
    demand(ledger, "g1", 1)
    assert by_group(decide(ledger)) == {"g1": 1}


def test_who_has_had_much_comes_later_for_a_while() -> None:
    def first_after(seconds: int) -> set[str]:
        ledger = ledger_with(host(cpu=1))
        demand(ledger, "had", 10, team="ads", need=need(0.1), submit_time_us=1)
        decide(ledger)
        ledger.pass_time(7200)
        release_all(ledger, "had")
        ledger.pass_time(7200 + seconds)
        demand(ledger, "again", 9, team="ads", need=need(0.1), submit_time_us=1)
        demand(ledger, "new", 9, team="feed", need=need(0.1), submit_time_us=2)
        granted = by_group(decide(ledger))
        return {name for name, count in granted.items() if count > 5}

    assert first_after(1) == {"new"}
    assert first_after(36_000) == set()


# --- what the world does ------------------------------------------------------------------------------------------------


def test_typed_and_untyped_gpus_are_both_counted() -> None:
    ledger = ledger_with(
        host("a", gpus=2, gpu_type="a100"),
        host("h", gpus=2, gpu_type="h100"),
        given=[quota("ads", burst={"gpu": 3, "gpu:h100": 1})],
    )
    demand(ledger, "typed", 2, need=need(0.001, 0, 1, "h100"))
    assert by_host(decide(ledger)) == {"h": 1}
    demand(ledger, "any", 4, need=GPU)
    assert by_group(decide(ledger)) == {"any": 2}


def test_a_type_that_appears_later_is_counted_from_then_on() -> None:
    ledger = ledger_with(host("a", gpus=2, gpu_type="a100"))
    demand(ledger, "runs", 2, need=need(0.001, 0, 1, "a100"))
    decide(ledger)
    demand(ledger, "g", 2, need=need(0.001, 0, 1, "b200"))
    assert decide(ledger) == []
    ledger.offer(host("b", gpus=4, gpu_type="b200"))
    assert by_host(decide(ledger)) == {"b": 2}
    release_all(ledger, "runs")
    assert ledger.nodes_granted == 2


def test_types_that_nobody_has_wait_and_harm_nobody() -> None:
    """Nothing is counted because somebody asks for it: each new type would make the engine slower, for everybody."""
    ledger = ledger_with(host(gpus=1, gpu_type="a100"))
    for number in range(2 * MAX_GPU_TYPES):
        demand(ledger, f"g{number}", 1, need=need(0.001, 0, 1, f"type-{number}"))
    assert decide(ledger) == []
    assert ledger.resources.names[3:] == ["gpu:", "gpu:a100"]
    demand(ledger, "known", 1, need=need(0.001, 0, 1, "a100"))
    assert by_group(decide(ledger)) == {"known": 1}


def test_a_host_that_shrinks_under_what_runs_takes_nothing_until_that_fits() -> None:
    ledger = ledger_with(host(cpu=4))
    demand(ledger, "g", 4)
    decide(ledger)
    ledger.offer(host(cpu=2))
    demand(ledger, "h", 4)
    assert decide(ledger) == []
    grants = list(ledger.holdings["r"].values())
    for holding in grants[:3]:
        ledger.release("r", holding.grant_id, 1)
    assert by_group(decide(ledger)) == {"h": 1}


def test_a_host_that_vanishes_while_room_is_made_on_it_is_not_waited_for() -> None:
    ledger = borrowed()
    demand(ledger, "g", 1, need=GPU)
    outcome = decided(ledger)
    ledger.withdraw_host("local")
    assert decide(ledger) == []
    ledger.offer(host("other", gpus=1))
    assert by_host(decide(ledger)) == {"other": 1}
    leave(ledger, outcome)
    assert decide(ledger) == []


def test_a_clock_that_jumps_loses_nothing() -> None:
    ledger = borrowed()
    ledger.pass_time(10)
    ledger.pass_time(-(10**9))
    assert ledger.cluster.now == 10
    demand(ledger, "g", 2, need=GPU)
    outcome = decided(ledger)
    ledger.pass_time(10**9)
    leave(ledger, outcome)
    assert by_group(decide(ledger)) == {"g": 2}


def test_guarantees_above_the_cluster_are_scaled_and_stand_again_when_it_has_grown() -> None:
    ledger = ledger_with(
        host("a", gpus=2),
        given=[quota("ads", guaranteed={"cpu": 1000, "gpu": 4}), quota("feed", guaranteed={"cpu": 1000, "gpu": 4})],
    )
    decide(ledger)
    assert [ledger.cluster.teams[name].guaranteed[2] for name in ("ads", "feed")] == [1, 1]
    ledger.offer(host("b", gpus=14))
    decide(ledger)
    assert [ledger.cluster.teams[name].guaranteed[2] for name in ("ads", "feed")] == [4, 4]


def test_a_flood_by_one_team_delays_others_by_no_more_than_the_room_that_is_taken() -> None:
    """Of what becomes free, others get their share at once, and a pass costs the same however many wait."""
    ledger = ledger_with(host(cpu=4))
    for number in range(20_000):
        demand(ledger, f"flood{number}", 5, need=need(0.1), submit_time_us=number)
    assert ledger.nodes_waiting == 100_000
    decide(ledger)
    demand(ledger, "late", 3, team="feed", need=need(0.1), submit_time_us=10**9)
    holdings = list(ledger.holdings["r"].values())[:3]
    for holding in holdings:
        ledger.release("r", holding.grant_id, 1)
    assert by_group(decide(ledger)) == {"late": 3}


@pytest.mark.parametrize("grace", [0, 5])
def test_notices_say_how_long_they_are(grace: int) -> None:
    ledger = ledger_with(
        host(gpus=1), knobs=replace(RUNNING, grace_s=grace), given=[quota("ads", guaranteed={"cpu": 1000, "gpu": 1})]
    )
    demand(ledger, "borrowed", 1, team="feed", need=GPU)
    decide(ledger)
    demand(ledger, "g", 1, need=GPU)
    [notice] = decided(ledger).notices
    assert notice.grace_s == grace


def test_memory_bounds_what_stands_together() -> None:
    ledger = ledger_with(host(cpu=4, memory=64 * GIB))
    demand(ledger, "g", 8, need=need(0.1, GIB))
    assert [holding.count for holding in decide(ledger)] == [4, 4]
