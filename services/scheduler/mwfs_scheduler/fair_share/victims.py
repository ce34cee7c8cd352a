"""Who makes room for a request (C6 to C11)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from itertools import chain, combinations
from operator import attrgetter, itemgetter
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.hosts import fitting
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
    return bool(team.leaving and team.leaving[0][0][0] < request.priority) or reclaims(cluster, request)


def reclaims(cluster: Cluster, request: Request) -> bool:
    """Whether the request may ask other teams: on some level of its path it stays within its guarantee."""
    if cluster.knobs.fair_preemption:
        return True
    return any(branch.within(branch.settled, request.total) for branch in request.team.path)


class VictimSearch:
    """The searches of one round. What started in the round is never a victim of it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._departures = -1
        self._borrowers: dict[tuple[int, ...], list[Branch]] = {}
        self._freeable: dict[tuple[tuple[int, ...], bool], dict[Host, list[int]]] = {}
        self._helping: dict[tuple[Shape, bool], dict[Host, int]] = {}
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
        self._clear()

    def _clear(self) -> None:
        for known in (self._by_host, self._freeable, self._helping, self._hopeless):
            known.clear()

    def find(self, request: Request, limits: Limits) -> list[Grant] | None:
        """The grants that must leave for the request to start, or None when it would not start all the same."""
        cluster = self._cluster
        if not may_ask(cluster, request):
            return None
        if self._departures != cluster.departures:
            self._departures = cluster.departures
            self._borrowers.clear()
            self._clear()
        borrowers = self._over_guarantee(request) if reclaims(self._cluster, request) else []
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
            hosts = self._that_would_help(request, careful)
            if hosts is not None:
                trial = Trial(self._cluster, request, limits, borrowers, care=care)
                if trial.run():
                    return trial.taken
                found = self._on_one_host(request, limits, borrowers, last, hosts, careful)
                if found is not None:
                    return found
        return None

    def _that_would_help(self, request: Request, careful: bool) -> set[Host] | None:
        """The hosts with room for a member if all who may be asked had left; None when there would be too little in all."""
        shape = request.shape
        usable = self._cluster.hosts.usable(shape)
        free: dict[Host, list[int]] = {}
        hosts: dict[Host, int] = {}
        if reclaims(self._cluster, request):
            free = self._free_without_others(request, careful)
            key = shape, careful
            if key not in self._helping:
                self._helping[key] = {host: fits for host in usable if (fits := fitting(free[host], shape.needs))}
            hosts = self._helping[key]
        elif shape.members > 1:
            hosts = {host: fits for host in usable if (fits := fitting(host.free, shape.needs))}
        own = self._own_lower(request)
        if own:
            hosts = dict(hosts)
            for host, grants in own.items():
                if host in usable:
                    left = free.get(host, host.free)
                    hosts[host] = fitting(_and(left, grants, host), shape.needs)
        burst = any(team.past_burst(team.usage, request.total) is not None for team in request.team.path)
        if not burst and sum(hosts.values()) < shape.members:
            return None
        return {host for host, fits in hosts.items() if fits}

    def _own_lower(self, request: Request) -> _Asked:
        """The lower priorities of the own team, by host."""
        found: _Asked = {}
        for place, grant in request.team.leaving:
            if place[0] >= request.priority:
                break
            for host in dict.fromkeys(grant.hosts):
                found.setdefault(host, []).append((place, grant))
        return found

    def _free_without_others(self, request: Request, careful: bool) -> dict[Host, list[int]]:
        """What would be free on each host without those of `_over_by_host`."""
        key = self._resources(request), careful
        found = self._freeable.get(key)
        if found is None:
            over = self._over_by_host(request, careful)
            found = self._freeable[key] = {
                host: _and(host.free, over[host], host) if host in over else host.free for host in self._cluster.hosts
            }
        return found

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
                        if careful and team.ends_under(team.settled, grant.total, resources):
                            continue
                        for host in dict.fromkeys(grant.hosts):
                            found.setdefault(host, []).append((place, grant))
            for there in found.values():
                there.sort(key=itemgetter(0))
        return found

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
        self,
        request: Request,
        limits: Limits,
        borrowers: list[Branch],
        care: Care,
        hosts: set[Host],
        careful: bool,
    ) -> list[Grant] | None:
        """Those on one host, or one or two of them."""
        needs = request.shape.needs
        if request.shape.members > 1:
            return None
        others = self._over_by_host(request, careful) if reclaims(self._cluster, request) else {}
        own = self._own_lower(request)
        for host in sorted(hosts, key=attrgetter("id")):
            there = sorted(
                {grant: place for place, grant in (*others.get(host, ()), *own.get(host, ()))}.items(),
                key=itemgetter(1),
            )
            tops = {grant.request.team.path[0] for grant, _ in there}
            near = [branch for branch in borrowers if branch[2] in tops]
            few = combinations(there[:FEW], 1), combinations(there[:FEW], 2)
            for chosen in chain([there], *few):
                by_team: dict[Team, list[tuple[LeavingPlace, Grant]]] = {}
                for grant, place in chosen:
                    by_team.setdefault(grant.request.team, []).append((place, grant))
                if fitting(_and(host.free, chain(*by_team.values()), host), needs):
                    trial = Trial(self._cluster, request, limits, near, care=care, only=by_team)
                    if trial.run():
                        return trial.taken
        return None

    @staticmethod
    def _resources(request: Request) -> tuple[int, ...]:
        return tuple(resource for resource, _ in request.total)


def _and(free: Sequence[int], grants: Iterable[tuple[LeavingPlace, Grant]], host: Host) -> list[int]:
    """What would be free on the host if these had left as well; nobody counts twice."""
    left = list(free)
    for _, grant in grants:
        members = host.grants[grant]
        for resource, amount in grant.request.shape.needs:
            left[resource] += amount * members
    return left
