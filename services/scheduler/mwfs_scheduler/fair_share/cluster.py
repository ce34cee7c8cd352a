"""Everything the decisions are made from, and the few ways in which it changes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from mwfs_scheduler.fair_share.hosts import Hosts
from mwfs_scheduler.fair_share.model import Grant, Host, Knobs, Request, Time
from mwfs_scheduler.fair_share.teams import Team, leaving_place, scale_guarantees, weigh
from mwfs_scheduler.fair_share.waiting import Waiting


@dataclass(slots=True, kw_only=True, eq=False)
class Intent:
    """Room that is being made for a request: who leaves, until when, and where it will run."""

    request: Request
    hosts: list[Host]
    leaving: list[Grant]
    until: Time
    #: What is kept of free room: amounts per resource that nobody else may take, per host.
    kept: list[tuple[Host, tuple[tuple[int, int], ...]]] = field(default_factory=list)


class Cluster:
    """Hosts, teams, what runs and what waits."""

    def __init__(self, *, resources: Sequence[str], knobs: Knobs, now: Time) -> None:
        self.resources = tuple(resources)
        self.knobs = knobs
        self.now = now
        self.hosts = Hosts(len(resources))
        self.teams: dict[str, Team] = {}
        self._tops: list[Team] = []
        self.grants: dict[str, Grant] = {}
        self.waiting = Waiting(self.hosts)
        self.intents: dict[str, Intent] = {}
        self.paused: dict[str, Request] = {}
        #: Of the tree of teams, with a level for the own work of the deepest.
        self.depth = 1
        #: Resources whose guarantees had to be scaled down.
        self.scaled: list[int] = []
        #: Counts changes that can make room, or make somebody over guarantee.
        self.version = 0
        #: Counts the grants that have ended, and those that may be asked to leave since.
        self.departures = 0

    # --- what the configuration says ----------------------------------------------------------------------------------

    @property
    def tops(self) -> list[Team]:
        """The teams without a parent."""
        return self._tops

    def add_team(self, team: Team) -> None:
        """A team whose parent, if it has one, is there."""
        self.teams[team.id] = team
        if team.parent is None:
            self._tops.append(team)
        else:
            team.parent.children.append(team)

    def add_host(self, host: Host) -> None:
        self.hosts.add(host)

    def settle(self) -> None:
        """Call after teams or hosts have changed, before the next decision."""
        self.depth = 1 + max((len(team.path) for team in self.teams.values()), default=0)
        self.scaled = scale_guarantees(self.teams, self.hosts.pools)
        weigh(self.teams, self.hosts.pools)
        self.waiting.reconsider()

    # --- time ---------------------------------------------------------------------------------------------------------

    def remember(self, team: Team, used: Sequence[int]) -> None:
        """The team itself has used this much, by the decayed memory."""
        for each in team.path:
            each.past = [kept + more for kept, more in zip(each.past or [0] * len(used), used, strict=True)]

    def pass_time(self, seconds: Time) -> None:
        """Time passes: the memory of past use decays towards what is used now."""
        self.now += seconds
        if seconds:
            self.waiting.rouse_all()
        half_life = self.knobs.half_life_s
        if half_life is None or not seconds:
            return
        kept = Fraction(0.5 ** float(seconds / half_life))
        for team in self.teams.values():
            past = team.past or [0] * len(self.resources)
            team.past = [used + floor((each - used) * kept) for each, used in zip(past, team.usage, strict=True)]

    def end_what_is_due(self) -> None:
        """End the grants whose time has come."""
        due = [grant for grant in self.grants.values() if grant.ends is not None and grant.ends <= self.now]
        for grant in sorted(due, key=lambda grant: grant.id):
            self.end(grant)

    # --- what waits ---------------------------------------------------------------------------------------------------

    def wait(self, request: Request) -> None:
        """The request waits from now on."""
        if request.paused:
            self.paused[request.id] = request
            return
        self.waiting.add(request)

    # --- what runs ----------------------------------------------------------------------------------------------------

    def start(self, grant: Grant) -> None:
        """The grant holds its hosts from now on. A request that waited must have stopped waiting before."""
        request = grant.request
        self.grants[grant.id] = grant
        request.team.use(request.total, 1)
        for host, members in counted(grant.hosts):
            host.grants[grant] = members
            self.hosts.change(host, request.shape.needs, members)
        self.version += 1

    def may_be_asked(self, grant: Grant) -> None:
        """From now on the grant may be asked to leave, if it is preemptible at all."""
        if grant.request.preemptible:
            insort(grant.request.team.leaving, (leaving_place(grant), grant))
            grant.askable = True
            self.version += 1
            self.departures += 1
            self.waiting.rouse_above(grant.request.team, grant.request.priority)

    def end(self, grant: Grant) -> None:
        """The grant gives back all it holds."""
        request, team = grant.request, grant.request.team
        del self.grants[grant.id]
        team.use(request.total, -1)
        if grant.leaves_at is not None:
            team.settle(request.total, 1)
        if grant.askable:
            del team.leaving[bisect_left(team.leaving, (leaving_place(grant),))]
        for host, members in counted(grant.hosts):
            del host.grants[grant]
            self.hosts.change(host, request.shape.needs, -members)
        for intent in self.intents.values():
            if grant in intent.leaving:
                self._let_go(intent)
                intent.leaving.remove(grant)
                self._keep(intent)
        for host, _ in counted(grant.hosts):
            self.waiting.room_on(host)
        self.version += 1
        self.departures += 1
        self.waiting.rouse(team.path[0].subtree())

    def tell_to_leave(self, grant: Grant, until: Time) -> None:
        """The grant runs on until then and counts until then, and cannot be asked again."""
        team = grant.request.team
        del team.leaving[bisect_left(team.leaving, (leaving_place(grant),))]
        team.settle(grant.request.total, -1)
        grant.leaves_at = until
        self.departures += 1
        grant.askable = False

    def let_stay(self, grant: Grant) -> None:
        """The grant need not leave after all."""
        grant.request.team.settle(grant.request.total, 1)
        grant.leaves_at = None
        self.may_be_asked(grant)

    # --- intents ------------------------------------------------------------------------------------------------------

    def intend(self, intent: Intent) -> None:
        """Keep the room that the request will need and that is free now; more of it as those who leave end.

        The request stands in no line meanwhile.
        """
        self.waiting.remove(intent.request)
        self.intents[intent.request.id] = intent
        intent.request.team.promise(intent.request.total, 1)
        intent.request.team.settle(intent.request.total, 1)
        self._keep(intent)

    def drop_intent(self, intent: Intent) -> None:
        """Give the kept room back; the request stands in its line again."""
        del self.intents[intent.request.id]
        self.wait(intent.request)
        intent.request.team.promise(intent.request.total, -1)
        intent.request.team.settle(intent.request.total, -1)
        self._let_go(intent)
        self.waiting.rouse(intent.request.team.path[0].subtree())

    def _keep(self, intent: Intent) -> None:
        needs = intent.request.shape.needs
        for host, members in counted(intent.hosts):
            freed = freed_on(host, intent.leaving)
            kept = tuple(
                (resource, keep)
                for resource, amount in needs
                if (keep := amount * members - freed.get(resource, 0)) > 0
            )
            if kept:
                self.hosts.change(host, kept, 1)
                intent.kept.append((host, kept))

    def _let_go(self, intent: Intent) -> None:
        for host, kept in intent.kept:
            self.hosts.change(host, kept, -1)
            self.waiting.room_on(host)
        intent.kept.clear()


def counted(hosts: Iterable[Host]) -> Iterable[tuple[Host, int]]:
    counted: dict[Host, int] = {}
    for host in hosts:
        counted[host] = counted.get(host, 0) + 1
    return counted.items()


def freed_on(host: Host, leaving: Iterable[Grant]) -> Mapping[int, int]:
    freed: dict[int, int] = {}
    for grant in leaving:
        members = host.grants.get(grant, 0)
        for resource, amount in grant.request.shape.needs:
            freed[resource] = freed.get(resource, 0) + amount * members
    return freed
