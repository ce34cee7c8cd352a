"""For which shapes some host has room, kept up to date by a host that shows it."""

from __future__ import annotations

from collections.abc import Callable

from mwfs_scheduler.fair_share.hosts import Hosts, matches
from mwfs_scheduler.fair_share.model import Host, Shape
from mwfs_scheduler.fair_share.rooms import fitting


class Witnesses:
    """The shapes of all that waits, in as far as they have been asked about."""

    def __init__(self, hosts: Hosts, filled: Callable[[Shape], None]) -> None:
        self._hosts = hosts
        #: To be called for a shape for which no host has room any more.
        self._filled = filled
        self._full: set[Shape] = set()
        #: For shapes of one member that have room: a host that has it, and the other way round.
        self._witness: dict[Shape, Host] = {}
        self._witnessed: dict[Host, set[Shape]] = {}

    def no_room(self, shape: Shape) -> None:
        """No host has room for the shape."""
        self._full.add(shape)
        self._filled(shape)

    def is_full(self, shape: Shape) -> bool:
        """Whether no host is known to have room for the shape."""
        return shape in self._full

    def has_room(self, shape: Shape) -> bool:
        """Whether the shape would fit now."""
        if shape in self._full:
            return False
        if shape.members > 1:
            if self._hosts.rooms(shape).total() < shape.members:
                self.no_room(shape)
        elif shape not in self._witness:
            self._find(shape)
        return shape not in self._full

    def less_room_on(self, host: Host) -> list[Shape]:
        """The shapes that have no room any more, now that there is less on the host."""
        shapes = [each for each in self._witnessed.get(host, ()) if not fitting(host.free, each.needs)]
        for shape in shapes:
            self._witnessed[host].discard(shape)
            del self._witness[shape]
            self._find(shape)
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
        return most

    def room_on(self, host: Host) -> list[Shape]:
        """The shapes that may have room again, now that there is more on the host."""
        shapes = [each for each in self._full if fitting(host.free, each.needs) and matches(host, each.selector)]
        self._full.difference_update(shapes)
        return shapes

    def forget(self, shape: Shape) -> None:
        """Nobody asks for the shape any more."""
        self._full.discard(shape)
        witness = self._witness.pop(shape, None)
        if witness is not None:
            self._witnessed[witness].discard(shape)

    def forget_all(self) -> None:
        """Hosts are others than before."""
        self._full.clear()
        self._witness.clear()
        self._witnessed.clear()

    def _find(self, shape: Shape) -> None:
        host = self._hosts.roomiest(shape)
        if host is None:
            self.no_room(shape)
        else:
            self._witness[shape] = host
            self._witnessed.setdefault(host, set()).add(shape)
