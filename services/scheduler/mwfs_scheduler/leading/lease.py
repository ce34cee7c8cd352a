"""Renews the lease of the scheduler that leads, in a thread of its own: a long decision must not cost the lead."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import asyncpg

from mwfs_chassis.postgres import AWAY

log = logging.getLogger(__name__)

#: How long others wait for a leader that does not renew. Shorter, and a database that is busy for a moment changes the leader.
LEASE_S: Final = 1.2
_RENEW_EVERY_S: Final = 0.3
#: While the catalogue is away.
_AGAIN_S: Final = 0.05
#: The leader stops so much earlier than others may begin.
_MARGIN_S: Final = 0.1


class Lease:
    """From `start` to `stop`, for one epoch."""

    def __init__(
        self,
        *,
        dsn: str,
        queries: Mapping[str, str],
        address: Callable[[], str],
        renewed: Callable[[bool], None],
        lost: Callable[[str], None],
        seconds: float = LEASE_S,
    ) -> None:
        """`renewed` is called in the event loop of `start`, with whether the lease had run out; `lost` in the thread, at once."""
        self._dsn = dsn
        self._renew = queries["renew_lead"]
        self._address = address
        self._renewed = renewed
        self._lost = lost
        self._seconds = seconds
        self._until = 0.0
        self._epoch = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def holds(self) -> bool:
        """Whether nobody else can have the lead now."""
        return time.monotonic() < self._until

    def start(self, epoch: int, asked_at: float) -> None:
        """The lease was asked for at this time (monotonic): it counts from then, and not from the answer."""
        self._epoch = epoch
        self._until = asked_at + self._seconds - _MARGIN_S
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="scheduler-lease", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """From now on it is not held."""
        self._stopping.set()
        self._until = 0.0
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        try:
            asyncio.run(self._keep())
        except Exception as error:
            log.critical("the lease cannot be kept", exc_info=error)
            self._lost(repr(error))

    async def _keep(self) -> None:
        connection: asyncpg.Connection | None = None
        said = False
        while not self._stopping.is_set():
            began, pause = time.monotonic(), _RENEW_EVERY_S
            try:
                if connection is None:
                    connection = await asyncpg.connect(self._dsn, timeout=self._seconds)
                await self._renew_once(connection)
                said = False
            except AWAY as error:
                if not said:
                    log.warning("the lease cannot be renewed", extra={"epoch": self._epoch, "error": repr(error)})
                said, pause = True, _AGAIN_S
                if connection is not None:
                    connection.terminate()
                    connection = None
            await asyncio.to_thread(self._stopping.wait, max(0.0, began + pause - time.monotonic()))
        if connection is not None:
            connection.terminate()

    async def _renew_once(self, connection: asyncpg.Connection) -> None:
        asked_at = time.monotonic()
        epoch = await connection.fetchval(
            self._renew, self._epoch, self._address(), self._seconds, timeout=self._seconds
        )
        if self._stopping.is_set():
            return
        if epoch is None:
            self._until = 0.0
            self._lost(f"another scheduler has taken the lead from epoch {self._epoch}")
            return
        had_run_out = not self.holds
        self._until = asked_at + self._seconds - _MARGIN_S
        assert self._loop is not None
        if self.holds and not self._loop.is_closed():  # the answer may come when what it gives has run out again
            self._loop.call_soon_threadsafe(self._renewed, had_run_out)
