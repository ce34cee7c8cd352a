"""Where time comes from: the only module that reads a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """A wall clock for what people read and a monotonic clock for what code waits for."""

    def now_us(self) -> int:
        """Wall clock, microseconds since 1970 in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; comparable within one process only."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()
