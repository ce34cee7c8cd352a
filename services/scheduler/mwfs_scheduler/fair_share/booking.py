"""What a round books: who starts, who leaves, and what of the room that is kept for others that takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Reservation
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape


@dataclass(slots=True, kw_only=True)
class Decision:
    """What a round has changed; all of it is booked in the cluster already."""

    started: list[Grant] = field(default_factory=list)
    #: (who leaves, for whom), in order.
    leaving: list[tuple[Grant, Request]] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    #: Who has left in this round and waits again, and for whom.
    resting: dict[str, Request] = field(default_factory=dict)
    #: Nothing could have changed, so nothing was looked at: what was kept by the decision before is kept.
    at_rest: bool = False


class Booking:
    """The decision of one round as it grows, and how each step of it is booked in the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.decision = Decision()
        #: Shapes that have no room since the last start.
        self.filled: list[Shape] = []
        #: Somebody has started for whom room was kept: others may take what that leaves.
        self.released = False
        self._left: list[tuple[Request, int]] = []
        #: What has started in this round and may hold more copies.
        self._growing: dict[tuple[Request, Host], Grant] = {}

    def start(self, request: Request, hosts: list[Host], copies: int) -> None:
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
                self.decision.started.append(grant)
            left -= count
        for host in dict.fromkeys(hosts):
            self.filled += cluster.waiting.witnesses.less_room_on(host)
        self.bind(request, hosts, copies)

    def bind(self, request: Request, hosts: list[Host], copies: int) -> None:
        """What others have reserved on these hosts becomes less."""
        kept = self.decision.reservations
        for reservation in kept:
            if reservation.request is request:
                kept.remove(reservation)
                self.released = True
                return  # those after it were made beside it
            if reservation.binds(request, self._cluster.now):
                for host in hosts:
                    reservation.take(host, request.shape, copies)

    def end(self, grant: Grant, beneficiary: Request) -> None:
        """The grant leaves for somebody, and waits again after the round."""
        for reservation in self.decision.reservations:
            reservation.give_back(grant)
        copies = grant.count
        self._cluster.end(grant)
        self._left.append((grant.request, copies))
        self.decision.resting[grant.request.id] = beneficiary

    def finish(self) -> Decision:
        """Who has left waits again, and who has started may be asked to leave."""
        for request, copies in self._left:
            self._cluster.wait_too(request, copies)
        self._cluster.may_be_asked(*self.decision.started)
        return self.decision
