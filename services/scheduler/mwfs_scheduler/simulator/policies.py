"""The policies of a simulation. All place work in the same way, on the hosts of the real engine; only who is next differs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.keeping.reservations import Reservation, limits_for, reserve
from mwfs_scheduler.fair_share.model import Grant, Host, Knobs, Place, Request, Shape
from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.simulator.model import Amounts, Job, Machine, Work
from mwfs_scheduler.simulator.settings import estimate


@dataclass(slots=True, kw_only=True)
class Moves:
    """What one decision changes, by the ids of jobs."""

    started: list[str] = field(default_factory=list)
    #: Who was told to leave, and runs until its grace has passed.
    told: list[str] = field(default_factory=list)
    #: Who has left. It does not wait again before it is submitted again.
    left: list[str] = field(default_factory=list)
    #: When to decide again even if nothing happens.
    wake: int | None = None


class Policy(Protocol):
    """Who starts when, and who leaves."""

    def submit(self, work: Work) -> bool:
        """The job waits from now on; False when it can never start here."""
        ...

    def finish(self, job_id: str) -> None:
        """A running job has finished."""
        ...

    def decide(self, now: int) -> Moves:
        """One decision, of which all that it changes is booked."""
        ...

    def hosts(self) -> Iterable[Host]:
        """All hosts."""
        ...


def build_cluster(
    resources: Sequence[str], machines: Iterable[Machine], guarantees: Mapping[str, Amounts], knobs: Knobs
) -> Cluster:
    """An idle cluster of the real engine. Teams are equal but for their guarantees."""
    cluster = Cluster(resources=resources, knobs=knobs, now=0)
    for machine in machines:
        amounts = list(machine.amounts)
        special = any(amounts[at] for at, name in enumerate(resources) if name == "gpu")
        labels = dict(machine.labels)
        cluster.add_host(Host(id=machine.id, capacity=amounts, free=list(amounts), labels=labels, special=special))
    for name in sorted(guarantees):
        team = Team(name, None, Fraction(1), len(resources))
        team.guaranteed = list(guarantees[name])
        cluster.add_team(team)
    cluster.settle()
    return cluster


def needs_of(job: Job) -> tuple[tuple[int, int], ...]:
    """As the engine has it: (resource, amount) of one member, amounts above 0."""
    return tuple((at, amount) for at, amount in enumerate(job.amounts) if amount)


def request_of(cluster: Cluster, work: Work, durations: str, preemptions: int = 0) -> Request:
    """The job, as the engine sees it."""
    job = work.job
    return Request.build(
        id=job.id,
        team=cluster.teams[job.team],
        shape=Shape(needs_of(job), job.members, job.selector, estimate(durations, work.remaining)),
        submit=job.submit,
        preemptions=preemptions,
    )


class Contract:
    """The real engine with its incremental state, decision by decision: `ours`, and `drf` with other knobs."""

    def __init__(self, cluster: Cluster, durations: str) -> None:
        self.cluster = cluster
        self._durations = durations
        self._preemptions: dict[str, int] = {}

    def submit(self, work: Work) -> bool:
        cluster = self.cluster
        request = request_of(cluster, work, self._durations, self._preemptions.get(work.job.id, 0))
        if cluster.hosts.never(request.shape) is not None or request.team.never(request.total) is not None:
            return False
        cluster.wait(request)
        return True

    def finish(self, job_id: str) -> None:
        self.cluster.end(self.cluster.grants[job_id])

    def decide(self, now: int) -> Moves:
        cluster = self.cluster
        if now > cluster.now:
            cluster.pass_time(now - cluster.now)
        decision = decide(cluster)
        left = list(decision.resting)
        for job_id in left:
            request = cluster.waiting.requests[job_id]
            self._preemptions[job_id] = request.preemptions
            cluster.forget(request)
        told = [grant.id for grant, _ in decision.leaving if grant.leaves_at is not None]
        wake = min((int(intent.until) for intent in cluster.intents.values()), default=None)
        return Moves(started=[grant.id for grant in decision.started], told=told, left=left, wake=wake)

    def hosts(self) -> Iterable[Host]:
        return self.cluster.hosts


class Queue:
    """One line for all, in order of submission: `fifo`, `fifo-skip` and `easy`."""

    def __init__(self, cluster: Cluster, kind: str, durations: str) -> None:
        self._cluster = cluster
        self._kind = kind
        self._durations = durations
        #: By what they need, without how long they will run: those fit, or do not fit, together.
        self._lines: dict[Shape, list[tuple[Place, Request]]] = {}

    def submit(self, work: Work) -> bool:
        request = request_of(self._cluster, work, self._durations)
        if self._cluster.hosts.never(request.shape) is not None:
            return False
        insort(self._lines.setdefault(_timeless(request.shape), []), (request.place, request))
        return True

    def finish(self, job_id: str) -> None:
        self._cluster.end(self._cluster.grants[job_id])

    def decide(self, now: int) -> Moves:
        cluster = self._cluster
        if now > cluster.now:
            cluster.pass_time(now - cluster.now)
        moves = Moves()
        #: Shapes that do not fit; and those that do not fit beside what is kept for the first that is blocked.
        full: set[Shape] = set()
        bound: set[Shape] = set()
        kept: list[Reservation] = []
        for request in self._in_order(full, bound):
            shape = _timeless(request.shape)
            limits = limits_for(kept, request, now)
            if limits and shape in bound:
                continue
            hosts = cluster.hosts.place(shape, limits)
            if hosts is not None:
                self._start(request, hosts, kept)
                moves.started.append(request.id)
                continue
            if self._kind == "fifo":
                break
            if limits:
                bound.add(shape)
                continue
            full.add(shape)
            if self._kind == "easy" and not kept:
                reservation = reserve(cluster, request, (), aged=False)
                kept += [reservation] if reservation is not None else []
        return moves

    def hosts(self) -> Iterable[Host]:
        return self._cluster.hosts

    def _in_order(self, full: set[Shape], bound: set[Shape]) -> Iterator[Request]:
        """Who waits, in order; those whose shape is full are left out as soon as it is.

        A line whose shape is bound goes on only for those that are short enough: they are looked at one by one.
        """
        at = dict.fromkeys(self._lines, 0)
        heads = sorted((line[0][0], shape) for shape, line in self._lines.items())
        while heads:
            _, shape = heads.pop(0)
            line = self._lines.get(shape)
            if shape in full or line is None:
                continue
            request = line[at[shape]][1]
            yield request
            if shape in full:
                continue
            line = self._lines.get(shape, [])
            if at[shape] < len(line) and line[at[shape]][1] is request:
                at[shape] += 1
            if at[shape] < len(line):
                insort(heads, (line[at[shape]][0], shape))

    def _start(self, request: Request, hosts: list[Host], kept: Sequence[Reservation]) -> None:
        cluster, line = self._cluster, self._lines[_timeless(request.shape)]
        del line[bisect_left(line, (request.place,))]
        if not line:
            del self._lines[_timeless(request.shape)]
        duration = request.shape.duration
        ends = None if duration is None else cluster.now + duration
        cluster.start(Grant(id=request.id, request=request, start=cluster.now, ends=ends, hosts=hosts))
        for reservation in kept:
            if reservation.binds(request, cluster.now):
                for host in hosts:
                    reservation.take(host, request.shape, 1)


def _timeless(shape: Shape) -> Shape:
    return shape if shape.duration is None else shape._replace(duration=None)
