"""Who makes room for a request (C6 to C11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Limits
from mwfs_scheduler.fair_share.leaving.asking import may_leave
from mwfs_scheduler.fair_share.leaving.ordered import OrderedSearch
from mwfs_scheduler.fair_share.leaving.search import TWOS, Search, give, reclaims
from mwfs_scheduler.fair_share.leaving.trial import Care, Trial, asker_for
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.state.rooms import PLENTY, fitting
from mwfs_scheduler.fair_share.state.teams import Line, Team


def may_ask(cluster: Cluster, request: Request) -> bool:
    """Whether the request may ask anybody to leave at all."""
    team = request.team
    return bool(team.leaving and team.leaving[0][0][0] < request.priority) or reclaims(cluster, request)


#: So many searches that found nobody are remembered.
MOST_NOBODY: Final = 16_384


#: Where no more are below a burst limit, two of them are tried wherever they are.
FEW_BELOW: Final = 32


class VictimSearch:
    """The searches of one round. What started in it cannot be asked yet, so that it is never a victim of it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        #: How many it has made: each may take long where many may be asked.
        self.searches = 0

    def find(self, request: Request, limits: Limits) -> list[Grant] | None:
        """The grants that must leave for the request to start, or None when it would not start all the same."""
        if not may_ask(self._cluster, request):
            return None
        if self.is_in_vain(request):
            return None
        # Those of a team that differ in how long they take, or in age, may ask the same.
        asked = request.team, request.shape[:3], request.priority, frozenset(limits)
        moment = self._cluster.version, self._cluster.now
        if self._cluster.nobody.get(asked) == moment:
            return None
        self.searches += 1
        found = self._find(request, limits)
        if found is None:
            if len(self._cluster.nobody) >= MOST_NOBODY:
                self._cluster.nobody.clear()
            self._cluster.nobody[asked] = moment
        return found

    def _find(self, request: Request, limits: Limits) -> list[Grant] | None:
        asker = asker_for(self._cluster, request)
        if asker.tight and not self._might_free_burst(request, asker.tight):
            return None
        if limits or asker.tight or self._cluster.knobs.fair_preemption:
            return TrialSearch(self._cluster, request, asker, limits).run()
        return OrderedSearch(self._cluster, request, asker).run()

    def may_ask(self, request: Request) -> bool:
        """Whether it may ask anybody to leave at all."""
        return may_ask(self._cluster, request)

    def is_in_vain(self, request: Request) -> bool:
        """Whether it may only ask lower priorities of its own team, and would not fit even if all of them had left."""
        cluster, shape = self._cluster, request.shape
        if reclaims(cluster, request):
            return False
        room = self.room(shape)
        if room >= shape.members:
            return False
        return room + cluster.lowers.room(request).more < shape.members

    def is_hopeless(self, line: Line) -> bool:
        """Whether that is so of the first of the line, or all that it may ask would not make it fit into its burst limit."""
        return self.hopeless_until(line, self.room(line.shape)) is not None

    def hopeless_until(self, line: Line, room: int) -> int | None:
        """The same for so much room; and with how much that may not be so any more, as long as nothing else changes. None if it is not so."""
        request, members = line.requests[0][1], line.shape.members
        if room < members and not reclaims(self._cluster, request):
            lower = self._cluster.lowers.room(request)
            if room + lower.more < members:
                return max(1, members - lower.total)
        tight = request.team.tight(request.total)
        if tight and not reclaims(self._cluster, request) and not self._might_free_burst(request, tight):
            return PLENTY
        return None

    def room(self, shape: Shape) -> int:
        """How many members fit; of one member, whether it does."""
        if shape.members == 1:
            return int(self._cluster.waiting.witnesses.has_room(shape))
        return self._cluster.hosts.rooms(shape).total()

    def _might_free_burst(self, request: Request, tight: Sequence[Team]) -> bool:
        """Whether the own team's lower priorities hold enough of what its burst limit leaves too little of."""
        team = request.team
        if team.children or team not in tight:
            return True
        usage = [
            used - given for used, given in zip(team.usage, self._cluster.lowers.below(request).holds, strict=True)
        ]
        return team.past_burst(usage, request.total) is None


class TrialSearch(Search):
    """When something of its own decides whom the request may ask: one after the other, until it would start."""

    def run(self) -> list[Grant] | None:
        """Who must leave."""
        for careful in (True, False):
            found = self._find(careful)
            if found is not None:
                return found
        return None

    def _find(self, careful: bool) -> list[Grant] | None:
        request, cluster = self._request, self._cluster
        hosts = self._that_would_help(careful)
        if not self._asker.tight and sum(hosts.values()) < request.shape.members:
            return None
        care = Care.ALWAYS if careful else Care.FIRST
        trial = Trial(cluster, request, self._limits, self._over(cluster.tops), care=care, asker=self._asker)
        if trial.run():
            return trial.taken
        if request.shape.members > 1:
            found = self._few_alone(careful=careful)
        else:
            own = [host for host in self._lower if hosts.get(host)]
            others = None
            if self._borrowers is not None:
                others = self._borrowers.chances(request.shape.needs, careful=careful)
            found = self._alone(own, careful=careful, others=others)
        if found is None and self._asker.tight:
            found = self._two_below_the_limit(careful=careful)
        return found or self._any_of_few(careful=careful)

    def _two_below_the_limit(self, *, careful: bool) -> list[Grant] | None:
        """Two grants below the burst limit that is in the way, wherever they are; only where few are."""
        asker, cluster = self._asker, self._cluster
        leaving = [each for team in asker.tight[0].subtree() for each in team.leaving]
        if len(leaving) > FEW_BELOW:
            return None
        may = [
            (self._order(grant), (grant, place))
            for place, grant in leaving
            if may_leave(grant, asker, cluster.knobs, cluster.now) and self._may_ever_ask(grant)
        ]
        there = [each for _, each in sorted(may)]
        for one, other in TWOS:
            if other < len(there) and self._are_below_limits_without(there[one][0], there[other][0]):
                found = self._only([there[one], there[other]], Care.ALWAYS if careful else Care.NEVER)
                if found is not None:
                    return found
        return None

    def _are_below_limits_without(self, *grants: Grant) -> bool:
        """Whether the request stays within the burst limits that are in the way once these have left."""
        for branch in self._asker.tight:
            usage = list(branch.usage)
            for grant in grants:
                for resource, amount in grant.total if branch in grant.request.team.path else ():
                    usage[resource] -= amount
            if branch.past_burst(usage, self._request.total) is not None:
                return False
        return True

    def _that_would_help(self, careful: bool) -> dict[Host, int]:
        """How many members would fit where if all who may be asked had left."""
        shape, usable = self._request.shape, self._asker.usable
        hosts: dict[Host, int] = {}
        if shape.members > 1:  # a part of a gang may go where there is room now, and nobody who could leave
            hosts = {host: fits for host in usable if (fits := fitting(host.free, shape.needs))}
        if self._borrowers is not None:
            hosts.update(self._borrowers.helping(shape.needs, careful=careful))
        for host, own in self._lower.items():
            if host in usable:
                there = self._borrowers.on_hosts.there(host, careful=careful) if self._borrowers is not None else []
                free = {host: list(host.free)}
                for grant in dict.fromkeys(grant for _, grant in (*there, *own)):
                    give(free, grant, 1)
                hosts[host] = fitting(free[host], shape.needs)
        return hosts
