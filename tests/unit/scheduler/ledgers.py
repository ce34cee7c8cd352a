"""Ledgers to begin tests with, and what every ledger must keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from mwfs_scheduler.fair_share.model import Knobs, times
from mwfs_scheduler.ledger import Ledger, Outcome
from mwfs_scheduler.model import Holding, Inventory, Need, NewGroup
from mwfs_scheduler.quotas import Quotas, TeamQuota
from mwfs_scheduler.settings import RUNNING

GIB = 1 << 30


def need(cpu: float = 1, memory: int = 0, gpus: int = 0, gpu_type: str = "") -> Need:
    return Need(max(1, round(cpu * 1000)), memory, gpus, gpu_type)


def host(name: str = "local", cpu: float = 4, memory: int = 64 * GIB, gpus: int = 0, gpu_type: str = "") -> Inventory:
    capacity = Need(round(cpu * 1000), memory, gpus, gpu_type if gpus else "")
    return Inventory(host=name, address="127.0.0.1:1", capacity=capacity)


def quota(
    team: str,
    parent: str | None = None,
    weight: int = 1,
    guaranteed: Mapping[str, int] | None = None,
    burst: Mapping[str, int] | None = None,
) -> TeamQuota:
    return TeamQuota(team=team, parent=parent, weight=Fraction(weight), guaranteed=guaranteed, burst=burst)


def quotas(*teams: TeamQuota, version: int = 1) -> Quotas:
    return Quotas(version=version, teams=teams)


def ledger_with(
    *hosts: Inventory, replicas: tuple[str, ...] = ("r",), knobs: Knobs = RUNNING, given: Iterable[TeamQuota] = ()
) -> Ledger:
    ledger = Ledger(7, knobs, quotas(*given))
    for replica in replicas:
        ledger.hello(replica, [])
    for one in hosts:
        ledger.offer(one)
    return ledger


def demand(ledger: Ledger, group: str, add: int, *, replica: str = "r", **about: object) -> None:
    if not ledger.knows(replica, group):
        described: dict[str, object] = {"team": "ads", "run_id": "run", "need": need()} | about
        ledger.describe(replica, NewGroup(group_id=group, **described))  # type: ignore[arg-type]
    ledger.demand(replica, group, add)


def decide(ledger: Ledger) -> list[Holding]:
    """One pass that must not ask anybody to leave."""
    outcome = decided(ledger)
    assert outcome.notices == []
    return outcome.granted


def decided(ledger: Ledger) -> Outcome:
    """One pass, and those that follow at once."""
    outcome = ledger.decide()
    check_books(ledger)
    while ledger.unfinished:
        more = ledger.decide(reclaim=False)
        check_books(ledger)
        outcome.granted += more.granted
        outcome.notices += more.notices
    return outcome


def by_group(granted: Iterable[Holding]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for holding in granted:
        counts[holding.group_id] = counts.get(holding.group_id, 0) + holding.count
    return counts


def by_host(granted: Iterable[Holding]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for holding in granted:
        counts[holding.host] = counts.get(holding.host, 0) + holding.count
    return counts


def release_all(ledger: Ledger, group: str, replica: str = "r") -> None:
    for holding in list(ledger.holdings[replica].values()):
        if holding.group_id == group:
            ledger.release(replica, holding.grant_id, holding.count)


def check_books(ledger: Ledger) -> None:
    """The counters are what the grants and groups add up to, and the decision engine has counted the same."""
    cluster = ledger.cluster
    every = [holding for of_replica in ledger.holdings.values() for holding in of_replica.values()]
    assert ledger.nodes_granted == sum(holding.count for holding in every)
    assert {id(holding.grant) for holding in every} == {id(grant) for grant in cluster.grants.values()}
    for known in ledger.hosts.values():
        has = ledger.resources.capacity(known.inventory.capacity) if known.inventory else [0] * len(cluster.resources)
        assert known.host.capacity == has or known.inventory is None
        used = [0] * len(has)
        for holding in every:
            if holding.host == known.host.id:
                for resource, amount in ledger.resources.shape(holding.need).needs:
                    used[resource] += amount * holding.count
        kept = [0] * len(has)
        for intent in cluster.intents.values():
            for resource, amount in intent.kept.get(known.host, ()):
                kept[resource] += amount
        free = [all_ - taken - held for all_, taken, held in zip(known.host.capacity, used, kept, strict=True)]
        assert known.host.free == free
    for team in cluster.teams.values():
        usage = [0] * len(cluster.resources)
        settled = [0] * len(cluster.resources)
        for holding in every:
            if team in holding.grant.request.team.path:
                for resource, amount in holding.grant.total:
                    usage[resource] += amount
                    settled[resource] += amount if holding.grant.leaves_at is None else 0
        for intent in cluster.intents.values():
            if team in intent.request.team.path:
                for resource, amount in intent.request.total:
                    settled[resource] += amount
        assert team.usage == usage
        assert team.settled == settled
    groups = [group for of_replica in ledger.groups.values() for group in of_replica.values()]
    assert ledger.nodes_waiting == sum(group.waiting for group in groups)
    making = [intent.request for intent in cluster.intents.values()]
    for group in groups:
        parts = sum(each.part for each in making if each.whole is group.request)
        assert group.waiting == group.request.copies + parts
        assert (group.request.id in cluster.waiting.requests) == (group.request.copies > 0)
    for holding in every:
        small = times(holding.grant.request.total, holding.count)
        assert (
            holding.count == 1
            or holding.group_id == ""
            or all(amount <= most for (_, amount), most in zip(small, _most(ledger, small), strict=True))
        )


def _most(ledger: Ledger, amounts: Iterable[tuple[int, int]]) -> list[int]:
    together = ledger.resources.together()
    return [together[resource] for resource, _ in amounts]
