"""Whether the reason given for waiting is true, the first that applies, and its numbers right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unit.scheduler.contract.cluster import Cluster, Job, Number, exact

#: Reasons that say that the room is there but kept for somebody.
KEPT = {"reserved_for", "over_quota_behind"}
#: Under which names a detail may say who is ahead, or for whom the room is.
OWNERS = ("owner", "for", "by", "ahead", "behind", "request", "id")
#: What the detail of a reason names: all of one of these.
CARRIES: dict[str, list[set[str]]] = {
    "exceeds_burst": [{"team", "resource", "burst", "requested"}],
    "no_node_large_enough": [{"resource", "requested", "largest"}, {"members"}],
    "no_such_type": [{"resource"}, {"labels"}],
    "burst_in_use": [{"team", "resource", "burst", "in_use"}],
    "waiting_for_capacity": [{"resource", "requested", "free"}],
    "fragmented": [{"members"}],
    "waiting_for_preempted": [{"victims", "until"}],
}


def untruthful(
    cluster: Cluster,
    job: Job,
    given: Mapping[str, Any],
    promised: tuple[frozenset[str], Number] | None,
    waiting: set[str],
) -> list[str]:
    reason, detail = given["reason"], given.get("detail") or {}
    right = true_reasons(cluster, job, promised is not None)
    if right == KEPT:
        if not keeps_room(cluster):
            return [f"C5: {job.id} fits and waits with {reason}"]
        owners = [name for key in OWNERS if key in detail for name in as_list(detail[key])]
        if reason in KEPT and not (owners and set(owners) <= waiting - {job.id}):
            return [f"reason: {job.id} is {reason} and {detail} names nobody who waits"]
    if reason not in right:
        return [f"reason: {job.id} is {reason}, not {' or '.join(sorted(right))}"]
    carries = CARRIES.get(reason, [])
    if job.requested and carries and not any(names <= set(detail) for names in carries):
        return [f"reason: {job.id} is {reason} and {detail} does not say enough"]
    if reason == "waiting_for_preempted" and promised is not None:
        victims, until = promised
        if not set(as_list(detail.get("victims", []))) <= victims:
            return [f"reason: {job.id} waits for {detail.get('victims')}, not {sorted(victims)}"]
        if detail.get("until") is not None and exact(detail["until"]) != until:
            return [f"reason: {job.id} waits until {detail['until']}, not {until}"]
    return [f"reason: {job.id} is {reason}: {one}" for one in wrong_numbers(cluster, job, reason, detail)]


def as_list(value: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    return [item["id"] if isinstance(item, Mapping) and "id" in item else item for item in items]


def keeps_room(cluster: Cluster) -> bool:
    knobs = cluster.knobs
    return knobs["backfill"] != "none" or knobs["aging_bound_s"] is not None or bool(knobs["grace_s"])


def true_reasons(cluster: Cluster, job: Job, promised: bool) -> set[str]:
    """The reasons that may be given: one, or two where the text does not say which of them."""
    for team in cluster.path(job.team):
        limits = cluster.teams[team].burst
        if any(name in limits and job.total(name) > limits[name] for name in job.requested):
            return {"exceeds_burst"}
    matching = cluster.matching(job)
    if not matching:
        return {"no_such_type"}
    if any(all(node.capacity.get(name, 0) <= 0 for node in matching) for name in job.requested):
        return {"no_such_type", "no_node_large_enough"}
    empty = cluster.places(job, cluster.free([]))
    if not any(empty.values()):
        return {"no_node_large_enough"}
    if sum(empty.values()) < job.members:
        return {"no_node_large_enough", "waiting_for_capacity", "fragmented"}
    if promised:
        return {"waiting_for_preempted"}
    jobs = list(cluster.running.values())
    if cluster.burst_in_the_way(job, jobs) is not None:
        return {"burst_in_use"}
    free = cluster.free(jobs)
    if sum(cluster.places(job, free).values()) >= job.members:
        return {"paused"} if job.paused else KEPT
    enough = {
        where: all(sum(max(0, free[node].get(name, 0)) for node in nodes) >= job.total(name) for name in job.requested)
        for where, nodes in (("matching", [node.id for node in matching]), ("all", list(free)))
    }
    if enough["matching"]:
        return {"fragmented"}
    return {"waiting_for_capacity", "fragmented"} if enough["all"] else {"waiting_for_capacity"}


def wrong_numbers(cluster: Cluster, job: Job, reason: str, detail: Mapping[str, Any]) -> list[str]:
    """Numbers under the usual names that do not agree with the cluster."""
    resource, team = detail.get("resource"), detail.get("team")
    if not isinstance(resource, str):
        return []
    if resource not in job.requested:
        return [f"{resource} is not requested"]
    jobs = list(cluster.running.values())
    free = cluster.free(jobs)
    everywhere, matching = list(free), [node.id for node in cluster.matching(job)]
    right: dict[str, set[Any]] = {"requested": {job.total(resource), job.req[resource]}}
    right["free"] = {sum(max(0, free[one].get(resource, 0)) for one in where) for where in (everywhere, matching)}
    nodes = cluster.nodes
    right["largest"] = {
        max((of(one) for one in where), default=0)
        for where in (everywhere, matching)
        for of in (
            lambda one: nodes[one].capacity.get(resource, 0),
            lambda one: free[one].get(resource, 0),
        )
    }
    found = []
    if team is not None:
        if team not in cluster.path(job.team):
            return [f"{team} is not above {job.team}"]
        right["burst"] = {cluster.teams[team].burst.get(resource)}
        right["in_use"] = {cluster.usage(jobs)[team].get(resource, 0)}
        blocked = job.total(resource) + (max(right["in_use"]) if reason == "burst_in_use" else 0)
        limit = cluster.teams[team].burst.get(resource)
        if reason in ("exceeds_burst", "burst_in_use") and (limit is None or blocked <= limit):
            found.append(f"{team} has room for {resource}")
    for name, values in right.items():
        if name in detail and exact(detail[name]) not in values:
            found.append(f"{name} of {resource} is {sorted(values)}, not {detail[name]}")
    return found
