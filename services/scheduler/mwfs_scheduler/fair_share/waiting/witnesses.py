"""For which shapes some host has room, kept up to date by a host that shows it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from mwfs_scheduler.fair_share.model import Host, Shape
from mwfs_scheduler.fair_share.state.hosts import Hosts, matches
from mwfs_scheduler.fair_share.state.rooms import fitting


class Witnesses:
    """The shapes of all that waits, in as far as they have been asked about."""

    def __init__(self, hosts: Hosts, filled: Callable[[Shape], None]) -> None:
        self._hosts = hosts
        #: To be called for a shape for which no host has room any more.
        self._filled = filled
        self._full: dict[Shape, None] = {}
        #: For shapes of one member that have room: a host that has it, and the other way round.
        self._witness: dict[Shape, Host] = {}
        self._witnessed: dict[Host, dict[Shape, None]] = {}
        #: How often something has been taken from a host.
        self._taken = 0
        #: For gangs that have room: up to which of those times that is sure; and the same as a heap, in which the rest is void.
        self._sure_until: dict[Shape, int] = {}
        self._next_unsure: list[tuple[int, int, Shape]] = []
        #: What had changed on hosts when they were counted.
        self._counted_at: dict[Shape, int] = {}
        self._numbers = count()

    def no_room(self, shape: Shape) -> None:
        """No host has room for the shape."""
        self._full[shape] = None
        self._filled(shape)

    def is_full(self, shape: Shape) -> bool:
        """Whether no host is known to have room for the shape."""
        return shape in self._full

    def has_room(self, shape: Shape) -> bool:
        """Whether the shape would fit now."""
        if shape in self._full:
            return False
        if shape.members > 1:
            if shape not in self._sure_until or self._counted_at[shape] != self._hosts.changes.end:
                self._count(shape)
        elif shape not in self._witness:
            self._find(shape)
        return shape not in self._full

    def less_room_on(self, host: Host) -> list[Shape]:
        """The shapes that have no room any more, now that there is less on the host."""
        shapes = [each for each in self._witnessed.get(host, ()) if not fitting(host.free, each.needs)]
        for shape in shapes:
            del self._witnessed[host][shape]
            del self._witness[shape]
            self._find(shape)
        self._taken += 1
        for gang in self._unsure_at(self._taken):
            self._count(gang)
            shapes.append(gang)
        return [shape for shape in shapes if shape in self._full]

    def until_less_room(self, host: Host, shape: Shape, most: int) -> int:
        """How many of the shape, at most `most`, can start on the host before another shape may have no room any more.

        The last of them may be the one that takes it.
        """
        for other in self._witnessed.get(host, ()):
            wanted = dict(other.needs)
            for resource, amount in shape.needs:
                if resource in wanted:
                    most = min(most, (host.free[resource] - wanted[resource]) // amount + 1)
        for gang in self._unsure_at(self._taken + 1):
            most = min(most, self._until_full(gang, host, shape, most))
            self._count(gang)
        return most

    def room_on(self, host: Host) -> list[Shape]:
        """The shapes that may have room again, now that there is more on the host."""
        shapes = [each for each in self._full if fitting(host.free, each.needs) and matches(host, each.selector)]
        for shape in shapes:
            del self._full[shape]
        return shapes

    def forget(self, shape: Shape) -> None:
        """Nobody asks for the shape any more."""
        self._full.pop(shape, None)
        self._sure_until.pop(shape, None)
        self._counted_at.pop(shape, None)
        witness = self._witness.pop(shape, None)
        if witness is not None:
            del self._witnessed[witness][shape]

    def forget_all(self) -> None:
        """Hosts are others than before."""
        self._full.clear()
        self._witness.clear()
        self._witnessed.clear()
        self._sure_until.clear()
        self._counted_at.clear()
        self._next_unsure.clear()

    def _count(self, gang: Shape) -> None:
        """Whether the gang has room, and for how long that is sure: no host takes more members with it than fit on one now."""
        rooms = self._hosts.rooms(gang)
        spare = rooms.total() - gang.members
        if spare < 0:
            self._sure_until.pop(gang, None)
            self.no_room(gang)
            return
        until = self._taken + spare // rooms.largest()
        self._counted_at[gang] = self._hosts.changes.end
        if self._sure_until.get(gang) != until:  # else it stands there already
            self._sure_until[gang] = until
            heappush(self._next_unsure, (until, next(self._numbers), gang))

    def _unsure_at(self, taken: int) -> list[Shape]:
        """The gangs that may have no room any more once so much has been taken; they have to be counted anew."""
        found = []
        while self._next_unsure and self._next_unsure[0][0] < taken:
            until, _, gang = heappop(self._next_unsure)
            if self._sure_until.get(gang) == until:
                del self._sure_until[gang]
                found.append(gang)
        return found

    def _until_full(self, gang: Shape, host: Host, shape: Shape, most: int) -> int:
        """How many of the shape can start on the host until the gang has no room; the last of them takes it."""
        spare = self._hosts.rooms(gang).total() - gang.members
        if host not in self._hosts.usable(gang):
            return most
        spare -= fitting(host.free, gang.needs)

        def is_full(count: int) -> bool:
            free = list(host.free)
            for resource, amount in shape.needs:
                free[resource] -= amount * count
            return spare + fitting(free, gang.needs) < 0

        return bisect_left(range(1, most), True, key=is_full) + 1 if most > 1 else most

    def _find(self, shape: Shape) -> None:
        host = self._hosts.roomiest(shape)
        if host is None:
            self.no_room(shape)
        else:
            self._witness[shape] = host
            self._witnessed.setdefault(host, {})[shape] = None
