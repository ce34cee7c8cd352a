"""Room that is kept for a request that cannot start yet, so that smaller ones do not delay it for ever (EASY backfill)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.ends import Foreseen
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape, Time
from mwfs_scheduler.fair_share.state.rooms import fitting

#: For so many kinds of requests the earliest room is kept up to date.
MOST_FORESEEN: Final = 64


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be taken of a host that is reserved for somebody else."""

    amounts: list[int]
    #: When the other will start there; None when that is not known.
    at: Time | None

    def also(self, other: Limit) -> Limit:
        """Both at once."""
        at = max((each for each in (self.at, other.at) if each is not None), default=None)
        return Limit([min(pair) for pair in zip(self.amounts, other.amounts, strict=True)], at)

    def gains(self, grant: Grant) -> bool:
        """Whether there would be more to take if the grant left: it would still be there at that time."""
        return self.at is None or grant.ends is None or grant.ends > self.at


Limits = Mapping[Host, Limit]


@dataclass(slots=True, kw_only=True, eq=False)
class Reservation:
    """Where a request will start, and when at the latest."""

    request: Request
    #: None: not known, as nobody has said when what runs there will end.
    at: Time | None
    #: How many members go where.
    members: Mapping[Host, int]
    #: What others may take of a host without delaying it, unless they have ended by then.
    limits: Mapping[Host, Limit]
    #: Its owner has waited too long: whoever borrows is bound, and not only who comes after it.
    aged: bool = False

    def is_there(self, now: Time) -> bool:
        """Whether the room is free now, beside what was kept before it."""
        needs = self.request.shape.needs
        return self.at == now and all(
            host.open and fitting(host.free, needs) >= members for host, members in self.members.items()
        )

    def hosts(self) -> list[Host]:
        """The host of each member."""
        return [host for host, members in self.members.items() for _ in range(members)]

    def binds(self, request: Request, now: Time) -> bool:
        """Whether the request must stay within the limits."""
        if request is self.request or (self.aged and comes_before_borrowers(request)):
            return False
        duration = request.shape.duration
        return self.at is None or duration is None or now + duration > self.at

    def take(self, host: Host, shape: Shape, count: int) -> None:
        """A bound request has started so many members on the host."""
        limit = self.limits.get(host)
        if limit is not None:
            for resource, amount in shape.needs:
                limit.amounts[resource] -= amount * count

    def give_back(self, grant: Grant, sign: int = 1) -> None:
        """A grant leaves (1), or is there again (-1)."""
        for host, members in grant.placed.items():
            limit = self.limits.get(host)
            if limit is not None and limit.gains(grant):
                for resource, amount in grant.request.shape.needs:
                    limit.amounts[resource] += sign * amount * members


def comes_before_borrowers(request: Request) -> bool:
    """Whether its branch at the top stays within its guarantee with it."""
    top = request.team.path[0]
    return top.within(top.settled, request.total)


def binding(reservations: Sequence[Reservation], request: Request, now: Time) -> list[Reservation]:
    """The reservations of others that bind the request; none that was made beside its own."""
    found = []
    for reservation in reservations:
        if reservation.request is request:
            break
        if reservation.binds(request, now):
            found.append(reservation)
    return found


def limits_for(reservations: Sequence[Reservation], request: Request, now: Time) -> Limits:
    """What the request may take of hosts that are reserved for others."""
    limits: dict[Host, Limit] = {}
    for reservation in binding(reservations, request, now):
        for host, limit in reservation.limits.items():
            limits[host] = limit.also(limits[host]) if host in limits else limit
    return limits


def reserve(cluster: Cluster, request: Request, kept: Sequence[Reservation], *, aged: bool) -> Reservation | None:
    """The earliest room for the request by the known ends of what runs. None when that never comes.

    For a request that has aged, room that is there is kept too; and the hosts that lack least, if no time is known.
    """
    if not kept and not aged and request.shape.members == 1:
        return _on_one_host(cluster, request)
    room = _Room(cluster, request.shape, kept)
    if aged and room.fits >= request.shape.members:
        return room.reserve(request, cluster.now, aged=True)
    ending = (grant for grant in cluster.ends if grant.leaves_at is None)
    for at, grants in groupby(ending, key=attrgetter("ends")):
        for grant in grants:
            room.give(grant)
        if room.fits >= request.shape.members:
            return room.reserve(request, at, aged=aged)
    if not aged:
        return None
    free = room.all_free()
    chosen = _choose(_without(free, kept), request.shape, by=free)
    return None if chosen is None else _reservation(request, None, free, chosen, aged=True)


