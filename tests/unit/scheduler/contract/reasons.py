"""Why a request waits: what the reference answers, and the numbers that it gives."""

from __future__ import annotations

from typing import Any

from unit.scheduler.contract.cluster import Cluster, Job, plain

Reason = tuple[str, dict[str, Any]]


def permanent(cluster: Cluster, job: Job) -> Reason | None:
    """A reason that no finished work can take away."""
    if ("permanent", job.id) not in cluster.known:
        cluster.known["permanent", job.id] = find_permanent(cluster, job)
    return cluster.known["permanent", job.id]


def find_permanent(cluster: Cluster, job: Job) -> Reason | None:
    for team in reversed(cluster.path(job.team)):
        for resource in job.requested:
            limit = cluster.teams[team].burst.get(resource)
            if limit is not None and job.total(resource) > limit:
                detail = {"team": team, "resource": resource, "burst": limit, "requested": job.total(resource)}
                return "exceeds_burst", shown(detail)
    matching = cluster.matching(job)
    if not matching:
        return "no_such_type", {"labels": job.labels}
    for resource in job.requested:
        if all(node.capacity.get(resource, 0) <= 0 for node in matching):
            return "no_such_type", {"resource": resource}
    for resource in job.requested:
        largest = max(node.capacity.get(resource, 0) for node in matching)
        if largest < job.req[resource]:
            detail = {"resource": resource, "requested": job.req[resource], "largest": largest}
            return "no_node_large_enough", shown(detail)
    places = sum(cluster.places(job, cluster.free([])).values())
    if places < job.members:
        return "no_node_large_enough", {"members": job.members, "places": places}
    return None


def lacking(cluster: Cluster, job: Job) -> Reason | None:
    """What the request lacks beside what runs now; None when it would fit."""
    jobs = list(cluster.running.values())
    limit = cluster.burst_in_the_way(job, jobs)
    if limit is not None:
        team, resource, burst, in_use = limit
        return "burst_in_use", shown({"team": team, "resource": resource, "burst": burst, "in_use": in_use})
    free = cluster.free(jobs)
    places = sum(cluster.places(job, free).values())
    if places >= job.members:
        return None
    for resource in job.requested:
        there = sum(max(0, free[node.id].get(resource, 0)) for node in cluster.matching(job))
        if there < job.total(resource):
            detail = {"resource": resource, "requested": job.total(resource), "free": there}
            return "waiting_for_capacity", shown(detail)
    return "fragmented", {"members": job.members, "places": places}


def shown(detail: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else plain(value) for name, value in detail.items()}
