"""A thousand small operators, slow enough that something can be killed in their midst."""

import time

import mwfs

SMALL = mwfs.Resources(cpu=0.05)


@mwfs.operator(resources=SMALL)
def first() -> int:
    return 1


@mwfs.operator(resources=SMALL)
def rest(one: int, i: int) -> int:
    time.sleep(0.004)
    return one + i


@mwfs.operator(resources=SMALL)
def total(parts: list[int]) -> int:
    return sum(parts)


@mwfs.workflow
def thousand() -> int:
    one = first()
    return total([rest(one, i) for i in range(998)])
