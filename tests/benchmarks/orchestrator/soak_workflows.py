"""Workflows of the soaks that last."""

import time

import mwfs

_SMALL = mwfs.Resources(cpu=0.01)


@mwfs.operator(resources=_SMALL)
def sleeper(seconds: float, index: int) -> int:
    """Runs for so long, whatever happens to the platform."""
    time.sleep(seconds)
    return index


@mwfs.operator(resources=_SMALL)
def count(values: list[int]) -> int:
    return len(values)


@mwfs.workflow
def sleepers(lengths: list[float]) -> int:
    """Operators that begin before and end within or after the time without a database."""
    return count([sleeper(length, index) for index, length in enumerate(lengths)])
