"""Room that others make: who is told to leave for a request, and who starts once they have left."""

from __future__ import annotations

from collections.abc import Sequence

from mwfs_scheduler.fair_share.booking import Booking
from mwfs_scheduler.fair_share.cluster import Cluster, Intent, counted
from mwfs_scheduler.fair_share.keeping.reservations import limits_for
from mwfs_scheduler.fair_share.leaving.victims import VictimSearch
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.state.rooms import fitting


class RoomMaking:
    """The part of one round in which others leave."""

    def __init__(self, cluster: Cluster, booking: Booking, search: VictimSearch) -> None:
        self._cluster = cluster
        self._search = search
        self._booking = booking
        self._decision = booking.decision

    # --- those who were told before -----------------------------------------------------------------------------------

    def start_intended(self) -> None:
        """Start those whose room is free: by itself, and then the notices are void; or because the notices have ended."""
        cluster = self._cluster
        for intent in cluster.look_at_intents():
            request = intent.request
            waits = intent.leaving and (cluster.told or intent.until > cluster.now) and self._stands(intent)
            if waits and not cluster.might_start(intent):
                continue
            staying = () if cluster.told or intent.joined else intent.leaving
            given = cluster.stand_back(intent)
            starts = self._fits_below_limits(request, staying) and self._start_where_free(intent)
            if waits and not starts:
                cluster.stand_by(intent)
                continue
            cluster.forget_intent(intent, given)
            if starts:
                for grant in staying:
                    cluster.let_stay(grant)
            else:
                for grant in staying:
                    self._booking.end(grant, request)
                if not self._start_where_free(intent):
                    cluster.wait_too(request.whole or request, request.part)
            cluster.waiting.rouse(request.team.path[0].subtree())

    def _fits_below_limits(self, request: Request, staying: Sequence[Grant]) -> bool:
        """Whether burst limits leave room for it, also once others start for whom room is being made, if these stay."""
        for grant in staying:
            grant.request.team.settle(grant.total, 1)
        fits = request.team.within_limits(request.total)
        for grant in staying:
            grant.request.team.settle(grant.total, -1)
        return fits

    def _start_where_free(self, intent: Intent) -> bool:
        request = intent.request
        if not request.team.within_limits(request.total):
            return False
        hosts = self._free_as_planned(intent) or self._cluster.hosts.place(request.shape, {})
        if hosts is None:
            return False
        self._booking.start(request.whole or request, hosts, request.part)
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

    # --- those who are told now ---------------------------------------------------------------------------------------

    def make_room(self, request: Request, victims: list[Grant]) -> None:
        """The victims leave, and the request starts: at once, or when they have left."""
        cluster = self._cluster
        for grant in victims:
            self._decision.leaving.append((grant, request))
            if not cluster.told:  # else whoever asks for it again says how often it had to leave
                grant.request.preemptions += 1
        if cluster.knobs.grace_s == 0 and not cluster.told:
            cluster.waiting.hold_back()
            for grant in victims:
                self._booking.end(grant, request)
            limits = limits_for(self._decision.reservations, request, cluster.now)
            hosts = cluster.hosts.place(request.shape, limits)
            assert hosts is not None, "the search has shown that there is room"
            cluster.take(request, 1)
            self._booking.start(request, hosts, 1)
            cluster.waiting.tell()
            # What they leave over may be what somebody else, who asks others to leave, was short of.
            cluster.waiting.rouse_hopeful(cluster.version, self._search, told=False)
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
        self._booking.bind(request, hosts, 1)
        cluster.intend(Intent(request=request, hosts=hosts, leaving=list(victims), until=until))
        if not cluster.told:
            # Their team uses less of its guarantee, and that of the request more.
            cluster.waiting.rouse_hopeful(cluster.version, self._search, told=False)

    def join_in(self, request: Request) -> bool:
        """Whether those who leave already will leave enough room: then nobody else need."""
        cluster = self._cluster
        found = (
            cluster.leaving_room(request)
            if request.shape.members == 1 and request.team.within_limits(request.total)
            else None
        )
        if found is None:
            return False
        host, fits = found
        leaving = cluster.leaving_on(host)
        until = max(grant.leaves_at or cluster.now for grant in leaving)
        if cluster.told or request.copies > 1:
            request = cluster.part(request, self._rightful(request, fits))
        else:
            cluster.take(request, 1)
        self._booking.bind(request, [host], 1)
        cluster.intend(Intent(request=request, hosts=[host], leaving=leaving, until=until, joined=True))
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
