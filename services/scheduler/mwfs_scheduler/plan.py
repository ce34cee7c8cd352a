"""`mwfs scheduler plan`: the decisions of the engine on a snapshot, as JSON, without any service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mwfs_scheduler.fair_share.booking import Decision
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Reason, Request
from mwfs_scheduler.fair_share.reasons import Reasons, Why
from mwfs_scheduler.snapshots import Reader, Units, number


def plan(snapshot: Any, rounds: int = 1) -> list[dict[str, Any]]:
    """The decisions of `rounds` rounds. The state carries over, and `round_s` passes before each but the first.

    Raises BadSnapshot.
    """
    reader = Reader(snapshot)
    cluster = reader.cluster()
    decisions = []
    for at in range(rounds):
        if at and reader.round_s:
            cluster.pass_time(reader.round_s)
            cluster.end_what_is_due()
        decisions.append(_shown(cluster, decide(cluster), reader.units))
    return decisions


def _shown(cluster: Cluster, decision: Decision, units: Units) -> dict[str, Any]:
    reasons = Reasons(cluster, decision)
    shown: dict[str, Any] = {
        "admitted": [{"id": grant.id, "on": [host.id for host in grant.hosts]} for grant in decision.started],
        "preempted": [{"id": grant.id, "for": request.id} for grant, request in decision.leaving],
        "waiting": [
            _waiting(request, reasons.of(request), units)
            for request in _in_order(cluster)
            if request.id not in decision.resting
        ],
        "shares": {id: _share(cluster, id, units) for id in sorted(cluster.teams)},
    }
    if cluster.scaled:
        names = ", ".join(units.resources[resource] for resource in cluster.scaled)
        shown["warnings"] = [f"Guarantees of {names} exceed the cluster; they were scaled down in proportion."]
    return shown


def _in_order(cluster: Cluster) -> Iterable[Request]:
    intended = (intent.request for intent in cluster.intents.values())
    waiting = [*cluster.waiting.requests.values(), *cluster.paused.values(), *intended]
    return sorted(waiting, key=lambda request: request.place)


def _waiting(request: Request, why: Why, units: Units) -> dict[str, Any]:
    detail: dict[str, Any] = {}
    if why.team is not None:
        detail["team"] = why.team
    if why.resource is not None:
        detail["resource"] = units.resources[why.resource]
        # Of a burst limit that is in use the contract names the limit and the use; what is requested stands in the file.
        shown = ("burst", "in_use") if why.reason is Reason.BURST_IN_USE else why.amounts
        detail |= {name: units.back(why.resource, why.amounts[name]) for name in shown}
    if why.reason is Reason.RESERVED_FOR:
        detail["owner"] = why.who[0]
    elif why.who:
        detail[_WHO[why.reason]] = list(why.who)
    if why.until is not None:
        detail["until"] = number(why.until)
    return {"id": request.id, "reason": why.reason.value, "detail": detail | dict(why.facts)}


_WHO = {Reason.WAITING_FOR_PREEMPTED: "victims", Reason.OVER_QUOTA_BEHIND: "ahead"}


def _share(cluster: Cluster, id: str, units: Units) -> dict[str, Any]:
    total = cluster.knobs.share_basis == "total"
    share, resource = cluster.teams[id].dominant(cluster.hosts.pools, total=total)
    return {"dominant": number(share), "resource": None if resource is None else units.resources[resource]}
