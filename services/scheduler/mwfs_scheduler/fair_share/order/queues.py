"""Lines, or teams, by their turns, so that room for a few is not offered to all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Final, Generic, TypeVar

from mwfs_scheduler.fair_share.order.turns import Turn

#: Before all turns: where one stands whose turn has to be worked out.
FIRST: Final[Turn] = ()

Each = TypeVar("Each")


class Queue(Generic[Each]):
    """A heap. Where one stands may be too early, and is put right when it comes first; if it may be too late, `put` it anew."""

    def __init__(self, placed: Iterable[tuple[Turn, Each]] = ()) -> None:
        self._numbers = count()
        self._heap: list[tuple[Turn, int, Each]] = [(turn, next(self._numbers), each) for turn, each in placed]
        #: The number of the one place of each that counts, and where that is.
        self._latest: dict[Each, tuple[int, Turn]] = {each: (number, turn) for turn, number, each in self._heap}
        heapify(self._heap)

    def __len__(self) -> int:
        """How many places there are, those that do not count any more among them."""
        return len(self._heap)

    def put(self, each: Each, turn: Turn = FIRST) -> None:
        """It may stand as early as that, or again."""
        known = self._latest.get(each)
        if known is None or turn < known[1]:
            self._place(each, turn, heappush)

    def has_before(self, turn: Turn) -> bool:
        """Whether anybody may stand before that turn."""
        return not self._heap or self._heap[0][0] < turn

    def first(self, turn_of: Callable[[Each], Turn], ready: Callable[[Each], bool]) -> tuple[Turn, Each] | None:
        """Who comes first of those that are ready; whoever is not leaves the queue."""
        heap, latest = self._heap, self._latest
        while heap:
            turn, number, each = heap[0]
            known = latest.get(each)
            if known is None or known[0] != number:
                heappop(heap)
            elif not ready(each):
                heappop(heap)
                del latest[each]
            else:
                now = turn_of(each)
                if now == turn:
                    return turn, each
                self._place(each, now, heapreplace)
        return None

    def _place(
        self, each: Each, turn: Turn, place: Callable[[list[tuple[Turn, int, Each]], tuple[Turn, int, Each]], object]
    ) -> None:
        number = next(self._numbers)
        self._latest[each] = number, turn
        place(self._heap, (turn, number, each))
