"""Who is evicted for a request: C6 to C9, by taking in the order of C7 and putting back what was not needed."""

from __future__ import annotations

from collections.abc import Callable

from unit.scheduler.contract.cluster import Amounts, Cluster, Job
from unit.scheduler.contract.shares import OWN, own_usage, share, stays_within

Starts = Callable[[set[str]], bool]


def victims_for(cluster: Cluster, job: Job, spared: set[str], starts: Starts) -> list[Job]:
    """The victims in the order taken, or none. `starts(ids)`: would the request start if those were gone?"""
    choices = (next_borrower, next_of_own_team, next_of_any_borrower)
    taken: list[Job] = []
    gone: set[str] = set()
    if all(choose(cluster, job, spared, taken) is None for choose in choices):
        return []
    for choose in choices:
        while not starts(gone):
            victim = choose(cluster, job, spared, taken)
            if victim is None:
                break
            taken.append(victim)
            gone.add(victim.id)
    if not starts(gone):
        return []
    for victim in reversed(list(taken)):
        if starts(gone - {victim.id}):
            taken.remove(victim)
            gone.remove(victim.id)
    return taken


def next_borrower(cluster: Cluster, job: Job, spared: set[str], taken: list[Job]) -> Job | None:
    left = remaining(cluster, taken)
    legal = [v for v in left if may_reclaim(cluster, job, v, spared, left) and not ends_under(cluster, job, v, left)]
    return most_over(cluster, legal, left)


def next_of_own_team(cluster: Cluster, job: Job, spared: set[str], taken: list[Job]) -> Job | None:
    left = remaining(cluster, taken)
    legal = [v for v in left if v.team == job.team and v.priority < job.priority and may_go(cluster, job, v, spared)]
    return min(legal, key=cheapest, default=None)


def next_of_any_borrower(cluster: Cluster, job: Job, spared: set[str], taken: list[Job]) -> Job | None:
    """Also one whose team ends under its guarantee: only when nothing else works."""
    left = remaining(cluster, taken)
    return most_over(cluster, [v for v in left if may_reclaim(cluster, job, v, spared, left)], left)


def remaining(cluster: Cluster, taken: list[Job]) -> list[Job]:
    gone = {victim.id for victim in taken}
    return [job for job in cluster.running.values() if job.id not in gone]


def cheapest(victim: Job) -> tuple[object, ...]:
    return victim.priority, -victim.start, victim.id


def may_go(cluster: Cluster, job: Job, victim: Job, spared: set[str]) -> bool:
    """Whether the work can be evicted at all, for anybody who asks for those resources."""
    knobs = cluster.knobs
    cap = knobs["max_preemptions_per_job"]
    return (
        victim.preemptible
        and victim.id not in spared
        and any(victim.req.get(resource, 0) > 0 for resource in job.requested)
        and could_help(cluster, job, victim)
        and max(0, cluster.now - victim.start) >= knobs["min_runtime_s"]
        and (cap is None or victim.preemptions < cap)
    )


def could_help(cluster: Cluster, job: Job, victim: Job) -> bool:
    """Whether the request could ever use a node of the victim, or a burst limit that they share is in its way."""
    usable = {name for name, places in cluster.places(job, cluster.free([])).items() if places}
    if usable & set(victim.on):
        return True
    used = cluster.usage(cluster.running.values())
    return any(
        limit is not None and used[team].get(name, 0) + job.total(name) > limit
        for team in set(cluster.path(job.team)) & set(cluster.path(victim.team))
        for name in job.requested
        for limit in [cluster.teams[team].burst.get(name)]
    )


def may_reclaim(cluster: Cluster, job: Job, victim: Job, spared: set[str], left: list[Job]) -> bool:
    """C6, with what is left after the victims taken so far."""
    if victim.team == job.team or not may_go(cluster, job, victim, spared):
        return False
    allowed = {"any": True, "lower_or_equal": victim.priority <= job.priority, "lower": victim.priority < job.priority}
    if not allowed[cluster.knobs["reclaim_priority"]]:
        return False
    mine, theirs = below_common_ancestor(cluster, job.team, victim.team)
    used = cluster.usage(left)
    for team in theirs:
        held = held_by(cluster, team, used, left)
        if not any(held.get(name, 0) > guarantee_of(cluster, team, name) for name in job.requested):
            return False
    if not mine[0].startswith(OWN):
        before = cluster.usage(cluster.running.values())
        if stays_within(cluster, mine[0], before[mine[0]], job):
            return True
    return cluster.knobs["fair_preemption"] and fairer_without(cluster, job, victim, mine[0], theirs[0], left)


def fairer_without(cluster: Cluster, job: Job, victim: Job, mine: str, theirs: str, left: list[Job]) -> bool:
    """Two borrowers: the one that asks must not end with more than the one that loses.

    What leaves of its own does not count: it may be put back (kubernetes-sigs/kueue issue 14543).
    """
    basis = cluster.knobs["share_basis"]
    before = list(cluster.running.values())
    own = held_by(cluster, mine, cluster.usage(before), before)
    other = held_by(cluster, theirs, cluster.usage(left), left)
    gains = {name: own.get(name, 0) + job.total(name) for name in {*own, *job.req}}
    keeps = {name: other.get(name, 0) - victim.total(name) for name in other}
    return share(cluster, mine, gains, basis)[0] <= share(cluster, theirs, keeps, basis)[0]


def below_common_ancestor(cluster: Cluster, one: str, other: str) -> tuple[list[str], list[str]]:
    """Both paths below the lowest common ancestor. A parent's own work is a child of it there."""
    first, second = cluster.path(one), cluster.path(other)
    while first and second and first[0] == second[0]:
        first, second = first[1:], second[1:]
    return first or [OWN + one], second or [OWN + other]


def guarantee_of(cluster: Cluster, branch: str, resource: str) -> object:
    return 0 if branch.startswith(OWN) else cluster.guarantee(branch, resource)


def held_by(cluster: Cluster, branch: str, used: dict[str, Amounts], left: list[Job]) -> Amounts:
    return own_usage(cluster, left, branch.removeprefix(OWN)) if branch.startswith(OWN) else used[branch]


def ends_under(cluster: Cluster, job: Job, victim: Job, left: list[Job]) -> bool:
    """Whether the victim's team would hold less than its guarantee of a requested resource that the victim holds."""
    used = cluster.usage(left)[victim.team]
    return any(
        victim.req.get(name, 0) > 0 and used.get(name, 0) - victim.total(name) < cluster.guarantee(victim.team, name)
        for name in job.requested
    )


def most_over(cluster: Cluster, legal: list[Job], left: list[Job]) -> Job | None:
    """C7: down from the root to the branch with the largest weighted over-guarantee share, then the cheapest there."""
    if not legal:
        return None
    used = cluster.usage(left)
    at: str | None = None
    while True:
        inside = [v for v in legal if at is None or at in cluster.path(v.team)]
        branches = {child for child in cluster.children(at) if any(child in cluster.path(v.team) for v in inside)}
        if at is not None and any(v.team == at for v in inside):
            branches.add(OWN + at)
        if at is not None and branches == {OWN + at}:
            return min(inside, key=cheapest)
        chosen = min(
            branches, key=lambda one: (-share(cluster, one, held_by(cluster, one, used, left), "borrowed")[0], one)
        )
        if chosen.startswith(OWN):
            return min((v for v in inside if v.team == at), key=cheapest)
        at = chosen
