"""Nodes of which is known how long they will hold their room: who passes whom, and what happens when that was wrong."""

from __future__ import annotations

import pytest
from unit.scheduler.ledgers import by_group, check_books, decide, decided, demand, host, ledger_with, need

from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_chassis.errors import InvalidArgument
from mwfs_scheduler.durations import in_steps
from mwfs_scheduler.explain import explain_run
from mwfs_scheduler.fair_share.model import Reason
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Held
from mwfs_scheduler.wire import MAX_EXPECTED_S, expected_from, held_from, new_group_from


def blocked(held_s: int | None = 60) -> Ledger:
    """Two cores of four are in use, for so long; who waits first needs all four."""
    ledger = ledger_with(host(cpu=4))
    demand(ledger, "runs", 1, need=need(2), expected_s=held_s)
    assert by_group(decide(ledger)) == {"runs": 1}
    demand(ledger, "wide", 1, need=need(4), submit_time_us=1, expected_s=100)
    assert decide(ledger) == []
    return ledger


def reasons(ledger: Ledger) -> dict[str, Reason]:
    return {each.group.group_id: each.reason for each in explain_run(ledger, "run")}


def test_few_steps_and_none_below_what_is_expected() -> None:
    steps = [in_steps(seconds) for seconds in range(1, 5_000)]
    assert all(step is not None and at <= step <= 1.5 * at for at, step in enumerate(steps, 1))
    assert len(set(steps)) < 30
    assert in_steps(None) is None
    assert all(in_steps(step) == step for step in steps)


def test_who_ends_before_the_first_can_start_passes_it_and_who_does_not_waits() -> None:
    ledger = blocked()
    demand(ledger, "short", 1, need=need(1), submit_time_us=2, expected_s=30)
    demand(ledger, "long", 1, need=need(1), submit_time_us=3, expected_s=600)
    demand(ledger, "unknown", 1, need=need(1), submit_time_us=4)
    assert by_group(decide(ledger)) == {"short": 1}
    assert reasons(ledger)["long"] is reasons(ledger)["unknown"] is Reason.RESERVED_FOR
    # The short one has ended, and a second passes by itself: nobody else comes in between.
    ledger.pass_time(20)
    release(ledger, "short")
    assert decide(ledger) == []
    ledger.pass_time(60)
    release(ledger, "runs")
    assert by_group(decide(ledger)) == {"wide": 1}
    release(ledger, "wide")
    assert by_group(decide(ledger)) == {"long": 1, "unknown": 1}


def test_without_known_ends_the_smaller_ones_pass() -> None:
    ledger = blocked(None)
    demand(ledger, "long", 1, need=need(1), submit_time_us=3, expected_s=600)
    assert by_group(decide(ledger)) == {"long": 1}


def test_who_runs_for_longer_than_expected_ends_soon_and_holds_nobody_up_for_ever() -> None:
    ledger = blocked(8)
    (grant,) = ledger.cluster.grants.values()
    put_off = set()
    for now in range(1, 1_000):
        ledger.pass_time(now)
        check_books(ledger)
        assert grant.ends is not None
        assert grant.ends > now
        put_off.add(grant.ends)
    assert len(put_off) < 40, "seldom, as it grows with what it has taken"
    # By now it is expected to take minutes more: what ends before passes the wide one again.
    assert grant.ends - 1_000 > 20
    demand(ledger, "short", 1, need=need(1), submit_time_us=2, expected_s=4)
    assert by_group(decide(ledger)) == {"short": 1}
    release(ledger, "short")
    release(ledger, "runs")
    assert by_group(decide(ledger)) == {"wide": 1}


def test_a_successor_knows_the_ends_of_what_runs() -> None:
    ledger = ledger_with(host(cpu=4), replicas=())
    ledger.hello("r", [Held(grant_id="1", host="local", count=1, need=need(2), team="ads", age_s=40, expected_s=60)])
    demand(ledger, "wide", 1, need=need(4), submit_time_us=1)
    demand(ledger, "long", 1, need=need(1), submit_time_us=3, expected_s=21)
    demand(ledger, "short", 1, need=need(1), submit_time_us=2, expected_s=16)
    assert by_group(decide(ledger)) == {"short": 1}


def test_what_is_overdue_when_a_replica_says_hello_ends_soon() -> None:
    ledger = ledger_with(host(cpu=4), replicas=())
    ledger.hello("r", [Held(grant_id="1", host="local", count=1, need=need(2), team="ads", age_s=400, expected_s=60)])
    (grant,) = ledger.cluster.grants.values()
    assert grant.ends == 100