def _on_one_host(cluster: Cluster, request: Request) -> Reservation | None:
    """For one member, that does not fit now."""
    usable, needs = cluster.hosts.usable(request.shape), request.shape.needs
    foreseen = cluster.foreseen.get((usable, needs))
    if foreseen is None:
        if len(cluster.foreseen) >= MOST_FORESEEN:
            cluster.foreseen.clear()
        foreseen = cluster.foreseen[usable, needs] = Foreseen(cluster.hosts.changes, usable, needs)
    first = foreseen.first()
    if first is None:
        return None
    at, free = first
    chosen = _choose(free, request.shape)
    assert chosen is not None, "there will be room on each of them"
    return _reservation(request, at, free, chosen)


def _without(hosts: Iterable[Host], kept: Sequence[Reservation]) -> Mapping[Host, list[int]]:
    """What the hosts would have if nothing ran but those for whom room is kept."""
    left = {host: list(host.capacity) for host in hosts}
    for other in kept:
        for host, members in other.members.items():
            if host in left:
                for resource, amount in other.request.shape.needs:
                    left[host][resource] -= amount * members
    return left


class _Room:
    """What is free beside what is kept, and comes free."""

    def __init__(self, cluster: Cluster, shape: Shape, kept: Sequence[Reservation]) -> None:
        self._hosts = cluster.hosts.selected(shape.selector)
        self._usable = cluster.hosts.usable(shape)
        self._needs = shape.needs
        #: Of those hosts on which something is kept, or has come free.
        self._free: dict[Host, list[int]] = {}
        #: How many members fit in all.
        self.fits = cluster.hosts.rooms(shape).total()
        for other in kept:
            for host, members in other.members.items():
                self._change(host, other.request.shape, -members)

    def give(self, grant: Grant) -> None:
        """The grant has ended."""
        for host, members in grant.placed.items():
            self._change(host, grant.request.shape, members)

    def reserve(self, request: Request, at: Time, *, aged: bool) -> Reservation:
        """For a request that fits."""
        free = self.all_free()
        chosen = _choose(free, request.shape)
        assert chosen is not None, "the members that fit were counted"
        return _reservation(request, at, free, chosen, aged=aged)

    def all_free(self) -> dict[Host, Sequence[int]]:
        """What is free on each host."""
        return {host: self._free.get(host, host.free) for host in self._hosts}

    def _change(self, host: Host, shape: Shape, members: int) -> None:
        if host in self._usable:
            free = self._free.get(host)
            if free is None:
                free = self._free[host] = list(host.free)
            self.fits -= fitting(free, self._needs)
            for resource, amount in shape.needs:
                free[resource] += amount * members
            self.fits += fitting(free, self._needs)


def _choose(
    free: Mapping[Host, Sequence[int]], shape: Shape, by: Mapping[Host, Sequence[int]] | None = None
) -> dict[Host, int] | None:
    """How many members go to which host; hosts with most room first."""
    first = shape.needs[0][0] if shape.needs else 0
    rooms = [(host, fitting(amounts, shape.needs)) for host, amounts in free.items()]
    rooms.sort(key=lambda room: (-(by or free)[room[0]][first], room[0].id))
    chosen: dict[Host, int] = {}
    left = shape.members
    for host, fits in rooms:
        if fits:
            chosen[host] = min(fits, left)
            left -= chosen[host]
            if not left:
                return chosen
    return None


def _reservation(
    request: Request,
    at: Time | None,
    free: Mapping[Host, Sequence[int]],
    chosen: Mapping[Host, int],
    *,
    aged: bool = False,
) -> Reservation:
    limits = {}
    for host, members in chosen.items():
        amounts = list(free[host])
        for resource, amount in request.shape.needs:
            amounts[resource] -= amount * members
        limits[host] = Limit(amounts, at)
    return Reservation(request=request, at=at, members=chosen, limits=limits, aged=aged)
