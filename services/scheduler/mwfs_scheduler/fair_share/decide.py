"""One round: who starts where, and who leaves for whom (C1 to C12). The same for the same cluster."""

from __future__ import annotations

from mwfs_scheduler.fair_share.booking import Booking, Decision
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.backfill import Backfill, Bound
from mwfs_scheduler.fair_share.keeping.reservations import Limits, binding, limits_for
from mwfs_scheduler.fair_share.leaving.few import MOST_RUNNING
from mwfs_scheduler.fair_share.leaving.making_room import RoomMaking
from mwfs_scheduler.fair_share.leaving.search import reclaims
from mwfs_scheduler.fair_share.leaving.victims import VictimSearch, may_ask
from mwfs_scheduler.fair_share.model import Host, Request
from mwfs_scheduler.fair_share.order.contest import Contest
from mwfs_scheduler.fair_share.order.turns import Turn
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.fair_share.state.teams import Line
from mwfs_scheduler.fair_share.waiting.hopes import Helped


def decide(cluster: Cluster, *, reclaim: bool = True, searches: int | None = None) -> Decision:
    """Start all that may start now, and make room where the contract allows it.

    Without `reclaim`, those who found nobody to ask before are not looked at again, unless they could start by themselves.
    After so many searches for victims the rest is left for the next round; `cluster.waiting.is_postponed` says so.
    """
    return Decision(at_rest=True) if _is_at_rest(cluster, reclaim) else _Round(cluster, searches).run(reclaim)


def _is_at_rest(cluster: Cluster, reclaim: bool) -> bool:
    """Whether nothing has happened that could change anything; most messages of the service only say that something has ended."""
    return (
        cluster.told
        and not cluster.waiting.is_restless
        and not cluster.waiting.is_postponed
        and not cluster.intents_changed
        and not (reclaim and cluster.waiting.hopes)
        and (not cluster.waiting.is_bound or cluster.waiting.bound_at == (cluster.version, cluster.now))
    )


