"""What waits: a line per team and shape, and which lines there is a reason to look at."""

# A line is looked at while it is restless. It stops being that when its team's burst limit is in the way (asleep), or when
# no host has room for its shape and nobody can be asked to leave for it (tried). What could help it makes it restless again.

from __future__ import annotations

from collections.abc import Callable, Iterable

from mwfs_scheduler.fair_share.hosts import Hosts, matches
from mwfs_scheduler.fair_share.model import Host, Place, Request, Shape
from mwfs_scheduler.fair_share.queues import Queue
from mwfs_scheduler.fair_share.rooms import fitting
from mwfs_scheduler.fair_share.teams import Line, Team
from mwfs_scheduler.fair_share.turns import Turn


class Waiting:
    """All requests that wait and may start."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.requests: dict[str, Request] = {}
        self._lines: dict[Shape, dict[Team, Line]] = {}
        #: Shapes for which no host has room.
        self._full: set[Shape] = set()
        #: For shapes of one member that have room: a host that has it, and the other way round.
        self._witness: dict[Shape, Host] = {}
        self._witnessed: dict[Host, set[Shape]] = {}
        self._restless: dict[Line, None] = {}
        #: Shapes that have got room: their lines are woken one by one, in their turn, and not all at once.
        self._roomy: dict[Shape, None] = {}
        self._found_full: list[Shape] = []
        self._queues: dict[Shape, Queue] = {}
        #: Not so when whoever is blocked has to be looked at too.
        self.one_by_one = True
        #: Lines that found nobody to ask, and the version of the cluster at which.
        #: Lines that are left for the next round.
        self._postponed: dict[Line, None] = {}
        self._hopeful: dict[Line, int] = {}
        #: Those of them that changes anywhere may help; the others only what changes for their own team.
        self._eager: dict[Line, None] = {}
        #: Teams for which something has changed that may help those who found nobody.
        self._concerned: dict[Team, None] = {}
        #: Of those who found nobody, but for the eager, the gangs and those at their burst limit: room for a member anywhere may
        #: help them.
        self._anywhere: dict[Shape, dict[Line, None]] = {}
        #: Hosts on which there is more room: it may also help those who can ask work of their own team there.
        self._roomier: dict[Host, None] = {}
        #: Hosts of which it is not told yet that there is more room; None while that is told at once.
        self._untold: list[Host] | None = None
        #: The lines, by team, that have become restless since this was emptied.
        self.stirred: dict[Team, list[Line]] = {}

    def add(self, request: Request) -> None:
        """The request waits from now on."""
        self.requests[request.id] = request
        team, shape = request.team, request.shape
        line = team.lines.get(shape)
        if line is None:
            line = team.lines[shape] = Line(team, shape)
            self._lines.setdefault(shape, {})[team] = line
        line.join(request)
        self._rouse(line)

    def remove(self, request: Request) -> None:
        """The request starts, or is no longer wanted. It must stand in a line."""
        del self.requests[request.id]
        team, shape = request.team, request.shape
        line = team.lines[shape]
        line.leave(request)
        self._put_right(line)
        if not line.requests:
            del team.lines[shape]
            self._restless.pop(line, None)
            self._give_up(line)
            of_shape = self._lines[shape]
            del of_shape[team]
            if not of_shape:
                del self._lines[shape]
                self._full.discard(shape)
                self._roomy.pop(shape, None)
                self._queues.pop(shape, None)
                witness = self._witness.pop(shape, None)
                if witness is not None:
                    self._witnessed[witness].discard(shape)

    # --- who rests ----------------------------------------------------------------------------------------------------

    def no_room(self, shape: Shape) -> None:
        """No host has room for the shape."""
        self._fill(shape)

    def _fill(self, shape: Shape) -> None:
        self._full.add(shape)
        self._roomy.pop(shape, None)

    def is_full(self, shape: Shape) -> bool:
        """Whether no host is known to have room for the shape."""
        return shape in self._full

    def has_room(self, shape: Shape) -> bool:
        """Whether the shape would fit now."""
        if shape in self._full:
            return False
        if shape.members > 1:
            if self._hosts.rooms(shape).total() < shape.members:
                self._fill(shape)
        elif shape not in self._witness:
            self._find_witness(shape)
        return shape not in self._full

    def less_room_on(self, host: Host) -> list[Shape]:
        """The shapes that have no room any more, now that there is less on the host."""
        shapes = [each for each in self._witnessed.get(host, ()) if not fitting(host.free, each.needs)]
        for shape in shapes:
            self._witnessed[host].discard(shape)
            del self._witness[shape]
            self._find_witness(shape)
        return [shape for shape in shapes if shape in self._full]

    def until_less_room(self, host: Host, shape: Shape, most: int) -> int:
        """How many of the shape, at most `most`, can start on the host before another shape may have no room any more.

        The last of them may be the one that takes it.
        """
        for other in self._witnessed.get(host, ()):
            wanted = dict(other.needs)
            for resource, amount in shape.needs:
                if resource in wanted:
                    most = min(most, (host.free[resource] - wanted[resource]) // amount + 1)
        return most

    def _find_witness(self, shape: Shape) -> None:
        host = self._hosts.roomiest(shape)
        if host is None:
            self._fill(shape)
        else:
            self._witness[shape] = host
            self._witnessed.setdefault(host, set()).add(shape)

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

    def tried(self, line: Line) -> None:
        """There is no room for the line, and nobody whom it may ask to leave would make any."""
        line.tried = True
        self._rest(line)

    def _rest(self, line: Line) -> None:
        """The line waits for room."""
        self._restless.pop(line, None)
        self._put_right(line)

    def hope(self, line: Line, version: int, *, eager: bool, fits_burst: bool) -> None:
        """The line may ask others to leave, but found nobody: it asks again when something has changed for its team.

        `eager`: or when the cluster has another version.
        """
        self._hopeful[line] = version
        if eager:
            self._eager[line] = None
        elif line.shape.members > 1 or not fits_burst:
            self._anywhere.setdefault(line.shape, {})[line] = None

    def has_asked(self, line: Line) -> bool:
        """Whether the line found nobody to ask, and has no reason to ask again."""
        return line in self._hopeful

    # --- who is restless ----------------------------------------------------------------------------------------------

    @property
    def is_restless(self) -> bool:
        """Whether there may be anything to look at."""
        return bool(self._restless or self._roomy)

    @property
    def is_hopeful(self) -> bool:
        """Whether anybody may ask others to leave, and found nobody."""
        return bool(self._hopeful)

    def restless(self) -> dict[Team, list[Line]]:
        """The lines to look at, by team."""
        found: dict[Team, list[Line]] = {}
        for line in list(self._restless):
            if line.tried and line.shape in self._full:
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
        self._roomier[host] = None
        for grant in host.grants:
            grant.request.team.state += 1
        for shape in [each for each in self._full if fitting(host.free, each.needs) and matches(host, each.selector)]:
            self._full.discard(shape)
            if self.one_by_one:
                self._roomy[shape] = None
                continue
            for line in self._lines[shape].values():
                if not line.asleep:
                    self._look_at(line)

    # What has got room is not restless by that alone: it is woken when it comes before all that is, or before what its own
    # team would have first.

    def wake(self, turn_of: Callable[[Line], Turn], before: Turn | None) -> list[Line] | None:
        """A line that rests, has room and comes before that turn, and those of its team that come before it; restless now."""
        for shape in list(self._roomy):
            if not self.has_room(shape):
                self._found_full.append(shape)
                continue
            queue = self._queues.get(shape)
            if queue is None:
                queue = self._queues[shape] = Queue(self._lines[shape].values())
            first = queue.first(turn_of, self._is_ready)
            if first is None:
                self._roomy.pop(shape)
            elif before is None or first[0] < before:
                line = first[1]
                self._restless[line] = None
                return [line, *self.with_room(line.team, line.requests[0][0])]
        return None

    def found_full(self) -> list[Shape]:
        """Shapes of which `wake` has seen that there is no room for them after all."""
        shapes, self._found_full = self._found_full, []
        return shapes

    def with_room(self, team: Team, before: Place) -> list[Line]:
        """The lines of the team that rest, have room and come before that place; restless now."""
        lines = [
            line
            for shape in self._roomy
            if (line := team.lines.get(shape)) is not None and self._is_ready(line) and line.requests[0][0] < before
        ]
        self._restless.update(dict.fromkeys(lines))
        return lines

    def _is_ready(self, line: Line) -> bool:
        return bool(line.requests) and not line.asleep and not line.never and line not in self._restless

    def other_turns(self) -> None:
        """All turns may be others."""
        self._queues.clear()

    def hold_back(self) -> None:
        """Somebody will take room that is there soon: do not tell of it before `tell`."""
        self._untold = []

    def tell(self) -> None:
        """Tell of the room that is left."""
        hosts, self._untold = self._untold or [], None
        for host in dict.fromkeys(hosts):
            self.room_on(host)

    def stir(self, teams: Iterable[Team]) -> None:
        """These teams may come earlier than before."""
        for team in teams:
            if team.lines:
                self.stirred.setdefault(team, [])
                for line in team.lines.values():
                    self._put_right(line)

    def rouse(self, teams: Iterable[Team]) -> None:
        """Something changed for these teams that may let them start."""
        for team in teams:
            self._concerned[team] = None
            for line in team.lines.values():
                if line in self._hopeful:
                    line.asleep = line.tried = False
                    self._look_at(line)
                else:
                    self._rouse(line)

    def concern(self, teams: Iterable[Team]) -> None:
        """For those of these teams who found nobody to ask something may be different."""
        for team in teams:
            self._concerned[team] = None
            for line in team.lines.values():
                self._put_right(line)

    def _put_right(self, line: Line) -> None:
        """Its turn may be earlier than before."""
        queue = self._queues.get(line.shape)
        if queue is not None:
            queue.put(line)

    def rouse_above(self, team: Team, priority: int) -> None:
        """Work of this priority has started in the team: higher ones may ask it to leave."""
        for line in team.lines.values():
            if line.requests[0][1].priority > priority:
                self._rouse(line)

    def rouse_hopeful(self, version: int, in_vain: Callable[[Request], bool]) -> None:
        """Look again at those who found nobody to ask, if something that concerns them has changed since."""
        for team in self._concerned:
            for line in team.lines.values():
                if line in self._hopeful:
                    self._rouse(line)
        self._concerned.clear()
        for host in self._roomier:
            for shape, lines in list(self._anywhere.items()):
                if fitting(host.free, shape.needs) and matches(host, shape.selector):
                    for line in [each for each in lines if not in_vain(each.requests[0][1])]:
                        self._rouse(line)
            for team, free in _with_own(host).items():
                for line in team.lines.values():
                    if line in self._hopeful and fitting(free, line.shape.needs):
                        self._rouse(line)
        self._roomier.clear()
        for line in [line for line in self._eager if self._hopeful[line] != version]:
            self._rouse(line)

    def rouse_all(self) -> None:
        """Hosts, teams or the time have changed."""
        self._full.clear()
        self._roomy.clear()
        self._queues.clear()
        self._witness.clear()
        self._witnessed.clear()
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
        if self._hopeful.pop(line, None) is not None:
            self._eager.pop(line, None)
            if line.shape in self._anywhere:
                self._anywhere[line.shape].pop(line, None)
                if not self._anywhere[line.shape]:
                    del self._anywhere[line.shape]

    def _look_at(self, line: Line) -> None:
        if line.never is None:
            asked = line.requests[0][1].total
            line.never = line.team.never(asked) is not None or self._hosts.never(line.shape) is not None
        if not line.never:
            self._restless[line] = None
            self.stirred.setdefault(line.team, []).append(line)


def _with_own(host: Host) -> dict[Team, list[int]]:
    """What would be free on the host if a team there made all its work leave, for each team."""
    found: dict[Team, list[int]] = {}
    for grant, members in host.grants.items():
        if grant.askable:
            free = found.setdefault(grant.request.team, list(host.free))
            for resource, amount in grant.request.shape.needs:
                free[resource] += amount * members
    return found
