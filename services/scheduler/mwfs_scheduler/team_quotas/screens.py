"""Teams, quotas and their changes as tables, sentences and JSON documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mwfs.cli import words
from mwfs.cli.screen import Screen
from mwfs_api.scheduler.v1 import quotas_pb2 as pb
from mwfs_scheduler.quotas import shown_weight
from mwfs_scheduler.team_quotas.amounts import document, listed, shown
from mwfs_scheduler.team_quotas.wire import quota_from


def show_quotas(screen: Screen, found: pb.ListTeamsResponse) -> None:
    """The tree with what is promised; those without a quota are not in it."""
    rows = [
        (
            "  " * depth + team.team,
            shown_weight(quota_from(team.quota).weight),
            _amounts(team.quota, "guaranteed"),
            _counted(team),
            _amounts(team.quota, "burst"),
            listed(team.in_use.amounts, empty="-"),
        )
        for depth, team in _in_order(team for team in found.teams if team.HasField("quota"))
    ]
    screen.table(["TEAM", "WEIGHT", "GUARANTEED", "COUNTS NOW", "BURST", "IN USE"], rows, right=["WEIGHT"])
    screen.print(f"Version {found.version}. The cluster has {listed(found.capacity.amounts, empty='no host')}.")
    for note in found.notes:
        screen.note(note)


def show_teams(screen: Screen, found: pb.ListTeamsResponse) -> None:
    """All teams with what they use."""
    rows = [
        (
            "  " * depth + team.team,
            listed(team.in_use.amounts, empty="-"),
            listed(team.counted_guarantee.amounts, empty="-"),
            f"{team.waiting:,}",
            "" if team.HasField("quota") else "no quota",
        )
        for depth, team in _in_order(found.teams)
    ]
    screen.table(["TEAM", "IN USE", "GUARANTEED", "WAITING", ""], rows, right=["WAITING"])


def show_team(screen: Screen, team: pb.Team, found: pb.ListTeamsResponse) -> None:
    """Everything about one team, a line for each resource."""
    quota = team.quota
    facts = [
        f"Team {team.team}",
        f"below {quota.parent}" if quota.parent else "",
        f"weight {shown_weight(quota_from(quota).weight)}" if team.HasField("quota") else "no quota of its own",
        f"{words.counted(team.waiting, 'node')} waiting",
    ]
    screen.print(", ".join(fact for fact in facts if fact) + ".")
    guaranteed, burst = quota.guaranteed.amounts, quota.burst.amounts
    counted, in_use = team.counted_guarantee.amounts, team.in_use.amounts
    resources = sorted({*guaranteed, *burst, *counted, *in_use})
    rows = [
        (
            name,
            shown(name, in_use.get(name, 0)),
            shown(name, guaranteed.get(name, 0)) if quota.HasField("guaranteed") else "not governed",
            shown(name, counted.get(name, 0)),
            shown(name, burst[name]) if name in burst else "no limit",
            shown(name, found.capacity.amounts.get(name, 0)),
        )
        for name in resources
    ]
    if rows:
        headings = ["RESOURCE", "IN USE", "GUARANTEED", "COUNTS NOW", "BURST", "CLUSTER"]
        screen.table(headings, rows, right=headings[1:])
    for note in found.notes:
        screen.note(note)


def figures(response: pb.WatchTeamsResponse, team: pb.TeamChanged) -> str:
    """One event of a team in a line."""
    amounts = (
        ("uses", team.usage),
        ("is promised", team.guaranteed),
        ("borrows", team.borrowed),
        ("lends", team.lent),
    )
    parts = [f"{what} {listed(each.amounts)}" for what, each in amounts if each.amounts]
    parts += [f"{words.counted(team.waiting_nodes, 'node')} waiting"] if team.waiting_nodes else []
    if team.preempted_nodes:
        lost = [f"{name} {shown(name, amount)} s" for name, amount in _lost(team).items() if amount]
        parts.append(f"{team.preempted_nodes:,} preempted, lost {', '.join(lost) or 'nothing'}")
    time = words.iso_time(response.time_us) or ""
    return f"{time[11:19]}  {team.team}  {'; '.join(parts) or 'nothing'}"


def _lost(team: pb.TeamChanged) -> dict[str, int]:
    """By resource and in its unit, times seconds."""
    return {name: round(amount) for name, amount in sorted(team.lost_resource_seconds.items())}


def show_changes(screen: Screen, changes: Iterable[pb.QuotaChange]) -> None:
    for change in changes:
        screen.print(f"{change.team}: {difference(change)}")


def difference(change: pb.QuotaChange) -> str:
    """What is different, in words."""
    if not change.HasField("new"):
        return f"removed (had {_quota(change.old)})"
    if not change.HasField("old"):
        return f"new: {_quota(change.new)}"
    old, new, parts = change.old, change.new, []
    if old.parent != new.parent:
        parts.append(f"parent {old.parent or 'none'} → {new.parent or 'none'}")
    if old.weight != new.weight:
        parts.append(f"weight {_weight(old)} → {_weight(new)}")
    if old.HasField("guaranteed") != new.HasField("guaranteed"):
        parts.append(f"guaranteed {_amounts(old, 'guaranteed')} → {_amounts(new, 'guaranteed')}")
    else:
        parts += _differences("guaranteed", old.guaranteed, new.guaranteed, absent="none")
    parts += _differences("burst", old.burst, new.burst, absent="no limit")
    return "; ".join(parts) or "the same"


def _differences(what: str, old: pb.Amounts, new: pb.Amounts, *, absent: str) -> Iterator[str]:
    before, after = old.amounts, new.amounts
    for name in sorted({*before, *after}):
        was, now = (shown(name, each[name]) if name in each else absent for each in (before, after))
        if was != now:
            yield f"{what} {name} {was} → {now}"


def _quota(quota: pb.TeamQuota) -> str:
    parts = [f"below {quota.parent}"] if quota.parent else []
    parts += [
        f"weight {_weight(quota)}",
        f"guaranteed {_amounts(quota, 'guaranteed')}",
        f"burst {_amounts(quota, 'burst')}",
    ]
    return "; ".join(parts)


def _weight(quota: pb.TeamQuota) -> str:
    return shown_weight(quota_from(quota).weight)


def _amounts(quota: pb.TeamQuota, field: str) -> str:
    if field == "burst":
        return listed(quota.burst.amounts, empty="no limit")
    return listed(quota.guaranteed.amounts, empty="nothing") if quota.HasField("guaranteed") else "not governed"


def _counted(team: pb.Team) -> str:
    """Empty where it is as it is written."""
    counted = dict(team.counted_guarantee.amounts)
    written = dict(team.quota.guaranteed.amounts)
    if team.quota.HasField("guaranteed") and counted == written:
        return ""
    return listed(counted, empty="nothing")


def _in_order(teams: Iterable[pb.Team]) -> Iterator[tuple[int, pb.Team]]:
    """Each team below its parent, with its depth."""
    by_name = {team.team: team for team in teams}
    below: dict[str, list[pb.Team]] = {}
    for team in by_name.values():
        parent = team.quota.parent if team.quota.parent in by_name else ""
        below.setdefault(parent, []).append(team)
    stack = [(0, team) for team in reversed(below.get("", []))]
    while stack:
        depth, team = stack.pop()
        yield depth, team
        stack += [(depth + 1, each) for each in reversed(below.get(team.team, []))]


# --- documents --------------------------------------------------------------------------------------------------------


def teams_document(found: pb.ListTeamsResponse) -> dict[str, Any]:
    return {
        "version": found.version,
        "capacity": document(found.capacity.amounts),
        "teams": [team_document(team) for team in found.teams],
        "notes": list(found.notes),
    }


def team_document(team: pb.Team) -> dict[str, Any]:
    return {
        "team": team.team,
        **(quota_document(team.quota) or {}),
        "counted_guarantee": document(team.counted_guarantee.amounts),
        "in_use": document(team.in_use.amounts),
        "waiting": team.waiting,
    }


def figures_document(response: pb.WatchTeamsResponse, team: pb.TeamChanged) -> dict[str, Any]:
    return {
        "time": words.iso_time(response.time_us),
        "epoch": response.epoch,
        "team": team.team,
        "usage": document(team.usage.amounts),
        "guaranteed": document(team.guaranteed.amounts),
        "borrowed": document(team.borrowed.amounts),
        "lent": document(team.lent.amounts),
        "waiting_nodes": team.waiting_nodes,
        "preempted_nodes": team.preempted_nodes,
        "lost_resource_seconds": document(_lost(team)),
    }


def quota_document(quota: pb.TeamQuota | None) -> dict[str, Any] | None:
    if quota is None or not quota.team:
        return None
    return {
        "parent": quota.parent or None,
        "weight": int(quota.weight) if quota.weight == int(quota.weight) else quota.weight,
        "guaranteed": document(quota.guaranteed.amounts) if quota.HasField("guaranteed") else None,
        "burst": document(quota.burst.amounts) if quota.HasField("burst") else None,
    }


def changed_document(response: pb.ChangeQuotasResponse, *, applied: bool) -> dict[str, Any]:
    return {
        "version": response.version,
        "applied": applied,
        "changes": [change_document(change) for change in response.changes],
        "notes": list(response.notes),
    }


def change_document(change: pb.QuotaChange) -> dict[str, Any]:
    return {"team": change.team, "old": quota_document(change.old), "new": quota_document(change.new)}


def revision_document(revision: pb.QuotaRevision) -> Mapping[str, Any]:
    return {
        "version": revision.version,
        "time": words.iso_time(revision.change_time_us),
        "principal": revision.principal,
        "reason": revision.reason,
        "changes": [change_document(change) for change in revision.changes],
    }
