"""Whether somebody of the same shape was passed over: C3 inside a team, C4 between teams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from unit.scheduler.contract import reasons
from unit.scheduler.contract.cluster import Cluster, Job
from unit.scheduler.contract.shares import OWN, inside_a_team, share, stays_within
from unit.scheduler.contract.victims import below_common_ancestor


def out_of_order(cluster: Cluster, decision: Mapping[str, Any]) -> list[str]:
    """Starts of a round in which nobody is evicted and no room is held, compared with those who wait after it."""
    knobs = cluster.knobs
    if decision["preempted"] or knobs["grace_s"] or knobs["backfill"] != "none" or knobs["aging_bound_s"] is not None:
        return []
    running = dict(cluster.running)
    waiting = {one["id"] for one in decision["waiting"]}
    order = [one["id"] for one in decision["admitted"]]
    shapes = {name: shape(cluster.pending[name]) for name in sorted(waiting)}
    after = final(cluster, decision)
    found = []
    for number, one in enumerate(decision["admitted"]):
        job = cluster.pending[one["id"]]
        state, before, wanted = replace(cluster, running=running), set(order[:number]), shape(job)
        for name, other_shape in shapes.items():
            other = cluster.pending[name]
            if other_shape == wanted and not other.paused:
                found += passed_over(state, job, other, before, after)
        running = running | {job.id: replace(job, on=tuple(one["on"]))}
    return found


def shape(job: Job) -> tuple[object, ...]:
    labels = sorted((key, str(value)) for key, value in job.labels.items())
    return tuple(sorted(job.req.items())), job.members, tuple(labels)


def final(cluster: Cluster, decision: Mapping[str, Any]) -> list[Job]:
    started = [replace(cluster.pending[one["id"]], on=tuple(one["on"])) for one in decision["admitted"]]
    return [*cluster.running.values(), *started]


def passed_over(cluster: Cluster, job: Job, other: Job, before: set[str], after: list[Job]) -> list[str]:
    """Whether `other`, which waits in the end, should have started in place of `job`."""
    if other.team == job.team:
        first = inside_a_team(cluster, other) < inside_a_team(cluster, job)
        return [f"C3: {job.id} started before {other.id} of its team and shape"] if first else []
    if cluster.burst_in_the_way(other, after) is not None or cluster.knobs["half_life_s"] is not None:
        return []
    if not is_head(cluster, other, before):
        return []
    mine, theirs = below_common_ancestor(cluster, job.team, other.team)
    if mine[0].startswith(OWN) or theirs[0].startswith(OWN):
        return []
    if level(cluster, theirs[0], other) < level(cluster, mine[0], job):
        return [f"C4: {job.id} of {mine[0]} started before {other.id} of {theirs[0]} and the same shape"]
    return []


def is_head(cluster: Cluster, job: Job, before: set[str]) -> bool:
    """Whether all ahead of it in its team have started, can never start, or have its shape."""
    mine, wanted = inside_a_team(cluster, job), shape(job)
    of_team = (one for one in cluster.pending.values() if one.team == job.team and one.id not in before)
    others = (one for one in of_team if inside_a_team(cluster, one) < mine and shape(one) != wanted)
    return all(reasons.permanent(cluster, one) is not None for one in others)


def level(cluster: Cluster, team: str, job: Job) -> tuple[bool, Fraction]:
    used = cluster.usage(cluster.running.values())[team]
    after = {name: used.get(name, 0) + job.total(name) for name in {*used, *job.req}}
    return not stays_within(cluster, team, used, job), share(cluster, team, after, cluster.knobs["share_basis"])[0]
