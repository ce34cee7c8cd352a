"""Who makes room for a request (C6 to C11)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from itertools import chain, combinations
from operator import attrgetter, itemgetter
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.hosts import fitting, matches
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.reservations import Limits
from mwfs_scheduler.fair_share.teams import LeavingPlace, Team
from mwfs_scheduler.fair_share.trial import Branch, Care, Trial

#: Of so many grants on a host each alone is tried, and each pair.
FEW: Final = 8

_Asked = dict[Host, list[tuple[LeavingPlace, Grant]]]


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
        self._borrowers: dict[tuple[int, ...], list[Branch]] = {}
        self._by_host: dict[tuple[tuple[int, ...], bool], _Asked] = {}
        #: Shapes for which a request that could ask all borrowers and nobody else found no room.
        self._hopeless: set[Shape] = set()

    def forget(self) -> None:
        """Somebody uses more than before, so there may be more to ask."""
        self._departures = -1

    def started(self, request: Request) -> None:
        """The request has started: its branch has more above its guarantee that can be asked for."""
        top = request.team.path[0]
        if not (top.leaving or top.children):
            return
        for resources, branches in self._borrowers.items():
            if any(top.settled[each] > top.guaranteed[each] for each in resources):
                branches[:] = [branch for branch in branches if branch[2] is not top]
                insort(branches, (-top.borrowed_share(top.settled), top.id, top))
        self._by_host.clear()
        self._hopeless.clear()

    def find(self, request: Request, limits: Limits) -> list[Grant] | None:
        """The grants that must leave for the request to start, or None when it would not start all the same."""
        cluster = self._cluster
        if not may_ask(cluster, request):
            return None
        if self._departures != cluster.departures:
            self._departures = cluster.departures
            self._borrowers.clear()
            self._by_host.clear()
            self._hopeless.clear()
        borrowers = self._over_guarantee(request) if self._reclaims(request) else []
        plain = self._plain(request)
        if plain and (not borrowers or request.shape in self._hopeless):
            return None
        found = self._search(request, limits, borrowers)
        if found is None and plain and not limits:
            self._hopeless.add(request.shape)
        return found

    def _search(self, request: Request, limits: Limits, borrowers: list[Branch]) -> list[Grant] | None:
        """First without anybody under its guarantee, by every way; then with."""
        for careful, care, last in ((True, Care.ALWAYS, Care.ALWAYS), (False, Care.FIRST, Care.NEVER)):
            asked = self._who_may_be_asked(request, careful)
            if self._could_help(request, asked):
                trial = Trial(self._cluster, request, limits, borrowers, care=care)
                if trial.run():
                    return trial.taken
                found = self._on_one_host(request, limits, borrowers, last, asked)
                if found is not None:
                    return found
        return None

    def _reclaims(self, request: Request) -> bool:
        """Whether it may ask other teams: on some level of its path it stays within its guarantee."""
        if self._cluster.knobs.fair_preemption:
            return True
        return any(branch.within(branch.settled, request.total) for branch in request.team.path)

    def _who_may_be_asked(self, request: Request, careful: bool) -> _Asked:
        """By host: those over guarantee, if others may be asked, and the lower priorities of the own team."""
        asked = dict(self._over_by_host(request, careful)) if self._reclaims(request) else {}
        for place, grant in request.team.leaving:
            if place[0] >= request.priority:
                break
            for host in dict.fromkeys(grant.hosts):
                there = asked.get(host, [])
                if not any(each is grant for _, each in there):
                    asked[host] = sorted([*there, (place, grant)], key=itemgetter(0))
        return asked

    def _over_by_host(self, request: Request, careful: bool) -> _Asked:
        """The grants of teams that are over guarantee on a requested resource, by host, in the order of leaving.

        `careful`: and would not end under their guarantee.
        """
        resources = self._resources(request)
        found = self._by_host.get((resources, careful))
        if found is None:
            found = self._by_host[resources, careful] = {}
            for team in self._cluster.teams.values():
                if team.leaving and (team.children or team.over(team.settled, request.total)):
                    for place, grant in team.leaving:
                        if careful and team.ends_under(team.settled, grant.request.total, resources):
                            continue
                        for host in dict.fromkeys(grant.hosts):
                            found.setdefault(host, []).append((place, grant))
            for there in found.values():
                there.sort(key=itemgetter(0))
        return found

    def _could_help(self, request: Request, asked: _Asked) -> bool:
        """Whether there would be room if all who may be asked had left."""
        if any(team.past_burst(team.usage, request.total) is not None for team in request.team.path):
            return True
        shape, members = request.shape, 0
        hosts = self._cluster.hosts.selected(shape.selector) if shape.members > 1 else asked
        for host in hosts:
            if host.open and matches(host, shape.selector):
                members += fitting(_without(host, asked.get(host, ())), shape.needs)
                if members >= shape.members:
                    return True
        return False

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
        resources = self._resources(request)
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

    def _on_one_host(
        self, request: Request, limits: Limits, borrowers: list[Branch], care: Care, asked: _Asked
    ) -> list[Grant] | None:
        """Those on one host, or one or two of them."""
        needs, selector = request.shape.needs, request.shape.selector
        if request.shape.members > 1:
            return None
        for host in sorted(asked, key=attrgetter("id")):
            there = asked[host]
            if not host.open or not matches(host, selector) or not fitting(_without(host, there), needs):
                continue
            tops = {grant.request.team.path[0] for _, grant in there}
            near = [branch for branch in borrowers if branch[2] in tops]
            few = combinations(there[:FEW], 1), combinations(there[:FEW], 2)
            for chosen in chain([there], *few):
                if fitting(_without(host, chosen), needs):
                    by_team: dict[Team, list[tuple[LeavingPlace, Grant]]] = {}
                    for place, grant in chosen:
                        by_team.setdefault(grant.request.team, []).append((place, grant))
                    trial = Trial(self._cluster, request, limits, near, care=care, only=by_team)
                    if trial.run():
                        return trial.taken
        return None

    @staticmethod
    def _resources(request: Request) -> tuple[int, ...]:
        return tuple(resource for resource, _ in request.total)


def _without(host: Host, grants: Iterable[tuple[LeavingPlace, Grant]]) -> list[int]:
    """What would be free on the host if they had left."""
    free = list(host.free)
    for _, grant in grants:
        members = host.grants[grant]
        for resource, amount in grant.request.shape.needs:
            free[resource] += amount * members
    return free
