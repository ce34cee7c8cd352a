"""`mwfs scheduler plan`: the decisions of the engine on a snapshot, as JSON, without any service."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mwfs_scheduler.fair_share.booking import Decision
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Reason, Request
from mwfs_scheduler.fair_share.reasons import Reasons, Why
from mwfs_scheduler.snapshots import Reader, Units, number


def plan(snapshot: Any, rounds: int = 1) -> list[dict[str, Any]]:
    """The decisions of `rounds` rounds. Raises BadSnapshot."""
    return list(each_round(snapshot, rounds))


def each_round(snapshot: Any, rounds: int) -> Iterator[dict[str, Any]]:
    """One decision after the other. The state carries over, and `round_s` passes before each but the first. Raises BadSnapshot before the first."""
    reader = Reader(snapshot)
    cluster = reader.cluster()
    for at in range(rounds):
        if at and reader.round_s:
            cluster.pass_time(reader.round_s)
            cluster.end_what_is_due()
        yield _shown(cluster, decide(cluster), reader.units)


def as_json(decision: dict[str, Any]) -> str:
    """The decision with each row on a line of its own: a hundred thousand may wait."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    parts = []
    for key, rows in decision.items():
        if isinstance(rows, dict):
            lines, ends = [f"{encode(name)}: {encode(row)}" for name, row in rows.items()], "{}"
        else:
            lines, ends = [encode(row) for row in rows], "[]"
        inside = ",\n    ".join(lines)
        parts.append(f"  {encode(key)}: {ends[0]}\n    {inside}\n  {ends[1]}" if lines else f"  {encode(key)}: {ends}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _shown(cluster: Cluster, decision: Decision, units: Units) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "admitted": [{"id": grant.id, "on": [host.id for host in grant.hosts]} for grant in decision.started],
        "preempted": [{"id": grant.id, "for": request.id} for grant, request in decision.leaving],
        "waiting": _waiting(cluster, decision, units),
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


def _waiting(cluster: Cluster, decision: Decision, units: Units) -> list[dict[str, Any]]:
    """Of many that wait for the same reason, all rows share its words."""
    reasons = Reasons(cluster, decision)
    resting = decision.resting
    words: dict[int, tuple[Why, str, dict[str, Any]]] = {}
    rows = []
    for request in _in_order(cluster):
        if request.id in resting:
            continue
        why = reasons.of(request)
        known = words.get(id(why))
        if known is None:
            known = words[id(why)] = why, why.reason.value, _detail(why, units)
        rows.append({"id": request.id, "reason": known[1], "detail": known[2]})
    return rows


def _detail(why: Why, units: Units) -> dict[str, Any]:
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
    return detail | dict(why.facts)


_WHO = {Reason.WAITING_FOR_PREEMPTED: "victims", Reason.OVER_QUOTA_BEHIND: "ahead"}


def _share(cluster: Cluster, id: str, units: Units) -> dict[str, Any]:
    total = cluster.knobs.share_basis == "total"
    share, resource = cluster.teams[id].dominant(cluster.hosts.pools, total=total)
    return {"dominant": number(share), "resource": None if resource is None else units.resources[resource]}
