"""What follows for a host from who may be asked and when each would leave: in which order those there leave, and what would be free then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from mwfs_scheduler.fair_share.chances import Order, Shares
from mwfs_scheduler.fair_share.model import Grant, Host
from mwfs_scheduler.fair_share.openings import Step, Turn
from mwfs_scheduler.fair_share.rooms import Needs, fitting
from mwfs_scheduler.fair_share.teams import LeavingPlace, Team

There = list[tuple[LeavingPlace, Grant]]

NOBODY: Mapping[Grant, LeavingPlace] = {}


class OnHosts:
    """The hosts with any who may be asked. It is worked out when somebody asks about the host, and kept until `forget`.

    `turns`: when each would leave; `of`: who of a team may be asked if nobody else is; `level`: where on their paths shares are compared first.
    """

    def __init__(
        self,
        turns: Mapping[Grant, Turn],
        of: Mapping[Team, Mapping[Grant, LeavingPlace]],
        resources: Collection[int],
        level: int,
    ) -> None:
        self._turns = turns
        self._of = of
        self._resources = resources
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
        found = self._there(host, careful=careful)
        if found is None:
            return []
        return [(order[2], grant) for order, grant in zip(found.orders, found.grants, strict=True)]

    def room(self, host: Host, needs: Needs, *, careful: bool) -> int:
        """How many members would fit there without all of them; 0 when nobody is there."""
        found = self._there(host, careful=careful)
        return 0 if found is None else fitting(found.freed()[-1], needs)

    def earliest(self, host: Host, needs: Needs, *, careful: bool) -> Order | None:
        """Who of them comes so late in the order of C7, as long as nobody has left, that with all before it a member fits; or one before."""
        found = self._there(host, careful=careful)
        if found is None:
            return None
        freed = found.freed()
        if not fitting(freed[-1], needs):
            return None
        return next(order for order, free in zip(found.orders, freed, strict=True) if fitting(free, needs))

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

    def _there(self, host: Host, *, careful: bool) -> _There | None:
        """Who may be asked there; None when nobody may."""
        on_host = self._on_host(host)
        if on_host is None:
            return None
        if on_host.there is None:
            of, shares, ordered = self._of, self._shares, list[tuple[Order, Grant]]()
            for grant in host.grants:
                team = grant.request.team
                place = of.get(team, NOBODY).get(grant)
                if place is not None:
                    if team not in shares:
                        shares[team] = shares_of(team, self._level)
                    ordered.append(((0, shares[team], place), grant))
            ordered.sort(key=itemgetter(0))
            keeping = [each for each in ordered if not self._ends_under(each[1])]
            all_ = _There(host, ordered)
            on_host.there = (all_ if len(keeping) == len(ordered) else _There(host, keeping)), all_
        found = on_host.there[0 if careful else 1]
        return found if found.orders else None

    def _ends_under(self, grant: Grant) -> bool:
        team = grant.request.team
        return team.ends_under(team.settled, grant.total, self._resources)


class _OnHost:
    """What is known of one host."""

    __slots__ = ("freed", "steps", "there")

    def __init__(self) -> None:
        #: Who would leave, in order, and what would be free after each.
        self.steps: list[Step] | None = None
        self.freed: list[list[int]] = []
        #: Who may be asked if nobody else is, with care and without.
        self.there: tuple[_There, _There] | None = None


class _There:
    """Some on a host in the order of C7 as long as nobody has left, and what would be free after each of them."""

    __slots__ = ("_freed", "_host", "grants", "orders")

    def __init__(self, host: Host, ordered: list[tuple[Order, Grant]]) -> None:
        self.orders = [order for order, _ in ordered]
        self.grants = [grant for _, grant in ordered]
        self._host = host
        self._freed: list[list[int]] | None = None

    def freed(self) -> list[list[int]]:
        if self._freed is None:
            self._freed = _freed(self._host, self.grants)
        return self._freed


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
