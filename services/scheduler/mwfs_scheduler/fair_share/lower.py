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

    __slots__ = ("_most", "holds", "holds_on", "state")

    def __init__(self, team: Team, priority: int) -> None:
        self.state = team.state
        #: All that it holds, per resource.
        self.holds = [0] * len(team.usage)
        #: The same per host.
        self.holds_on: dict[Host, list[int]] = {}
        #: How many members of a shape would fit there at most, until somebody gives back room there.
        self._most: dict[Shape, int] = {}
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
        self._most.clear()
        return True

    def room_without(self, host: Host, needs: Amounts) -> int:
        """How many members would fit on one of its hosts if it had left."""
        there, free = self.holds_on[host], host.free
        return min((free[resource] + there[resource]) // amount for resource, amount in needs) if needs else PLENTY

    def most(self, shape: Shape, hosts: Hosts) -> int:
        """How many members would fit on its hosts at most."""
        found = self._most.get(shape)
        if found is None:
            usable, needs = hosts.usable(shape), shape.needs
            found = sum(max(0, self.room_without(host, needs)) for host in self.holds_on if host in usable)
            self._most[shape] = found
        return found
