"""A trial on a copy of the counters: who would have to leave for a request to start. Nothing is changed here."""

# Victims are taken one by one, top-down from the branch that is most above its guarantee, until the request would start.
# Then those that turned out not to be needed are put back, the last one first. Usage only falls during a trial, so a
# branch or a grant that has been passed over need not be looked at again.

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Limits
from mwfs_scheduler.fair_share.leaving.asking import Asker, Asking, Branch, Only
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.state.rooms import PLENTY, fitting
from mwfs_scheduler.fair_share.state.teams import Team


class Care(Enum):
    """Who may be taken, in what order (C7)."""

    #: Borrowers that keep their guarantee, then the own team's lower priorities.
    ALWAYS = auto()
    #: The same, and then borrowers that end under their guarantee.
    FIRST = auto()
    #: Borrowers as they come, then the own team's lower priorities.
    NEVER = auto()


def asker_for(cluster: Cluster, request: Request) -> Asker:
    """The request as one who asks."""
    path, knobs = request.team.path, cluster.knobs
    highest = {"any": None, "lower_or_equal": request.priority, "lower": request.priority - 1}
    return Asker(
        request=request,
        path=path,
        may_reclaim=[branch.within(branch.settled, request.total) for branch in path],
        asked=request.total,
        asked_for=tuple(resource for resource, _ in request.total),
        resources=frozenset(resource for resource, _ in request.total),
        usable=cluster.hosts.usable(request.shape),
        highest=highest[knobs.reclaim_priority],
        tight=request.team.tight(request.total),
    )


class Trial:
    """One search for one request. `only`: nobody else is taken; as `Team.leaving`, by team.

    `below`: a team of its path with a burst limit that is in the way; it is as if there were room, and nobody else is taken.
    """

    def __init__(
        self,
        cluster: Cluster,
        request: Request,
        limits: Limits,
        borrowers: Sequence[Branch],
        *,
        care: Care,
        asker: Asker,
        only: Only | None = None,
        below: Team | None = None,
    ) -> None:
        self._hosts = cluster.hosts
        self._request = request
        self._limits = limits
        self._care = care
        self.taken: list[Grant] = []
        self._usable = cluster.hosts.usable(request.shape)
        self._free: dict[Host, list[int]] = {}
        self._rooms: dict[Host, int] = {}
        #: What may be taken of hosts that are reserved for others, with those taken gone.
        self._limited = {host: list(limit.amounts) for host, limit in limits.items()}
        self._tight = asker.tight
        self._asking = Asking(cluster.knobs, cluster.now, asker, borrowers, only=only, below=below)
        self._asking.begin(careful=care is not Care.NEVER)
        self._room = self._room_now()
        self.has_room = self._room >= request.shape.members
        if below is not None:
            self._room = PLENTY

    def run(self) -> bool:
        """Take victims until the request would start, then put back those that are not needed."""
        asking = self._asking
        if not (self._take(asking.borrower) or self._take(asking.of_own_team)):
            if self._care is not Care.FIRST:
                return False
            asking.begin(careful=False)
            if not self._take(asking.borrower):
                return False
        self._put_back()
        return True

    def _put_back(self) -> None:
        with_room = [host for host, room in self._rooms.items() if room]
        if len(with_room) == 1 and self._room == self._rooms[with_room[0]] and not self._tight:
            # All the room is on one host, so that nobody elsewhere need leave.
            self.taken = [grant for grant in self.taken if with_room[0] in grant.hosts]
        for victim in reversed(self.taken[:]):
            self._asking.stay(victim)
            self._count(victim, -1)
            if self._starts():
                self.taken.remove(victim)
            else:
                self._asking.leave(victim)
                self._count(victim, 1)

    def _take(self, choose: Callable[[], Grant | None]) -> bool:
        while not self._starts():
            victim = choose()
            if victim is None:
                return False
            self.taken.append(victim)
            self._asking.leave(victim)
            self._count(victim, 1)
        return True

    # --- what the cluster would be ------------------------------------------------------------------------------------

    def _starts(self) -> bool:
        if self._room < self._request.shape.members:
            return False
        for branch in self._tight:
            left = self._asking.left_of(branch)
            usage = [
                used - (before - now) for used, before, now in zip(branch.usage, branch.settled, left, strict=True)
            ]
            if branch.past_burst(usage, self._request.total) is not None:
                return False
        return True

    def _room_now(self) -> int:
        """How many members fit before anybody leaves."""
        shape = self._request.shape
        if shape.members == 1:
            return 0 if self._hosts.place(shape, self._limits) is None else 1
        return sum(self._fits(host, host.free) for host in self._hosts.selected(shape.selector))

    def _fits(self, host: Host, free: Sequence[int]) -> int:
        fits = fitting(free, self._request.shape.needs)
        if fits and host in self._limited:
            fits = min(fits, fitting(self._limited[host], self._request.shape.needs))
        return fits

    def _count(self, grant: Grant, sign: int) -> None:
        """The grant leaves (1), or stays after all (-1)."""
        for host, members in grant.placed.items():
            free = self._free.setdefault(host, list(host.free))
            if host not in self._rooms:
                self._rooms[host] = self._fits(host, free) if host in self._usable else 0
            _less(free, grant.request.shape.needs, -sign * members)
            if host in self._limited and self._limits[host].gains(grant):
                _less(self._limited[host], grant.request.shape.needs, -sign * members)
            if host in self._usable:
                fits = self._fits(host, free)
                self._room += fits - self._rooms[host]
                self._rooms[host] = fits


def _less(amounts: list[int], asked: Sequence[tuple[int, int]], times: int) -> None:
    for resource, amount in asked:
        amounts[resource] -= amount * times
