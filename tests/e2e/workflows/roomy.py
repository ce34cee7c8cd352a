"""Work that fills a small platform, and makes room when it is told."""

import contextlib
import os
import time
from pathlib import Path

import mwfs
from mwfs import ctx

ALL = mwfs.Resources(cpu=1)


@mwfs.operator(resources=ALL)
def patient(folder: str) -> list[str]:
    """Keeps a checkpoint, and goes on until it is told to make room; then it waits for the file `go` before it keeps another one."""
    resumed = ctx.resume_from
    done: list[str] = [] if resumed is None else list(resumed.value)
    if resumed is None:
        done.append(f"began in {ctx.attempt}")
        with contextlib.suppress(mwfs.Preempted):  # it may be told in this moment
            ctx.checkpoint(done, step=1)
        while not ctx.preempted:
            time.sleep(0.01)
        (Path(folder) / f"worker-{os.getpid()}").touch()
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        done.append(f"told in {ctx.attempt}")
        ctx.checkpoint(done, step=2)
    return [*done, f"ended in {ctx.attempt}"]


@mwfs.operator(resources=ALL, preemptible=False)
def steadfast(folder: str) -> str:
    """Is never told to make room; goes on until there is the file `go`."""
    (Path(folder) / "began").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.01)
    return f"ended in {ctx.attempt}, told: {ctx.preempted}"


@mwfs.operator(resources=ALL)
def urgent(x: int) -> int:
    return x + 1


@mwfs.workflow
def waits(folder: str) -> list[str]:
    return patient(folder)


@mwfs.workflow
def stays(folder: str) -> str:
    return steadfast(folder)


@mwfs.workflow
def hurry(x: int) -> int:
    return urgent(x)
