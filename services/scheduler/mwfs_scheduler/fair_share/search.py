"""What every search for those who make room needs: whom the request may ask, and asking those on one host alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations
from operator import attrgetter, itemgetter
from typing import Final

from mwfs_scheduler.fair_share.asking import Asker, Branch
from mwfs_scheduler.fair_share.borrowers import Borrowers, There
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.reservations import Limits
from mwfs_scheduler.fair_share.teams import LeavingPlace, Team
from mwfs_scheduler.fair_share.trial import Care, Trial

#: Of so many grants on a host each alone is tried, and each pair.
FEW: Final = 8
#: For a gang these are tried as long as it can use no more hosts.
FEW_HOSTS: Final = 32
#: So many kinds of asking are kept up to date: what is asked for, on which hosts, up to which priority.
MOST_KINDS: Final = 64


def reclaims(cluster: Cluster, request: Request) -> bool:
    """Whether the request may ask other teams: on some level of its path it stays within its guarantee."""
    return cluster.knobs.fair_preemption or request.team.may_reclaim(request.total)


class Search:
    """What every search needs: first without anybody under its guarantee, by every way; then with."""

    def __init__(self, cluster: Cluster, request: Request, asker: Asker, limits: Limits) -> None:
        self._cluster = cluster
        self._request = request
        self._asker = asker
        self._limits = limits
        self._borrowers = borrowers_of(cluster, asker) if reclaims(cluster, request) else None
        #: The lower priorities of the own team, by host.
        self._lower: dict[Host, There] = {}
        for place, grant in request.team.leaving:
            if place[0] >= request.priority:
                break
            for host in dict.fromkeys(grant.hosts):
                self._lower.setdefault(host, []).append((place, grant))

    # What is taken in the order of C7 may be of little use, and use up what a team has above its guarantee, so that the one
    # that would be enough is not legal any more. A guarantee must not be lost by that.

    def _alone(self, host: Host, *, careful: bool) -> list[Grant] | None:
        """Those on one host, or one or two of them."""
        others = self._borrowers.there(host, careful=careful) if self._borrowers is not None else []
        there = sorted(
            {grant: place for place, grant in (*others, *self._lower.get(host, ()))}.items(), key=itemgetter(1)
        )
        care = Care.ALWAYS if careful else Care.NEVER
        lacks = [
            (resource, amount - host.free[resource])
            for resource, amount in self._request.shape.needs
            if host.free[resource] < amount
        ]
        gives = [_gives(grant, host, lacks) for grant, _ in there]
        may = tuple(at for at, (grant, _) in enumerate(there) if self._may_ever_ask(grant))
        few = [at for at in may if at < FEW]
        for chosen in chain([may], combinations(few, 1), combinations(few, 2)):
            if all(sum(gives[each][at] for each in chosen) >= lack for at, (_, lack) in enumerate(lacks)):
                found = self._only([there[each] for each in chosen], care)
                if found is not None:
                    return found
            elif chosen is may:
                return None
        return None

    def _may_ever_ask(self, grant: Grant) -> bool:
        """Whether the request has the right to ask for this grant, as usage is now: it only falls while others leave."""
        asker, team, own = self._asker, grant.request.team, self._request.team
        if self._cluster.knobs.fair_preemption:
            return True
        if team is own:
            return grant.request.priority < self._request.priority
        level = 0
        for mine, theirs in zip(own.path, team.path, strict=False):
            if mine is not theirs:
                break
            level += 1
        if level >= len(own.path) or not asker.may_reclaim[level]:
            return False
        return all(branch.over(branch.settled, asker.asked) for branch in team.path[level:])

    def _few_alone(self, *, careful: bool) -> list[Grant] | None:
        """For a gang: those on one host, or one or two of them. It could use many hosts, so only where they are few."""
        usable = self._asker.usable
        if len(usable) > FEW_HOSTS:
            return None
        for host in sorted(usable, key=attrgetter("id")):
            found = self._alone(host, careful=careful)
            if found is not None:
                return found
        return None

    def _only(self, chosen: Sequence[tuple[Grant, LeavingPlace]], care: Care) -> list[Grant] | None:
        """A trial with nobody but these."""
        by_team: dict[Team, list[tuple[LeavingPlace, Grant]]] = {}
        for grant, place in chosen:
            by_team.setdefault(grant.request.team, []).append((place, grant))
        branches = self._over(dict.fromkeys(team.path[0] for team in by_team))
        trial = Trial(self._cluster, self._request, self._limits, branches, care=care, asker=self._asker, only=by_team)
        return trial.taken if trial.run() else None

    def _over(self, tops: Iterable[Team]) -> list[Branch]:
        """The branches at the top that are over guarantee on a requested resource, the one most above it first."""
        if self._borrowers is None:
            return []
        return sorted(
            (-branch.borrowed_share(branch.settled), branch.id, branch)
            for branch in tops
            if (branch.leaving or branch.children) and branch.over(branch.settled, self._asker.asked)
        )


def borrowers_of(cluster: Cluster, asker: Asker) -> Borrowers:
    """Those whom it may ask, as all others who may ask the same."""
    key = asker.asked_for, asker.usable, asker.highest
    found = cluster.borrowers.get(key)
    if found is None:
        if len(cluster.borrowers) >= MOST_KINDS:
            cluster.borrowers.clear()
        found = cluster.borrowers[key] = Borrowers(cluster, asker)
    found.read_on()
    return found


def give(free: Mapping[Host, list[int]], grant: Grant, times: int) -> None:
    """What the grant holds of these hosts is free (1), or not (-1)."""
    for host in dict.fromkeys(grant.hosts):
        if host in free:
            members = times * host.grants[grant]
            for resource, amount in grant.request.shape.needs:
                free[host][resource] += amount * members


def _gives(grant: Grant, host: Host, lacks: Sequence[tuple[int, int]]) -> list[int]:
    """What the grant holds of these resources on the host."""
    holds = dict(grant.request.shape.needs)
    return [holds.get(resource, 0) * host.grants[grant] for resource, _ in lacks]
