"""The lines of one shape by their turns, so that room for a few is not offered to all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Final

from mwfs_scheduler.fair_share.teams import Line
from mwfs_scheduler.fair_share.turns import Turn

#: Before all turns: where a line stands whose turn has to be worked out.
_FIRST: Final[Turn] = ((), (0, 0, "", ""))


class Queue:
    """A heap. Where a line stands may be too early, and is put right when it comes first; if it may be too late, `put` it anew."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._numbers = count()
        #: The number of the one place of each line that counts.
        self._latest: dict[Line, int] = {line: next(self._numbers) for line in lines}
        self._heap: list[tuple[Turn, int, Line]] = [(_FIRST, number, line) for line, number in self._latest.items()]
        heapify(self._heap)

    def put(self, line: Line) -> None:
        """The line may stand at another place than before, or again."""
        number = self._latest[line] = next(self._numbers)
        heappush(self._heap, (_FIRST, number, line))

    def first(self, turn_of: Callable[[Line], Turn], ready: Callable[[Line], bool]) -> tuple[Turn, Line] | None:
        """The line that comes first of those that are ready; whoever is not leaves the queue."""
        heap, latest = self._heap, self._latest
        while heap:
            turn, number, line = heap[0]
            if latest.get(line) != number:
                heappop(heap)
            elif not ready(line):
                heappop(heap)
                del latest[line]
            else:
                now = turn_of(line)
                if now == turn:
                    return turn, line
                latest[line] = number = next(self._numbers)
                heapreplace(heap, (now, number, line))
        return None
