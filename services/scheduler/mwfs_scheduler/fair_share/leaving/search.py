"""What every search for those who make room needs: whom the request may ask, and asking those on one host alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Limits
from mwfs_scheduler.fair_share.leaving.asking import Asker, Branch, Only
from mwfs_scheduler.fair_share.leaving.below_limits import are_freed
from mwfs_scheduler.fair_share.leaving.borrowers import Borrowers
from mwfs_scheduler.fair_share.leaving.chances import Chance, Chances, Order, Shares, gives
from mwfs_scheduler.fair_share.leaving.few import Sets, who_may_be_asked
from mwfs_scheduler.fair_share.leaving.on_hosts import There, shares_of
from mwfs_scheduler.fair_share.leaving.orders import have_own_work
from mwfs_scheduler.fair_share.leaving.trial import Care, Trial
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.state.teams import LeavingPlace, Team, leaving_place

#: Of so many grants on a host each alone is tried, and each pair.
FEW: Final = 8
#: Those whose last comes first before the others.
TWOS: Final = [(first, last) for last in range(FEW) for first in range(last)]
ONES_AND_TWOS: Final[Sequence[Sequence[int]]] = [*((at,) for at in range(FEW)), *TWOS]
#: Among so many hosts gangs ask those on one host alone: on all that they can use.
FEW_HOSTS: Final = 32
#: So many kinds of asking are kept up to date: what is asked for, on which hosts, up to which priority, below which team.
MOST_KINDS: Final = 512


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
        #: What `_order` knows of teams.
        self._shares: dict[Team, Shares] = {}
        for place, grant in request.team.leaving:
            if place[0] >= request.priority:
                break
            for host in dict.fromkeys(grant.hosts):
                self._lower.setdefault(host, []).append((place, grant))

    # What is taken in the order of C7 may be of little use, and use up what a team has above its guarantee, so that the one
    # that would be enough is not legal any more. A guarantee must not be lost by that.

    def _alone(
        self, hosts: Collection[Host], *, careful: bool, others: Chances | None = None, learns: bool = False
    ) -> list[Grant] | None:
        """Those on one of the hosts, or one or two of them: where the one who comes last in the order of C7 comes first.

        `others`: further hosts, on which whoever asks may ask the same. `learns`: it is remembered where that is in vain for all.
        """
        there = [chance for host in hosts if (chance := self._chance(host, careful=careful)) is not None]
        looked_at = [(chance.earliest(), chance.host.id, chance) for chance in there]
        heapify(looked_at)
        own = set(hosts)
        best: tuple[Order, list[Grant]] | None = None
        while True:
            other = None if others is None else others.first()
            if others is not None and other is not None and (not looked_at or other[:2] < looked_at[0][:2]):
                order, _, host = other
                if best is not None and best[0] <= order:
                    break
                others.set_aside(host)
                if host not in own:
                    chance = self._chance(host, careful=careful)
                    if chance is not None:
                        heappush(looked_at, (chance.earliest(), host.id, chance))
                    elif learns:
                        others.ask_no_more(host)
                continue
            if not looked_at or (best is not None and best[0] <= looked_at[0][0]):
                break
            chance = heappop(looked_at)[2]
            found = self._ask(chance, Care.ALWAYS if careful else Care.NEVER)
            if found is not None:
                order = max(self._order(grant) for grant in found)
                if best is None or order < best[0]:
                    best = order, found
            elif others is not None and learns and chance.host not in own:
                others.ask_no_more(chance.host)
        if others is not None:
            others.put_back()
        return None if best is None else best[1]

    def _chance(self, host: Host, *, careful: bool) -> Chance | None:
        """Those on the host who may be asked, if all of them hold enough for one member."""
        others = self._borrowers.on_hosts.there(host, careful=careful) if self._borrowers is not None else ()
        places = {grant: place for place, grant in (*others, *self._lower.get(host, ()))}
        may = [(grant, place) for grant, place in places.items() if self._may_ever_ask(grant)]
        if not are_freed(self._request, self._asker.tight, (grant for grant, _ in may)):
            return None
        lacks = [
            (resource, amount - host.free[resource])
            for resource, amount in self._request.shape.needs
            if host.free[resource] < amount
        ]
        given = {grant: gives(grant, host, lacks) for grant, _ in may}
        if not may or any(sum(each[at] for each in given.values()) < lack for at, (_, lack) in enumerate(lacks)):
            return None
        ordered = sorted((self._order(grant), (grant, place)) for grant, place in may)
        there = [each for _, each in ordered]
        return Chance(
            host=host,
            there=there,
            order=[order for order, _ in ordered],
            lacks=[lack for _, lack in lacks],
            gives=[given[grant] for grant, _ in there],
        )

    def _ask(self, chance: Chance, care: Care) -> list[Grant] | None:
        """All of them, one after the other, or one alone who comes before the last that is needed of these; else two."""
        there = chance.there
        found = self._only(there, care)
        tries = ONES_AND_TWOS
        if found is not None:
            tries = ONES_AND_TWOS[: min(FEW, max(at for at, (grant, _) in enumerate(there) if grant in found))]
        for chosen in tries:
            if chance.holds_enough(chosen) and (few := self._only([there[at] for at in chosen], care)) is not None:
                return few
        return found

    def _order(self, grant: Grant) -> Order:
        """Where the grant comes in the order of C7, as long as nobody has left."""
        team = grant.request.team
        if team is self._request.team:
            return 1, (), leaving_place(grant)
        shares = self._shares.get(team)
        if shares is None:
            shares = self._shares[team] = shares_of(team, 0 if self._borrowers is None else self._borrowers.level)
        return 0, shares, leaving_place(grant)

    def _may_ever_ask(self, grant: Grant) -> bool:
        """Whether the request has the right to ask for this grant, as usage is now: it only falls while others leave."""
        team, request = grant.request.team, self._request
        if team is request.team and not self._cluster.knobs.fair_preemption:
            return grant.request.priority < request.priority
        return self._may_ever_ask_of(team)

    def _may_ever_ask_of(self, team: Team) -> bool:
        """The same for all of another team."""
        if self._cluster.knobs.fair_preemption:
            return True
        asker, own = self._asker, self._request.team
        level = 0
        for mine, theirs in zip(own.path, team.path, strict=False):
            if mine is not theirs:
                break
            level += 1
        if level >= len(own.path) or not asker.may_reclaim[level]:
            return False
        return all(branch.over(branch.settled, asker.asked) for branch in team.path[level:])

    def _few_alone(self, hosts: Collection[Host], *, careful: bool) -> list[Grant] | None:
        """For a gang: those on one host, or one or two of them. It could use many hosts, so only where these are few."""
        return None if len(hosts) > FEW_HOSTS else self._alone(hosts, careful=careful)

    def _any_of_few(self, *, careful: bool) -> list[Grant] | None:
        """Any set of those who may be asked, where these are few: the one whose last comes first in the order of C7."""
        may = who_may_be_asked(self._cluster, self._request, self._asker, careful=careful)
        there = sorted(filter(self._may_ever_ask, may), key=self._order)
        care = Care.ALWAYS if careful else Care.NEVER
        tries = Sets(self._cluster, self._request, there)
        found = (self._only([(grant, leaving_place(grant)) for grant in chosen], care) for chosen in tries)
        return next((each for each in found if each is not None), None)

    def _only(self, chosen: Sequence[tuple[Grant, LeavingPlace]], care: Care) -> list[Grant] | None:
        """A trial with nobody but these."""
        if not are_freed(self._request, self._asker.tight, (grant for grant, _ in chosen)):
            return None
        by_team: dict[Team, list[tuple[LeavingPlace, Grant]]] = {}
        for grant, place in chosen:
            by_team.setdefault(grant.request.team, []).append((place, grant))
        branches = self._over(dict.fromkeys(team.path[0] for team in by_team))
        trial = self._trial(branches, care, only=by_team)
        return trial.taken if trial.run() else None

    def _trial(
        self, branches: Sequence[Branch], care: Care, *, only: Only | None = None, below: Team | None = None
    ) -> Trial:
        asker, limits = self._asker, self._limits
        return Trial(self._cluster, self._request, limits, branches, care=care, asker=asker, only=only, below=below)

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
    above = _above(cluster, asker)
    key = asker.asked_for, asker.usable, asker.highest, above
    found = cluster.borrowers.pop(key, None)
    if found is None:
        if len(cluster.borrowers) >= MOST_KINDS:
            del cluster.borrowers[next(iter(cluster.borrowers))]  # the one not asked for longest
        found = Borrowers(cluster, asker, above)
    cluster.borrowers[key] = found
    found.read_on()
    return found


def _above(cluster: Cluster, asker: Asker) -> Team | None:
    """The team below which it may ask others; None when it may ask all, or what leaves depends on the work of teams above others."""
    path = asker.path
    top = path[0]
    assert top is not None
    if asker.may_reclaim[0] or cluster.knobs.fair_preemption or have_own_work(top.subtree()):
        return None
    return path[asker.may_reclaim.index(True) - 1]
