"""The workloads: operators that do nothing but return an integer, so that only the platform is measured."""

from __future__ import annotations

from mwfs.operators import operator
from mwfs.resources import Resources
from mwfs.workflows import workflow

#: So small that capacity never limits: about a hundred run on one core at once.
_SMALL = Resources(cpu=0.01)


@operator(resources=_SMALL)
def start(value: int) -> int:
    """The first node of each workload."""
    return value


@operator(resources=_SMALL)
def step(value: int) -> int:
    """A node that needs the one before."""
    return value + 1


@operator(resources=_SMALL)
def work(value: int, index: int) -> int:
    """One of many that run at the same time."""
    return value + index


@operator(resources=_SMALL)
def gather(values: list[int]) -> int:
    """A node that needs all others."""
    return len(values)


@workflow
def fanout(n: int) -> int:
    """1 → n → 1."""
    first = start(0)
    return gather([work(first, index) for index in range(n)])


@workflow
def chain(n: int) -> int:
    """n nodes in a row."""
    value = start(0)
    for _ in range(n - 1):
        value = step(value)
    return value


@workflow
def small(seed: int) -> int:
    """Three nodes in a row: one of a swarm."""
    return step(step(start(seed)))
