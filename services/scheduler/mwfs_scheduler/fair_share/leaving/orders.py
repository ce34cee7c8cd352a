"""In what order the work of a branch with teams below it would leave (C7), from the orders of these teams, which are kept."""

# What leaves of one team depends on that team alone: on which of its work may be asked, and on how long it is over its
# guarantee. With each that leaves a team comes later, so the order below a team is that of all of them by the share that was left.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from mwfs_scheduler.fair_share.leaving.asking import Asker
from mwfs_scheduler.fair_share.model import Grant
from mwfs_scheduler.fair_share.state.teams import LeavingPlace, Team

#: The share of the branch before it leaves (negative), the branch, its place there, and what leaves.
Leaver = tuple[int, str, int, Grant]
#: Those who keep their guarantee, and then those who do not.
Order = tuple[Sequence[Leaver], Sequence[Leaver]]

#: The share of the team before it leaves (negative), and what leaves.
_Leaves = tuple[int, Grant]

_by_turn = itemgetter(0, 1, 2)


class Orders:
    """For one kind of asking. `of`: who of a team may be asked."""

    def __init__(self, asker: Asker, of: Mapping[Team, Mapping[Grant, LeavingPlace]]) -> None:
        self._asker = asker
        self._of = of
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
        first, then = leave_in_order(team, self._asker, self._of.get(team, ()))
        name = team.id
        return (
            [(share, name, at, grant) for at, (share, grant) in enumerate(first)],
            [(share, name, at, grant) for at, (share, grant) in enumerate(then)],
        )


def leave_in_order(team: Team, asker: Asker, grants: Iterable[Grant]) -> tuple[list[_Leaves], list[_Leaves]]:
    """Who of these, in the order of the team, leave while it is over its guarantee: first who keep that, and then who do not."""
    above = team.above_guarantee()
    asked_for, resources, share_of = asker.asked_for, asker.resources, team.weighted_share
    first, later, then = list[_Leaves](), list[Grant](), list[_Leaves]()
    for grant in grants:
        given = grant.total
        for resource, amount in given:
            if above[resource] < amount and resource in resources:
                later.append(grant)
                break
        else:
            first.append((-share_of(above), grant))
            for resource, amount in given:
                above[resource] -= amount
            for resource in asked_for:
                if above[resource] > 0:
                    break
            else:
                return first, then
    for grant in later:
        then.append((-share_of(above), grant))
        for resource, amount in grant.total:
            above[resource] -= amount
        if not any(above[resource] > 0 for resource in asked_for):
            break
    return first, then


def have_own_work(teams: Iterable[Team]) -> bool:
    """Whether any team has both teams below it and work of its own: what leaves of that depends on what else leaves."""
    return any(team.children and team.leaving for team in teams)
