"""Whether each start of a round was that of the first who could start then (C3, C4), with the victims that C7 names.

Only rounds in which no room is kept for anybody: without grace, backfill and ageing. The lists are taken in the order in which the
decision was made; everything is worked out anew at each step, by trying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

from unit.scheduler.contract import reasons
from unit.scheduler.contract.check_victims import all_stay_at_guarantee, each_over, lawful, starts
from unit.scheduler.contract.cluster import Cluster, Job
from unit.scheduler.contract.shares import OWN, between_teams, inside_a_team, share
from unit.scheduler.contract.victims import below_common_ancestor, cheapest, victims_for

#: Of more than so many who could be asked not all sets are tried; and none of more than so many.
FEW, LARGEST = 9, 3


def wrong_steps(cluster: Cluster, decision: Mapping[str, Any]) -> list[str]:
    """Sentences that begin with the rule."""
    knobs = cluster.knobs
    if knobs["grace_s"] or knobs["backfill"] != "none" or knobs["aging_bound_s"] is not None:
        return []
    state = replace(cluster, running=dict(cluster.running), pending=dict(cluster.pending))
    started: set[str] = set()
    found: list[str] = []
    for one in decision["admitted"]:
        job = state.pending[one["id"]]
        victims = [state.running[each["id"]] for each in decision["preempted"] if each["for"] == job.id]
        found += wrong_turn(state, job, victims, started)
        if victims:
            found += wrong_victims(state, job, victims, started)
        for victim in victims:
            del state.running[victim.id]
        del state.pending[job.id]
        state.running[job.id] = replace(job, on=tuple(one["on"]), start=state.now)
        started.add(job.id)
    for job in state.pending.values():
        if may_start(state, job):
            found += left_waiting(state, job, started)
    return found


def may_start(state: Cluster, job: Job) -> bool:
    return not job.paused and reasons.permanent(state, job) is None


def fits(state: Cluster, job: Job) -> bool:
    return may_start(state, job) and starts(state, job, list(state.running.values()))


def wrong_turn(state: Cluster, job: Job, victims: Sequence[Job], started: set[str]) -> list[str]:
    """Whether somebody who fitted at that moment should have started before the job."""
    teams: dict[str, list[Job]] = {}
    for other in sorted(state.pending.values(), key=lambda one: inside_a_team(state, one)):
        if may_start(state, other):
            teams.setdefault(other.team, []).append(other)
    found = []
    if not victims and not fits(state, job):
        found.append(f"C1: {job.id} starts and does not fit")
    for team, line in teams.items():
        first = next((one for one in line if fits(state, one) or one.id == job.id), None)
        if first is None or first.id == job.id:
            continue
        if team != job.team and between_teams(state, first) > between_teams(state, job):
            continue
        # Who can ask others to leave has the turn of its team, which may come later than that of those behind it would.
        if not any(finds_somebody(state, one) for one in line[: line.index(first)]):
            rule = "C3" if team == job.team else "C4"
            found.append(f"{rule}: {job.id} starts before {first.id}, which fits too")
    return found


def finds_somebody(state: Cluster, job: Job) -> bool:
    """Whether anybody can be asked to leave for the job, by the order of C7 or by any few of those who may be asked."""

    def starts_without(gone: set[str]) -> bool:
        return starts(state, job, [one for one in state.running.values() if one.id not in gone])

    return bool(victims_for(state, job, set(), starts_without)) or would_do(state, job, set()) is not None


def wrong_victims(state: Cluster, job: Job, victims: Sequence[Job], started: set[str]) -> list[str]:
    """Whether one of the victims could have been one that C7 asks before it."""
    found = []
    chosen = {victim.id for victim in victims}
    # Whoever may leave may have been taken before one of them, and put back.
    taken = [one for one in state.running.values() if one.id not in started and could_leave(state, job, one)]
    for victim in victims:
        rest = [one for one in victims if one is not victim]
        for other in taken:
            if other.id in chosen:
                continue
            if asked_before(state, job, other, victim, taken) and works(state, job, [*rest, other]):
                found.append(f"C7: {victim.id} leaves for {job.id}, and {other.id}, which would do, comes before it")
    return found


def alone_before(state: Cluster, job: Job, victims: Sequence[Job], started: set[str]) -> Job | None:
    """The one who would do alone and comes before one of the victims, if there is any."""
    chosen = {victim.id for victim in victims}
    taken = [one for one in state.running.values() if one.id not in started and could_leave(state, job, one)]
    found: Job | None = None
    for one in taken:
        comes_before = any(asked_before(state, job, one, victim, taken) for victim in victims)
        comes_first = found is None or asked_before(state, job, one, found, taken)
        if one.id not in chosen and comes_before and comes_first and works(state, job, [one]):
            found = one
    return found


def could_leave(state: Cluster, job: Job, victim: Job) -> bool:
    if victim.team != job.team:
        return lawful(state, job, victim)
    cap = state.knobs["max_preemptions_per_job"]
    return (
        victim.priority < job.priority
        and victim.preemptible
        and any(victim.req.get(name, 0) > 0 for name in job.requested)
        and max(0, state.now - victim.start) >= state.knobs["min_runtime_s"]
        and (cap is None or victim.preemptions < cap)
    )


def works(state: Cluster, job: Job, victims: Sequence[Job]) -> bool:
    """Whether the job starts once those have left, all lawfully and without a team under its guarantee."""
    gone = {victim.id for victim in victims}
    left = [one for one in state.running.values() if one.id not in gone]
    others = [victim for victim in victims if victim.team != job.team]
    return (
        starts(state, job, left)
        and all_stay_at_guarantee(state, job, others, left)
        and any(each_over(state, job, order) for order in permutations(others))
    )


def asked_before(state: Cluster, job: Job, one: Job, other: Job, taken: Sequence[Job]) -> bool:
    """Whether C7 surely asks `one` before `other`: of one team, or of two branches of which the first stays more over its guarantee,
    even after all those in it have left who may come before `one`."""
    if one.team == other.team:
        return cheapest(one) < cheapest(other)
    if other.team == job.team:
        return True
    if one.team == job.team:
        return False
    mine, theirs = below_common_ancestor(state, one.team, other.team)
    if mine[0].startswith(OWN) or theirs[0].startswith(OWN):
        return False
    gone = {
        each.id
        for each in taken
        if mine[0] in state.path(each.team)
        and each is not one
        and (each.team != one.team or cheapest(each) < cheapest(one))
    }
    used = state.usage(state.running.values())
    left = state.usage(each for each in state.running.values() if each.id not in gone)
    return least(state, mine[0], left) > share(state, theirs[0], used[theirs[0]], "borrowed")[0]


def least(state: Cluster, branch: str, used: Mapping[str, Any]) -> Any:
    return share(state, branch, used[branch], "borrowed")[0]


def left_waiting(state: Cluster, job: Job, started: set[str]) -> list[str]:
    """Whether the job waits although a few lawful victims would let it start."""
    victims = would_do(state, job, started)
    if victims is None:
        return []
    return [f"reclaim: {job.id} waits, and would start without {', '.join(sorted(one.id for one in victims))}"]


def would_do(state: Cluster, job: Job, started: set[str]) -> Sequence[Job] | None:
    """A few lawful victims without which the job would start."""
    candidates = [one for one in state.running.values() if one.id not in started and could_leave(state, job, one)]
    return next((victims for victims in sets_of(candidates) if works(state, job, victims)), None)


def sets_of(candidates: Sequence[Job]) -> Iterable[Sequence[Job]]:
    largest = len(candidates) if len(candidates) <= FEW else LARGEST
    for size in range(1, min(largest, 5) + 1):
        yield from combinations(candidates, size)
