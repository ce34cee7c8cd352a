"""One round: who starts where, and who leaves for whom (C1 to C12). The same for the same cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster, Intent, counted
from mwfs_scheduler.fair_share.contest import Contest
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.reservations import Limits, Reservation, limits_for, reserve
from mwfs_scheduler.fair_share.rooms import fitting
from mwfs_scheduler.fair_share.search import reclaims
from mwfs_scheduler.fair_share.teams import Line
from mwfs_scheduler.fair_share.victims import VictimSearch, may_ask

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


def decide(cluster: Cluster, *, reclaim: bool = True, searches: int | None = None) -> Decision:
    """Start all that may start now, and make room where the contract allows it.

    Without `reclaim`, those who found nobody to ask before are not looked at again, unless they could start by themselves.
    After so many searches for victims the rest is left for the next round; `cluster.waiting.is_postponed` says so.
    """
    return Decision() if _is_at_rest(cluster, reclaim) else _Round(cluster, searches).run(reclaim)


def _is_at_rest(cluster: Cluster, reclaim: bool) -> bool:
    """Whether nothing has happened that could change anything; most messages of the service only say that something has ended."""
    knobs = cluster.knobs
    return (
        cluster.told
        and not cluster.waiting.is_restless
        and not cluster.waiting.is_postponed
        and not cluster.intents_changed
        and not (reclaim and cluster.waiting.is_hopeful)
        and knobs.aging_bound_s is None
        and (knobs.backfill == "none" or not cluster.known_ends)
    )


class _Round:
    def __init__(self, cluster: Cluster, searches: int | None) -> None:
        self._cluster = cluster
        self._most_searches = searches
        self._decision = Decision()
        #: Shapes for which no host has room beside what is reserved.
        self._limited: set[Shape] = set()
        #: Shapes that have no room since the last start.
        self._filled: list[Shape] = []
        knobs = cluster.knobs
        #: Without known ends there is no time to keep room for.
        backfills = knobs.backfill != "none" and (cluster.known_ends > 0 or not cluster.told)
        self._reserves = backfills or knobs.aging_bound_s is not None
        cluster.waiting.one_by_one = not self._reserves
        self._search = VictimSearch(cluster)
        self._left: list[tuple[Request, int]] = []
        #: What has started in this round and may hold more copies.
        self._growing: dict[tuple[Request, Host], Grant] = {}

    def run(self, reclaim: bool) -> Decision:
        cluster, decision = self._cluster, self._decision
        cluster.waiting.take_up()
        self._start_intended()
        if self._reserves:
            # Who is the first that is blocked depends on all who wait.
            cluster.waiting.rouse_all()
        started = -1
        while started != len(decision.started):
            # Who has started may have gone over its guarantee with what ran before: there may be more to ask.
            started = len(decision.started)
            if reclaim:
                cluster.waiting.rouse_hopeful(cluster.version, self._search.is_in_vain)
            if cluster.waiting.is_restless:
                self._serve_all()
        for request, copies in self._left:
            cluster.wait_too(request, copies)
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
            self._serve(request, contest)
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
        for intent in cluster.look_at_intents():
            request = intent.request
            cluster.drop_intent(intent)
            if self._start_where_free(intent):
                for grant in () if cluster.told else intent.leaving:
                    cluster.let_stay(grant)
            elif intent.leaving and (cluster.told or intent.until > cluster.now) and self._stands(intent):
                cluster.intend(intent)
                continue
            else:
                for grant in () if cluster.told else intent.leaving:
                    self._end(grant, request)
                if not self._start_where_free(intent):
                    cluster.wait_too(request.whole or request, request.part)
            cluster.waiting.rouse(request.team.path[0].subtree())

    def _start_where_free(self, intent: Intent) -> bool:
        request = intent.request
        if not self._within_burst(request):
            return False
        hosts = self._free_as_planned(intent) or self._cluster.hosts.place(request.shape, {})
        if hosts is None:
            return False
        self._start(request.whole or request, hosts, request.part)
        return True

    def _stands(self, intent: Intent) -> bool:
        """Whether the hosts are still there for which it was made."""
        return all(host.open and self._cluster.hosts.by_id.get(host.id) is host for host in intent.hosts)

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
        if not waiting.has_asked(line) and may_ask(self._cluster, request):
            if self._reserves or self._cluster.told or not self._search.is_in_vain(request):
                return True
            waiting.hope(line, self._cluster.version, eager=False, fits_burst=fits_burst)
        if fits_burst:
            waiting.tried(line)
        else:
            waiting.sleep(line)
        return False

    def _serve(self, request: Request, contest: Contest) -> None:
        """Start the request, or make room for it, or let its line rest."""
        cluster, shape = self._cluster, request.shape
        waiting = cluster.waiting
        fits_burst = self._within_burst(request)
        limits = limits_for(self._decision.reservations, request, cluster.now)
        if fits_burst and not waiting.is_full(shape) and shape not in self._limited:
            hosts = cluster.hosts.place(shape, limits)
            if hosts is not None:
                copies = 1
                if request.copies > 1:
                    copies = self._in_a_row(request, hosts[0], limits, contest)
                cluster.take(request, copies)
                self._start(request, hosts, copies)
                return
            if limits:
                self._limited.add(shape)
            else:
                waiting.no_room(shape)
        if cluster.told and may_ask(cluster, request) and self._join_in(request):
            return
        if self._most_searches is not None and self._search.searches >= self._most_searches:
            waiting.postpone(request.team.lines[shape])
            return
        victims = self._search.find(request, limits)
        if victims is not None:
            self._make_room(request, victims)
            return
        line = request.team.lines[shape]
        if fits_burst:
            self._reserve(request)
        if may_ask(cluster, request):
            waiting.hope(line, cluster.version, eager=reclaims(cluster, request), fits_burst=fits_burst)
        if fits_burst and waiting.is_full(shape):
            waiting.tried(line)
        else:
            waiting.sleep(line)

    def _within_burst(self, request: Request) -> bool:
        return all(team.past_burst(team.usage, request.total) is None for team in request.team.path)

    def _in_a_row(self, request: Request, host: Host, limits: Limits, contest: Contest) -> int:
        """How many copies would start on the host, one by one, before anything else happens; at least one."""
        shape = request.shape
        if any(each.owned_by(request) for each in self._decision.reservations):
            return 1
        most = min(request.copies, fitting(host.free, shape.needs))
        if host in limits:
            most = min(most, fitting(limits[host].amounts, shape.needs))
        for team in request.team.path:
            most = min(most, team.until_burst(request.total))
        most = self._cluster.waiting.until_less_room(host, shape, most)
        return contest.in_a_row(request, most) if most > 1 else 1

    def _start(self, request: Request, hosts: list[Host], copies: int) -> None:
        """Start what has stopped waiting."""
        cluster = self._cluster
        duration = request.shape.duration
        most = cluster.most_in_one(request.shape)
        left = copies
        while left:
            count = min(left, most)
            grant = self._growing.get((request, hosts[0])) if most > 1 else None
            if grant is not None and grant.count < most:
                count = min(count, most - grant.count)
                cluster.enlarge(grant, count)
            else:
                grant = Grant(
                    id=cluster.grant_id(request),
                    request=request,
                    start=cluster.now,
                    ends=None if duration is None else cluster.now + duration,
                    hosts=hosts,
                    count=count,
                )
                cluster.start(grant)
                self._growing[request, hosts[0]] = grant
                self._decision.started.append(grant)
            left -= count
        for host in dict.fromkeys(hosts):
            self._filled += cluster.waiting.less_room_on(host)
        self._bind(request, hosts, copies)

    def _bind(self, request: Request, hosts: list[Host], copies: int) -> None:
        """What others have reserved on these hosts becomes less."""
        for reservation in self._decision.reservations:
            if reservation.binds(request, self._cluster.now):
                for host in hosts:
                    reservation.take(host, request.shape, copies)
            elif reservation.owned_by(request):
                reservation.started = True

    def _make_room(self, request: Request, victims: list[Grant]) -> None:
        cluster = self._cluster
        for grant in victims:
            self._decision.leaving.append((grant, request))
            grant.request.preemptions += 1
        if cluster.knobs.grace_s == 0 and not cluster.told:
            if not self._reserves:
                cluster.waiting.hold_back()
            for grant in victims:
                self._end(grant, request)
            limits = limits_for(self._decision.reservations, request, cluster.now)
            hosts = cluster.hosts.place(request.shape, limits)
            assert hosts is not None, "the search has shown that there is room"
            cluster.take(request, 1)
            self._start(request, hosts, 1)
            cluster.waiting.tell()
            # What they leave over may be what somebody else, who asks others to leave, was short of.
            cluster.waiting.rouse_hopeful(cluster.version, self._search.is_in_vain)
            return
        until = cluster.now + cluster.knobs.grace_s
        hosts = self._place_without(request, victims)
        for grant in victims:
            cluster.tell_to_leave(grant, until)
        if cluster.told or request.copies > 1:
            found = cluster.leaving_room(request) if request.copies > 1 else None
            copies = self._rightful(request, found[1]) if found is not None and found[0] is hosts[0] else 1
            request = cluster.part(request, copies)
        else:
            cluster.take(request, 1)
        self._bind(request, hosts, 1)
        cluster.intend(Intent(request=request, hosts=hosts, leaving=list(victims), until=until))

    def _join_in(self, request: Request) -> bool:
        """Whether those who leave already will leave enough room: then nobody else need."""
        cluster = self._cluster
        found = cluster.leaving_room(request) if request.shape.members == 1 and self._within_burst(request) else None
        if found is None:
            return False
        host, fits = found
        leaving = cluster.leaving_on(host)
        until = max(grant.leaves_at or cluster.now for grant in leaving)
        part = cluster.part(request, self._rightful(request, fits))
        self._bind(part, [host], 1)
        cluster.intend(Intent(request=part, hosts=[host], leaving=leaving, until=until))
        return True

    def _rightful(self, request: Request, most: int) -> int:
        """How many copies may have room made for them at once: no branch that keeps its guarantee with one loses it."""
        most = min(most, request.copies, self._cluster.most_in_one(request.shape))
        for team in request.team.path:
            most = min(most, team.until_burst(request.total))
            if team.within(team.settled, request.total):
                most = min(most, team.until_guarantee(request.total))
        return max(1, most)

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
            for host, members in grant.placed.items():
                self._cluster.hosts.change(host, grant.request.shape.needs, sign * members)

    def _end(self, grant: Grant, beneficiary: Request) -> None:
        for reservation in self._decision.reservations:
            reservation.give_back(grant)
        copies = grant.count
        self._cluster.end(grant)
        self._left.append((grant.request, copies))
        self._decision.resting[grant.request.id] = beneficiary

    def _reserve(self, request: Request) -> None:
        """Keep room for the first that is blocked, and for those that have waited too long."""
        knobs, kept = self._cluster.knobs, self._decision.reservations
        bound = knobs.aging_bound_s
        aged = bound is not None and self._cluster.now - request.submit >= bound
        if any(each.owned_by(request) for each in kept):
            return
        easy = knobs.backfill == "easy" and not kept and self._cluster.known_ends > 0
        if easy or (aged and len(kept) < MOST_RESERVATIONS):
            reservation = reserve(self._cluster, request, kept, aged=aged)
            if reservation is not None:
                kept.append(reservation)
