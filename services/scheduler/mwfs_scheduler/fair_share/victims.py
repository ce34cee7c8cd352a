"""Who makes room for a request (C6 to C11)."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.hosts import fitting
from mwfs_scheduler.fair_share.model import Grant, Request, Shape
from mwfs_scheduler.fair_share.reservations import Limits
from mwfs_scheduler.fair_share.trial import Branch, Care, Trial

#: Of so many at most one alone is tried; pairs of a quarter of them.
FEW: Final = 64


def may_ask(cluster: Cluster, request: Request) -> bool:
    """Whether the request may ask anybody to leave at all."""
    team = request.team
    if team.leaving and team.leaving[0][0][0] < request.priority:
        return True
    if cluster.knobs.fair_preemption:
        return True
    return any(branch.within(branch.settled, request.total) for branch in team.path)


class VictimSearch:
    """The searches of one round. What started in the round is never a victim of it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._departures = -1
        self._borrowers: dict[frozenset[int], list[Branch]] = {}
        #: Shapes for which a request that could ask all borrowers and nobody else found no room.
        self._hopeless: set[Shape] = set()

    def forget(self) -> None:
        """Somebody uses more than before, so there may be more to ask."""
        self._departures = -1

    def started(self, request: Request) -> None:
        """The request has started: the branch that has come to be over its guarantee by that can be asked from now on."""
        top = request.team.path[0]
        if not (top.leaving or top.children):
            return
        more = dict(request.total)
        for resources, branches in self._borrowers.items():
            above = [(top.settled[each] - top.guaranteed[each], more.get(each, 0)) for each in resources]
            if any(over > 0 for over, _ in above) and not any(over > added for over, added in above):
                branches.append((-top.borrowed_share(top.settled), top.id, top))
                self._hopeless.clear()

    def find(self, request: Request, limits: Limits) -> list[Grant] | None:
        """The grants that must leave for the request to start, or None when it would not start all the same."""
        cluster = self._cluster
        if not may_ask(cluster, request):
            return None
        if self._departures != cluster.departures:
            self._departures = cluster.departures
            self._borrowers.clear()
            self._hopeless.clear()
        borrowers = self._over_guarantee(request)
        plain = self._plain(request)
        if plain and (not borrowers or request.shape in self._hopeless):
            return None
        found = self._search(request, limits, borrowers)
        if found is None and plain and not limits:
            self._hopeless.add(request.shape)
        return found

    def _search(self, request: Request, limits: Limits, borrowers: list[Branch]) -> list[Grant] | None:
        """First without anybody under its guarantee, by every way; then with."""
        for care, last in ((Care.ALWAYS, Care.ALWAYS), (Care.FIRST, Care.NEVER)):
            trial = Trial(self._cluster, request, limits, borrowers, care=care)
            if trial.run():
                return trial.taken
            found = self._few(request, limits, borrowers, last) or self._on_one_host(request, limits, borrowers, last)
            if found:
                return found
        return None

    def _plain(self, request: Request) -> bool:
        """Whether it can ask exactly those whom every other such request can ask: it stands alone at the top."""
        team, knobs = request.team, self._cluster.knobs
        lower = team.leaving and team.leaving[0][0][0] < request.priority
        return bool(
            team.parent is None
            and not team.children
            and not lower
            and knobs.reclaim_priority == "any"
            and not knobs.fair_preemption
            and team.past_burst(team.usage, request.total) is None
        )

    def _over_guarantee(self, request: Request) -> list[Branch]:
        """The branches at the top that are over guarantee on a requested resource, the one most above it first."""
        resources = frozenset(resource for resource, _ in request.total)
        found = self._borrowers.get(resources)
        if found is None:
            found = self._borrowers[resources] = sorted(
                (-branch.borrowed_share(branch.settled), branch.id, branch)
                for branch in self._cluster.tops
                if (branch.leaving or branch.children) and branch.over(branch.settled, request.total)
            )
        return found

    # What is taken in the order of C7 may be of little use, and use up what a team has above its guarantee, so that the one
    # that would be enough is not legal any more. A guarantee must not be lost by that.

    def _few(self, request: Request, limits: Limits, borrowers: list[Branch], care: Care) -> list[Grant] | None:
        """One grant alone, or two."""
        cluster = self._cluster
        candidates = Trial(cluster, request, limits, borrowers, care=care).candidates(FEW)
        for count in (1, 2):
            for grants in combinations(candidates[: FEW // count**2], count):
                if Trial(cluster, request, limits, borrowers, care=care).would_do(grants):
                    return list(grants)
        return None

    def _on_one_host(self, request: Request, limits: Limits, borrowers: list[Branch], care: Care) -> list[Grant] | None:
        """Those on one host."""
        cluster, team, needs = self._cluster, request.team, request.shape.needs
        if request.shape.members > 1:
            return None
        for host in cluster.hosts.selected(request.shape.selector):
            freeable = list(host.free)
            for grant, members in host.grants.items():
                other = grant.request.team
                if grant.askable and (other is team or other.over(other.settled, request.total)):
                    for resource, amount in grant.request.shape.needs:
                        freeable[resource] += amount * members
            if fitting(freeable, needs):
                trial = Trial(cluster, request, limits, borrowers, care=care, only=host)
                if trial.run():
                    return trial.taken
        return None
