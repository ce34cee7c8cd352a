"""The work of lower priority in a team, which its own requests may ask to leave (C8): how much room that would make."""

# That is asked for many requests at each step of a round, and between two steps few hosts change. So it is kept per host, and only
# those hosts are looked at again on which something has changed.

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from mwfs_scheduler.fair_share.state.rooms import PLENTY, Needs, fitting

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
    from mwfs_scheduler.fair_share.state.hosts import Hosts
    from mwfs_scheduler.fair_share.state.teams import Team


class Lowers:
    """That of all teams: it stands at the team, by priority."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        #: Where it has read to of what changes on hosts, and how often it has lost its place.
        self._seen = hosts.changes.end
        self._epoch = 0

    def below(self, request: Request) -> Lower:
        """What the request may ask of its own team."""
        self._read_on()
        of_team, priority = request.team.lower, request.priority
        found = of_team.get(priority)
        if found is None or found.epoch != self._epoch:
            found = of_team[priority] = Lower(request.team, priority, self._epoch)
        return found

    def room(self, request: Request) -> LowerRoom:
        """What that makes of room for it."""
        return self.below(request).room(request.shape, self._hosts)

    def _read_on(self) -> None:
        changes = self._hosts.changes
        if self._seen == changes.end:
            return
        changed = changes.since(self._seen)
        self._seen = changes.end
        if changed is None:
            self._epoch += 1
            return
        for host in set(changed):
            for team in {grant.request.team for grant in host.grants}:
                for lower in team.lower.values():
                    lower.look_at(host)


class Lower:
    """That below one priority of one team."""

    __slots__ = ("_changed", "_rooms", "epoch", "holds", "holds_on")

    def __init__(self, team: Team, priority: int, epoch: int) -> None:
        self.epoch = epoch
        #: All that it holds, per resource.
        self.holds = [0] * len(team.usage)
        #: The same per host.
        self.holds_on: dict[Host, list[int]] = {}
        self._rooms: dict[tuple[Needs, Set[Host]], LowerRoom] = {}
        #: Hosts on which something has changed, one after the other.
        self._changed: list[Host] = []
        for place, grant in team.leaving:
            if place[0] >= priority:
                break
            self._count(grant, grant.placed, 1)

    def change(self, grant: Grant, members: Mapping[Host, int], sign: int) -> None:
        """So many members of the grant may be asked from now on (1), or not any more (-1)."""
        self._count(grant, members, sign)
        self._changed += members

    def look_at(self, host: Host) -> None:
        """There is another amount free on the host than before."""
        if host in self.holds_on:
            self._changed.append(host)

    def room(self, shape: Shape, hosts: Hosts) -> LowerRoom:
        """What that makes of room for the shape."""
        key = shape.needs, hosts.usable(shape)
        if len(self._changed) > 64 + 4 * len(self.holds_on):
            self._rooms.clear()
            self._changed.clear()
        found = self._rooms.get(key)
        if found is None:
            found = self._rooms[key] = LowerRoom(self.holds_on, *key, len(self._changed))
        elif found.seen < len(self._changed):
            for host in dict.fromkeys(self._changed[found.seen :]):
                found.look_at(host)
            found.seen = len(self._changed)
        return found

    def _count(self, grant: Grant, members: Mapping[Host, int], sign: int) -> None:
        holds, needs = self.holds, grant.request.shape.needs
        for host, number in members.items():
            there = self.holds_on.get(host)
            if there is None:
                there = self.holds_on[host] = [0] * len(holds)
            for resource, amount in needs:
                there[resource] += sign * amount * number
                holds[resource] += sign * amount * number
            if sign < 0 and not any(there):
                del self.holds_on[host]


class LowerRoom:
    """For members with these needs on these hosts: how many would fit where the work is, and how many more that is than do now."""

    __slots__ = ("_fits", "_holds_on", "_needs", "_usable", "more", "seen", "total")

    def __init__(self, holds_on: Mapping[Host, list[int]], needs: Needs, usable: Set[Host], seen: int) -> None:
        self._holds_on = holds_on
        self._needs = needs
        self._usable = usable
        self._fits: dict[Host, tuple[int, int]] = {}
        self.total = self.more = 0
        #: So many of the changes have been taken in.
        self.seen = seen
        for host in holds_on:
            self.look_at(host)

    def look_at(self, host: Host) -> None:
        total, more = self._fits.pop(host, (0, 0))
        self.total -= total
        self.more -= more
        there = self._holds_on.get(host)
        if there is not None and host in self._usable:
            without = self._fitting_without(there, host.free)
            if without:
                more = without - fitting(host.free, self._needs)
                self._fits[host] = without, more
                self.total += without
                self.more += more

    def _fitting_without(self, there: Sequence[int], free: Sequence[int]) -> int:
        """How many members would fit without what is there."""
        fits = PLENTY
        for resource, amount in self._needs:
            room = (free[resource] + there[resource]) // amount
            if room < fits:
                if room <= 0:
                    return 0
                fits = room
        return fits
