"""Workflows of a user whose operators behave well, and badly."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import mwfs


@mwfs.operator
def double(x: int) -> int:
    print("doubling", x)
    return 2 * x


@mwfs.operator
def add(numbers: list[int]) -> int:
    return sum(numbers)


@mwfs.workflow
def sums(n: int = 3) -> int:
    """Doubles 0 to n - 1 side by side, and adds them up."""
    return add([double(i) for i in range(n)])


@mwfs.operator
def fail(message: str) -> int:
    print("about to fail")
    raise ValueError(message)


@mwfs.workflow
def raises(message: str = "the data is bad") -> int:
    return double(fail(message))


@mwfs.operator
def leave(code: int) -> int:
    print("leaving", flush=True)
    os._exit(code)


@mwfs.workflow
def exits(code: int = 7) -> int:
    return leave(code)


@mwfs.operator
def end_with_sys_exit(code: int) -> int:
    sys.exit(code)


@mwfs.workflow
def sys_exits(code: int = 7) -> int:
    return end_with_sys_exit(code)


@mwfs.operator
def kill_itself() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@mwfs.workflow
def killed() -> int:
    return kill_itself()


@mwfs.operator
def print_much(megabytes: int) -> int:
    line = "x" * 1023 + "\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    print("the last line")
    return megabytes


@mwfs.workflow
def prints(megabytes: int = 100) -> int:
    return print_much(megabytes)


@mwfs.operator
def wait_for(path: str) -> int:
    """Waits until a file is there."""
    print("waiting", flush=True)
    while not Path(path).exists():
        time.sleep(0.02)
    return 1


@mwfs.workflow
def waits(path: str) -> int:
    return double(wait_for(path))


@mwfs.operator
def succeed_once_there_is(path: str) -> int:
    if not Path(path).exists():
        raise FileNotFoundError(path)
    return 1


@mwfs.workflow
def needs(path: str) -> int:
    return add([double(1), succeed_once_there_is(path)])


@mwfs.operator
def promise_text() -> str:
    return 5  # type: ignore[return-value]


@mwfs.workflow
def breaks_its_promise() -> str:
    return promise_text()


class Place(NamedTuple):
    """Where an operator ran."""

    pid: int
    gpus: str


@mwfs.operator(resources=mwfs.Resources(gpu=1))
def where() -> Place:
    return Place(os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", ""))


@mwfs.workflow
def place() -> Place:
    return where()


@mwfs.workflow
def wrong_edge() -> int:
    return double(promise_text())  # type: ignore[arg-type]


@mwfs.operator(timeout=120)
def meet(folder: str, mine: str, other: str) -> int:
    """Says that it is there, and waits for the other one."""
    (Path(folder) / mine).touch()
    while not (Path(folder) / other).exists():
        time.sleep(0.02)
    return os.getpid()


@mwfs.operator
def gather(pids: list[int]) -> list[int]:
    return pids


@mwfs.workflow
def meets(folder: str) -> list[int]:
    return gather([meet(folder, "left", "right"), meet(folder, "right", "left")])
