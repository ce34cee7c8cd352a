"""On which hosts there would be room first if work above its guarantee left, one after the other (C7, C9)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final

from mwfs_scheduler.fair_share.keeping.reservations import Limits
from mwfs_scheduler.fair_share.model import Grant, Host
from mwfs_scheduler.fair_share.state.rooms import Needs, fitting
from mwfs_scheduler.fair_share.state.teams import LeavingPlace

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.leaving.borrowers import Borrowers

#: When somebody leaves: first by group (see `borrowers`; the own team's lower priorities are `OWN`), then the share of its
#: branch, negative, and the branch, then its place there.
Turn = tuple[int, int, str, LeavingPlace]
OWN: Final = 1

Step = tuple[Turn, Grant]
#: At this turn room for so many more members comes on the host.
_Event = tuple[Turn, str, int, Host]
_First = tuple[Turn, str, Host]


class Openings:
    """For members with these needs: the hosts by the turn at which room for one more comes."""

    def __init__(self, borrowers: Borrowers, needs: Needs) -> None:
        self._borrowers = borrowers
        self._needs = needs
        #: Where it has read to, of hosts on which somebody leaves earlier.
        self._seen = -1
        #: The turn at which the first room comes on a host, or one before it: turns only come later without a notice.
        #: Which it is, is worked out when the host comes first.
        self._first: dict[Host, Turn] = {}
        #: The same as a heap; what `_first` does not say is void.
        self._heap: list[_First] = []
        self._aside: set[Host] = set()
        self._popped: set[Host] = set()

    def steps(self, host: Host) -> Sequence[Step]:
        """Who on the host would leave, in order."""
        return self._borrowers.on_hosts.steps(host)[0]

    def _place(self) -> None:
        """Put the hosts that have changed where the first leaves there: no room comes before that."""
        heap, first, borrowers, needs = self._heap, self._first, self._borrowers, self._needs
        usable, on_hosts, changes = borrowers.usable, borrowers.on_hosts, borrowers.earlier
        if self._seen == changes.end:
            return
        earlier, self._seen = changes.since(self._seen), changes.end
        for host in borrowers.hosts() if earlier is None else set(earlier):
            steps, freed = on_hosts.steps(host) if host in usable else ((), ())
            if not freed or fitting(freed[-1], needs) <= fitting(host.free, needs):
                first.pop(host, None)
            else:
                turn = steps[0][0]
                if first.get(host) != turn:
                    first[host] = turn
                    heappush(heap, (turn, host.id, host))
        if len(heap) > 64 + 4 * len(first):
            self._heap = sorted((turn, host.id, host) for host, turn in first.items())

    def _first_turn(self, host: Host) -> Turn | None:
        """When there is room for one more member."""
        needs = self._needs
        (steps, freed), fits = self._borrowers.on_hosts.steps(host), fitting(host.free, needs)
        at = bisect_right(freed, fits, key=lambda free: fitting(free, needs))
        return steps[at][0] if at < len(steps) else None

    def first(self) -> tuple[Turn, Host] | None:
        """The host on which room comes first, and when."""
        self._place()
        heap, first = self._heap, self._first
        while heap:
            turn, _, host = heap[0]
            if host in self._aside or first.get(host) != turn:
                if host in self._aside:
                    self._popped.add(host)
                heappop(heap)
                continue
            now = self._first_turn(host)
            if now == turn:
                return turn, host
            if now is None:
                del first[host]
                heappop(heap)
            else:
                first[host] = now
                heapreplace(heap, (now, host.id, host))
        return None

    def set_aside(self, host: Host) -> None:
        """Leave the host out until `put_back`."""
        self._aside.add(host)

    def put_back(self) -> None:
        """Nothing is left out any more."""
        for host in self._popped:
            turn = self._first.get(host)
            if turn is not None:
                heappush(self._heap, (turn, host.id, host))
        self._popped.clear()
        self._aside.clear()


def leaving_until(
    needs: Needs,
    usable: Collection[Host],
    *,
    members: int,
    own: Mapping[Host, Sequence[Step]],
    openings: Openings | None,
    careful: bool,
    limits: Limits,
) -> tuple[list[Grant], list[Host]] | None:
    """Who has left when so many members more fit: those on the hosts that matter, in order, and these hosts. None: they never do.

    `own`: hosts with work that nobody else may ask, and those with `limits`, and all who would leave there. Without `openings` only those are asked.
    """
    last = OWN if careful else OWN + 1
    ahead = [event for host, steps in own.items() if host in usable for event in _events(host, needs, steps, limits)]
    heapify(ahead)
    steps_on = dict(own)
    turn: Turn | None = None
    hosts: dict[Host, None] = {}
    if openings is not None:
        for host in own:
            openings.set_aside(host)
    while True:
        first = None if openings is None else openings.first()
        if openings is not None and first is not None and (not ahead or first[0] <= ahead[0][0]):
            host = first[1]
            openings.set_aside(host)
            steps_on[host] = openings.steps(host)
            for event in _events(host, needs, steps_on[host], limits):
                heappush(ahead, event)
        elif not ahead or (members <= 0 and ahead[0][0] != turn) or ahead[0][0][0] > last:
            break
        else:
            turn, _, more, host = heappop(ahead)
            members -= more
            hosts[host] = None
    if openings is not None:
        openings.put_back()
    if turn is None or members > 0:
        return None
    left = {grant: when for host in hosts for when, grant in steps_on[host] if when <= turn}
    return sorted(left, key=left.__getitem__), list(hosts)


def _events(host: Host, needs: Needs, steps: Sequence[Step], limits: Limits) -> list[_Event]:
    """At which turns there is room for more members on the host."""
    rooms = Rooms({host: list(host.free)}, limits)
    fits = rooms.fits(host, needs)
    found: list[_Event] = []
    for turn, grant in steps:
        rooms.give(grant, 1)
        now = rooms.fits(host, needs)
        if now > fits:
            found.append((turn, host.id, now - fits, host))
            fits = now
    return found


class Rooms:
    """What is free on these hosts, beside what is kept for others there, while grants leave."""

    def __init__(self, free: dict[Host, list[int]], limits: Limits) -> None:
        self._free = free
        self._limits = limits
        self._kept = {host: list(limits[host].amounts) for host in limits if host in free}

    def fits(self, host: Host, needs: Needs) -> int:
        """How many members fit there."""
        fits = fitting(self._free[host], needs)
        return fits if not fits or host not in self._kept else min(fits, fitting(self._kept[host], needs))

    def give(self, grant: Grant, times: int) -> None:
        """What the grant holds of the hosts is free (1), or not (-1)."""
        free, kept = self._free, self._kept
        for host in grant.hosts if len(grant.hosts) == 1 else dict.fromkeys(grant.hosts):
            there = free.get(host)
            if there is not None:
                members = times * host.grants[grant]
                _more(there, grant, members)
                if host in kept and self._limits[host].gains(grant):
                    _more(kept[host], grant, members)


def _more(amounts: list[int], grant: Grant, members: int) -> None:
    for resource, amount in grant.request.shape.needs:
        amounts[resource] += amount * members
