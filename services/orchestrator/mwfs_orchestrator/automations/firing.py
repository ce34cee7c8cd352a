"""The loop that starts what is due. Every replica has it; one at a time, by a lease, looks after what no other wakes it for.

All that it does is safe to do twice, and safe to stop between any two steps: the lease saves work, it protects nothing.
"""

import asyncio
import logging
from typing import Final

from prometheus_client import Counter

from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import Unavailable
from mwfs_chassis.postgres import is_transient
from mwfs_orchestrator.changes import Changes

from .backfills import Backfills
from .commands import Commands
from .ends import Ends
from .schedules import Schedules
from .store import AutomationStore, Look
from .watches import Watches

log = logging.getLogger(__name__)

LOOKS = Counter("mwfs_orchestrator_automation_looks", "How often the catalogue was asked what is due.")

#: The lease is renewed, and asked for, this often; it is also how late a replica hears of what another one was told.
_LOOK_EVERY_S: Final = 2.0
_LEASE_S: Final = 8.0
#: One look in so many goes through the shards although nobody waits for ends: what an automation left behind is removed.
_THOROUGH_EVERY: Final = 150


class Firing:
    """Wakes when something is due, when it is told to, and to renew its lease."""

    def __init__(
        self,
        *,
        store: AutomationStore,
        schedules: Schedules,
        ends: Ends,
        backfills: Backfills,
        commands: Commands,
        watches: Watches,
        clock: Clock,
        replica: str,
    ) -> None:
        self._store = store
        self._schedules = schedules
        self._ends = ends
        self._backfills = backfills
        self._commands = commands
        commands.room = self._wake_up
        self._watches = watches
        self._clock = clock
        self._replica = replica
        self._wake = asyncio.Event()
        self._watching = True
        self._looks = 0
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._watches.restore()
        self._loop = asyncio.create_task(self._run(), name="automations")

    async def stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            await self._commands.stop()
            try:
                await self._store.release(self._replica)
            except Exception as error:
                log.warning("could not give the lease back; it will run out", extra={"error": repr(error)})

    def wake(self) -> None:
        """An automation was made or changed here."""
        self._watching = True
        self._wake_up()

    def _wake_up(self) -> None:
        self._wake.set()

    def committed(self, changes: Changes) -> None:
        """What was committed here; ends of runs may be waited for."""
        if self._watching and changes.finished_runs:
            self._wake_up()

    async def _run(self) -> None:
        woken = True
        while True:
            wait_s = _LOOK_EVERY_S
            try:
                look = await self.look(woken=woken)
                if look.held and look.next_us is not None and look.next_us > (now := self._clock.now_us()):
                    wait_s = min(wait_s, (look.next_us - now) / 1e6)
            except Exception as error:
                # What is due stays due; a defect in one automation shows here again and again, and stops no run.
                if is_transient(error) or isinstance(error, (TimeoutError, OSError, Unavailable)):
                    log.warning("the catalogue or a shard is away", extra={"error": repr(error)})
                else:
                    log.exception("automations could not go on")
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
                woken = True
            except TimeoutError:
                woken = False
            self._wake.clear()

    async def look(self, *, woken: bool = False) -> Look:
        """Does what there is to do, if this replica holds the lease or was woken; what is begun may go on afterwards."""
        LOOKS.inc()
        self._looks += 1
        look = await self._store.look(self._replica, _LEASE_S)
        self._watching = look.watching
        if not look.held and not woken:
            return look
        thorough = woken or self._looks % _THOROUGH_EVERY == 0
        fired = False
        if look.next_us is not None and look.next_us <= self._clock.now_us():
            fired = await self._schedules.fire()
            look = await self._store.look(self._replica, _LEASE_S)
        if fired or look.retry_us is not None:
            await self._commands.begin()
        if look.watching or thorough:
            moved = await self._ends.take()
            while await self._backfills.work():
                moved = True
            if moved:
                await self._commands.begin()
        return look
