"""One round: who starts where, and who leaves for whom (C1 to C12). The same for the same cluster."""

from __future__ import annotations

from typing import Final

from mwfs_scheduler.fair_share.booking import Booking, Decision, within_burst
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.contest import Contest
from mwfs_scheduler.fair_share.making_room import RoomMaking
from mwfs_scheduler.fair_share.model import Host, Request, Shape
from mwfs_scheduler.fair_share.reservations import Limits, limits_for, reserve
from mwfs_scheduler.fair_share.rooms import fitting
from mwfs_scheduler.fair_share.search import reclaims
from mwfs_scheduler.fair_share.teams import Line
from mwfs_scheduler.fair_share.victims import VictimSearch, may_ask

#: Of those that have waited too long, so many have room kept for them at a time.
MOST_RESERVATIONS: Final = 64


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
        and not (reclaim and cluster.waiting.hopes)
        and knobs.aging_bound_s is None
        and (knobs.backfill == "none" or not cluster.known_ends)
    )


class _Round:
    def __init__(self, cluster: Cluster, searches: int | None) -> None:
        self._cluster = cluster
        self._most_searches = searches
        self._booking = Booking(cluster)
        self._decision = self._booking.decision
        #: Shapes for which no host has room beside what is reserved.
        self._limited: set[Shape] = set()
        knobs = cluster.knobs
        #: Without known ends there is no time to keep room for.
        backfills = knobs.backfill != "none" and (cluster.known_ends > 0 or not cluster.told)
        self._reserves = backfills or knobs.aging_bound_s is not None
        cluster.waiting.one_by_one = not self._reserves
        self._search = VictimSearch(cluster)
        self._room_making = RoomMaking(cluster, self._booking, self._search)

    def run(self, reclaim: bool) -> Decision:
        cluster, decision = self._cluster, self._decision
        cluster.waiting.take_up()
        self._room_making.start_intended()
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
        return self._booking.finish()

    def _serve_all(self) -> None:
        """Serve those who are awake, in their order, until all have started or sleep."""
        cluster = self._cluster
        contest = Contest(cluster, self._could_start)
        stirred = cluster.waiting.stirred
        stirred.clear()
        while (request := contest.next()) is not None:
            self._serve(request, contest)
            contest.served(request.team)
            for shape in self._booking.filled:
                contest.full(shape)
            self._booking.filled.clear()
            if stirred:
                self._limited.clear()
                contest.stirred(stirred)
                stirred.clear()

    # --- one request --------------------------------------------------------------------------------------------------

    def _could_start(self, line: Line, request: Request) -> bool:
        """Whether the request may hold a turn: it has room, or may ask others to make some. Else its line rests."""
        if self._reserves:
            return True  # who is blocked first has room kept for it
        waiting, fits_burst = self._cluster.waiting, within_burst(request)
        if fits_burst and waiting.witnesses.has_room(request.shape):
            return True
        if line not in waiting.hopes and may_ask(self._cluster, request):
            if self._reserves or self._cluster.told or not self._search.is_in_vain(request):
                return True
            waiting.hopes.add(line, self._cluster.version, eager=False, fits_burst=fits_burst)
        if fits_burst:
            waiting.tried(line)
        else:
            waiting.sleep(line)
        return False

    def _serve(self, request: Request, contest: Contest) -> None:
        """Start the request, or make room for it, or let its line rest."""
        cluster, shape = self._cluster, request.shape
        waiting = cluster.waiting
        fits_burst = within_burst(request)
        limits = limits_for(self._decision.reservations, request, cluster.now)
        if fits_burst and not waiting.witnesses.is_full(shape) and shape not in self._limited:
            hosts = cluster.hosts.place(shape, limits)
            if hosts is not None:
                copies = 1
                if request.copies > 1:
                    copies = self._in_a_row(request, hosts[0], limits, contest)
                cluster.take(request, copies)
                self._booking.start(request, hosts, copies)
                return
            if limits:
                self._limited.add(shape)
            else:
                waiting.witnesses.no_room(shape)
        if cluster.told and may_ask(cluster, request) and self._room_making.join_in(request):
            return
        if self._most_searches is not None and self._search.searches >= self._most_searches:
            waiting.postpone(request.team.lines[shape])
            return
        victims = self._search.find(request, limits)
        if victims is not None:
            self._room_making.make_room(request, victims)
            return
        line = request.team.lines[shape]
        if fits_burst:
            self._reserve(request)
        if may_ask(cluster, request):
            waiting.hopes.add(line, cluster.version, eager=reclaims(cluster, request), fits_burst=fits_burst)
        if fits_burst and waiting.witnesses.is_full(shape):
            waiting.tried(line)
        else:
            waiting.sleep(line)

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
        most = self._cluster.waiting.witnesses.until_less_room(host, shape, most)
        return contest.in_a_row(request, most) if most > 1 else 1

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