class _Round:
    def __init__(self, cluster: Cluster, searches: int | None) -> None:
        self._cluster = cluster
        self._most_searches = searches
        self._booking = Booking(cluster)
        self._decision = self._booking.decision
        #: Shapes for which no host has room beside what is reserved.
        self._limited = Bound()
        knobs = cluster.knobs
        backfills = knobs.backfill == "easy" or knobs.aging_bound_s is not None
        self._backfill = Backfill(cluster, self._decision.reservations) if backfills else None
        self._search = VictimSearch(cluster)
        self._room_making = RoomMaking(cluster, self._booking, self._search)

    def run(self, reclaim: bool) -> Decision:
        cluster, decision = self._cluster, self._decision
        cluster.waiting.take_up()
        self._room_making.start_intended()
        before: tuple[int, int] | None = None
        while before != (len(decision.started), len(decision.leaving)):
            # Who has started may have gone over its guarantee with what ran before, and whose work was told to leave uses less
            # of it: there may be more to ask.
            before = len(decision.started), len(decision.leaving)
            if reclaim:
                cluster.waiting.rouse_hopeful(cluster.version, self._search, told=cluster.told)
            if cluster.waiting.is_restless:
                self._serve_all()
        decision = self._booking.finish()
        cluster.waiting.bound_at = cluster.version, cluster.now
        return decision

    def _serve_all(self) -> None:
        """Serve those who are awake, in their order, until all have started or sleep."""
        cluster = self._cluster
        contest = Contest(cluster, self._could_start, self._tries)
        stirred = cluster.waiting.stirred
        stirred.clear()
        while True:
            request = contest.next()
            if request is None:
                if not self._ask_again():
                    return
                contest.stirred(stirred)
                stirred.clear()
                continue
            if self._backfill is not None:
                self._backfill.keep_before(request)
            self._serve(request, contest)
            contest.served(request.team)
            contest.started(request.team, request.total)
            for shape in self._booking.filled:
                contest.full(shape)
            self._booking.filled.clear()
            self._ask_again()
            if stirred or self._booking.released:
                self._booking.released = False
                self._limited.clear()
                cluster.waiting.unbind()
                if self._backfill is not None:
                    self._backfill.stirred(stirred)
                contest.stirred(stirred)
                stirred.clear()

    def _ask_again(self) -> bool:
        cluster = self._cluster
        return cluster.waiting.ask_again(cluster.version, self._search, told=cluster.told)

    # --- one request --------------------------------------------------------------------------------------------------

    def _could_start(self, line: Line, request: Request) -> bool:
        """Whether the request may hold a turn: it has room, or may ask others to make some. Else its line rests."""
        waiting, fits_burst = self._cluster.waiting, request.team.within_limits(request.total)
        limited = self._is_limited(request)
        if fits_burst and not limited and waiting.witnesses.has_room(request.shape):
            return True
        if not fits_burst and line in waiting.hopes and waiting.hopes.at_limit(line) and self._frees_its_limit(line):
            waiting.hopes.drop(line)
        if line not in waiting.hopes and may_ask(self._cluster, request):
            if self._has_asked_enough():
                waiting.postpone(line)
                return False
            if limited or self._cluster.told or not self._asks_in_vain(request):
                return True
            waiting.hopes.add(line, self._cluster.version, helped=self._search.helped(request), fits_burst=fits_burst)
        self._let_rest(line, fits_burst, limited=limited)
        return False

    def _tries(self) -> bool:
        """Whether so few run that it is tried at once whether others would leave."""
        return len(self._cluster.grants) <= MOST_RUNNING and not self._cluster.told

    def _asks_in_vain(self, request: Request) -> bool:
        """Whether it would find nobody. Where few run that is tried at once, and after each start, so that it stands before nobody else of its team (C3)."""
        if not self._tries() or self._cluster.intents:
            return self._search.is_in_vain(request)
        return self._search.find(request, limits_for(self._decision.reservations, request, self._cluster.now)) is None

    def _frees_its_limit(self, line: Line) -> bool:
        """Whether there is room, so that who found nobody to ask for that might now ask for a place below its burst limit."""
        return self._cluster.waiting.witnesses.has_room(line.shape) and not self._search.is_hopeless(line)

    def _has_asked_enough(self) -> bool:
        """Whether the others ask in the next round."""
        return self._most_searches is not None and self._search.searches >= self._most_searches

    def _is_limited(self, request: Request) -> bool:
        """Whether there is no room for it beside what is reserved for others."""
        kept = binding(self._decision.reservations, request, self._cluster.now)
        return bool(kept) and self._limited.has(request.shape, kept)

    def _let_rest(self, line: Line, fits_burst: bool, *, limited: bool) -> None:
        waiting = self._cluster.waiting
        if fits_burst and waiting.witnesses.is_full(line.shape):
            waiting.tried(line)
        elif fits_burst and limited:
            waiting.bind(line)
        else:
            waiting.sleep(line)

    def _serve(self, request: Request, contest: Contest) -> None:
        """Start the request, or make room for it, or let its line rest."""
        cluster, shape = self._cluster, request.shape
        waiting = cluster.waiting
        fits_burst = request.team.within_limits(request.total)
        limits = limits_for(self._decision.reservations, request, cluster.now)
        if fits_burst and not waiting.witnesses.is_full(shape) and not self._is_limited(request):
            hosts = self._place(request, limits)
            if hosts is not None:
                copies = 1
                if request.copies > 1:
                    copies = self._in_a_row(request, hosts[0], limits, contest)
                cluster.take(request, copies)
                self._booking.start(request, hosts, copies)
                return
            if limits:
                if self._start_one_of_its_shape(request, contest):
                    return
                self._limited.add(shape, binding(self._decision.reservations, request, cluster.now))
            else:
                waiting.witnesses.no_room(shape)
        by_right = fits_burst and reclaims(cluster, request)
        joins = cluster.told and may_ask(cluster, request)
        if cluster.intents and not cluster.told:
            joins = by_right and not limits and not self._is_behind(request)
        if joins and self._room_making.join_in(request):
            return  # those who have their notice leave enough: nobody else need
        evicts = by_right and (limits or shape.members > 1)
        if cluster.intents and not cluster.told and not evicts and cluster.fits_later(request):
            waiting.hopes.add(request.team.lines[shape], cluster.version, helped=Helped.ANYTHING, fits_burst=fits_burst)
            self._let_rest(request.team.lines[shape], fits_burst, limited=self._is_limited(request))
            return
        if self._has_asked_enough():
            waiting.postpone(request.team.lines[shape])
            return
        victims = self._search.find(request, limits)
        if victims is not None:
            self._room_making.make_room(request, victims)
            return
        line = request.team.lines[shape]
        if fits_burst and self._backfill is not None:
            self._backfill.keep(request)
        if may_ask(cluster, request):
            helped = Helped.ANYTHING if limits else self._search.helped(request)
            waiting.hopes.add(line, cluster.version, helped=helped, fits_burst=fits_burst)
        self._let_rest(line, fits_burst, limited=self._is_limited(request))

    def _is_behind(self, request: Request) -> bool:
        """Whether another of its team, that may not have that room kept, comes before it and will fit too once notices have ended (C3)."""
        ahead = (line.requests[0] for line in request.team.lines.values() if line.requests)
        return any(place < request.place and self._cluster.fits_later(other) for place, other in ahead)

    def _start_one_of_its_shape(self, request: Request, contest: Contest) -> bool:
        """Whether one of its shape, for which room is kept, has started: once the shape is bound it would have no turn."""
        kept = self._decision.reservations
        for owner in [each.request for each in kept]:
            if owner is not request and owner.shape == request.shape and owner.team.within_limits(owner.total):
                hosts = self._place(owner, limits_for(kept, owner, self._cluster.now))
                if hosts is not None:
                    self._cluster.take(owner, 1)
                    self._booking.start(owner, hosts, 1)
                    contest.served(owner.team)
                    contest.started(owner.team, owner.total)
                    return True
        return False

    def _place(self, request: Request, limits: Limits) -> list[Host] | None:
        """Where it starts: where room is kept for it, if that is there already."""
        for reservation in self._decision.reservations:
            if reservation.request is request and reservation.is_there(self._cluster.now):
                return reservation.hosts()
        return self._cluster.hosts.place(request.shape, limits)

    def _in_a_row(self, request: Request, host: Host, limits: Limits, contest: Contest) -> int:
        """How many copies would start on the host, one by one, before anything else happens; at least one."""
        shape = request.shape
        if any(each.request is request for each in self._decision.reservations):
            return 1
        most = min(request.copies, fitting(host.free, shape.needs))
        if host in limits:
            most = min(most, fitting(limits[host].amounts, shape.needs))
        for team in request.team.path:
            most = min(most, team.until_burst(request.total))
        most = self._cluster.waiting.witnesses.until_less_room(host, shape, most)
        most = contest.until_tight(request, most)
        return contest.in_a_row(request, most, self._next_blocked) if most > 1 else 1

    def _next_blocked(self, request: Request) -> Turn | None:
        return None if self._backfill is None else self._backfill.next_blocked(request)
