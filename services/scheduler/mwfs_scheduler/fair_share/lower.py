"""The work of lower priority in a team, which its own requests may ask to leave (C8): how much room that would make at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mwfs_scheduler.fair_share.rooms import PLENTY

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.hosts import Hosts
    from mwfs_scheduler.fair_share.model import Amounts, Host, Shape
    from mwfs_scheduler.fair_share.teams import Team


class Lower:
    """As it is at a state of the team."""

    __slots__ = ("_most", "_roomier", "holds", "holds_on", "state")

    def __init__(self, team: Team, priority: int) -> None:
        self.state = team.state
        #: All that it holds, per resource.
        self.holds = [0] * len(team.usage)
        #: The same per host.
        self.holds_on: dict[Host, list[int]] = {}
        self._most: dict[Shape, _Most] = {}
        #: Its hosts on which there has been more room than before.
        self._roomier: list[Host] = []
        for place, grant in team.leaving:
            if place[0] >= priority:
                break
            for resource, amount in grant.total:
                self.holds[resource] += amount
            for host, members in grant.placed.items():
                there = self.holds_on.get(host)
                if there is None:
                    there = self.holds_on[host] = [0] * len(self.holds)
                for resource, amount in grant.request.shape.needs:
                    there[resource] += amount * members

    def room_on(self, host: Host) -> bool:
        """There is more room on the host; whether that matters."""
        if host not in self.holds_on:
            return False
        self._roomier.append(host)
        return True

    def room_without(self, host: Host, needs: Amounts) -> int:
        """How many members would fit on one of its hosts if it had left."""
        there, free, fits = self.holds_on[host], host.free, PLENTY
        for resource, amount in needs:
            room = (free[resource] + there[resource]) // amount
            if room < fits:
                if room <= 0:
                    return 0
                fits = room
        return fits

    def most(self, shape: Shape, hosts: Hosts) -> int:
        """How many members would fit on its hosts at most."""
        found = self._most.get(shape)
        if found is None:
            usable = hosts.usable(shape)
            fits = {host: self.room_without(host, shape.needs) for host in self.holds_on if host in usable}
            found = self._most[shape] = _Most(sum(fits.values()), fits, len(self._roomier))
        elif found.seen < len(self._roomier):
            for host in self._roomier[found.seen :]:
                if host in found.fits:
                    now = self.room_without(host, shape.needs)
                    found.total += now - found.fits[host]
                    found.fits[host] = now
            found.seen = len(self._roomier)
        return found.total


class _Most:
    """How many members of a shape would fit, on each host and in all: what it was when there was last more room."""

    __slots__ = ("fits", "seen", "total")

    def __init__(self, total: int, fits: dict[Host, int], seen: int) -> None:
        self.total = total
        self.fits = fits
        #: So many of the hosts with more room than before have been looked at.
        self.seen = seen
