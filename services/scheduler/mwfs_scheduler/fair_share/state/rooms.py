"""How many members of one shape fit on each host, kept up to date: what a gang is placed by."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Sequence
from typing import Final

from mwfs_scheduler.fair_share.model import Host
from mwfs_scheduler.fair_share.state.changes import Changes

Needs = Sequence[tuple[int, int]]

#: More members than anybody has.
PLENTY: Final = 1 << 62

#: (special, free of what fills a host first, id, host): the order in which hosts with equal room are taken.
_Entry = tuple[bool, int, str, Host]


def fitting(free: Sequence[int], needs: Needs) -> int:
    """How many members fit into what is free."""
    fits = PLENTY
    for resource, amount in needs:
        room = free[resource] // amount
        if room < fits:
            if room <= 0:
                return 0
            fits = room
    return fits


class Rooms:
    """The free room for members that need the same, on the hosts that they can use."""

    def __init__(self, changes: Changes[Host], usable: Collection[Host], needs: Needs, first: int) -> None:
        self._changes = changes
        self._seen = changes.end
        self._usable = usable
        self._needs = needs
        self._first = first
        #: Members that fit in all.
        self._total = 0
        self._entries: dict[Host, tuple[int, _Entry]] = {}
        #: Hosts by how many members fit.
        self._with: dict[int, list[_Entry]] = {}
        for host in usable:
            self._look_at(host)

    def total(self) -> int:
        """How many members fit."""
        self._read_on()
        return self._total

    def largest(self) -> int:
        """How many members fit on one host at most, at least 1."""
        self._read_on()
        return max(self._with, default=1)

    def place(self, members: int) -> list[Host] | None:
        """A host for each member: as few hosts as can be, whole large rooms first, and the last part where it fits most tightly."""
        if self.total() < members:
            return None
        left, chosen = members, list[Host]()
        for fits in sorted(self._with, reverse=True):
            for entry in self._with[fits]:
                if fits >= left:
                    smaller = [entries[0] for room, entries in self._with.items() if left <= room < fits]
                    return chosen + [min([entry, *smaller])[3]] * left
                chosen += [entry[3]] * fits
                left -= fits
        raise AssertionError("the rooms were counted")

    def tightest(self) -> Host | None:
        """The host on which one member fits most tightly."""
        self._read_on()
        return min((entries[0] for entries in self._with.values()), default=(True, 0, "", None))[3]

    def _read_on(self) -> None:
        changes = self._changes
        if self._seen == changes.end:
            return
        changed = changes.since(self._seen)
        self._seen = changes.end
        for host in self._usable if changed is None else set(changed):
            if host in self._usable:
                self._look_at(host)

    def _look_at(self, host: Host) -> None:
        fits, entry = fitting(host.free, self._needs), (host.special, host.free[self._first], host.id, host)
        known = self._entries.get(host)
        if known is not None:
            before, old = known
            if before == fits and old == entry:
                return
            entries = self._with[before]
            del entries[bisect_left(entries, old)]
            if not entries:
                del self._with[before]
            self._total -= before
            del self._entries[host]
        if fits:
            self._entries[host] = fits, entry
            insort(self._with.setdefault(fits, []), entry)
            self._total += fits
