"""Starting and stopping: parts in order, signals, and a process that dies with its parent."""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from mwfs_chassis.errors import ServiceError
from mwfs_chassis.telemetry import configure_logging

log = logging.getLogger(__name__)

#: A part that has not stopped by then is left behind: the process ends all the same.
STOP_TIMEOUT_S = 5.0

#: Services make many short-lived objects and few cycles: the default of 700 looks at the same live objects again and again.
_COLLECT_EVERY = (20_000, 20, 20)

_PR_SET_PDEATHSIG = 1


class Part(Protocol):
    """Something long-running. Stopping twice, or before starting, is fine."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def run_parts(parts: Sequence[Part], *, stop_timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Start the parts in order, wait for SIGTERM or SIGINT, stop them in reverse order.

    A part that fails to start stops those before it, and its error is raised. A signal while starting stops as well.
    """
    stop_asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_asked.set)
    begun: list[Part] = []
    try:
        waiting = loop.create_task(stop_asked.wait())
        for part in parts:
            begun.append(part)
            await _start_unless(waiting, part)
            if stop_asked.is_set():
                break
        await waiting
        log.info("stopping")
    finally:
        waiting.cancel()
        for part in reversed(begun):
            await _stop(part, stop_timeout_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _start_unless(stop_asked: "asyncio.Task[bool]", part: Part) -> None:
    starting = asyncio.ensure_future(part.start())
    try:
        await asyncio.wait({starting, stop_asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not starting.done():
            starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    if not starting.cancelled():
        starting.result()


async def _stop(part: Part, timeout_s: float) -> None:
    name = type(part).__name__
    try:
        async with asyncio.timeout(timeout_s):
            await part.stop()
    except TimeoutError:
        log.error("a part did not stop in time", extra={"part": name, "timeout_s": timeout_s})
    except Exception:
        log.exception("a part failed to stop", extra={"part": name})


def run_service(name: str, build: Callable[[], Awaitable[Sequence[Part]]]) -> None:
    """The whole of a service's `__main__`: logging, then `build` makes the parts, then they run until a signal.

    Exits with 1 and one line that says why when the service cannot start.
    """
    configure_logging(name)
    if os.environ.get("MWFS_DIE_WITH_PARENT") == "1":
        die_with_parent()

    async def main() -> None:
        parts = await build()
        collect_seldom()
        await run_parts(parts)

    try:
        asyncio.run(main())
    except ServiceError as error:
        log.error("cannot start: %s", error)
        sys.exit(1)
    except Exception as error:
        log.critical("cannot start: %s: %s", type(error).__name__, error, exc_info=error)
        sys.exit(1)


def collect_seldom() -> None:
    """Modules and parts stay for ever: no collection has to look at them again. Benchmarks that measure a service without its process call it too."""
    gc.freeze()
    gc.set_threshold(*_COLLECT_EVERY)


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started us dies. Linux; elsewhere it does nothing."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = os.environ.get("MWFS_PARENT_PID", "")
    if parent and os.getppid() != int(parent):  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)
