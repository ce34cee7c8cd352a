"""Shares, guarantees and the order of C3 and C4, word for word."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from unit.scheduler.contract.cluster import Amounts, Cluster, Job, Number, plain

#: A parent's own work stands in the tree as a child of it with weight 1 and no guarantee. Its name begins so.
OWN = "own work of "


def share(cluster: Cluster, team: str, used: Amounts, basis: str) -> tuple[Fraction, str | None]:
    """The weighted dominant share of a holding, and the resource that makes it (the first by name of equals)."""
    own = team.startswith(OWN)
    weight = 1 if own else cluster.teams[team].weight
    best, name = Fraction(0), None
    for resource in cluster.resources():
        given = 0 if own or basis == "total" else cluster.guarantee(team, resource)
        value = Fraction(max(0, used.get(resource, 0) - given)) / cluster.pool(resource) / weight
        if value > best:
            best, name = value, resource
    return best, name


def remembered(cluster: Cluster, used: Mapping[str, Amounts]) -> dict[str, Amounts]:
    """Usage with the decayed past on top, for those above their guarantee to be compared by."""
    if cluster.knobs["half_life_s"] is None:
        return dict(used)
    total = {team: dict(held) for team, held in used.items()}
    for team in cluster.teams.values():
        for above in cluster.path(team.id):
            for resource, amount in team.past.items():
                total[above][resource] = total[above].get(resource, 0) + amount
    return total


def own_usage(cluster: Cluster, jobs: list[Job], team: str) -> Amounts:
    used: Amounts = {}
    for job in jobs:
        if job.team == team:
            for resource in job.req:
                used[resource] = used.get(resource, 0) + job.total(resource)
    return used


def stays_within(cluster: Cluster, team: str, used: Amounts, job: Job) -> bool:
    """Whether a branch is within its guarantee on every requested resource once the request is admitted."""
    return all(used.get(name, 0) + job.total(name) <= cluster.guarantee(team, name) for name in job.requested)


def inside_a_team(cluster: Cluster, job: Job) -> tuple[Number, Number, Number, str]:
    """C3: the least goes first."""
    rank = job.rank if cluster.knobs["rank"] == "on" else 0
    return -job.priority, -rank, job.submit, job.id


def between_teams(cluster: Cluster, job: Job) -> tuple[Any, ...]:
    """C4: the least goes first. Levels that a path does not have count as within and without a share."""
    jobs = list(cluster.running.values())
    used = cluster.usage(jobs)
    levels: list[tuple[bool, Fraction]] = []
    weighed = remembered(cluster, used)
    for team in cluster.path(job.team):
        after = {name: weighed[team].get(name, 0) + job.total(name) for name in {*weighed[team], *job.req}}
        value, _ = share(cluster, team, after, cluster.knobs["share_basis"])
        levels.append((not stays_within(cluster, team, used[team], job), value))
    if cluster.children(job.team):
        held = own_usage(cluster, jobs, job.team)
        after = {name: held.get(name, 0) + job.total(name) for name in {*held, *job.req}}
        levels.append((bool(job.requested), share(cluster, OWN + job.team, after, cluster.knobs["share_basis"])[0]))
    depth = max(len(cluster.path(team)) for team in cluster.teams) + 1
    levels += [(False, Fraction(0))] * (depth - len(levels))
    return (*levels, -job.priority, job.submit, job.team, job.id)


def shares_after(cluster: Cluster) -> dict[str, dict[str, Any]]:
    used = cluster.usage(cluster.running.values())
    shown = {}
    for team in sorted(cluster.teams):
        value, resource = share(cluster, team, used[team], cluster.knobs["share_basis"])
        shown[team] = {"dominant": plain(value), "resource": resource}
    return shown
