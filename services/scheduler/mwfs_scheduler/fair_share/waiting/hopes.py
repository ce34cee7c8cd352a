"""Who may ask others to leave and found nobody, and what may help them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from enum import Enum, auto
from typing import Protocol

from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.hosts import matches
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.fair_share.state.teams import Line, Team
from mwfs_scheduler.fair_share.waiting.hopeless import Hopeless


class Helped(Enum):
    """What must change before one who found nobody to ask may find somebody."""

    #: Something of its own team, or room.
    OWN_TEAM = auto()
    #: Something below the same branch at the top: a burst limit there is in the way, and too little may be asked for below it.
    OWN_TREE = auto()
    ANYTHING = auto()


class Askers(Protocol):
    """What is known of a request without a search."""

    def helped(self, request: Request) -> Helped:
        """What may help the request."""

    def may_ask(self, request: Request) -> bool:
        """Whether it may ask anybody to leave at all."""

    def is_hopeless(self, line: Line) -> bool:
        """Whether a search for the first of the line would find nobody."""

    def hopeless_until(self, line: Line, room: int) -> int | None:
        """The same for so much room; and with how much there may be hope as long as nothing else changes. None when there is some."""

    def room(self, shape: Shape) -> int:
        """How many members fit; of one member, whether it does."""


class Hopes:
    """The lines that found nobody to ask."""

    def __init__(self, changes: Changes[Team]) -> None:
        #: The branches at the top in which use, or who may be asked, has changed; and where this has read to.
        self._changes = changes
        self._seen = changes.end
        #: The version of the cluster at which they did.
        self._version: dict[Line, int] = {}
        #: Those of them that changes anywhere may help, and by the branch at the top those that changes below it may help.
        self._eager: dict[Line, None] = {}
        self._in_tree: dict[Team, dict[Line, None]] = {}
        #: The branches at the top below which something has changed since this was emptied; None: any may have.
        self._changed: dict[Team, None] | None = {}
        #: Of the others, the gangs and those at their burst limit: room for a member anywhere may help them.
        self._anywhere: dict[Shape, Hopeless] = {}
        #: Teams for which something has changed that may help.
        self._concerned: dict[Team, None] = {}
        #: Hosts on which there is more room: it may also help those who can ask work of their own team there.
        self._roomier: dict[Host, None] = {}
        #: Those of them of which that is not taken in yet, and the teams with more room on hosts of their own work of lower priority.
        self._doubted: dict[Team, None] = {}

    def __contains__(self, line: Line) -> bool:
        return line in self._version and not self.has_room(line)

    def __len__(self) -> int:
        return len(self._version)

    def knows(self, line: Line) -> bool:
        """Whether the line found nobody, with room since or not."""
        return line in self._version

    def add(self, line: Line, version: int, *, helped: Helped, fits_burst: bool) -> None:
        """The line found nobody to ask: it asks again when something has changed that may help, and the cluster has another version."""
        self._version[line] = version
        if helped is Helped.ANYTHING:
            self._eager[line] = None
        elif helped is Helped.OWN_TREE:
            self._in_tree.setdefault(line.team.path[0], {})[line] = None
        elif line.shape.members > 1 or not fits_burst:
            self._helped_anywhere(line, limited=not fits_burst)

    def _helped_anywhere(self, line: Line, *, limited: bool, until: int = 0) -> None:
        of_shape = self._anywhere.get(line.shape)
        if of_shape is None:
            of_shape = self._anywhere[line.shape] = Hopeless(line.shape)
        of_shape.add(line, limited=limited, until=until)

    def at_limit(self, line: Line) -> bool:
        """A burst limit is in the way of the line, so that room anywhere may help it. Whether that is new."""
        if line in self._eager or self._is_in_tree(line) or line in self._anywhere.get(line.shape, ()):
            return False
        self._helped_anywhere(line, limited=True)
        return True

    def _is_in_tree(self, line: Line) -> bool:
        return line in self._in_tree.get(line.team.path[0], ())

    def has_room(self, line: Line) -> bool:
        """Whether the line is one of those of its shape that have had room since: it may ask again if that is gone."""
        of_shape = self._anywhere.get(line.shape)
        return of_shape is not None and of_shape.has_room(line)

    def have_room(self, shape: Shape) -> bool:
        """Whether there are such lines."""
        of_shape = self._anywhere.get(shape)
        return of_shape is not None and of_shape.have_room

    def drop(self, line: Line) -> None:
        """The line is looked at, or is there no longer."""
        if self._version.pop(line, None) is not None:
            self._eager.pop(line, None)
            if self._is_in_tree(line):
                in_tree = self._in_tree[line.team.path[0]]
                del in_tree[line]
                if not in_tree:
                    del self._in_tree[line.team.path[0]]
            of_shape = self._anywhere.get(line.shape)
            if of_shape is not None:
                of_shape.drop(line)
                if not of_shape:
                    del self._anywhere[line.shape]

    def concern(self, team: Team) -> None:
        """For the team something may be different."""
        self._concerned[team] = None
        self._doubted[team] = None

    def more_room(self, team: Team) -> None:
        """There is more room on a host of its own work of lower priority."""
        self._doubted[team] = None

    def room_on(self, host: Host) -> None:
        """There is more room on the host."""
        self._roomier[host] = None

    def raised(self, version: int, askers: Askers, roomy: Container[Shape], *, told: bool) -> Iterable[Line]:
        """The lines for which something has changed, one by one: whoever asks looks at each before the next.

        `version` is the cluster's. `roomy`: shapes of which those that have room are woken. `told`: room that others leave already may
        help those who would find nobody.
        """
        self._read_on()
        # Who has no hope for the sake of one team or host has none for another's: nothing else changes meanwhile.
        in_vain: set[Line] = set()
        for team in self._concerned:
            for line in team.lines.values():
                if line in self._version and (told or self._may_find(line, askers, in_vain)):
                    yield line
        self._concerned.clear()
        asked: set[Shape] = set()
        for host in self._roomier:
            for shape, of_shape in list(self._anywhere.items()):
                if shape not in asked and fitting(host.free, shape.needs) and matches(host, shape.selector):
                    asked.add(shape)
                    yield from of_shape.with_hope(askers, are_woken=shape in roomy)
            for team, there in _own_work(host).items():
                without: dict[int, list[int] | None] = {}
                for line in team.lines.values():
                    if line in self._version and line not in in_vain:
                        priority = line.requests[0][1].priority
                        if priority not in without:
                            without[priority] = _without_lower(host, there, priority)
                        free = without[priority]
                        if free and fitting(free, line.shape.needs) and (told or self._may_find(line, askers, in_vain)):
                            yield line
        self._roomier.clear()
        yield from [line for line in self._eager if self._version[line] != version]
        changed = self._in_tree if self._changed is None else self._changed
        lines = [line for top in changed for line in self._in_tree.get(top, ()) if self._version[line] != version]
        self._changed = {}
        for line in lines:
            if told or not askers.is_hopeless(line):
                yield line

    def without_room(self, shape: Shape, askers: Askers, *, told: bool) -> Iterable[Line]:
        """Of those of the shape that have had room: who may ask others to leave now that it is gone. `told`: see `raised`."""
        self._read_on()
        return self._anywhere[shape].without_room(None if told else askers)

    def _read_on(self) -> None:
        """Take in for whom something has changed."""
        changed, self._seen = self._changes.since(self._seen), self._changes.end
        if changed is None:
            self._changed = None
            for of_shape in self._anywhere.values():
                of_shape.doubt_all()
        else:
            tops = dict.fromkeys(changed)
            if self._changed is not None:
                self._changed |= tops
            for top in tops:
                for team in top.subtree():
                    self._doubt(team, limited_alone=team not in self._doubted)
        for team in self._doubted:
            self._doubt(team)
        self._doubted.clear()

    def _doubt(self, team: Team, *, limited_alone: bool = False) -> None:
        """`limited_alone`: somebody near has started at most. That gives hope to nobody but those at a limit below which there is more to ask."""
        for shape, line in team.lines.items():
            of_shape = self._anywhere.get(shape)
            if of_shape is not None and line in of_shape:
                of_shape.doubt(line, limited_alone=limited_alone)

    def _may_find(self, line: Line, askers: Askers, in_vain: set[Line]) -> bool:
        if line in self._eager:
            return True
        shape, request = line.shape, line.requests[0][1]
        until = askers.hopeless_until(line, askers.room(shape))
        if until is None:
            return True
        if not askers.may_ask(request):
            self.drop(line)
        elif not self._is_in_tree(line):
            limited = not line.team.within_limits(request.total)
            if limited or line in self._anywhere.get(shape, ()):
                self._helped_anywhere(line, limited=limited, until=until)
        in_vain.add(line)
        return False


def _own_work(host: Host) -> dict[Team, list[tuple[int, Grant]]]:
    """What of each team on the host may be asked to leave, with its priority."""
    found: dict[Team, list[tuple[int, Grant]]] = {}
    for grant in host.grants:
        if grant.askable:
            found.setdefault(grant.request.team, []).append((grant.request.priority, grant))
    return found


def _without_lower(host: Host, there: Sequence[tuple[int, Grant]], priority: int) -> list[int] | None:
    """What would be free on the host without those of them that have a lower priority; None when there are none."""
    free: list[int] | None = None
    for lower, grant in there:
        if lower < priority:
            free = list(host.free) if free is None else free
            for resource, amount in grant.request.shape.needs:
                free[resource] += amount * host.grants[grant]
    return free
