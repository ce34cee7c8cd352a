"""Work that takes as long as it is told, or until there is a file, on a platform of two cores."""

import time
from pathlib import Path

import mwfs


@mwfs.operator(resources=mwfs.Resources(cpu=1))
def hold(seconds: float, file: str) -> str:
    """Takes so long, and then until the file is there, if it is named."""
    time.sleep(seconds)
    while file and not Path(file).exists():
        time.sleep(0.01)
    return "held"


@mwfs.operator(resources=mwfs.Resources(cpu=1))
def last(seconds: float) -> str:
    time.sleep(seconds)
    return "lasted"


@mwfs.operator(resources=mwfs.Resources(cpu=1))
def pass_by(x: int) -> int:
    return x + 1


@mwfs.operator(resources=mwfs.Resources(cpu=2))
def spread(x: int) -> int:
    return x + 2


@mwfs.workflow
def holds(seconds: float, file: str) -> str:
    return hold(seconds, file)


@mwfs.workflow
def lasts(seconds: float) -> str:
    return last(seconds)


@mwfs.workflow
def short(x: int) -> int:
    return pass_by(x)


@mwfs.workflow
def wide(x: int) -> int:
    return spread(x)
