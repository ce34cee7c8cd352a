"""What is wrong with the victims of one request: C6 to C9, without an assumption about the order of the search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations

from unit.scheduler.contract.cluster import Cluster, Job
from unit.scheduler.contract.shares import OWN
from unit.scheduler.contract.victims import below_common_ancestor

#: Above this many the search for an order or for another set is left out.
FEW = 6


def unlawful(cluster: Cluster, job: Job, victims: Sequence[Job], started: set[str], *, minimal: bool) -> list[str]:
    knobs = cluster.knobs
    found = []
    gone = {victim.id for victim in victims}
    left = [one for one in cluster.running.values() if one.id not in gone]
    if not starts(cluster, job, left):
        found.append(f"C9: {job.id} does not start without {sorted(gone)}")
    for victim in victims:
        why = f"{victim.id} for {job.id}"
        if not victim.preemptible:
            found.append(f"C7: {why}: not preemptible")
        if not any(victim.req.get(resource, 0) > 0 for resource in job.requested):
            found.append(f"C7: {why}: holds nothing that is requested")
        if max(0, cluster.now - victim.start) < knobs["min_runtime_s"]:
            found.append(f"min_runtime_s: {why}: started at {victim.start}")
        cap = knobs["max_preemptions_per_job"]
        if cap is not None and victim.preemptions >= cap:
            found.append(f"max_preemptions_per_job: {why}: evicted {victim.preemptions} times before")
        if minimal and starts(cluster, job, [*left, victim]):
            found.append(f"C9: {why}: can be put back")
        if victim.team == job.team:
            if victim.priority >= job.priority:
                found.append(f"C8: {why}: priority {victim.priority}, not below {job.priority}")
        else:
            found += unlawful_reclaim(cluster, job, victim, left)
    others = [victim for victim in victims if victim.team != job.team]
    if len(others) <= FEW and not any(each_over(cluster, job, order) for order in permutations(others)):
        found.append(f"C6: {sorted(gone)} for {job.id}: not all over guarantee when taken, in whatever order")
    if minimal and (team := pushed_under(cluster, job, others)) and another_set(cluster, job, started):
        found.append(f"C7: {sorted(gone)} for {job.id}: {team} ends under its guarantee, and others would do")
    return found


def unlawful_reclaim(cluster: Cluster, job: Job, victim: Job, left: list[Job]) -> list[str]:
    found = []
    why = f"{victim.id} for {job.id}"
    rule = cluster.knobs["reclaim_priority"]
    if (rule == "lower" and victim.priority >= job.priority) or (
        rule == "lower_or_equal" and victim.priority > job.priority
    ):
        found.append(f"reclaim_priority: {why}: priority {victim.priority}, {rule} than {job.priority}")
    branch = below_common_ancestor(cluster, job.team, victim.team)[0][0]
    if not branch.startswith(OWN) and not cluster.knobs["fair_preemption"]:
        used = cluster.usage([*left, job])[branch]
        for resource in job.requested:
            if used[resource] > cluster.guarantee(branch, resource):
                found.append(f"C6: {why}: {branch} holds {used[resource]} {resource}, over its guarantee")
    return found


def each_over(cluster: Cluster, job: Job, order: Iterable[Job]) -> bool:
    """Whether each victim's branches are over guarantee on a requested resource when its turn comes."""
    left = dict(cluster.running)
    for victim in order:
        used = cluster.usage(left.values())
        for team in below_common_ancestor(cluster, job.team, victim.team)[1]:
            if not team.startswith(OWN) and not any(
                used[team].get(name, 0) > cluster.guarantee(team, name) for name in job.requested
            ):
                return False
        del left[victim.id]
    return True


def pushed_under(cluster: Cluster, job: Job, victims: Sequence[Job]) -> str | None:
    """A team that was at or over its guarantee of all that is requested, and is not any more."""
    gone = {victim.id for victim in victims}
    before = cluster.usage(cluster.running.values())
    after = cluster.usage(one for one in cluster.running.values() if one.id not in gone)
    for team in sorted({victim.team for victim in victims}):
        given = {name: cluster.guarantee(team, name) for name in job.requested}
        if all(before[team].get(name, 0) >= amount for name, amount in given.items()) and any(
            after[team].get(name, 0) < amount for name, amount in given.items()
        ):
            return team
    return None


def another_set(cluster: Cluster, job: Job, started: set[str]) -> bool:
    """Whether a few borrowers, none of whose teams ends under, would also let the request start."""
    candidates = [one for one in cluster.running.values() if one.id not in started and lawful(cluster, job, one)]
    if len(candidates) > FEW:
        return False
    for size in range(1, len(candidates) + 1):
        for chosen in combinations(candidates, size):
            gone = {victim.id for victim in chosen}
            left = [one for one in cluster.running.values() if one.id not in gone]
            if (
                starts(cluster, job, left)
                and all_stay_at_guarantee(cluster, job, chosen, left)
                and any(each_over(cluster, job, order) for order in permutations(chosen))
            ):
                return True
    return False


def lawful(cluster: Cluster, job: Job, victim: Job) -> bool:
    left = [one for one in cluster.running.values() if one.id != victim.id]
    cap = cluster.knobs["max_preemptions_per_job"]
    branch = below_common_ancestor(cluster, job.team, victim.team)[0][0]
    used = cluster.usage([*cluster.running.values(), job])
    return (
        victim.team != job.team
        and victim.preemptible
        and any(victim.req.get(name, 0) > 0 for name in job.requested)
        and max(0, cluster.now - victim.start) >= cluster.knobs["min_runtime_s"]
        and (cap is None or victim.preemptions < cap)
        and not unlawful_reclaim(cluster, job, victim, left)
        and not branch.startswith(OWN)
        and all(used[branch][name] <= cluster.guarantee(branch, name) for name in job.requested)
        and each_over(cluster, job, [victim])
    )


def all_stay_at_guarantee(cluster: Cluster, job: Job, victims: Sequence[Job], left: list[Job]) -> bool:
    used = cluster.usage(left)
    return all(
        used[victim.team].get(name, 0) >= cluster.guarantee(victim.team, name)
        for victim in victims
        for name in job.requested
    )


def starts(cluster: Cluster, job: Job, jobs: list[Job]) -> bool:
    """Whether a request would start beside those."""
    room = sum(cluster.places(job, cluster.free(jobs)).values())
    return room >= job.members and cluster.burst_in_the_way(job, jobs) is None
