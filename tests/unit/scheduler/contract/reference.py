"""The scheduler's contract as a slow, exact program, written from its text alone.

Where the text leaves a choice, this is the one made here:

* Order between teams: the keys of all levels of a path, as one tuple; a missing level counts as within, without a share. Two that
  stay within a guarantee are still compared by share. Rank does not count between teams.
* Guarantees that add up to more than the cluster are scaled down (adr/0001 of the scheduler; the text says nothing of it).
* A parent's own work is a child of it, with weight 1 and no guarantee.
* Each time, of every team the first that could start, with or without victims, competes; who could not is as if it were not there.
* Work that started in a round is no victim in it. C6 counts the branch before any eviction, plus the request.
* C7: shares are by what is left after the victims taken so far, over all resources, always by `borrowed`; ties by name. The order is
  borrowers that stay at or over their guarantee, the own team, borrowers that end under it (of a requested resource that the victim
  holds). Who could not help, as the request cannot use its nodes, is not asked. Then what was not needed is put back,
  last taken first. Who was passed over because of one that was put back, and would do alone, leaves instead of who comes later.
* `min_runtime_s` and the cap protect victims everywhere, own team included. `reclaim_priority` speaks of other teams only.
* `fair_preemption`: a borrower may evict if its branch's share with the request, before anybody leaves
  it, is at most the other branch's without the victim.
* `past_usage` is in units of the resource, added to usage for the order of C4 only, not for guarantees, victims or shown shares. In
  time it follows usage: `v · f + usage · (1 - f)`, `f = 0.5^(dt / half_life_s)`.
* `easy`: the first that comes before one that starts, and before all of its team that could start, and lacks capacity, holds the place where it starts once work with known ends
  has ended; who ends by then may use it. No known time, no hold. `aging_bound_s`: whoever waited so long holds a place in any case,
  before the first that borrows has its turn: four at a time, who has waited for longest first. It binds all whose branch at the top borrows with them.
* Grace: notice now, the place is held, the beneficiary starts at the end of the notice; if it fits earlier the notice is withdrawn.
  Order and rights to evict count notices as ended; burst and capacity count both states. Who fits
  once notices have ended evicts nobody.
* Work ends when the clock moves to or past `ends`, not in the first round. A victim runs its whole duration again;
  its old submit time is 0 when the file does not say (a running one may carry `submit`).
* Burst without a resource is no limit on it. One copy keeps the bare id. Ids compare as text.
* Reasons: no node with those labels, or none of them with any of a resource, is `no_such_type`; a gang too large for the empty
  cluster is `no_node_large_enough`; capacity is summed over the nodes that match; room that is there but held is `reserved_for`,
  so `over_quota_behind` never comes; victims are not listed as waiting in their own round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import takewhile
from typing import Any

from unit.scheduler.contract import reasons
from unit.scheduler.contract.check_steps import alone_before, wrong_victims
from unit.scheduler.contract.check_victims import pushed_under, unlawful
from unit.scheduler.contract.cluster import Amounts, Cluster, Job, Number, parse, plain
from unit.scheduler.contract.shares import between_teams, inside_a_team, shares_after
from unit.scheduler.contract.victims import victims_for

Decision = dict[str, Any]

#: Of those who waited too long, so many hold a place at a time.
MOST_AGED = 4


@dataclass(frozen=True, slots=True)
class Lead:
    """What another planner did in a round: followed where the contract leaves it free."""

    places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: For whom, who. Followed if lawful when the search of C7 has found nobody, somebody who ends under its guarantee, or
    #: somebody before whom another comes who would do, and was passed over because of one that was put back.
    victims: Mapping[str, Sequence[str]] = field(default_factory=dict)


def plan(snapshot: Mapping[str, Any], rounds: int = 1, follow: Sequence[Lead] = ()) -> list[Decision]:
    """The decisions of some rounds, from one snapshot file."""
    reference = Reference(parse(snapshot))
    decisions = []
    for number in range(rounds):
        if number:
            reference.tick()
        decisions.append(reference.round(follow[number] if number < len(follow) else Lead()))
    return decisions


@dataclass(frozen=True, slots=True)
class Hold:
    """Room kept for a waiting request: where it will be, from when (None: unknown), and whose notice that takes."""

    owner: Job
    on: tuple[str, ...]
    until: Number | None
    victims: frozenset[str] = frozenset()
    #: Its owner has waited too long.
    aged: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """A state of the cluster, now or foreseen, in which a request must fit; `until` as in the hold it comes from."""

    jobs: tuple[Job, ...]
    owner: Job | None = None
    until: Number | None = None
    #: Room is kept there: of nodes, not below burst limits.
    is_kept: bool = False


class Reference:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Places of those whose victims have their notice, in order; they outlive the round.
        self.intents: list[Hold] = []
        self.reservations: list[Hold] = []
        self.follow = Lead()

    # A round ---------------------------------------------------------------------------------------------------------

    def round(self, follow: Lead) -> Decision:
        cluster = self.cluster
        self.follow = follow
        self.reservations = []
        self.decision: Decision = {"admitted": [], "preempted": [], "waiting": [], "shares": {}}
        self.started: set[str] = set()
        self.evicted: set[str] = set()
        self.aged_hold_places = cluster.knobs["aging_bound_s"] is None
        self.end_notices()
        while (job := self.next_to_start()) is not None:
            if not self.admit(job):
                self.evict_for(job)
        waiting = [job for job in cluster.pending.values() if job.id not in self.evicted]
        for job in sorted(waiting, key=lambda job: (job.team, *inside_a_team(cluster, job))):
            reason, detail = self.reason(job)
            self.decision["waiting"].append({"id": job.id, "reason": reason, "detail": detail})
        self.decision["shares"] = shares_after(cluster)
        return self.decision

    def next_to_start(self) -> Job | None:
        """Of the first of each team that could start, the first between teams; after room was kept for who is before it."""
        lines = self.lines()
        while True:
            firsts = [next((job for job in line if self.could_start(job)), None) for line in lines]
            chosen = self.first_of([job for job in firsts if job is not None])
            if chosen is None or not (self.keep_for_aged(lines, chosen) or self.keep_room(lines, chosen)):
                return chosen

    def lines(self) -> list[list[Job]]:
        """Who may start, team by team, in the order of C3."""
        found: dict[str, list[Job]] = {}
        for job in sorted(self.cluster.pending.values(), key=lambda job: inside_a_team(self.cluster, job)):
            if self.may_start(job):
                found.setdefault(job.team, []).append(job)
        return list(found.values())

    def first_of(self, jobs: list[Job]) -> Job | None:
        settled = self.settled()
        return min(jobs, key=lambda job: between_teams(settled, job), default=None)

    def could_start(self, job: Job) -> bool:
        return self.placement(job, self.worlds(job)) is not None or bool(self.victims(job))

    def keep_for_aged(self, lines: list[list[Job]], chosen: Job) -> bool:
        """Whether places were kept for those who have waited too long, before the first that borrows."""
        if self.aged_hold_places or self.comes_before_borrowers(chosen):
            return False
        self.aged_hold_places = True
        bound = self.cluster.knobs["aging_bound_s"]
        aged = [job for line in lines for job in line if self.cluster.now - job.submit >= bound]
        for job in sorted(aged, key=lambda job: (job.submit, job.id)):
            if len(self.reservations) < MOST_AGED:
                self.reserve(job, aged=True)
        return bool(self.reservations)

    def comes_before_borrowers(self, job: Job) -> bool:
        (borrows, _), *_ = between_teams(self.settled(), job)
        return not borrows

    def keep_room(self, lines: list[list[Job]], chosen: Job) -> bool:
        """Whether a place was kept for one who is before the chosen in order, cannot start and has a right to a place."""
        before: list[list[Job]] = []
        for line in lines:
            ahead = list(takewhile(lambda job: not self.could_start(job), line))
            if line[0].team != chosen.team:
                ahead = [job for job in ahead if self.first_of([chosen, job]) is job]
            before.append(ahead)
        while (job := self.first_of([line[0] for line in before if line])) is not None:
            for line in before:
                if job in line:
                    line.remove(job)
            if self.reserve(job):
                return True
        return False

    def settled(self) -> Cluster:
        """As if all notices had ended: what order and rights to evict are judged by."""
        jobs = self.worlds(None)[len(self.intents)].jobs
        return replace(self.cluster, running={job.id: job for job in jobs})

    def may_start(self, job: Job) -> bool:
        promised = any(hold.owner.id == job.id for hold in self.intents)
        barred = job.paused or job.id in self.evicted or promised
        return not barred and reasons.permanent(self.cluster, job) is None

    def admit(self, job: Job) -> bool:
        on = self.placement(job, self.worlds(job))
        if on is None:
            return False
        self.start(job, on)
        return True

    def start(self, job: Job, on: tuple[str, ...]) -> None:
        now = self.cluster.now
        ends = None if job.duration is None else now + job.duration
        del self.cluster.pending[job.id]
        self.cluster.running[job.id] = replace(job, on=on, start=now, ends=ends)
        self.started.add(job.id)
        self.decision["admitted"].append({"id": job.id, "on": list(on)})
        self.reservations = [hold for hold in self.reservations if hold.owner.id != job.id]

    def victims(self, job: Job) -> list[Job]:
        promised = {hold.owner.id for hold in self.intents}
        worlds = self.worlds(job)

        def starts(gone: set[str]) -> bool:
            return self.placement(job, without(worlds, gone)) is not None

        settled, spared = self.settled(), self.started | promised
        if self.intents and starts({name for hold in self.intents for name in hold.victims}):
            return []
        found = victims_for(settled, job, spared, starts)
        given = [settled.running[name] for name in self.follow.victims.get(job.id, []) if name in settled.running]
        out_of_order = bool(wrong_victims(settled, job, found, spared))
        if given and (not found or out_of_order or pushed_under(settled, job, found)):
            lawful = not spared & {victim.id for victim in given} and starts({victim.id for victim in given})
            if lawful and not unlawful(settled, job, given, spared, minimal=not self.reservations and not self.intents):
                return given
        if out_of_order and (one := alone_before(settled, job, found, spared)) is not None and starts({one.id}):
            return [one]
        return found

    def evict_for(self, job: Job) -> None:
        victims = self.victims(job)
        worlds = self.worlds(job)
        self.decision["preempted"] += [{"id": victim.id, "for": job.id} for victim in victims]
        gone = {victim.id for victim in victims}
        on = self.placement(job, without(worlds, gone))
        assert on is not None
        if self.cluster.knobs["grace_s"]:
            self.intents.append(Hold(job, on, self.cluster.now + self.cluster.knobs["grace_s"], frozenset(gone)))
        else:
            self.remove(gone)
            self.start(job, on)

    def remove(self, victims: set[str]) -> None:
        """They go back to the queue with their old submit time."""
        for name in sorted(victims):
            job = self.cluster.running.pop(name)
            self.cluster.pending[name] = replace(job, on=(), ends=None, preemptions=job.preemptions + 1)
            self.evicted.add(name)

    # Where it fits ---------------------------------------------------------------------------------------------------

    def worlds(self, job: Job | None) -> list[World]:
        """Now; after each notice; and at the time of each reservation of another."""
        jobs = tuple(self.cluster.running.values())
        found = [World(jobs)]
        for hold in self.intents:
            jobs = (*(one for one in jobs if one.id not in hold.victims), replace(hold.owner, on=hold.on))
            found.append(World(jobs, hold.owner))
        held: list[Job] = []
        for hold in self.reservations:
            if job is not None and hold.owner.id == job.id:
                break
            if hold.aged and job is not None and self.comes_before_borrowers(job):
                continue
            held.append(replace(hold.owner, on=hold.on))
            # No known time: as if all that runs went on, so that nobody takes of the nodes what the owner will need.
            lasting = jobs if hold.until is None else still_there(jobs, hold.until)
            found.append(World((*lasting, *held), hold.owner, hold.until, is_kept=True))
        return found

    def placement(self, job: Job, worlds: Sequence[World]) -> tuple[str, ...] | None:
        """Nodes for all members that are free in every world that the request lives to see, packed tightly."""
        seen = [world for world in worlds if world.until is None or ends_after(self.cluster, job, world.until)]
        if any(self.cluster.burst_in_the_way(job, world.jobs) for world in seen if not world.is_kept):
            return None
        free = [self.cluster.free(world.jobs) for world in seen]
        places = [self.cluster.places(job, one) for one in free]
        room = {name: min(one[name] for one in places) for name in places[0]}
        if sum(room.values()) < job.members:
            return None
        wanted = self.follow.places.get(job.id)
        if (
            wanted is not None
            and len(wanted) == job.members
            and all(wanted.count(name) <= room.get(name, 0) for name in set(wanted))
        ):
            return tuple(wanted)
        chosen: list[str] = []
        for name in sorted(room, key=lambda name: self.tightness(free[0], name)):
            chosen += [name] * min(room[name], job.members - len(chosen))
        return tuple(chosen)

    def tightness(self, free: Mapping[str, Amounts], name: str) -> tuple[Any, ...]:
        """Nodes with few free GPUs first, then with little of anything."""
        pools = {resource: self.cluster.pool(resource) for resource in self.cluster.resources()}
        left = sum(
            (Fraction(free[name].get(resource, 0)) / pool for resource, pool in pools.items()), start=Fraction(0)
        )
        return free[name].get("gpu", 0), left, name

    def reserve(self, job: Job, *, aged: bool = False) -> bool:
        """Room for one that lacks only capacity: the first such with `easy`, and those who waited too long."""
        knobs = self.cluster.knobs
        first = knobs["backfill"] == "easy" and all(hold.aged for hold in self.reservations)
        if not (aged or first) or any(hold.owner.id == job.id for hold in self.reservations):
            return False
        if self.cluster.burst_in_the_way(job, self.cluster.running.values()):
            return False
        jobs = self.worlds(None)[len(self.intents)].jobs
        held = tuple(replace(hold.owner, on=hold.on) for hold in self.reservations)
        if aged and (on := self.placement(job, [World((*jobs, *held))])) is not None:
            self.reservations.append(Hold(job, on, self.cluster.now, aged=True))
            return True
        times: list[Number | None] = sorted({one.ends for one in jobs if one.ends is not None})
        for until in [*times, None] if aged else times:
            on = self.placement(job, [World((*still_there(jobs, until), *held))])
            if on is not None:
                self.reservations.append(Hold(job, on, until, aged=aged))
                return True
        return False

    # Between rounds --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Time passes to the next round."""
        cluster = self.cluster
        if not cluster.round_s:
            return
        half_life = cluster.knobs["half_life_s"]
        if half_life is not None:
            self.remember(Fraction(0.5 ** float(cluster.round_s / half_life)))
        cluster.now += cluster.round_s
        ended = {job.id for job in cluster.running.values() if job.ends is not None and job.ends <= cluster.now}
        cluster.running = {name: job for name, job in cluster.running.items() if name not in ended}
        self.intents = [replace(hold, victims=hold.victims - ended) for hold in self.intents]

    def remember(self, kept: Fraction) -> None:
        own: dict[str, Amounts] = {team: {} for team in self.cluster.teams}
        for job in self.cluster.running.values():
            for resource in job.req:
                own[job.team][resource] = own[job.team].get(resource, 0) + job.total(resource)
        for name, team in self.cluster.teams.items():
            for resource in {*team.past, *own[name]}:
                team.past[resource] = team.past.get(resource, 0) * kept + own[name].get(resource, 0) * (1 - kept)

    def end_notices(self) -> None:
        """Beneficiaries whose time has come, or who fit without their victims, start."""
        for hold in list(self.intents):
            before = self.intents[: self.intents.index(hold)]
            later = self.intents[self.intents.index(hold) + 1 :]
            self.intents = before + later
            if self.admit(hold.owner):
                continue
            if hold.until is None or hold.until > self.cluster.now:
                self.intents = [*before, hold, *later]
                continue
            self.follow = replace(self.follow, places={hold.owner.id: hold.on, **self.follow.places})
            on = self.placement(hold.owner, without(self.worlds(hold.owner), set(hold.victims)))
            if on is not None:
                self.remove(set(hold.victims))
                self.start(hold.owner, on)

    # Why it waits ----------------------------------------------------------------------------------------------------

    def reason(self, job: Job) -> reasons.Reason:
        found = reasons.permanent(self.cluster, job)
        if found is not None:
            return found
        for hold in self.intents:
            if hold.owner.id == job.id:
                until = None if hold.until is None else plain(hold.until)
                return "waiting_for_preempted", {"victims": sorted(hold.victims), "until": until}
        lacks = reasons.lacking(self.cluster, job)
        if lacks is not None:
            return lacks
        worlds = self.worlds(job)
        for count in range(2, len(worlds) + 1):
            owner = worlds[count - 1].owner
            if self.placement(job, worlds[:count]) is None and owner is not None:
                return "reserved_for", {"owner": owner.id}
        assert job.paused, f"{job.id} fits and was left waiting"
        return "paused", {}


def without(worlds: Sequence[World], gone: set[str]) -> list[World]:
    return [replace(world, jobs=tuple(one for one in world.jobs if one.id not in gone)) for world in worlds]


def still_there(jobs: Sequence[Job], until: Number | None) -> tuple[Job, ...]:
    return () if until is None else tuple(one for one in jobs if one.ends is None or one.ends > until)


def ends_after(cluster: Cluster, job: Job, until: Number) -> bool:
    return job.duration is None or cluster.now + job.duration > until
