"""Lines, or teams, by their turns, so that room for a few is not offered to all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Final, Generic, TypeVar

from mwfs_scheduler.fair_share.turns import Turn

#: Before all turns: where one stands whose turn has to be worked out.
FIRST: Final[Turn] = ((), (0, 0, "", ""))

Each = TypeVar("Each")


class Queue(Generic[Each]):
    """A heap. Where one stands may be too early, and is put right when it comes first; if it may be too late, `put` it anew."""

    def __init__(self, all_: Iterable[Each] = (), *, placed: Iterable[tuple[Turn, Each]] = ()) -> None:
        self._numbers = count()
        self._heap: list[tuple[Turn, int, Each]] = [
            *((FIRST, next(self._numbers), each) for each in all_),
            *((turn, next(self._numbers), each) for turn, each in placed),
        ]
        #: The number of the one place of each that counts.
        self._latest: dict[Each, int] = {each: number for _, number, each in self._heap}
        heapify(self._heap)
        #: Those whose place that counts is before all.
        self._unplaced: set[Each] = set(self._latest)

    def put(self, each: Each) -> None:
        """It may stand at another place than before, or again."""
        if each not in self._unplaced:
            self._unplaced.add(each)
            number = self._latest[each] = next(self._numbers)
            heappush(self._heap, (FIRST, number, each))

    def has_before(self, turn: Turn) -> bool:
        """Whether anybody may stand before that turn."""
        return not self._heap or self._heap[0][0] < turn

    def first(self, turn_of: Callable[[Each], Turn], ready: Callable[[Each], bool]) -> tuple[Turn, Each] | None:
        """Who comes first of those that are ready; whoever is not leaves the queue."""
        heap, latest = self._heap, self._latest
        while heap:
            turn, number, each = heap[0]
            if latest.get(each) != number:
                heappop(heap)
            elif not ready(each):
                heappop(heap)
                del latest[each]
                self._unplaced.discard(each)
            else:
                now = turn_of(each)
                if now == turn:
                    return turn, each
                self._unplaced.discard(each)
                latest[each] = number = next(self._numbers)
                heapreplace(heap, (now, number, each))
        return None
