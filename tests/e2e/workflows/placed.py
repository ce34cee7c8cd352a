"""Work that asks for more than cores: licenses of which there is one, and hosts with a label."""

import time
from pathlib import Path

import mwfs

LICENSED = mwfs.Resources(cpu=0.01, custom={"licenses": 1})


@mwfs.operator(resources=LICENSED)
def hold(path: str) -> int:
    """Takes a license until a file is there."""
    print("holding", flush=True)
    while not Path(path).exists():
        time.sleep(0.02)
    return 1


@mwfs.operator(resources=LICENSED)
def alone(folder: str, number: int) -> int:
    """Fails when another one runs at the same time."""
    taken = Path(folder) / "taken"
    taken.touch(exist_ok=False)
    time.sleep(0.05)  # its work
    taken.unlink()
    return number


@mwfs.operator
def anything(n: int) -> int:
    return n


@mwfs.operator
def add(numbers: list[int]) -> int:
    return sum(numbers)


@mwfs.workflow
def holds(path: str) -> int:
    return hold(path)


@mwfs.workflow
def one_by_one(folder: str, n: int) -> int:
    return add([alone(folder, number) for number in range(n)])


@mwfs.workflow
def too_many(n: int) -> int:
    return anything.with_options(resources=mwfs.Resources(custom={"licenses": 2}))(n)


@mwfs.workflow
def unheard_of(n: int) -> int:
    return anything.with_options(resources=mwfs.Resources(custom={"moons": 1}))(n)


@mwfs.workflow
def elsewhere(n: int) -> int:
    """The first node wherever there is one of two labels, the second where only one host is."""
    near = anything.with_options(resources=mwfs.Resources(cpu=0.01, labels={"zone": ["a", "nowhere"]}))
    far = anything.with_options(resources=mwfs.Resources(cpu=0.01, labels={"zone": "b", "disk": ["ssd", "nvme"]}))
    return far(near(n))
