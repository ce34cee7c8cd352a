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
#: Where it comes, who, and what would be free after it.
_Ordered = tuple[Order, Grant, list[int]]


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

    def forget_shares(self) -> None:
        """Teams use more or less than before."""
        self._shares.clear()

    def steps(self, host: Host) -> Sequence[Step]:
        """Who on the host would leave, in order."""
        found = self._on_host(host)
        return () if found is None else self._steps(host, found)

    def freed(self, host: Host) -> Sequence[Sequence[int]]:
        """What would be free on the host after each of them."""
        found = self._on_host(host)
        return found.freed if found is not None and self._steps(host, found) else ()

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

    def earliest(self, host: Host, needs: Needs, *, careful: bool) -> tuple[Order, Grant, Order | None] | None:
        """Who of them comes so late in the order of C7, as long as nobody has left, that with all before it a member fits; or one before.

        With its place in that order, and that of the next of another team.
        """
        found, stage = self._on_host(host), 0 if careful else 1
        if found is None:
            return None
        there = self._there(host, found, careful=careful)
        if not there or not fitting(found.free[stage], needs):
            return None
        ordered = found.ordered[stage]
        if ordered is None:
            ordered = found.ordered[stage] = self._in_order(host, there)
        at = next(at for at, (_, _, free) in enumerate(ordered) if fitting(free, needs))
        order, grant, _ = ordered[at]
        team = grant.request.team
        return (
            order,
            grant,
            next((order for order, other, _ in ordered[at + 1 :] if other.request.team is not team), None),
        )

    def order_of(self, team: Team, place: LeavingPlace) -> Order:
        """Where work of the team with that place comes in the order of C7 now."""
        shares = self._shares.get(team)
        if shares is None:
            shares = self._shares[team] = shares_of(team, self._level)
        return 0, shares, place

    def _on_host(self, host: Host) -> _OnHost | None:
        """What follows for the host; None when none of them is there."""
        found = self._known.get(host)
        if found is None and host in self._known:
            found = self._known[host] = _OnHost()
        return found

    def _steps(self, host: Host, found: _OnHost) -> list[Step]:
        steps = found.steps
        if steps is None:
            turns = self._turns
            steps = found.steps = [(turn, grant) for grant in host.grants if (turn := turns.get(grant)) is not None]
            steps.sort(key=itemgetter(0))
            found.freed = _freed(host, [grant for _, grant in steps])
        return steps

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

    def _in_order(self, host: Host, there: There) -> list[_Ordered]:
        ordered = [(self.order_of(grant.request.team, place), grant) for place, grant in there]
        ordered.sort(key=itemgetter(0))
        freed = _freed(host, [grant for _, grant in ordered])
        return [(order, grant, free) for (order, grant), free in zip(ordered, freed, strict=True)]


class _OnHost:
    """What is known of one host."""

    __slots__ = ("free", "freed", "ordered", "steps", "there")

    def __init__(self) -> None:
        #: Who would leave, in order, and what would be free after each.
        self.steps: list[Step] | None = None
        self.freed: list[list[int]] = []
        #: Who may be asked if nobody else is, with care and without; what would be free without all of them; and they in the order of
        #: C7 as long as nobody has left.
        self.there: list[There | None] = [None, None]
        self.free: list[list[int]] = [[], []]
        self.ordered: list[list[_Ordered] | None] = [None, None]


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
