"""Stands by until the lead is free, then leads for as long as the process lives."""

# A leader that has lost the lead ends its process: whoever starts it again begins with nothing, which is always right.

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from mwfs_chassis.postgres import AWAY
from mwfs_scheduler.leading.lease import LEASE_S, Lease
from mwfs_scheduler.leading.store import Leader, LeaderStore

log = logging.getLogger(__name__)

#: How often one that stands by looks whether the lead is free.
_LOOK_EVERY_S: Final = 0.1


class Leadership:
    """A part, to be started before the server: a lone scheduler leads before it serves."""

    def __init__(
        self,
        store: LeaderStore,
        *,
        dsn: str,
        queries: Mapping[str, str],
        instance: str,
        address: Callable[[], str],
        begin: Callable[[int], Awaitable[None]],
        renewed: Callable[[], None],
        give_up: Callable[[str], None],
        seconds: float = LEASE_S,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """`begin` is called once, with the epoch, when this process leads; `renewed` when a lease that had run out is held again."""
        self._store = store
        self._instance = instance
        self._address = address
        self._begin = begin
        self._resumed = renewed
        self._give_up = give_up
        self._seconds = seconds
        self._look_every_s = look_every_s
        self._lease = Lease(
            dsn=dsn, queries=queries, address=address, renewed=self._renewed, lost=give_up, seconds=seconds
        )
        self._epoch = 0
        self._since_us = 0
        #: Whether this process leads.
        self.leads = False
        #: Who leads, as far as is known.
        self.known: Leader | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def holds(self) -> bool:
        """Whether this process may decide now: it leads, and nobody else can."""
        return self.leads and self._lease.holds

    async def start(self) -> None:
        await self.look()
        if not self.leads:
            log.info("stands by", extra={"instance": self._instance})
            self._task = asyncio.create_task(self._stand_by(), name="stand-by")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._lease.stop()
        if self.leads:
            self.leads = False
            try:
                await self._store.leave(self._epoch)
            except AWAY as error:
                log.warning("the lead could not be left; its lease will run out", extra={"error": repr(error)})

    async def look(self) -> None:
        """Once: take the lead if it is free."""
        leader = await self._store.read()
        if leader is None or leader.free or leader.instance == self._instance:
            asked_at = time.monotonic()
            epoch = await self._store.take(self._instance, self._address(), self._seconds)
            if epoch is not None:
                await self._lead(epoch, asked_at)
                return
            leader = await self._store.read()
        self._learn(leader)

    async def watch(self) -> AsyncIterator[Leader]:
        """Who leads, when it is known and after each change."""
        said: tuple[int, str] | None = None
        while True:
            changed, leader = self._changed, self.known
            if leader is not None and leader.address and said != (leader.epoch, leader.address):
                said = (leader.epoch, leader.address)
                yield leader
            else:
                await changed.wait()

    async def _lead(self, epoch: int, asked_at: float) -> None:
        self._epoch = epoch
        self._lease.start(epoch, asked_at)
        row = await self._store.read()
        self._since_us = row.since_us if row is not None else 0
        await self._begin(epoch)
        self.leads = True
        self._learn(self._myself())
        self._resumed()
        log.info("leads", extra={"instance": self._instance, "epoch": epoch})

    def _renewed(self, had_run_out: bool) -> None:
        if not self.leads:
            return
        if self.known is None or self.known.address != self._address():
            self._learn(self._myself())
        if had_run_out:
            self._resumed()

    def _myself(self) -> Leader:
        return Leader(epoch=self._epoch, instance=self._instance, address=self._address(), since_us=self._since_us)

    def _learn(self, leader: Leader | None) -> None:
        if leader != self.known:
            self.known = leader
            self._changed.set()
            self._changed = asyncio.Event()

    async def _stand_by(self) -> None:
        said = False
        while not self.leads:
            await asyncio.sleep(self._look_every_s)
            try:
                await self.look()
                said = False
            except AWAY as error:
                if self._epoch:  # the lead was taken, and then nothing could be read
                    self._give_up(f"epoch {self._epoch} could not begin: {error!r}")
                    return
                if not said:
                    log.warning("cannot look who leads", extra={"error": repr(error)})
                said = True
            except Exception as error:
                log.critical("standing by failed", exc_info=error)
                self._give_up(repr(error))
                return
