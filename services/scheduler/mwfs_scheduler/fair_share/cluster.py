"""Everything the decisions are made from, and the few ways in which it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mwfs_scheduler.fair_share.keeping.ends import Ends, Foreseen
from mwfs_scheduler.fair_share.keeping.heads import Heads
from mwfs_scheduler.fair_share.leaving.intents import Intent, Intents, counted
from mwfs_scheduler.fair_share.leaving.lower import Lowers
from mwfs_scheduler.fair_share.model import Amounts, Grant, Host, Knobs, Request, Shape, Time, times
from mwfs_scheduler.fair_share.state import past_use
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.hosts import Hosts
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.fair_share.state.teams import Team, scale_guarantees, units_of
from mwfs_scheduler.fair_share.waiting.waiting import Waiting

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.leaving.borrowers import Borrowers

__all__ = ["Cluster", "Intent", "counted"]


class Cluster:
    """Hosts, teams, what runs and what waits."""

    def __init__(
        self,
        *,
        resources: Sequence[str],
        knobs: Knobs,
        now: Time,
        told: bool = False,
        most_together: Sequence[int] | None = None,
        grant_id: Callable[[Request], str] = lambda request: request.id,
    ) -> None:
        self.resources = tuple(resources)
        self.knobs = knobs
        self.now = now
        #: Work ends when that is told, and not by itself at the end of its notice; no notice is taken back.
        self.told = told
        #: Copies of a request start under one grant as long as that holds no more than this of each resource.
        self.most_together = most_together
        self.grant_id = grant_id
        self.hosts = Hosts(len(resources))
        self.teams: dict[str, Team] = {}
        self._tops: list[Team] = []
        self.grants: dict[str, Grant] = {}
        #: Branches at the top of which the use, or who may be asked to leave, has changed.
        self.changes: Changes[Team] = Changes()
        #: The same, of the very teams.
        self.touched: Changes[Team] = Changes()
        self.waiting = Waiting(self.hosts, self.changes, by_age=knobs.aging_bound_s is not None)
        self.lowers = Lowers(self.hosts)
        #: Which team comes first with a request that is blocked; see `backfill`.
        self.heads = Heads(self.teams, self.waiting, self.changes)
        self._intents = Intents(self.hosts)
        self.paused: dict[str, Request] = {}
        #: Of the tree of teams, with a level for the own work of the deepest.
        self.depth = 1
        #: Resources whose guarantees had to be scaled down.
        self.scaled: list[int] = []
        #: Counts changes that can make room, or make somebody over guarantee.
        self.version = 0
        #: Whom others may ask, per kind of asking; see `search`.
        self.borrowers: dict[tuple[tuple[int, ...], Collection[Host], int | None, Team | None], Borrowers] = {}
        #: Grants whose end is known.
        self.ends = Ends()
        #: When there will be room for one member, by the hosts that it can use and what it needs; see `reservations`.
        self.foreseen: dict[tuple[frozenset[Host], Amounts], Foreseen] = {}
        #: Who asked for what, beside what is kept on which hosts, and found nobody; and when. See `victims`.
        self.nobody: dict[object, object] = {}
        self._units = [0] * len(resources)
        self._parts = 0

    # --- what the configuration says ----------------------------------------------------------------------------------

    @property
    def tops(self) -> list[Team]:
        """The teams without a parent."""
        return self._tops

    def add_team(self, team: Team) -> None:
        """A team whose parent, if it has one, is there. Unless it stands alone at the top, call `settle` when all are there."""
        self.teams[team.id] = team
        team.unit = self._units
        if team.parent is None:
            self._tops.append(team)
        else:
            team.parent.children.append(team)
        self.depth = max(self.depth, len(team.path) + 1)

    def remove_team(self, team: Team) -> None:
        """A team that stands alone at the top, and of which nothing waits or runs."""
        del self.teams[team.id]
        self._tops.remove(team)

    def add_host(self, host: Host) -> None:
        self.hosts.add(host)

    def settle(self) -> None:
        """Call after teams or hosts have changed, before the next decision."""
        self.depth = 1 + max((len(team.path) for team in self.teams.values()), default=0)
        self.scaled = scale_guarantees(self.teams, self.hosts.pools)
        self._units = units_of(self.hosts.pools)
        for team in self.teams.values():
            team.unit = self._units
            team.state += 1
        self.changes.forget()
        self.touched.forget()
        self.borrowers.clear()
        self.foreseen.clear()
        self.nobody.clear()
        self._intents.look_at_all()
        self.waiting.reconsider()
        self.version += 1

    # --- time ---------------------------------------------------------------------------------------------------------

    def remember(self, team: Team, used: Sequence[int]) -> None:
        """The team itself has used this much, by the decayed memory."""
        past_use.remember(team, used)
        self._other_turns()

    def pass_time(self, seconds: Time) -> None:
        """Time passes, and past use is forgotten accordingly."""
        self.go_on(seconds)
        self.decay(seconds)

    def go_on(self, seconds: Time) -> None:
        """Time passes."""
        self.now += seconds
        if seconds and self.knobs.min_runtime_s:
            self.waiting.rouse_all()

    def decay(self, seconds: Time) -> None:
        """In so much time the memory of past use has moved towards what is used now."""
        half_life = self.knobs.half_life_s
        if half_life is not None and seconds:
            self._other_turns()
            past_use.decay(self.teams.values(), seconds, half_life)

    def _other_turns(self) -> None:
        self.waiting.roomy.other_turns()
        self.heads.forget()

    def end_what_is_due(self) -> None:
        """End the grants whose time has come."""
        for grant in sorted(self.ends.due(self.now), key=lambda grant: grant.id):
            self.end(grant)

    def put_off_ends(self) -> None:
        """What runs for longer than was expected will end soon: after a quarter of the time that it has run for."""
        for grant in self.ends.due(self.now):
            self.ends.remove(grant)
            grant.ends = self.now + max(1, (self.now - grant.start) // 4)
            self.ends.add(grant)
            for host in grant.hosts:
                self.hosts.changes.note(host)

    # --- what waits ---------------------------------------------------------------------------------------------------

    def wait(self, request: Request) -> None:
        """The request waits from now on."""
        if request.paused:
            self.paused[request.id] = request
        elif request.copies:
            self.waiting.add(request)

    def wait_too(self, request: Request, copies: int) -> None:
        """So many more copies of the request wait, whether others do already or not."""
        request.copies += copies
        if request.id not in self.waiting.requests:
            self.wait(request)

    def take(self, request: Request, copies: int) -> None:
        """So many copies of a request that waits do so no longer."""
        request.copies -= copies
        if not request.copies:
            self.waiting.remove(request)

    def part(self, request: Request, copies: int) -> Request:
        """So many copies of a request that waits, as one request that stands in no line."""
        self._parts += 1
        part = request.take(copies, f"{request.id}/{self._parts}")
        if not request.copies:
            self.waiting.remove(request)
        return part

    def forget(self, request: Request) -> None:
        """Nobody wants the request any more, nor the room that is being made for it."""
        for intent in [each for each in self.intents.values() if request in (each.request, each.request.whole)]:
            self.drop_intent(intent)
            self.waiting.rouse(request.team.path[0].subtree())
        if request.id in self.waiting.requests:
            self.take(request, request.copies)
        self.paused.pop(request.id, None)

    def most_in_one(self, shape: Shape) -> int:
        """How many copies run under one grant."""
        if self.most_together is None or shape.members > 1 or not shape.needs:
            return 1
        return max(1, fitting(self.most_together, shape.needs))

    # --- what runs ----------------------------------------------------------------------------------------------------

    def start(self, grant: Grant) -> None:
        """The grant holds its hosts from now on. A request that waited must have stopped waiting before."""
        self.grants[grant.id] = grant
        self.ends.add(grant)
        grant.request.team.use(grant.total, 1)
        for host, members in grant.placed.items():
            host.grants[grant] = members
            self.hosts.change(host, grant.request.shape.needs, members)
        self._changed(grant.request.team)

    def enlarge(self, grant: Grant, copies: int) -> None:
        """So many more copies run under a grant of one host."""
        more = times(grant.request.total, copies)
        grant.count += copies
        grant.request.team.use(more, 1)
        if grant.leaves_at is not None:
            grant.request.team.settle(more, -1)
        [host] = grant.hosts
        host.grants[grant] = grant.count
        self.hosts.change(host, grant.request.shape.needs, copies)
        self._changed(grant.request.team)

    def may_be_asked(self, *grants: Grant) -> None:
        """From now on these grants may be asked to leave, those that are preemptible at all."""
        lowest: dict[Team, int] = {}
        for grant in grants:
            team, priority = grant.request.team, grant.request.priority
            if grant.request.preemptible:
                team.ask(grant)
                grant.askable = True
                self._other_to_ask(grant)
                lowest[team] = min(priority, lowest.get(team, priority))
        self.version += len(lowest)
        for team, priority in lowest.items():
            self.waiting.rouse_above(team, priority)

    def end(self, grant: Grant) -> None:
        """The grant gives back all it holds."""
        del self.grants[grant.id]
        self.ends.remove(grant)
        if grant.askable:
            grant.request.team.do_not_ask(grant)
            grant.askable = False
        self._give_back(grant, grant.placed, grant.count)
        self._intents.ended(grant)

    def shrink(self, grant: Grant, copies: int) -> None:
        """So many of its copies have ended."""
        if copies >= grant.count:
            self.end(grant)
        else:
            self._give_back(grant, dict.fromkeys(grant.hosts, copies), copies)

    def _give_back(self, grant: Grant, members: Mapping[Host, int], copies: int) -> None:
        request, team = grant.request, grant.request.team
        given = times(request.total, copies)
        grant.count -= copies
        if grant.askable:
            team.holds_less(grant, members)
        team.use(given, -1)
        if grant.leaves_at is not None:
            team.settle(given, 1)
        for host, number in members.items():
            host.grants[grant] -= number
            if not host.grants[grant]:
                del host.grants[grant]
            self.hosts.change(host, request.shape.needs, -number)
        for host in members:
            self._intents.less_left(host)
            self._room_on(host)
        self._changed(team)
        self.waiting.concern(team.path[0])
        if not self.told:  # in the midst of a round, places among the teams become better
            self.waiting.stir(team.path[0].subtree())
        self._relieve(team, given)

    def _relieve(self, team: Team, given: Amounts) -> None:
        """The team uses so much less: that may let those start, or ask others to leave, who share a branch with it."""
        for branch in team.path:
            if branch.may_gain(given):
                self._intents.eased(branch)
                if self.knobs.fair_preemption:
                    self.waiting.rouse(branch.subtree())
                else:
                    self.waiting.relieve(branch.subtree())
                break

    def tell_to_leave(self, grant: Grant, until: Time) -> None:
        """The grant runs on until then and counts until then, and cannot be asked again."""
        team = grant.request.team
        team.do_not_ask(grant)
        team.settle(grant.total, -1)
        grant.leaves_at = until
        grant.askable = False
        self._other_to_ask(grant)
        self.waiting.concern(team.path[0])
        self.waiting.stir(team.path[0].subtree())
        if not self.told:  # else when it has left
            self._relieve(team, grant.total)
        self._intents.told(grant)

    def let_stay(self, grant: Grant) -> None:
        """The grant need not leave after all."""
        grant.request.team.settle(grant.total, 1)
        grant.leaves_at = None
        self._intents.ended(grant)
        self.may_be_asked(grant)

    def _changed(self, team: Team) -> None:
        self._touch(team)
        self.version += 1

    def _touch(self, team: Team) -> None:
        self.changes.note(team.path[0])
        self.touched.note(team)

    def _other_to_ask(self, grant: Grant) -> None:
        """The grant may be asked to leave, or not, unlike before."""
        self._touch(grant.request.team)
        grant.request.team.state += 1
        for host in grant.hosts:
            self.hosts.changes.note(host)

    # --- intents ------------------------------------------------------------------------------------------------------

    @property
    def intents(self) -> Mapping[str, Intent]:
        """By the id of the request for which room is being made; it stands in no line meanwhile."""
        return self._intents.by_id

    @property
    def intents_changed(self) -> bool:
        """Whether there is any of `look_at_intents`, with notices that do not end by themselves."""
        return self._intents.are_changed

    def intend(self, intent: Intent) -> None:
        """Keep the room that the request will need and that is free now; more of it as those who leave end."""
        request = intent.request
        request.team.promise(request.total, 1)
        request.team.settle(request.total, 1)
        self._changed(request.team)
        self._intents.add(intent)

    def drop_intent(self, intent: Intent) -> None:
        """Give the kept room back; the request stands nowhere then."""
        self.forget_intent(intent, self.stand_back(intent))

    def stand_back(self, intent: Intent) -> list[Host]:
        """Give the kept room back to see whether the request could start; the hosts of that. `stand_by` or `forget_intent` must follow."""
        request = intent.request
        request.team.promise(request.total, -1)
        request.team.settle(request.total, -1)
        return self._intents.stand_back(intent)

    def stand_by(self, intent: Intent) -> None:
        """It could not: its room is kept as before."""
        request = intent.request
        request.team.promise(request.total, 1)
        request.team.settle(request.total, 1)
        self._intents.stand_by(intent)

    def forget_intent(self, intent: Intent, given: Iterable[Host]) -> None:
        """It stands back for good: others may have what is left of the room that it has given back."""
        self._intents.remove(intent)
        self._changed(intent.request.team)
        for host in given:
            self._room_on(host)

    def might_start(self, intent: Intent) -> bool:
        """False: the request could not start now even if its room were given back."""
        request = intent.request
        return all(
            branch.past_burst_now(request.total) is None for branch in request.team.path
        ) and self._intents.might_start(intent)

    def look_at_intents(self) -> list[Intent]:
        """Those that may start, or for which something has changed. With notices that end by themselves: all."""
        return self._intents.changed() if self.told else list(self.intents.values())

    def leaving_room(self, request: Request) -> tuple[Host, int] | None:
        """Where there will be room for the request once those have left who were told to, and for how many copies."""
        return self._intents.leaving_room(request)

    def fits_later(self, request: Request) -> bool:
        """Whether the request will fit once all have left who were told to, and those have started for whom they leave."""
        within = all(team.within_burst(team.settled, request.total) for team in request.team.path)
        return within and self._intents.members_later(request) >= request.shape.members

    def leaving_on(self, host: Host) -> list[Grant]:
        """Who was told to leave the host."""
        return self._intents.on(host)

    def _room_on(self, host: Host) -> None:
        self.waiting.room_on(host)
        self._intents.room_on(host)
