"""One round: who starts where, and who leaves for whom (C1 to C12). The same for the same cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster, Intent, counted
from mwfs_scheduler.fair_share.contest import Contest
from mwfs_scheduler.fair_share.hosts import fitting
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.reservations import Reservation, limits_for, reserve
from mwfs_scheduler.fair_share.teams import Line
from mwfs_scheduler.fair_share.victims import VictimSearch, may_ask, reclaims

#: Of those that have waited too long, so many have room kept for them at a time.
MOST_RESERVATIONS: Final = 64


@dataclass(slots=True, kw_only=True)
class Decision:
    """What a round has changed; all of it is booked in the cluster already."""

    started: list[Grant] = field(default_factory=list)
    #: (who leaves, for whom), in order.
    leaving: list[tuple[Grant, Request]] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    #: Who has left in this round and waits again, and for whom.
    resting: dict[str, Request] = field(default_factory=dict)


def decide(cluster: Cluster, *, reclaim: bool = True) -> Decision:
    """Start all that may start now, and make room where the contract allows it.

    Without `reclaim`, those who found nobody to ask before are not looked at again, unless they could start by themselves.
    """
    return _Round(cluster).run(reclaim)


class _Round:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._decision = Decision()
        #: Shapes for which no host has room beside what is reserved.
        self._limited: set[Shape] = set()
        #: Shapes that have no room since the last start.
        self._filled: list[Shape] = []
        knobs = cluster.knobs
        self._reserves = knobs.backfill != "none" or knobs.aging_bound_s is not None
        self._search = VictimSearch(cluster)
        self._left: list[Request] = []

    def run(self, reclaim: bool) -> Decision:
        cluster, decision = self._cluster, self._decision
        self._start_intended()
        if self._reserves:
            # Who is the first that is blocked depends on all who wait.
            cluster.waiting.rouse_all()
        started = -1
        while started != len(decision.started):
            # Who has started may have gone over its guarantee with what ran before: there may be more to ask.
            started = len(decision.started)
            self._search.forget()
            if reclaim:
                cluster.waiting.rouse_hopeful(cluster.version)
            self._serve_all()
        for request in self._left:
            cluster.wait(request)
        for grant in decision.started:
            cluster.may_be_asked(grant)
        return decision

    def _serve_all(self) -> None:
        """Serve those who are awake, in their order, until all have started or sleep."""
        cluster = self._cluster
        contest = Contest(cluster, self._could_start)
        stirred = cluster.waiting.stirred
        stirred.clear()
        while (request := contest.next()) is not None:
            self._serve(request)
            contest.served(request.team)
            for shape in self._filled:
                contest.full(shape)
            self._filled.clear()
            if stirred:
                self._limited.clear()
                contest.stirred(stirred)
                stirred.clear()

    # --- those who were told before -----------------------------------------------------------------------------------

    def _start_intended(self) -> None:
        """Start those whose room is free: by itself, and then the notices are void; or because the notices have ended."""
        cluster = self._cluster
        for intent in list(cluster.intents.values()):
            request = intent.request
            cluster.drop_intent(intent)
            if self._start_where_free(intent):
                for grant in intent.leaving:
                    cluster.let_stay(grant)
            elif intent.until > cluster.now and intent.leaving:
                intent.kept.clear()
                cluster.intend(intent)
            else:
                for grant in intent.leaving:
                    self._end(grant, request)
                self._start_where_free(intent)

    def _start_where_free(self, intent: Intent) -> bool:
        request = intent.request
        if not self._within_burst(request):
            return False
        hosts = self._free_as_planned(intent) or self._cluster.hosts.place(request.shape, {})
        if hosts is None:
            return False
        self._start(request, hosts)
        return True

    def _free_as_planned(self, intent: Intent) -> list[Host] | None:
        needs = intent.request.shape.needs
        for host, members in counted(intent.hosts):
            there = host.id in self._cluster.hosts.by_id and host.open
            if not there or fitting(host.free, needs) < members:
                return None
        return intent.hosts

    # --- one request --------------------------------------------------------------------------------------------------

    def _could_start(self, line: Line, request: Request) -> bool:
        """Whether the request may hold a turn: it has room, or may ask others to make some. Else its line rests."""
        if self._reserves:
            return True  # who is blocked first has room kept for it
        waiting, fits_burst = self._cluster.waiting, self._within_burst(request)
        if fits_burst and waiting.has_room(request.shape):
            return True
        if may_ask(self._cluster, request):
            return True
        if fits_burst:
            waiting.tried(line)
        else:
            waiting.sleep(line)
        return False

    def _serve(self, request: Request) -> None:
        """Start the request, or make room for it, or let its line rest."""
        cluster, shape = self._cluster, request.shape
        waiting = cluster.waiting
        fits_burst = self._within_burst(request)
        limits = limits_for(self._decision.reservations, request, cluster.now)
        if fits_burst and not waiting.is_full(shape) and shape not in self._limited:
            hosts = cluster.hosts.place(shape, limits)
            if hosts is not None:
                self._start(request, hosts)
                return
            if limits:
                self._limited.add(shape)
            else:
                waiting.no_room(shape)
        victims = self._search.find(request, limits)
        if victims is not None:
            self._make_room(request, victims)
            return
        line = request.team.lines[shape]
        if fits_burst:
            self._reserve(request)
        if may_ask(cluster, request):
            waiting.hope(line, cluster.version)
        if fits_burst and waiting.is_full(shape):
            waiting.tried(line)
        else:
            waiting.sleep(line)

    def _within_burst(self, request: Request) -> bool:
        return all(team.past_burst(team.usage, request.total) is None for team in request.team.path)

    def _start(self, request: Request, hosts: list[Host]) -> None:
        cluster = self._cluster
        cluster.waiting.remove(request)
        duration = request.shape.duration
        grant = Grant(
            id=request.id,
            request=request,
            start=cluster.now,
            ends=None if duration is None else cluster.now + duration,
            hosts=hosts,
        )
        cluster.start(grant)
        for host in dict.fromkeys(hosts):
            self._filled += cluster.waiting.less_room_on(host)
        self._search.started(request)
        self._decision.started.append(grant)
        self._bind(request, hosts)

    def _bind(self, request: Request, hosts: list[Host]) -> None:
        """What others have reserved on these hosts becomes less."""
        for reservation in self._decision.reservations:
            if reservation.binds(request, self._cluster.now):
                for host in hosts:
                    reservation.take(host, request.shape)

    def _make_room(self, request: Request, victims: list[Grant]) -> None:
        cluster = self._cluster
        for grant in victims:
            self._decision.leaving.append((grant, request))
            grant.request.preemptions += 1
        if cluster.knobs.grace_s == 0:
            hosts_left = {host for grant in victims for host in grant.hosts}
            for grant in victims:
                self._end(grant, request)
            # What they leave over may be what somebody else, who asks others to leave, was short of.
            near = {grant.request.team for host in hosts_left for grant in host.grants}
            cluster.waiting.rouse_hopeful(
                cluster.version,
                lambda line: line.team in near or line.shape.members > 1 or reclaims(cluster, line.requests[0][1]),
            )
            limits = limits_for(self._decision.reservations, request, cluster.now)
            hosts = cluster.hosts.place(request.shape, limits)
            assert hosts is not None, "the trial has shown that there is room"
            self._start(request, hosts)
            return
        until = cluster.now + cluster.knobs.grace_s
        hosts = self._place_without(request, victims)
        for grant in victims:
            cluster.tell_to_leave(grant, until)
        self._bind(request, hosts)
        cluster.intend(Intent(request=request, hosts=hosts, leaving=list(victims), until=until))

    def _place_without(self, request: Request, victims: list[Grant]) -> list[Host]:
        """Where the request would go if the victims had left."""
        hosts = self._cluster.hosts
        self._set_aside(victims, -1)
        limits = limits_for(self._decision.reservations, request, self._cluster.now)
        placed = hosts.place(request.shape, limits)
        self._set_aside(victims, 1)
        assert placed is not None, "the trial has shown that there is room"
        return placed

    def _set_aside(self, grants: list[Grant], sign: int) -> None:
        for grant in grants:
            for reservation in self._decision.reservations:
                reservation.give_back(grant, -sign)
            for host, members in counted(grant.hosts):
                self._cluster.hosts.change(host, grant.request.shape.needs, sign * members)

    def _end(self, grant: Grant, beneficiary: Request) -> None:
        for reservation in self._decision.reservations:
            reservation.give_back(grant)
        self._cluster.end(grant)
        self._left.append(grant.request)
        self._decision.resting[grant.request.id] = beneficiary

    def _reserve(self, request: Request) -> None:
        """Keep room for the first that is blocked, and for those that have waited too long."""
        knobs, kept = self._cluster.knobs, self._decision.reservations
        bound = knobs.aging_bound_s
        aged = bound is not None and self._cluster.now - request.submit >= bound
        if any(each.request is request for each in kept):
            return
        if (aged and len(kept) < MOST_RESERVATIONS) or (knobs.backfill == "easy" and not kept):
            reservation = reserve(self._cluster, request, kept, aged=aged)
            if reservation is not None:
                kept.append(reservation)
