"""Why a group waits, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.scheduler.ledgers import GIB, by_group, decided, demand, host, ledger_with, need, quota, quotas

from mwfs_scheduler.explain import Explanation, explain_run
from mwfs_scheduler.fair_share.model import Knobs, Reason
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Inventory, Need
from mwfs_scheduler.resources import describe


def waiting(wanted: Need, *hosts: Inventory) -> Ledger:
    ledger = ledger_with(*hosts)
    demand(ledger, "g", 3, need=wanted)
    decided(ledger)
    return ledger


def explained(ledger: Ledger, group: str = "g") -> Explanation:
    return next(each for each in explain_run(ledger, "run") if each.group.group_id == group)


def reason(ledger: Ledger, group: str = "g") -> tuple[Reason, str, bool]:
    found = explained(ledger, group)
    return found.reason, found.message, found.permanent


def test_too_large_for_any_host() -> None:
    ledger = waiting(need(8, GIB), host("h0", 2, 4 * GIB), host("h1", 4, 4 * GIB))
    assert reason(ledger) == (
        Reason.NO_NODE_LARGE_ENOUGH,
        "A node needs 8 cores and 1 GiB on one host, and the largest of 2 hosts, h1, has 4 cores and 4 GiB.",
        True,
    )
    ledger.offer(host("h2", 8, 4 * GIB))
    assert by_group(decided(ledger).granted) == {"g": 1}


def test_no_gpu_of_that_type() -> None:
    ledger = waiting(need(0.001, 0, 1, "h100"), host("a", gpus=1, gpu_type="a100"))
    assert reason(ledger) == (
        Reason.NO_SUCH_TYPE,
        "A node needs 0.001 cores and 1 GPU of type h100, and the hosts have a100.",
        True,
    )
    ledger.offer(host("h", gpus=1, gpu_type="h100"))
    assert by_group(decided(ledger).granted) == {"g": 1}


def test_no_gpu_at_all() -> None:
    found = reason(waiting(need(1, 0, 1), host()))
    assert (found[0], found[2]) == (Reason.NO_SUCH_TYPE, True)


def test_more_than_the_burst_limit() -> None:
    ledger = ledger_with(host(gpus=8), given=[quota("org", burst={"gpu": 2}), quota("ads", "org")])
    demand(ledger, "g", 1, need=need(0.001, 0, 4))
    decided(ledger)
    assert reason(ledger) == (
        Reason.EXCEEDS_BURST,
        "A node needs 4 GPUs, more than the burst limit of org, 2 GPUs.",
        True,
    )
    ledger.apply(quotas(quota("org", burst={"gpu": 4}), quota("ads", "org")))
    assert by_group(decided(ledger).granted) == {"g": 1}


def test_the_burst_limit_is_in_use() -> None:
    ledger = ledger_with(host(gpus=8), given=[quota("ads", guaranteed={"cpu": 1000, "gpu": 1}, burst={"gpu": 2})])
    demand(ledger, "g", 3, need=need(0.001, 0, 1))
    decided(ledger)
    kind, message, permanent = reason(ledger)
    assert (kind, permanent) == (Reason.BURST_IN_USE, False)
    assert message.startswith(
        "A node needs 1 GPU; ads has 2 GPUs in use of its burst limit, 2 GPUs; 1 of this group waits"
    )


def test_all_places_taken() -> None:
    ledger = waiting(need(1), host(cpu=2))
    assert reason(ledger) == (
        Reason.WAITING_FOR_CAPACITY,
        "A node needs 1 core; 1 host could run it and has 0 cores free; 1 of this group waits, 2 nodes hold places; ads has no quota.",
        False,
    )


def test_who_of_the_same_team_is_ahead() -> None:
    ledger = waiting(need(1), host(cpu=2))
    demand(ledger, "last", 4, need=need(1), submit_time_us=9)
    decided(ledger)
    assert "1 node of ads comes first, 4 of this group wait" in reason(ledger, "last")[1]


def test_free_in_pieces() -> None:
    kind, message, permanent = reason(waiting(need(2), host("a", 3), host("b", 3)))
    assert (kind, permanent) == (Reason.FRAGMENTED, False)
    assert "2 cores free in all, but at most 1 core on one" in message


def test_others_are_told_to_leave() -> None:
    ledger = ledger_with(host(gpus=2), given=[quota("ads", guaranteed={"cpu": 1000, "gpu": 2})])
    demand(ledger, "borrowed", 2, team="feed", need=need(0.001, 0, 1))
    decided(ledger)
    demand(ledger, "g", 2, need=need(0.001, 0, 2))
    assert [notice.count for notice in decided(ledger).notices] == [1, 1]
    ledger.pass_time(12)
    found = explain_run(ledger, "run")
    assert [(each.reason, each.group.waiting) for each in found if each.group.group_id == "g"] == [
        (Reason.WAITING_FOR_CAPACITY, 2)
    ]
    ledger.withdraw("r", "g")
    demand(ledger, "one", 1, need=need(0.001, 0, 2))
    decided(ledger)
    kind, message, permanent = reason(ledger, "one")
    assert (kind, permanent) == (Reason.WAITING_FOR_PREEMPTED, False)
    assert (
        message == "Room is being made: 2 nodes of feed have been told to leave, and may run on for 18 s more at most."
    )


def test_room_is_kept_for_somebody_else() -> None:
    ledger = ledger_with(host(gpus=3), given=[quota("ads", guaranteed={"cpu": 1000, "gpu": 3})])
    demand(ledger, "borrowed", 2, team="feed", need=need(0.001, 0, 1))
    decided(ledger)
    demand(ledger, "g", 1, need=need(0.001, 0, 3))
    decided(ledger)
    demand(ledger, "late", 1, team="search", need=need(0.001, 0, 1))
    decided(ledger)
    kind, message, permanent = reason(ledger, "late")
    assert (kind, permanent) == (Reason.RESERVED_FOR, False)
    assert message == "The room that a node would fit into is kept for ads for 30 s more at most."


def test_a_group_without_a_decision_yet_is_behind_those_that_have_started() -> None:
    ledger = ledger_with(host(cpu=2), knobs=Knobs())
    demand(ledger, "g", 1)
    kind, message, permanent = reason(ledger)
    assert (kind, permanent) == (Reason.OVER_QUOTA_BEHIND, False)
    assert message.startswith("Others come first")


def test_no_host_connected() -> None:
    kind, message, permanent = reason(waiting(need(1)))
    assert (kind, permanent) == (Reason.WAITING_FOR_CAPACITY, False)
    assert message.endswith("no host is connected at present.")


def test_a_draining_host_is_not_a_permanent_reason() -> None:
    kind, _, permanent = reason(waiting(need(1), replace(host(cpu=2), draining=True)))
    assert (kind, permanent) == (Reason.WAITING_FOR_CAPACITY, False)


def test_a_scheduler_that_has_just_started_says_whom_it_waits_for() -> None:
    ledger = ledger_with(host(cpu=2))
    ledger.awaited = {"orchestrator-1"}
    demand(ledger, "g", 1)
    assert "orchestrator-1" in reason(ledger)[1]


def test_a_scheduler_that_may_grant_nothing_says_so_whatever_room_there_is() -> None:
    ledger = ledger_with(host(cpu=4))
    demand(ledger, "g", 1)
    (found,) = explain_run(ledger, "run", decides=False)
    assert found.reason is Reason.PAUSED
    assert not found.permanent
    assert found.message == (
        "The scheduler cannot reach the catalogue, where it must renew its lead, and grants nothing until it can; what runs goes on."
    )
    assert found.estimate == "No estimate: nobody knows when the catalogue will be back."


def test_an_unknown_run_has_no_reasons() -> None:
    assert explain_run(waiting(need(1), host(cpu=2)), "other") == []


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Need(1500, 3 * GIB // 2, 2, "h100"), "1.5 cores, 1.5 GiB and 2 GPUs of type h100"),
        (Need(0, 0, 1, ""), "1 GPU"),
        (Need(0, 1, 0, ""), "1 byte"),
        (Need(0, 0, 0, ""), "nothing"),
    ],
)
def test_needs_read_as_words(wanted: Need, words: str) -> None:
    assert describe(wanted) == words
