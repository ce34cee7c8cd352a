"""In what order the work of a branch with teams below it would leave (C7), from the orders of these teams, which are kept."""

# What leaves of one team depends on that team alone: on which of its work may be asked, and on how long it is over its
# guarantee. With each that leaves a team comes later, so the order below a team is that of all of them by the share that was left.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter

from mwfs_scheduler.fair_share.asking import Asker
from mwfs_scheduler.fair_share.model import Grant
from mwfs_scheduler.fair_share.teams import Team

#: The share of the branch before it leaves (negative), the branch, its place there, and what leaves.
Leaver = tuple[int, str, int, Grant]
#: Those who keep their guarantee, and then those who do not.
Order = tuple[Sequence[Leaver], Sequence[Leaver]]

_by_turn = itemgetter(0, 1, 2)


class Orders:
    """For one kind of asking."""

    def __init__(self, asker: Asker, may_leave: Callable[[Grant], bool]) -> None:
        self._asker = asker
        self._may_leave = may_leave
        self._known: dict[Team, tuple[int, Order]] = {}

    def of(self, team: Team) -> Order:
        """Who leaves of the team and all below it, while it is over its guarantee."""
        if not team.over(team.settled, self._asker.asked):
            return (), ()
        if team.children:
            return self._of_branch(team)
        known = self._known.get(team)
        if known is None or known[0] != team.state:
            known = self._known[team] = team.state, self._of_leaf(team)
        return known[1]

    def below(self, teams: Iterable[Team]) -> Order:
        """Who leaves of these teams, the one that is most above its guarantee first."""
        orders = [self.of(team) for team in teams]
        first = sorted((leaver for order in orders for leaver in order[0]), key=_by_turn)
        return first, sorted((leaver for order in orders for leaver in order[1]), key=_by_turn)

    def _of_branch(self, team: Team) -> Order:
        asked, left = self._asker.asked, list(team.settled)
        found: tuple[list[Leaver], list[Leaver]] = [], []
        for leavers, leaving in zip(self.below(team.children), found, strict=True):
            for _, _, _, grant in leavers:
                if not team.over(left, asked):
                    return found
                leaving.append((-team.borrowed_share(left), team.id, len(leaving), grant))
                for resource, amount in grant.total:
                    left[resource] -= amount
        return found

    def _of_leaf(self, team: Team) -> Order:
        asked, resources, left = self._asker.asked, self._asker.resources, list(team.settled)
        first, then, later = list[Leaver](), list[Leaver](), list[Grant]()
        over = True
        for _, grant in team.leaving:
            if self._may_leave(grant):
                given = grant.total
                if team.ends_under(left, given, resources):
                    later.append(grant)
                    continue
                first.append((-team.borrowed_share(left), team.id, len(first), grant))
                for resource, amount in given:
                    left[resource] -= amount
                over = team.over(left, asked)
                if not over:
                    break
        for grant in later if over else ():
            then.append((-team.borrowed_share(left), team.id, len(then), grant))
            for resource, amount in grant.total:
                left[resource] -= amount
            if not team.over(left, asked):
                break
        return first, then


def have_own_work(teams: Iterable[Team]) -> bool:
    """Whether any team has both teams below it and work of its own: what leaves of that depends on what else leaves."""
    return any(team.children and team.leaving for team in teams)
