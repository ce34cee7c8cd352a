"""When what runs will end, as far as that is known, in order; and when there will be room for one member by that."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile

from mwfs_scheduler.fair_share.model import Grant, Host, Time
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.rooms import Needs, fitting


class Ends:
    """The grants of which is known when they will end."""

    def __init__(self) -> None:
        self._order: list[tuple[Time, str, Grant]] = []

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Grant]:
        """The first that ends first."""
        return (grant for _, _, grant in self._order)

    def add(self, grant: Grant) -> None:
        if grant.ends is not None:
            insort(self._order, (grant.ends, grant.id, grant))

    def remove(self, grant: Grant) -> None:
        if grant.ends is not None:
            del self._order[bisect_left(self._order, (grant.ends, grant.id))]

    def due(self, now: Time) -> list[Grant]:
        """Those that should have ended by now, in order."""
        return [grant for _, _, grant in takewhile(lambda each: each[0] <= now, self._order)]


class Foreseen:
    """When there will be room for one member on each of some hosts; kept up to date."""

    def __init__(self, changes: Changes[Host], usable: Collection[Host], needs: Needs) -> None:
        self._changes = changes
        self._seen = changes.end
        self._usable = usable
        self._needs = needs
        self._when: dict[Host, Time] = {}
        for host in usable:
            self._look_at(host)

    def first(self) -> tuple[Time, dict[Host, list[int]]] | None:
        """When there will be room somewhere, and what will be free on each host that has it then."""
        self._read_on()
        if not self._when:
            return None
        at = min(self._when.values())
        return at, {host: free_at(host, at) for host, when in self._when.items() if when == at}

    def _read_on(self) -> None:
        changed = self._changes.since(self._seen)
        self._seen = self._changes.end
        for host in self._usable if changed is None else dict.fromkeys(changed):
            if host in self._usable:
                self._look_at(host)

    def _look_at(self, host: Host) -> None:
        self._when.pop(host, None)
        free = list(host.free)
        for ends, members, needs in _ending(host):
            for resource, amount in needs:
                free[resource] += amount * members
            if fitting(free, self._needs):
                self._when[host] = ends
                return


def free_at(host: Host, at: Time) -> list[int]:
    """What will be free on the host once those have ended that end by then."""
    free = list(host.free)
    for ends, members, needs in _ending(host):
        if ends <= at:
            for resource, amount in needs:
                free[resource] += amount * members
    return free


def _ending(host: Host) -> Sequence[tuple[Time, int, Needs]]:
    """(when, members, what one needs) of those on the host whose end is known, in order.

    What leaves after a notice makes room for somebody else.
    """
    return sorted(
        (grant.ends, members, grant.request.shape.needs)
        for grant, members in host.grants.items()
        if grant.ends is not None and grant.leaves_at is None
    )
