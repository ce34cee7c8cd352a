"""Clocks that tests move."""


class HandClock:
    """Stands still until `now`, in seconds, is another."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def now_us(self) -> int:
        return int(self.now * 1e6)
