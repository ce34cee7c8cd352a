"""Shapes that have got room: which of the lines that rest is woken first."""

# What has got room is not restless by that alone: it is woken when it comes before all that is, or before what its own team would have
# first. Each shape has a queue of its lines; while it has no room it is not known where they stand, only for which teams that may have
# become earlier. Those are put where they may stand at the earliest, which is the same for all lines of a team that ask for the same
# resources: the turn itself is only worked out for who comes first.

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from mwfs_scheduler.fair_share.model import Shape
from mwfs_scheduler.fair_share.order.queues import Queue
from mwfs_scheduler.fair_share.order.turns import Turn, Turns
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.teams import Line, Team
from mwfs_scheduler.fair_share.waiting.witnesses import Witnesses


class Roomy(Container[Shape]):
    """`lines`: all that wait, by shape. `is_ready`: whether a line rests and lacks nothing but room."""

    def __init__(
        self, witnesses: Witnesses, lines: Mapping[Shape, Mapping[Team, Line]], is_ready: Callable[[Line], bool]
    ) -> None:
        self._witnesses = witnesses
        self._lines = lines
        self._is_ready = is_ready
        self._shapes: dict[Shape, None] = {}
        #: Teams of which all below, and they themselves, may stand earlier than before; and where each queue has read to.
        self._earlier: Changes[Team] = Changes()
        self._queues: dict[Shape, tuple[Queue[Line], int]] = {}
        #: Lines that rest again, of shapes that have a queue.
        self._again: dict[Shape, dict[Line, None]] = {}
        self._found_full: list[Shape] = []

    def __contains__(self, shape: object) -> bool:
        return shape in self._shapes

    def __len__(self) -> int:
        return len(self._shapes)

    def add(self, shapes: Iterable[Shape]) -> None:
        """These may have room now."""
        self._shapes.update(dict.fromkeys(shapes))

    def drop(self, shape: Shape) -> None:
        """It has none, or none that its lines may take."""
        self._shapes.pop(shape, None)

    def forget(self, shape: Shape) -> None:
        """Nobody asks for the shape any more."""
        self.drop(shape)
        self._queues.pop(shape, None)
        self._again.pop(shape, None)

    def clear(self) -> None:
        self._shapes.clear()
        self.other_turns()

    def other_turns(self) -> None:
        """All turns may be others."""
        self._queues.clear()
        self._again.clear()

    def earlier(self, team: Team) -> None:
        """Lines of the team, and of those below it, may stand earlier than before."""
        self._earlier.note(team)

    def again(self, line: Line) -> None:
        """The line rests again, or has another first request."""
        if line.shape in self._queues:
            self._again.setdefault(line.shape, {})[line] = None

    def first(self, turns: Turns, before: Turn | None) -> Line | None:
        """A line that is ready, has room and comes before that turn."""
        end = self._earlier.end
        for shape in list(self._shapes):
            if not self._witnesses.has_room(shape):
                self._found_full.append(shape)
                continue
            queue = self._queue(shape, turns, end)
            if before is not None and not queue.has_before(before):
                continue
            first = queue.first(turns.of_line, self._is_ready)
            if first is None:
                self._shapes.pop(shape)
            elif before is None or first[0] < before:
                return first[1]
        return None

    def found_full(self) -> list[Shape]:
        """Shapes of which `first` has seen that there is no room for them after all."""
        shapes, self._found_full = self._found_full, []
        return shapes

    def of_team(self, team: Team) -> Iterator[Line]:
        """Its lines that are ready and may have room."""
        if len(team.lines) < len(self._shapes):
            lines = [line for shape, line in team.lines.items() if shape in self._shapes]
        else:
            lines = [team.lines[shape] for shape in self._shapes if shape in team.lines]
        return (line for line in lines if self._is_ready(line))

    def _queue(self, shape: Shape, turns: Turns, end: int) -> Queue[Line]:
        """The queue of the shape, with all in it who may come earlier than before; `end`: of those who do."""
        known = self._queues.get(shape)
        if known is not None and known[1] == end and shape not in self._again:
            return known[0]
        lines, earlier = self._lines[shape], None if known is None else self._earlier.since(known[1])
        if known is None or earlier is None:
            queue = Queue((turns.earliest_of(line), line) for line in lines.values() if self._is_ready(line))
            self._again.pop(shape, None)
        else:
            queue, moved = known[0], self._again.pop(shape, {})
            for above in dict.fromkeys(earlier):
                for team in above.subtree() if above.children else (above,):
                    if team in lines:
                        moved[lines[team]] = None
            for line in moved:
                if self._is_ready(line):
                    queue.put(line, turns.earliest_of(line))
        self._queues[shape] = queue, end
        return queue
