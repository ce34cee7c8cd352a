"""Who has waited for longer than the bound has room kept from all that borrow, wherever it stands in the order."""

from __future__ import annotations

from dataclasses import replace

from unit.scheduler.ledgers import by_group, check_books, decided, demand, host, ledger_with, need, quota

from mwfs_scheduler.fair_share.keeping.backfill import MOST_AGED
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.quotas import TeamQuota
from mwfs_scheduler.settings import RUNNING

AGEING = replace(RUNNING, backfill="none", half_life_s=None, aging_bound_s=60)
#: A request that wants the whole host has the largest share with it, so it comes after all smaller ones.
QUOTAS = [quota("wide"), quota("small"), quota("promised", guaranteed={"cpu": 1000, "memory": 0})]


def busy(quotas: list[TeamQuota] = QUOTAS) -> Ledger:
    """Small nodes come and go on one host with four cores, and one that needs all of it waits."""
    ledger = ledger_with(host(cpu=4), knobs=AGEING, given=quotas)
    demand(ledger, "first", 4, team="small", need=need(1))
    assert by_group(decided(ledger).granted) == {"first": 4}
    demand(ledger, "whole", 1, team="wide", need=need(4))
    ledger.pass_time(1)
    demand(ledger, "next", 100, team="small", need=need(1))
    return ledger


def end_one(ledger: Ledger) -> dict[str, int]:
    """One of those that run ends; who starts."""
    holding = next(iter(ledger.holdings["r"].values()))
    ledger.release("r", holding.grant_id, 1)
    check_books(ledger)
    return by_group(decided(ledger).granted)


def test_before_the_bound_smaller_ones_pass_and_after_it_they_do_not() -> None:
    ledger = busy()
    for now in range(1, 60):
        ledger.pass_time(now)
        assert end_one(ledger) == {"next": 1}
    ledger.pass_time(60)
    assert [end_one(ledger) for _ in range(4)] == [{}, {}, {}, {"whole": 1}]
    assert end_one(ledger) == {"next": 4}


def test_who_stays_within_its_guarantee_is_not_kept_waiting_by_it() -> None:
    ledger = busy()
    ledger.pass_time(60)
    assert end_one(ledger) == {}
    demand(ledger, "right", 1, team="promised", need=need(1))
    assert by_group(decided(ledger).granted) == {"right": 1}


def test_age_is_counted_from_when_a_group_began_to_wait() -> None:
    ledger = busy()
    ledger.withdraw("r", "whole")
    ledger.pass_time(50)
    demand(ledger, "whole", 1, team="wide", need=need(4), submit_time_us=-1)
    ledger.pass_time(109)
    # By now those that have waited for 109 s are the first for whom room is kept.
    assert end_one(ledger) == {"next": 1}
    ledger.withdraw("r", "next")
    demand(ledger, "late", 50, team="small", need=need(1))
    assert end_one(ledger) == {"late": 1}
    ledger.pass_time(110)
    assert end_one(ledger) == {}


def test_age_survives_when_everything_is_made_anew() -> None:
    ledger = busy()
    ledger.pass_time(40)
    ledger.offer(host("gpus", cpu=1, gpus=1, gpu_type="h100"))
    ledger.withdraw_host("gpus")
    decided(ledger)
    ledger.pass_time(60)
    assert end_one(ledger) == {}


def test_room_is_kept_for_a_few_at_a_time_and_who_has_waited_for_longest_comes_first() -> None:
    hosts = [host(f"h{at}", cpu=4) for at in range(MOST_AGED + 3)]
    ledger = ledger_with(*hosts, knobs=AGEING, given=QUOTAS)
    demand(ledger, "first", 4 * len(hosts), team="small", need=need(1))
    decided(ledger)
    for at in range(len(hosts)):
        ledger.pass_time(at + 1)
        demand(ledger, f"w{at}", 1, team="wide", need=need(4), submit_time_us=-at)
    demand(ledger, "next", 100, team="small", need=need(1))
    ledger.pass_time(200)
    end_one(ledger)
    kept = [ledger.group_of(each.request).group_id for each in ledger.last.reservations]
    assert kept == [f"w{at}" for at in range(MOST_AGED)]


def test_nothing_is_kept_for_who_would_not_fit_beside_those_that_have_waited_for_longer() -> None:
    ledger = busy()
    ledger.withdraw("r", "next")
    for at in range(3):
        ledger.pass_time(at + 2)
        demand(ledger, f"w{at}", 1, team="wide", need=need(4))
    demand(ledger, "next", 100, team="small", need=need(1))
    ledger.pass_time(200)
    assert end_one(ledger) == {}
    assert [ledger.group_of(each.request).group_id for each in ledger.last.reservations] == ["whole"]
