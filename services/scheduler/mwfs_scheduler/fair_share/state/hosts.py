"""Which hosts a request goes to (C1): best fit, so that large holes and whole GPUs stay free."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from mwfs_scheduler.fair_share.model import Host, Reason, Selector, Shape
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.rooms import PLENTY, Needs, Rooms, fitting

#: Among so many hosts the first that fits is looked for; then it is found by how many members fit where, which is kept for so many needs.
FEW_HOSTS: Final = 16
MOST_COUNTED: Final = 64


class Limit(Protocol):
    """What may be taken of a host at most."""

    @property
    def amounts(self) -> Sequence[int]: ...


def matches(host: Host, selector: Selector) -> bool:
    """Whether the host has the labels."""
    return all(host.labels.get(key) in values for key, values in selector)


class Hosts:
    """All hosts, ordered by what is free of each resource."""

    def __init__(self, resources: int) -> None:
        self.by_id: dict[str, Host] = {}
        #: Per resource and kind (plain, special): (free, id, host) ascending.
        self._order: list[tuple[list[tuple[int, str, Host]], list[tuple[int, str, Host]]]] = [
            ([], []) for _ in range(resources)
        ]
        self.pools = [0] * resources
        #: Of one host, at most.
        self.largest = [0] * resources
        #: What has been asked about the hosts as they are now.
        self._matching: dict[Selector, list[Host]] = {}
        self._never: dict[Shape, Reason | None] = {}
        self._usable: dict[tuple[Needs, Selector], frozenset[Host]] = {}
        self._equal: dict[frozenset[Host], frozenset[Host]] = {}
        self._rooms: dict[tuple[frozenset[Host], Needs], Rooms] = {}
        self._rooms_of: dict[Shape, Rooms] = {}
        #: When it was asked, and what was answered.
        self._roomiest: dict[tuple[Needs, Selector], tuple[int, Host | None]] = {}
        #: Hosts of which something was taken or given back, or on which others may be asked to leave than before.
        self.changes: Changes[Host] = Changes()

    def __iter__(self) -> Iterator[Host]:
        return iter(self.by_id.values())

    def add(self, host: Host) -> None:
        self.by_id[host.id] = host
        for resource, amount in enumerate(host.capacity):
            self.pools[resource] += amount
            self.largest[resource] = max(self.largest[resource], amount)
        if host.open:
            for resource, free in enumerate(host.free):
                insort(self._order[resource][host.special], (free, host.id, host))
        self._forget()

    def remove(self, host: Host) -> None:
        del self.by_id[host.id]
        for resource, amount in enumerate(host.capacity):
            self.pools[resource] -= amount
            self.largest[resource] = max((each.capacity[resource] for each in self), default=0)
        if host.open:
            for resource, free in enumerate(host.free):
                self._drop(resource, host, free)
        self._forget()

    def _forget(self) -> None:
        """The hosts are others than before."""
        for known in (self._matching, self._never, self._usable, self._equal, self._rooms, self._rooms_of):
            known.clear()
        self._roomiest.clear()
        self.changes.forget()

    def change(self, host: Host, needs: Needs, count: int) -> None:
        """Take what `count` members need from the host (give back when negative)."""
        free = host.free
        for resource, amount in needs:
            before = free[resource]
            free[resource] = after = before - amount * count
            if host.open and host.id in self.by_id:
                self._drop(resource, host, before)
                insort(self._order[resource][host.special], (after, host.id, host))
        self.changes.note(host)

    def selected(self, selector: Selector) -> Sequence[Host]:
        """The open hosts that have the labels."""
        if selector not in self._matching:
            found = [host for host in self if host.open and matches(host, selector)]
            self._matching[selector] = sorted(found, key=lambda host: host.id)
        return self._matching[selector]

    def usable(self, shape: Shape) -> frozenset[Host]:
        """The hosts that could take a member if nothing ran there."""
        key = shape.needs, shape.selector
        usable = self._usable.get(key)
        if usable is None:
            found = frozenset(host for host in self.selected(shape.selector) if fitting(host.capacity, shape.needs))
            # One object for equal sets, so that finding something by it is quick.
            usable = self._usable[key] = self._equal.setdefault(found, found)
        return usable

    def rooms(self, shape: Shape) -> Rooms:
        """How many members of the shape fit where."""
        found = self._rooms_of.get(shape)
        if found is None:
            usable = self.usable(shape)
            found = self._rooms.get((usable, shape.needs))
            if found is None:
                first = self._scarcest(shape.needs)[0] if shape.needs else 0
                found = self._rooms[usable, shape.needs] = Rooms(self.changes, usable, shape.needs, first)
            self._rooms_of[shape] = found
        return found

    def never(self, shape: Shape) -> Reason | None:
        """Why the shape would not fit if nothing ran; None when it would."""
        if shape not in self._never:
            self._never[shape] = self._why_never(shape)
        return self._never[shape]

    def place(self, shape: Shape, limits: Mapping[Host, Limit]) -> list[Host] | None:
        """A host for each member, or None. Of hosts in `limits` no more than that may be taken."""
        if shape.members == 1:
            host = self._tightest(shape, limits)
            return None if host is None else [host]
        return self._place_gang(shape, limits) if limits else self.rooms(shape).place(shape.members)

    def roomiest(self, shape: Shape) -> Host | None:
        """A host with room for one member, and with much of what the shape needs most; None when there is none."""
        # Shapes that differ in how long they take are asked about one after the other.
        key = shape.needs, shape.selector
        known = self._roomiest.get(key)
        if known is None or known[0] != self.changes.end:
            known = self._roomiest[key] = self.changes.end, self._find_roomiest(shape)
        return known[1]

    def _find_roomiest(self, shape: Shape) -> Host | None:
        usable = self.usable(shape)
        if not shape.needs:
            return min(usable, key=lambda host: host.id, default=None)
        first, amount = self._scarcest(shape.needs)
        for order in self._order[first]:
            for free, _, host in reversed(order):
                if free < amount:
                    break
                if fitting(host.free, shape.needs) and host in usable:
                    return host
        return None

    def _why_never(self, shape: Shape) -> Reason | None:
        selected = self.selected(shape.selector)
        if not selected or any(not any(host.capacity[resource] for host in selected) for resource, _ in shape.needs):
            return Reason.NO_SUCH_TYPE
        if sum(fitting(host.capacity, shape.needs) for host in selected) < shape.members:
            return Reason.NO_NODE_LARGE_ENOUGH
        return None

    def _tightest(self, shape: Shape, limits: Mapping[Host, Limit]) -> Host | None:
        needs, selector = shape.needs, shape.selector
        if not needs:
            return min(self.selected(selector), key=lambda host: (host.special, host.id), default=None)
        first, amount = self._scarcest(needs)
        rest = [need for need in needs if need[0] != first]
        plain, special = self._order[first]
        left = FEW_HOSTS
        for order in (plain, special):
            for at in range(bisect_left(order, (amount,)), len(order)):
                left -= 1
                if not left and not limits and (counted := self._counted(shape)) is not None:
                    return counted.tightest()
                host = order[at][2]
                free = host.free
                for resource, needed in rest:
                    if free[resource] < needed:
                        break
                else:
                    if selector and not matches(host, selector):
                        continue
                    if limits and host in limits and not fitting(limits[host].amounts, needs):
                        continue
                    return host
        return None

    def _counted(self, shape: Shape) -> Rooms | None:
        """Where how many of the shape fit, if that is kept; None when it is for too many others."""
        return self.rooms(shape) if shape in self._rooms_of or len(self._rooms) < MOST_COUNTED else None

    def _scarcest(self, needs: Needs) -> tuple[int, int]:
        """What fills a host first."""
        return max(needs, key=lambda need: (need[1] * PLENTY // (self.largest[need[0]] or 1), need[0]))

    def _place_gang(self, shape: Shape, limits: Mapping[Host, Limit]) -> list[Host] | None:
        rooms = []
        first = self._scarcest(shape.needs)[0] if shape.needs else 0
        for host in self.selected(shape.selector):
            fits = fitting(host.free, shape.needs)
            if fits and limits and host in limits:
                fits = min(fits, fitting(limits[host].amounts, shape.needs))
            if fits:
                rooms.append((fits, host.special, host.free[first], host.id, host))
        left = shape.members
        if sum(room[0] for room in rooms) < left:
            return None
        # As few hosts as can be: whole large rooms first, and the last part where it fits most tightly.
        rooms.sort(key=lambda room: (-room[0], *room[1:4]))
        chosen: list[Host] = []
        for at, (fits, *_, host) in enumerate(rooms):
            if fits >= left:
                enough = [room for room in rooms[at:] if room[0] >= left]
                return chosen + [min(enough, key=lambda room: (room[1], room[2], room[3]))[4]] * left
            chosen += [host] * fits
            left -= fits
        raise AssertionError("the rooms were counted")

    def _drop(self, resource: int, host: Host, free: int) -> None:
        order = self._order[resource][host.special]
        del order[bisect_left(order, (free, host.id))]
