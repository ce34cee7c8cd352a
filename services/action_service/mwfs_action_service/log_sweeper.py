"""Removes outputs of attempts when they are old, once an hour."""

import asyncio
import contextlib
import logging

from mwfs_action_service.engine import Engine
from mwfs_chassis.clock import Clock

log = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
DAY_US = 86_400_000_000


class LogSweeper:
    """A part."""

    def __init__(self, engine: Engine, *, clock: Clock, keep_days: float) -> None:
        self._engine = engine
        self._clock = clock
        self._keep_days = keep_days
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._sweep(), name="log sweeper")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _sweep(self) -> None:
        while True:
            try:
                removed = self._engine.logs.sweep(self._clock.now_us() - int(self._keep_days * DAY_US))
                if removed:
                    log.info("removed old log files", extra={"files": removed})
            except OSError as error:
                log.warning("cannot remove old log files", extra={"error": error})
            await asyncio.sleep(EVERY_SECONDS)
