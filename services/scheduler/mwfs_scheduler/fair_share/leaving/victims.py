"""Who makes room for a request (C6 to C11)."""

from __future__ import annotations

from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Limits
from mwfs_scheduler.fair_share.leaving.asking import Asker, may_leave
from mwfs_scheduler.fair_share.leaving.below_limits import are_freed, is_freed, might_be_freed
from mwfs_scheduler.fair_share.leaving.openings import Rooms
from mwfs_scheduler.fair_share.leaving.ordered import OrderedSearch
from mwfs_scheduler.fair_share.leaving.search import FEW, Search, reclaims
from mwfs_scheduler.fair_share.leaving.trial import Care, asker_for
from mwfs_scheduler.fair_share.model import Amounts, Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.state.rooms import PLENTY, fitting
from mwfs_scheduler.fair_share.state.teams import Line, Team, leaving_place
from mwfs_scheduler.fair_share.waiting.hopes import Helped


def may_ask(cluster: Cluster, request: Request) -> bool:
    """Whether the request may ask anybody to leave at all."""
    team = request.team
    return bool(team.leaving and team.leaving[0][0][0] < request.priority) or reclaims(cluster, request)


#: So many searches that found nobody are remembered.
MOST_NOBODY: Final = 16_384


class VictimSearch:
    """The searches of one round. What started in it cannot be asked yet, so that it is never a victim of it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        #: How many it has made: each may take long where many may be asked.
        self.searches = 0
        #: Whom a burst limit is in the way of, although all had left below it who may be asked: the last that asked, if that was so.
        self._held: Request | None = None

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
        self._held = None
        if asker.tight or self._cluster.knobs.fair_preemption:
            search = TrialSearch(self._cluster, request, asker, limits)
            if search.is_held():
                self._held = request
                return None
            return search.run()
        return OrderedSearch(self._cluster, request, asker, limits).run()

    def helped(self, request: Request) -> Helped:
        """What may help the request, which has found nobody."""
        if not reclaims(self._cluster, request):
            return Helped.OWN_TEAM
        tight = request.team.tight(request.total)
        if tight and (self._held is request or not might_be_freed(self._cluster, request, tight)):
            return Helped.OWN_TREE
        return Helped.ANYTHING

    def may_ask(self, request: Request) -> bool:
        """Whether it may ask anybody to leave at all."""
        return may_ask(self._cluster, request)

    def is_in_vain(self, request: Request) -> bool:
        """Whether it would not fit even if all had left whom it may ask below a limit, or that of lower priority in its own team if it may ask nobody else."""
        cluster, shape = self._cluster, request.shape
        if not reclaims(cluster, request):
            room = self.room(shape)
            if room < shape.members and room + cluster.lowers.room(request).more < shape.members:
                return True
        tight = request.team.tight(request.total)
        return bool(tight) and not might_be_freed(cluster, request, tight)

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
        if tight and not might_be_freed(self._cluster, request, tight):
            return PLENTY
        return None

    def room(self, shape: Shape) -> int:
        """How many members fit; of one member, whether it does."""
        if shape.members == 1:
            return int(self._cluster.waiting.witnesses.has_room(shape))
        return self._cluster.hosts.rooms(shape).total()


class TrialSearch(Search):
    """When something of its own decides whom the request may ask: one after the other, until it would start."""

    def __init__(self, cluster: Cluster, request: Request, asker: Asker, limits: Limits) -> None:
        super().__init__(cluster, request, asker, limits)
        #: Those whom it may ask below the deepest burst limit that is in the way, by team.
        self._below: dict[Team, list[Grant]] = {}
        #: Whether there is room for it, so that nothing but the limit is in its way.
        self._has_room = False
        if asker.tight:
            for team in asker.tight[-1].subtree():
                if team.leaving and (team is request.team or self._may_ever_ask_of(team)):
                    may = [grant for _, grant in team.leaving if self._may_leave(grant)]
                    if may:
                        self._below[team] = may

    def _may_leave(self, grant: Grant) -> bool:
        return may_leave(grant, self._asker, self._cluster.knobs, self._cluster.now) and self._may_ever_ask(grant)

    def is_held(self) -> bool:
        """Whether a burst limit is in the way even if as much leaves below it as may be asked for."""
        tight = self._asker.tight
        return bool(tight) and not is_freed(self._request, tight[-1], self._below)

    def run(self) -> list[Grant] | None:
        """Who must leave."""
        for careful in (True, False):
            found = self._find(careful)
            if found is not None:
                return found
        return None

    def _find(self, careful: bool) -> list[Grant] | None:
        hosts = {} if self._asker.tight else self._that_would_help(careful)
        if not self._asker.tight and sum(hosts.values()) < self._request.shape.members:
            return None
        found = self._in_order(Care.ALWAYS if careful else Care.FIRST)
        if found is not None:
            return found
        if self._asker.tight:
            found = self._below_the_limit(careful=careful)
        elif self._request.shape.members > 1:
            found = self._few_alone(self._asker.usable, careful=careful)
        else:
            own = [host for host in self._lower if hosts.get(host)]
            others = None
            if self._borrowers is not None:
                others = self._borrowers.chances(self._request.shape.needs, careful=careful)
            found = self._alone(own, careful=careful, others=others)
        return found or self._any_of_few(careful=careful)

    def _in_order(self, care: Care) -> list[Grant] | None:
        """One after the other in the order of C7."""
        tight, branches = self._asker.tight, self._over(self._cluster.tops)
        if tight:
            # Who is not below the limit does not help with it, nor change the order of those who are.
            below = self._trial(branches, care, below=tight[0])
            self._has_room = below.has_room
            if not below.run():
                return None
            if below.has_room:
                return below.taken
        trial = self._trial(branches, care)
        return trial.taken if trial.run() else None

    def _below_the_limit(self, *, careful: bool) -> list[Grant] | None:
        """Those on one host, or one or two wherever they are: some of them must be below the burst limit that is in the way."""
        return (None if self._has_room else self._alone_below(careful=careful)) or self._few_below(careful=careful)

    def _alone_below(self, *, careful: bool) -> list[Grant] | None:
        on_host: dict[Host, list[Grant]] = {}
        for grants in self._below.values():
            for grant in grants:
                for host in dict.fromkeys(grant.hosts):
                    on_host.setdefault(host, []).append(grant)
        limited = self._asker.tight[-1:]
        hosts = [host for host, grants in on_host.items() if are_freed(self._request, limited, grants)]
        if self._request.shape.members > 1:
            return self._few_alone(hosts, careful=careful)
        return self._alone(hosts, careful=careful)

    def _few_below(self, *, careful: bool) -> list[Grant] | None:
        """One of those below the limit, or two of the first of them."""
        care = Care.ALWAYS if careful else Care.NEVER
        ordered = sorted((grant for grants in self._below.values() for grant in grants), key=self._order)
        there = [(grant, leaving_place(grant)) for grant in ordered]
        in_vain: set[tuple[Team, Amounts]] = set()
        for at, last in enumerate(there):
            alike = last[0].request.team, last[0].total
            alone = [] if alike in in_vain else [[last]]
            if self._has_room:
                in_vain.add(alike)  # on which host it runs does not matter
            for chosen in (*alone, *([first, last] for first in there[:at] if at < FEW)):
                found = self._only(chosen, care)
                if found is not None:
                    return found
        return None

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
                rooms = Rooms({host: list(host.free)}, {})
                for grant in dict.fromkeys(grant for _, grant in (*there, *own)):
                    rooms.give(grant, 1)
                hosts[host] = rooms.fits(host, shape.needs)
        return hosts
