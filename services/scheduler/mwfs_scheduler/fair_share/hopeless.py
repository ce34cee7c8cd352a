"""Lines of one shape that found nobody to ask, and of which of them it is not known any more that they would find nobody."""

# Room anywhere may help any of a thousand gangs of one shape. So it is kept with how much room the first of them may have hope;
# with less, only those are asked whose own team has changed since they were. A line the first of which has gone has no more hope: the next
# has no higher priority.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mwfs_scheduler.fair_share.rooms import PLENTY

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.changes import Changes
    from mwfs_scheduler.fair_share.hopes import Askers
    from mwfs_scheduler.fair_share.model import Shape
    from mwfs_scheduler.fair_share.teams import Line, Team


class Hopeless:
    """Of one shape. `changes`: the branches at the top in which use, or who may be asked, has changed. `roomier`: see `Team.roomier`."""

    __slots__ = ("_changes", "_least", "_lines", "_roomier", "_seen", "_shape", "_unsure")

    def __init__(self, shape: Shape, changes: Changes[Team], roomier: Changes[Team]) -> None:
        self._shape = shape
        self._changes = changes
        self._roomier = roomier
        #: Where it has read to.
        self._seen = changes.end, roomier.end
        self._lines: dict[Line, None] = {}
        #: Those of them that have to be asked about.
        self._unsure: dict[Line, None] = {}
        #: While less members fit, the others have no hope.
        self._least = PLENTY

    def __contains__(self, line: Line) -> bool:
        return line in self._lines

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: Line) -> None:
        """The line found nobody."""
        self._lines[line] = self._unsure[line] = None

    def drop(self, line: Line) -> None:
        """The line is looked at, or is there no longer."""
        self._lines.pop(line, None)
        self._unsure.pop(line, None)

    def with_hope(self, askers: Askers) -> list[Line]:
        """Those of which it is not known that they would find nobody, as things are now."""
        room = askers.room(self._shape)
        self._read_on(room)
        asked = list(self._unsure)
        found = askers.with_hope(self._shape, asked)
        hopeful = set(found)
        for line in asked:
            if line not in hopeful and line.hopeless is not None and room < line.hopeless[2]:
                del self._unsure[line]
                self._least = min(self._least, line.hopeless[2])
        return found

    def _read_on(self, room: int) -> None:
        """Take in what has changed."""
        changed, roomier = self._changes.since(self._seen[0]), self._roomier.since(self._seen[1])
        self._seen = self._changes.end, self._roomier.end
        if room >= self._least or changed is None or roomier is None or len(changed) + len(roomier) > len(self._lines):
            self._unsure = dict(self._lines)
            self._least = PLENTY
            return
        self._look_at(team for top in dict.fromkeys(changed) for team in top.subtree())
        self._look_at(dict.fromkeys(roomier))

    def _look_at(self, teams: Iterable[Team]) -> None:
        for team in teams:
            line = team.lines.get(self._shape)
            if line is not None and line in self._lines:
                self._unsure[line] = None