def test_ends_survive_when_everything_is_made_anew() -> None:
    ledger = blocked()
    ledger.offer(host("gpus", cpu=1, gpus=1, gpu_type="h100"))
    check_books(ledger)
    (grant,) = ledger.cluster.grants.values()
    assert grant.ends == 64, "in steps: 60 s is counted as 64"
    demand(ledger, "long", 3, need=need(1), submit_time_us=3, expected_s=600)
    assert by_group(decide(ledger)) == {"long": 1}, "beside the host that is kept"


def test_what_is_learned_later_counts_for_those_that_wait() -> None:
    ledger = blocked()
    demand(ledger, "learned", 2, need=need(1), submit_time_us=2)
    assert decide(ledger) == []
    ledger.expect("r", "learned", 600)
    check_books(ledger)
    assert decide(ledger) == []
    ledger.expect("r", "learned", 30)
    check_books(ledger)
    assert by_group(decide(ledger)) == {"learned": 2}
    ledger.expect("r", "learned", 5)
    check_books(ledger)
    demand(ledger, "learned", 1)
    assert decide(ledger) == [], "there is no room"


def test_what_is_bound_is_looked_at_again_when_its_time_has_come() -> None:
    ledger = blocked()
    demand(ledger, "long", 1, need=need(1), submit_time_us=3, expected_s=600)
    for now in range(1, 30):
        ledger.pass_time(now)
        assert decided(ledger).granted == []
        assert reasons(ledger)["long"] is Reason.RESERVED_FOR
    ledger.withdraw("r", "wide")
    assert by_group(decide(ledger)) == {"long": 1}


def test_the_owner_of_kept_room_is_withdrawn_while_others_are_at_rest() -> None:
    ledger = blocked()
    demand(ledger, "long", 1, need=need(1), submit_time_us=3, expected_s=600)
    assert decide(ledger) == []
    assert decide(ledger) == []
    ledger.withdraw("r", "wide")
    assert by_group(decide(ledger)) == {"long": 1}


def explained(ledger: Ledger, group: str) -> tuple[int | None, str, str]:
    (found,) = [each for each in explain_run(ledger, "run") if each.group.group_id == group]
    assert not found.at_the_latest
    return found.starts_in_s, found.estimate, found.message


def test_why_and_until_when_the_room_is_kept_is_said_with_its_ground() -> None:
    ledger = blocked()
    demand(ledger, "long", 1, need=need(1), submit_time_us=3, expected_s=600)
    ledger.pass_time(10)
    for _ in range(3):  # also of a pass in which nothing has happened
        decide(ledger)
        assert explained(ledger, "wide") == (
            54,
            "Room is kept for it on local: by how long such nodes took before, enough of what runs there will have ended.",
            "A node needs 4 cores; 1 host could run it and has 2 cores free; 1 of this group waits, 1 node holds places; ads has no quota.",
        )
        starts_in_s, estimate, message = explained(ledger, "long")
        assert (
            message
            == "The room that a node would fit into is kept for ads, which needs 4 cores and comes first (probably in 54 s)."
        )
        assert (starts_in_s, estimate) == (
            54,
            "Then those start for whom the room is kept; what they leave over is free.",
        )


def test_who_has_no_room_kept_is_told_when_there_will_be_some_and_that_others_may_take_it() -> None:
    ledger = blocked()
    demand(ledger, "full", 2, need=need(2), submit_time_us=0, expected_s=7)
    assert by_group(decide(ledger)) == {"full": 1}
    starts_in_s, estimate, _ = explained(ledger, "full")
    assert starts_in_s == 8
    assert estimate.startswith("Then there will be room on local: by how long such nodes took before")
    assert estimate.endswith("Who comes first may take it.")


def test_without_known_ends_there_is_no_estimate() -> None:
    assert explained(blocked(None), "wide")[:2] == (
        None,
        "No estimate: nobody knows when enough of what runs where it could run will end.",
    )


def test_absurd_durations_are_refused_and_none_is_unknown() -> None:
    assert expected_from(0, "g") is None
    assert expected_from(MAX_EXPECTED_S, "g") == MAX_EXPECTED_S
    demand_of = scheduler_pb2.Demand(group_id="g", team="t", run_id="r", add=1, expected_s=MAX_EXPECTED_S + 1)
    with pytest.raises(InvalidArgument, match="expected to take"):
        new_group_from(demand_of)
    held = scheduler_pb2.HeldGrant(grant_id="1", team="t", host="h", count=1, expected_s=2**32 - 1)
    with pytest.raises(InvalidArgument, match="expected to take"):
        held_from([held])
    held.expected_s = 50
    assert [each.expected_s for each in held_from([held])] == [50]


def release(ledger: Ledger, group: str) -> None:
    for holding in list(ledger.holdings["r"].values()):
        if holding.group_id == group:
            ledger.release("r", holding.grant_id, holding.count)
