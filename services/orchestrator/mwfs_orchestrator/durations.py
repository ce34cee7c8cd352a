"""For how long nodes hold their room, by what nodes of the same operator took before. (pure)"""

from collections import deque
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

#: (team, workflow, `module:qualname`); the last is empty for compiling on the platform.
OperatorName = tuple[str, str, str]

#: So many of the last nodes of an operator say how long the next one takes: nine of ten took no longer than that.
SAMPLES: Final = 32
#: Beyond so many operators, what was not asked for for longest is forgotten.
MAX_OPERATORS: Final = 20_000
#: What takes longer is said to take as long.
MAX_S: Final = 365 * 24 * 3600


class Took:
    """What the last nodes of one operator took, in seconds."""

    __slots__ = ("fresh", "seconds")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.seconds = deque(seconds, maxlen=SAMPLES)
        #: There is something that nobody else knows.
        self.fresh = False

    def add(self, us: int) -> None:
        self.seconds.append(max(us, 0) / 1e6)
        self.fresh = True

    def expected_s(self) -> int:
        """In whole seconds, at least 1; 0 when nothing is known."""
        if not self.seconds:
            return 0
        ranked = sorted(self.seconds)
        return max(1, min(MAX_S, ceil(ranked[ceil(len(ranked) * 0.9) - 1])))


class Durations:
    """What is known of the operators that were asked for last."""

    def __init__(self) -> None:
        self._known: dict[OperatorName, Took] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, name: OperatorName) -> Took:
        """What the operator took, to be added to."""
        took = self._known.pop(name, None)
        if took is None:
            if len(self._known) >= MAX_OPERATORS:
                del self._known[next(iter(self._known))]
            took = Took()
        self._known[name] = took
        return took

    def expected_s(self, name: OperatorName) -> int:
        """For how long a node of the operator will probably hold its room; 0 when that is not known."""
        return self.of(name).expected_s() if name in self._known else 0

    def fresh(self) -> Iterator[tuple[OperatorName, list[float]]]:
        """What nobody else knows; from now on somebody does."""
        for name, took in self._known.items():
            if took.fresh:
                took.fresh = False
                yield name, list(took.seconds)

    def hear(self, name: OperatorName, seconds: Iterable[float]) -> None:
        """Another replica has seen this. What we have seen and told nobody yet stays."""
        took = self.of(name)
        if not took.fresh:
            took.seconds.clear()
            took.seconds.extend(seconds)
