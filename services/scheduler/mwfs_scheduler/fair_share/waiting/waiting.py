"""What waits: a line per team and shape, and which lines there is a reason to look at."""

# A line is looked at while it is restless. It stops being that when its team's burst limit is in the way (asleep), or when
# no host has room for its shape and nobody can be asked to leave for it (tried). What could help it makes it restless again.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from mwfs_scheduler.fair_share.model import Host, Place, Request, Shape
from mwfs_scheduler.fair_share.order.turns import Turn, Turns
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.hosts import Hosts
from mwfs_scheduler.fair_share.state.teams import Line, Team
from mwfs_scheduler.fair_share.waiting.ages import Ages
from mwfs_scheduler.fair_share.waiting.hopes import Askers, Hopes
from mwfs_scheduler.fair_share.waiting.roomy import Roomy
from mwfs_scheduler.fair_share.waiting.witnesses import Witnesses


class Waiting:
    """All requests that wait and may start."""

    def __init__(self, hosts: Hosts, changes: Changes[Team], *, by_age: bool = False) -> None:
        self._hosts = hosts
        self.ages = Ages() if by_age else None
        self.requests: dict[str, Request] = {}
        self._lines: dict[Shape, dict[Team, Line]] = {}
        self._restless: dict[Line, None] = {}
        #: For which shapes there is room.
        self.witnesses = Witnesses(hosts, self._filled)
        #: Shapes that have got room: their lines are woken one by one, in their turn, and not all at once.
        self.roomy = Roomy(self.witnesses, self._lines, self._is_ready)
        #: Shapes that have room, but not beside what is kept for somebody: they are looked at again in the next round.
        self._bound: dict[Shape, None] = {}
        #: When they were looked at: nothing has changed for them before that is another one.
        self.bound_at: object = None
        #: What has become blocked since this was read: lines, and shapes with all their lines.
        self._newly_blocked: list[Line] = []
        self._newly_full: list[Shape] = []
        #: The lines of teams by the places of their first requests, for teams in which no place has changed.
        self._ordered: dict[Team, list[Line]] = {}
        #: What all lines of a team ask for, and the teams that have a further one since this was emptied.
        self._asks_for: dict[Team, int] = {}
        self.joined: dict[Team, None] = {}
        self.hopes = Hopes(changes)
        #: Of those who found nobody to ask, and might now: lines that rest and have room. They ask when that is gone.
        self._with_room: dict[Shape, dict[Line, None]] = {}
        #: Shapes of these that have no room any more.
        self._refilled: list[Shape] = []
        #: Lines that are left for the next round.
        self._postponed: dict[Line, None] = {}
        #: Hosts of which it is not told yet that there is more room; None while that is told at once.
        self._untold: list[Host] | None = None
        #: The lines, by team, that have become restless since this was emptied.
        self.stirred: dict[Team, list[Line]] = {}

    def add(self, request: Request) -> None:
        """The request waits from now on."""
        self.requests[request.id] = request
        if self.ages is not None:
            self.ages.add(request)
        team, shape = request.team, request.shape
        line = team.lines.get(shape)
        if line is None:
            line = team.lines[shape] = Line(team, shape)
            self._lines.setdefault(shape, {})[team] = line
            self._asks_for.pop(team, None)
            self.joined[team] = None
        line.join(request)
        self._ordered.pop(team, None)
        self._rouse(line)

    def remove(self, request: Request) -> None:
        """The request starts, or is no longer wanted. It must stand in a line."""
        del self.requests[request.id]
        if self.ages is not None:
            self.ages.remove(request)
        self.bound_at = None
        team, shape = request.team, request.shape
        line = team.lines[shape]
        line.leave(request)
        self._ordered.pop(team, None)
        self.roomy.again(line)
        if not line.requests:
            del team.lines[shape]
            self._asks_for.pop(team, None)
            self._restless.pop(line, None)
            self._give_up(line)
            of_shape = self._lines[shape]
            del of_shape[team]
            if not of_shape:
                del self._lines[shape]
                self.roomy.forget(shape)
                self._bound.pop(shape, None)
                self._with_room.pop(shape, None)
                self.witnesses.forget(shape)

    # --- who rests ----------------------------------------------------------------------------------------------------

    def sleep(self, line: Line) -> None:
        """Nothing of the line can start before something changes for its team."""
        line.asleep = True
        self._restless.pop(line, None)

    @property
    def is_postponed(self) -> bool:
        """Whether anybody is to be looked at in the next round."""
        return bool(self._postponed)

    def postpone(self, line: Line) -> None:
        """The line is looked at again in the next round."""
        self.sleep(line)
        self._postponed[line] = None

    def take_up(self) -> None:
        """The next round begins."""
        postponed, self._postponed = self._postponed, {}
        for line in postponed:
            self._rouse(line)
        self.unbind()
        self.forget_newly_blocked()

    def tried(self, line: Line) -> None:
        """There is no room for the line, and nobody whom it may ask to leave would make any."""
        line.tried = True
        self._rest(line)

    def _rest(self, line: Line) -> None:
        """The line waits for room."""
        self._restless.pop(line, None)
        self._newly_blocked.append(line)
        self.roomy.again(line)

    def _filled(self, shape: Shape) -> None:
        """No host has room for the shape any more."""
        self._newly_full.append(shape)
        self.roomy.drop(shape)
        self._bound.pop(shape, None)
        self._has_lost_its_room(shape)

    def _has_lost_its_room(self, shape: Shape) -> None:
        if shape in self._with_room or self.hopes.have_room(shape):
            self._refilled.append(shape)

    # What is blocked, and what has no room beside what is kept for somebody who is: see `backfill`.

    def in_order(self, team: Team) -> Iterator[Line]:
        """The lines of the team that burst limits let start, in the order of their first requests."""
        ordered = self._ordered.get(team)
        if ordered is None:
            ordered = self._ordered[team] = sorted(team.lines.values(), key=_first_place)
        return (line for line in ordered if not line.asleep and not line.never)

    def asks_for(self, team: Team) -> int:
        """A bit for each resource that all lines of the team ask for."""
        bits = self._asks_for.get(team)
        if bits is None:
            bits = -1
            for line in team.lines.values():
                bits &= line.asks_for
            self._asks_for[team] = bits
        return bits

    def rests(self, line: Line) -> bool:
        """Whether there is no reason to look at the line."""
        return line not in self._restless

    def newly_blocked(self) -> dict[Team, None]:
        """Teams of which more may be blocked than when this was asked before."""
        lines = chain(self._newly_blocked, *(self._lines.get(shape, {}).values() for shape in self._newly_full))
        teams = dict.fromkeys(line.team for line in lines)
        self.forget_newly_blocked()
        return teams

    def forget_newly_blocked(self) -> None:
        self._newly_blocked.clear()
        self._newly_full.clear()

    @property
    def is_bound(self) -> bool:
        """Whether anything has room that is kept for somebody else."""
        return bool(self._bound)

    def has_bound(self, shape: Shape) -> bool:
        """Whether the shape has room, but that is kept for somebody else."""
        return shape in self._bound

    def bind(self, line: Line) -> None:
        """There is no room for the line beside what is kept for somebody."""
        self.roomy.drop(line.shape)
        self._bound[line.shape] = None
        self._has_lost_its_room(line.shape)
        self._rest(line)

    def unbind(self) -> None:
        """Something else may be kept than before."""
        self.roomy.add(self._bound)
        self._bound.clear()

    # --- who is restless ----------------------------------------------------------------------------------------------

    @property
    def is_restless(self) -> bool:
        """Whether there may be anything to look at."""
        return bool(self._restless or self.roomy)

    def restless(self) -> dict[Team, list[Line]]:
        """The lines to look at, by team."""
        found: dict[Team, list[Line]] = {}
        for line in list(self._restless):
            if line.tried and self.witnesses.is_full(line.shape):
                self._rest(line)
            elif line.team in found:
                found[line.team].append(line)
            else:
                found[line.team] = [line]
        return found

    def room_on(self, host: Host) -> None:
        """There is more room on the host."""
        if self._untold is not None:
            self._untold.append(host)
            return
        self.hopes.room_on(host)
        for team in dict.fromkeys(grant.request.team for grant in host.grants):
            if any(host in lower.holds_on for lower in team.lower.values()):
                self.hopes.more_room(team)
        self.roomy.add(self.witnesses.room_on(host))

    def wake(self, turns: Turns, before: Turn | None) -> list[Line] | None:
        """A line that rests, has room and comes before that turn, and those of its team that come before it; restless now."""
        line = self.roomy.first(turns, before)
        if line is None:
            return None
        self._is_woken(line)
        return [line, *self.with_room(line.team, line.requests[0][0])]

    def with_room(self, team: Team, before: Place) -> list[Line]:
        """The lines of the team that rest, have room and come before that place; restless now."""
        lines = [line for line in self.roomy.of_team(team) if line.requests[0][0] < before]
        for line in lines:
            self._is_woken(line)
        return lines

    def _is_woken(self, line: Line) -> None:
        if self.hopes.has_room(line):
            line.tried = False
            self.hopes.drop(line)
        self._restless[line] = None

    def _is_ready(self, line: Line) -> bool:
        return bool(line.requests) and not line.asleep and not line.never and line not in self._restless

    def hold_back(self) -> None:
        """Somebody will take room that is there soon: do not tell of it before `tell`."""
        self._untold = []

    def tell(self) -> None:
        """Tell of the room that is left."""
        hosts, self._untold = self._untold or [], None
        for host in dict.fromkeys(hosts):
            self.room_on(host)

    def stir(self, teams: Iterable[Team]) -> None:
        """These teams may come earlier than before; they are `concerned` too."""
        for team in teams:
            if team.lines:
                self.stirred.setdefault(team, [])

    def rouse(self, teams: Iterable[Team]) -> None:
        """Something changed for these teams that may let them start."""
        for team in teams:
            self.hopes.concern(team)
            for line in team.lines.values():
                if line in self.hopes:
                    line.asleep = line.tried = False
                    self._look_at(line)
                else:
                    self._rouse(line)

    def relieve(self, teams: Iterable[Team]) -> None:
        """These teams use less than before: who was at a burst limit, or had used up its guarantee, may not be any more."""
        for team in teams:
            self.hopes.concern(team)
            left = {branch.has_left() for branch in team.path} if team.lines else ()
            for line in team.lines.values():
                if line in self._restless and not line.tried and not self.hopes.knows(line):
                    continue  # it is looked at in any case
                asked = line.requests[0][1].total
                if line in self._postponed or (line.asleep and team.within_limits(asked)):
                    if line in self.hopes:
                        line.asleep = line.tried = False
                        self._look_at(line)
                    else:
                        self._rouse(line)
                elif (
                    line not in self.hopes
                    and any(not line.asks_for & ~bits for bits in left)
                    and team.may_reclaim(asked)
                ):
                    self._rouse(line)

    def concern(self, top: Team) -> None:
        """For the team and all below it something may be different: they may come earlier than before, or find somebody to ask."""
        self.roomy.earlier(top)
        for team in top.subtree():
            self.hopes.concern(team)

    def rouse_above(self, team: Team, priority: int) -> None:
        """Work of this priority has started in the team: higher ones may ask it to leave."""
        for line in team.lines.values():
            if line.requests[0][1].priority > priority:
                self._rouse(line)

    def rouse_hopeful(self, version: int, askers: Askers, *, told: bool) -> None:
        """Look again at those who found nobody to ask, if something that concerns them has changed since."""
        has_room: dict[Shape, bool] = {}
        for line in self.hopes.raised(version, askers, self.roomy, told=told):
            if self._is_left_to_wake(line, has_room):
                line.tried = False
                self._give_up(line)
                self._with_room.setdefault(line.shape, {})[line] = None
            else:
                self._rouse(line)

    def _is_left_to_wake(self, line: Line, has_room: dict[Shape, bool]) -> bool:
        """`has_room`: the shapes of which it has been asked, while nothing starts or ends."""
        shape = line.shape
        if line.asleep or shape not in self.roomy or not line.team.within_limits(line.requests[0][1].total):
            return False
        if shape not in has_room:
            has_room[shape] = self.witnesses.has_room(shape)
        return has_room[shape]

    def ask_again(self, version: int, askers: Askers, *, told: bool) -> bool:
        """Whether any line is looked at again because it had room, has none any more, and may ask others to leave."""
        found = False
        while self._refilled:
            shape = self._refilled.pop()
            lines = [
                line
                for line in self._with_room.pop(shape, ())
                if line.requests and not line.asleep and line not in self._restless and line not in self.hopes
            ]
            for line in lines:
                request = line.requests[0][1]
                if told or not askers.is_hopeless(line):
                    self._rouse(line)
                    found = True
                elif line not in self._restless and askers.may_ask(request):
                    fits_burst = line.team.within_limits(request.total)
                    self.hopes.add(line, version, helped=askers.helped(request), fits_burst=fits_burst)
            for line in self.hopes.without_room(shape, askers, told=told) if self.hopes.have_room(shape) else ():
                self._rouse(line)
                found = True
        return found

    def rouse_all(self) -> None:
        """Hosts, teams or the time have changed."""
        self.witnesses.forget_all()
        self.roomy.clear()
        self._bound.clear()
        self._with_room.clear()
        self._refilled.clear()
        for lines in self._lines.values():
            for line in lines.values():
                self._rouse(line)

    def reconsider(self) -> None:
        """Hosts or teams have changed: what could never start may now, and the other way round."""
        for lines in self._lines.values():
            for line in lines.values():
                line.never = None
        self._restless.clear()
        self.rouse_all()

    def _rouse(self, line: Line) -> None:
        line.asleep = line.tried = False
        self._give_up(line)
        self._look_at(line)

    def _give_up(self, line: Line) -> None:
        self._postponed.pop(line, None)
        self.hopes.drop(line)

    def _look_at(self, line: Line) -> None:
        if line.never is None:
            asked = line.requests[0][1].total
            line.never = line.team.never(asked) is not None or self._hosts.never(line.shape) is not None
        if not line.never:
            self._restless[line] = None
            self.stirred.setdefault(line.team, []).append(line)


def _first_place(line: Line) -> Place:
    return line.requests[0][0]
