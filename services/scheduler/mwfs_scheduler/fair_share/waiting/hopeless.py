"""Lines of one shape that found nobody to ask, and with how much room each of them may have hope."""

# Room anywhere may help any of a thousand gangs of one shape. So it is kept with how much room each may have hope; with less, only those
# are asked about for whose own team something has changed. And when all of them have room, they are woken in their turns as everybody
# else: only once that room is gone is it asked which of them may ask others to leave.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.model import Shape
    from mwfs_scheduler.fair_share.state.teams import Line
    from mwfs_scheduler.fair_share.waiting.hopes import Askers

#: (a burst limit is in the way, while less members than this fit there is no hope; 0: it has to be asked about).
_Place = tuple[bool, int]


class Hopeless:
    """Of one shape."""

    __slots__ = ("_by_place", "_places", "_shape", "have_room")

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._places: dict[Line, _Place] = {}
        self._by_place: dict[_Place, dict[Line, None]] = {}
        #: Those with no burst limit in their way have room: until that is gone they have not found nobody.
        self.have_room = False

    def __contains__(self, line: Line) -> bool:
        return line in self._places

    def __iter__(self) -> Iterator[Line]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def has_room(self, line: Line) -> bool:
        """Whether the line is one of those that have room."""
        return self.have_room and line in self._places and not self._places[line][0]

    def add(self, line: Line, *, limited: bool, until: int) -> None:
        """The line found nobody. `limited`: a burst limit is in its way; `until`: while less members than this fit it has no hope."""
        self._put(line, (limited, until))

    def doubt(self, line: Line, *, limited_alone: bool = False) -> None:
        """Something has changed for the line; with `limited_alone` only if a burst limit is in its way."""
        limited, until = self._places[line]
        if until and (limited or not limited_alone):
            self._put(line, (limited, 0))

    def doubt_all(self) -> None:
        """Everything may have changed."""
        for line in list(self._places):
            self.doubt(line)

    def drop(self, line: Line) -> None:
        """The line is looked at, or is there no longer."""
        place = self._places.pop(line, None)
        if place is not None:
            self._leave(line, place)

    def with_hope(self, askers: Askers, *, are_woken: bool) -> list[Line]:
        """Those of which it is not known that they would find nobody, as things are now. `are_woken`: who has room need not be found."""
        room = askers.room(self._shape)
        has_room = room >= self._shape.members
        found = []
        for (limited, until), lines in list(self._by_place.items()):
            if until > room:
                continue
            if has_room and are_woken and until and not limited:
                self.have_room = True
                continue
            for line in list(lines):
                if has_room and line.team.within_limits(line.requests[0][1].total):
                    if are_woken:
                        self.have_room = True
                        self._put(line, (False, 0))
                    else:
                        found.append(line)
                elif self._has_hope(line, room, askers):
                    found.append(line)
        return found

    def without_room(self, askers: Askers | None) -> list[Line]:
        """The same, of those who have had room, now that it is gone. Without `askers` all of them."""
        had_room = [
            (until, lines) for (limited, until), lines in self._by_place.items() if self.have_room and not limited
        ]
        self.have_room = False
        if askers is None:
            return [line for _, lines in had_room for line in lines]
        room = askers.room(self._shape)
        asked = [line for until, lines in had_room if until <= room for line in lines]
        return [line for line in asked if self._has_hope(line, room, askers)]

    def _has_hope(self, line: Line, room: int, askers: Askers) -> bool:
        until = askers.hopeless_until(line, room)
        if until is not None:
            self._put(line, (not line.team.within_limits(line.requests[0][1].total), until))
        return until is None

    def _put(self, line: Line, place: _Place) -> None:
        before = self._places.get(line)
        if before != place:
            if before is not None:
                self._leave(line, before)
            self._places[line] = place
            self._by_place.setdefault(place, {})[line] = None

    def _leave(self, line: Line, place: _Place) -> None:
        there = self._by_place[place]
        del there[line]
        if not there:
            del self._by_place[place]
