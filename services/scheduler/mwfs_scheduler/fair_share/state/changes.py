"""What has changed, for those who keep something that was worked out from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

Thing = TypeVar("Thing")

#: So many changes are remembered: who has not read for longer looks at everything again, which costs about as much.
REMEMBERED: Final = 4_096


class Changes(Generic[Thing]):
    """A list that only grows, in which each reader keeps its own place."""

    __slots__ = ("_first", "_things")

    def __init__(self) -> None:
        self._things: list[Thing] = []
        #: The number of the first that is remembered.
        self._first = 0

    def note(self, thing: Thing) -> None:
        """The thing has changed."""
        things = self._things
        things.append(thing)
        if len(things) > 2 * REMEMBERED:
            del things[:REMEMBERED]
            self._first += REMEMBERED

    def forget(self) -> None:
        """Everything may have changed."""
        self._first += len(self._things) + 1
        self._things.clear()

    @property
    def end(self) -> int:
        """The place of a reader who has seen all."""
        return self._first + len(self._things)

    def since(self, place: int) -> Sequence[Thing] | None:
        """What has changed since the reader was at this place, perhaps more than once; None when everything may have."""
        if place < self._first:
            return None
        return self._things[place - self._first :]
