"""What follows for a host from who may be asked and when each would leave: in which order those there leave, and what would be free then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from mwfs_scheduler.fair_share.leaving.chances import Order, Shares
from mwfs_scheduler.fair_share.leaving.openings import Step, Turn
from mwfs_scheduler.fair_share.model import Grant, Host
from mwfs_scheduler.fair_share.state.rooms import Needs, fitting
from mwfs_scheduler.fair_share.state.teams import LeavingPlace, Team

There = list[tuple[LeavingPlace, Grant]]
#: Its place in its team, and whether that keeps its guarantee without it alone.
Standing = tuple[LeavingPlace, bool]


class OnHosts:
    """The hosts with any who may be asked. It is worked out when somebody asks about the host, and kept until `forget`.

    `turns`: when each would leave; `standing`: who may be asked if nobody else is; `level`: where on their paths shares are compared first.
    """

    def __init__(self, turns: Mapping[Grant, Turn], standing: Mapping[Grant, Standing], level: int) -> None:
        self._turns = turns
        self._standing = standing
        self._level = level
        self._known: dict[Host, _OnHost | None] = {}
        #: The shares of teams as they are now.
        self._shares: dict[Team, Shares] = {}

    def __contains__(self, host: Host) -> bool:
        return host in self._known

    def __iter__(self) -> Iterator[Host]:
        return iter(self._known)

    def forget(self, hosts: Iterable[Host]) -> None:
        """Something there, or with those there, is different; there may be somebody who was not before."""
        known = self._known
        for host in hosts:
            known[host] = None

    def forget_shares(self, branches: Iterable[Team]) -> None:
        """These teams, or some below them, use more or less than before."""
        for branch in branches:
            for team in branch.subtree():
                self._shares.pop(team, None)

    def steps(self, host: Host) -> tuple[Sequence[Step], Sequence[Sequence[int]]]:
        """Who on the host would leave, in order, and what would be free there after each of them."""
        found = self._on_host(host)
        if found is None:
            return (), ()
        if found.steps is None:
            turns = self._turns
            steps = [(turn, grant) for grant in host.grants if (turn := turns.get(grant)) is not None]
            steps.sort(key=itemgetter(0))
            found.steps = steps, _freed(host, [grant for _, grant in steps])
        return found.steps

    def there(self, host: Host, *, careful: bool) -> There:
        """Who on the host may be asked if nobody else is. `careful`: and would not end under its guarantee."""
        found = self._on_host(host)
        return [] if found is None else self._there(host, found, careful=careful)

    def room(self, host: Host, needs: Needs, *, careful: bool) -> int:
        """How many members would fit there without all of them; 0 when nobody is there."""
        found = self._on_host(host)
        if found is None or not self._there(host, found, careful=careful):
            return 0
        return fitting(found.free[0 if careful else 1], needs)

    def completing(self, host: Host, needs: Needs, *, careful: bool) -> list[tuple[Order, Team]]:
        """Where those of them come in the order of C7, as long as nobody has left, with whom and all before them a member fits.

        That is from one of them on; empty when it would not even fit without all of them.
        """
        found, stage = self._on_host(host), 0 if careful else 1
        if found is None:
            return []
        there = self._there(host, found, careful=careful)
        if not there or not fitting(found.free[stage], needs):
            return []
        shares, members = self.shares, host.grants
        ordered = sorted([((0, shares(grant.request.team), place), grant) for place, grant in there], key=itemgetter(0))
        free = list(host.free)
        for at, (_, grant) in enumerate(ordered):
            for resource, amount in grant.request.shape.needs:
                free[resource] += amount * members[grant]
            if fitting(free, needs):
                return [(order, grant.request.team) for order, grant in ordered[at:]]
        raise AssertionError("it fits without all of them")

    def shares(self, team: Team) -> Shares:
        """The shares of the branches above the work of the team now."""
        shares = self._shares.get(team)
        if shares is None:
            shares = self._shares[team] = shares_of(team, self._level)
        return shares

    def _on_host(self, host: Host) -> _OnHost | None:
        """What follows for the host; None when none of them is there."""
        found = self._known.get(host)
        if found is None and host in self._known:
            found = self._known[host] = _OnHost()
        return found

    def _there(self, host: Host, found: _OnHost, *, careful: bool) -> There:
        """Who may be asked there."""
        stage = 0 if careful else 1
        there = found.there[stage]
        if there is None:
            standing = self._standing
            there = found.there[stage] = [
                (known[0], grant)
                for grant in host.grants
                if (known := standing.get(grant)) is not None and (known[1] or not careful)
            ]
            free = found.free[stage] = list(host.free)
            for _, grant in there:
                members = host.grants[grant]
                for resource, amount in grant.request.shape.needs:
                    free[resource] += amount * members
        return there


class _OnHost:
    """What is known of one host."""

    __slots__ = ("free", "steps", "there")

    def __init__(self) -> None:
        #: Who would leave, in order, and what would be free after each.
        self.steps: tuple[list[Step], list[list[int]]] | None = None
        #: Who may be asked if nobody else is, with care and without; and what would be free without all of them.
        self.there: list[There | None] = [None, None]
        self.free: list[list[int]] = [[], []]


def shares_of(team: Team, level: int) -> Shares:
    """The shares, negative, of the branches of a path from this level on: the order of C7 from the top down."""
    shares = tuple((-branch.borrowed_share(branch.settled), branch.id) for branch in team.path[level:])
    return (*shares, (-team.share_of_own(team.own), team.id)) if team.children else shares


def _freed(host: Host, grants: Iterable[Grant]) -> list[list[int]]:
    """What would be free on the host after each of these."""
    free, found, members = host.free, list[list[int]](), host.grants
    for grant in grants:
        free = list(free)
        for resource, amount in grant.request.shape.needs:
            free[resource] += amount * members[grant]
        found.append(free)
    return found
