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
#: Who, its place in its team, and whether that keeps its guarantee without it alone.
_MayLeave = tuple[Grant, LeavingPlace, bool]

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
        found = self._on_host(host)
        if found is None:
            return []
        return [(place, grant) for grant, place, keeps in self._there(host, found) if keeps or not careful]

    def room(self, host: Host, needs: Needs, *, careful: bool) -> int:
        """How many members would fit there without all of them; 0 when nobody is there."""
        found = self._on_host(host)
        if found is None:
            return 0
        self._there(host, found)
        free = found.free[0 if careful else 1]
        return 0 if free is None else fitting(free, needs)

    def earliest(self, host: Host, needs: Needs, *, careful: bool) -> Order | None:
        """Who of them comes so late in the order of C7, as long as nobody has left, that with all before it a member fits; or one before."""
        found, stage = self._on_host(host), 0 if careful else 1
        if found is None:
            return None
        there = self._there(host, found)
        free = found.free[stage]
        if free is None or not fitting(free, needs):
            return None
        ordered = found.ordered[stage]
        if ordered is None:
            ordered = found.ordered[stage] = self._in_order(host, [each for each in there if each[2] or not careful])
        return next(order for order, free in ordered if fitting(free, needs))

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

    def _there(self, host: Host, found: _OnHost) -> list[_MayLeave]:
        """Who may be asked there."""
        there = found.there
        if there is None:
            there = found.there = []
            of, resources, kept = self._of, self._resources, list[Grant]()
            for grant in host.grants:
                team = grant.request.team
                place = of.get(team, NOBODY).get(grant)
                if place is not None:
                    keeps = not team.ends_under(team.settled, grant.total, resources)
                    there.append((grant, place, keeps))
                    if keeps:
                        kept.append(grant)
            if there:
                all_ = _free_without(host, [grant for grant, _, _ in there])
                without_kept = all_ if len(kept) == len(there) else _free_without(host, kept) if kept else None
                found.free = without_kept, all_
        return there

    def _in_order(self, host: Host, there: list[_MayLeave]) -> list[tuple[Order, list[int]]]:
        """These in the order of C7, and what would be free after each."""
        shares, ordered = self._shares, list[tuple[Order, Grant]]()
        for grant, place, _ in there:
            team = grant.request.team
            if team not in shares:
                shares[team] = shares_of(team, self._level)
            ordered.append(((0, shares[team], place), grant))
        ordered.sort(key=itemgetter(0))
        freed = _freed(host, [grant for _, grant in ordered])
        return [(order, free) for (order, _), free in zip(ordered, freed, strict=True)]


class _OnHost:
    """What is known of one host."""

    __slots__ = ("free", "freed", "ordered", "steps", "there")

    def __init__(self) -> None:
        #: Who would leave, in order, and what would be free after each.
        self.steps: list[Step] | None = None
        self.freed: list[list[int]] = []
        #: Who may be asked if nobody else is. What would be free without them, with care and without; None when there are none.
        self.there: list[_MayLeave] | None = None
        self.free: tuple[list[int] | None, list[int] | None] = (None, None)
        #: The same in the order of C7 as long as nobody has left, and what would be free after each.
        self.ordered: list[list[tuple[Order, list[int]]] | None] = [None, None]


def shares_of(team: Team, level: int) -> Shares:
    """The shares, negative, of the branches of a path from this level on: the order of C7 from the top down."""
    shares = tuple((-branch.borrowed_share(branch.settled), branch.id) for branch in team.path[level:])
    return (*shares, (-team.share_of_own(team.own), team.id)) if team.children else shares


def _free_without(host: Host, grants: Iterable[Grant]) -> list[int]:
    """What would be free on the host without these."""
    free, members = list(host.free), host.grants
    for grant in grants:
        count = members[grant]
        for resource, amount in grant.request.shape.needs:
            free[resource] += amount * count
    return free


def _freed(host: Host, grants: Iterable[Grant]) -> list[list[int]]:
    """What would be free on the host after each of these."""
    free, found, members = host.free, list[list[int]](), host.grants
    for grant in grants:
        free = list(free)
        for resource, amount in grant.request.shape.needs:
            free[resource] += amount * members[grant]
        found.append(free)
    return found
