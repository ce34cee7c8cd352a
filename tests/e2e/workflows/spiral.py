"""Rounds of maps in a loop, slow enough to be killed in the middle."""

import time

import mwfs


@mwfs.operator
def elements(size: int) -> list[int]:
    return list(range(size))


@mwfs.operator
def slowly(x: int) -> int:
    time.sleep(0.01)
    return x + 1


@mwfs.workflow
def spiral(rounds: int, size: int) -> list[int]:
    """Each element is counted up once a round."""
    return mwfs.repeat_while(
        lambda xs: xs[0] < rounds, lambda xs: mwfs.map(lambda x: slowly(x), xs), elements(size), limit=100
    )
