"""Keeps what operators took in the catalogue, and reads what other replicas keep there. Losing some of it costs an estimate, no more."""

import asyncio
import logging
from typing import Final

from prometheus_client import Gauge

from mwfs_chassis.postgres import AWAY

from .catalogue.durations import DurationStore
from .durations import MAX_OPERATORS, Durations

log = logging.getLogger(__name__)

KNOWN = Gauge("mwfs_orchestrator_operators_timed", "Operators of which is known how long their nodes take.")

EVERY_S: Final = 20.0
_TIMEOUT_S: Final = 5.0
_TRIM_EVERY_S: Final = 3600.0
#: What nobody has run for so long is forgotten.
_KEEP_US: Final = 90 * 24 * 3600 * 1_000_000
#: A row may appear so much after the time that it has.
_OVERLAP_US: Final = 60_000_000


class DurationKeeper:
    """A loop that is in nobody's way."""

    def __init__(self, *, durations: Durations, store: DurationStore, every_s: float = EVERY_S) -> None:
        self._durations = durations
        self._store = store
        self._every_s = every_s
        self._read_until_us = 0
        self._task: asyncio.Task[None] | None = None
        KNOWN.set_function(durations.__len__)

    async def start(self) -> None:
        """Runs that are taken up after this know what earlier ones took."""
        await self._try_exchange()
        self._task = asyncio.create_task(self._keep_on(), name="duration-keeper")

    async def stop(self) -> None:
        """Writes what is new."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._try_exchange()

    async def _keep_on(self) -> None:
        loop = asyncio.get_running_loop()
        trimmed = loop.time()
        while True:
            await asyncio.sleep(self._every_s)
            await self._try_exchange()
            if loop.time() - trimmed > _TRIM_EVERY_S:
                trimmed = loop.time()
                await self._try_trim()

    async def exchange(self) -> None:
        """Writes what is new here, and reads what is new there."""
        fresh = list(self._durations.fresh())
        try:
            if fresh:
                await self._store.keep(fresh)
        except BaseException:
            for name, _ in fresh:
                self._durations.of(name).fresh = True
            raise
        for name, seconds, update_us in await self._store.newer(self._read_until_us - _OVERLAP_US, MAX_OPERATORS):
            self._durations.hear(name, seconds)
            self._read_until_us = max(self._read_until_us, update_us)

    async def _try_exchange(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self.exchange()
        except AWAY as error:
            log.warning("durations were not exchanged; will try again", extra={"error": repr(error)})

    async def _try_trim(self) -> None:
        try:
            await self._store.trim(_KEEP_US)
        except AWAY as error:
            log.warning("old durations were not removed", extra={"error": repr(error)})
