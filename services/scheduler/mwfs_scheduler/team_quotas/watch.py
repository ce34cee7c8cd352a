"""Keeps the quotas of the catalogue in force: whoever changes them, and whatever becomes of the connection meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import asyncpg

from mwfs_chassis.postgres import AWAY, is_cut
from mwfs_scheduler.quotas import BadQuotas, Quotas, check
from mwfs_scheduler.team_quotas.store import QuotaStore

log = logging.getLogger(__name__)

#: Changes are announced. A connection that is cut without a word would hide that, so the version is asked for as well.
_LOOK_EVERY_S: Final = 2.0
#: While the catalogue is away.
_AGAIN_S: Final = 0.1


class QuotaWatch:
    """A part: from its start on `quotas` is what was given to `apply` last."""

    def __init__(
        self, store: QuotaStore, apply: Callable[[Quotas], None], *, look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        self._store = store
        self._apply = apply
        self._look_every_s = look_every_s
        self._quotas: Quotas | None = None
        #: The newest version that could not be applied.
        self._refused = -1
        self._looking = asyncio.Lock()
        self._heard = asyncio.Event()
        self._listening: asyncpg.pool.PoolConnectionProxy | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def quotas(self) -> Quotas:
        return self._quotas or Quotas()

    async def start(self) -> None:
        """Raises what the catalogue raises."""
        await self._listen()
        await self.look()
        self._task = asyncio.create_task(self._watch(), name="quota-watch")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._stop_listening()

    async def look(self) -> Quotas:
        """Read the quotas if there is a newer version, and put it in force."""
        async with self._looking:
            known = max(self._refused, -1 if self._quotas is None else self._quotas.version)
            if await self._store.version() > known:
                self._put_in_force(await self._store.read())
            return self.quotas

    def _put_in_force(self, quotas: Quotas) -> None:
        try:
            check(quotas)
        except BadQuotas as error:  # not written by us
            log.error(
                "quotas in the catalogue are not in force", extra={"version": quotas.version, "error": str(error)}
            )
            self._refused = quotas.version
            if self._quotas is not None:
                return
            quotas = Quotas()
        self._apply(quotas)
        self._quotas = quotas
        log.info("quotas in force", extra={"version": quotas.version, "teams": len(quotas.teams)})

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every_s):
                    await self._heard.wait()
            self._heard.clear()
            try:
                await self._listen()  # before looking, so that nothing falls between
                await self.look()
            except AWAY as error:
                log.warning("quotas could not be looked at", extra={"error": repr(error)})
                await asyncio.sleep(_AGAIN_S)
                self._heard.set()  # as far as we know

    async def _listen(self) -> None:
        connection = self._listening
        if connection is not None and not is_cut(connection):
            return
        await self._stop_listening()
        self._listening = await self._store.listen(self._heard.set)

    async def _stop_listening(self) -> None:
        connection, self._listening = self._listening, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await self._store.unlisten(connection)
