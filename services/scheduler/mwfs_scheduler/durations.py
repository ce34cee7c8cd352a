"""For how long nodes will probably hold their room, as the engine counts it. Pure."""

from __future__ import annotations


def in_steps(seconds: int | None) -> int | None:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, … that is not below: each is a shape of its own, so there must be few."""
    if seconds is None:
        return None
    power = 1 << (seconds - 1).bit_length()
    between = power * 3 // 4
    return between if power >= 4 and between >= seconds else power
