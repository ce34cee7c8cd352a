"""Who owns which slots: one renewed lease per (replica, shard), slots that name lease and epoch."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mwfs_chassis.clock import Clock

from .shard.store import ShardStore

log = logging.getLogger(__name__)

#: How long a lease holds without renewal.
LEASE_SECONDS: Final = 6.0
_RENEW_EVERY_S: Final = 1.0


class LeaseLost(Exception):
    """The lease has run out: another replica may own our slots."""


class ShardLease:
    """This replica's hold on slots of one shard. `start` takes every slot that is free; the keeper takes more as leases of others run out."""

    def __init__(self, store: ShardStore, replica: str, clock: Clock) -> None:
        self.store = store
        self.lease_id = 0
        #: slot → epoch, for the slots that are ours.
        self.epochs: dict[int, int] = {}
        self._replica = replica
        self._clock = clock
        self._valid_until = 0.0

    @property
    def stream(self) -> str:
        """Name of the stream of commits written under this lease."""
        return f"{self.store.shard}/{self.lease_id}"

    async def open(self) -> None:
        asked = self._clock.monotonic()
        self.lease_id = await self.store.open_lease(self._replica, LEASE_SECONDS)
        self._valid_until = asked + LEASE_SECONDS

    async def claim(self) -> list[int]:
        """Takes free slots and returns those that are new to us."""
        claimed = await self.store.claim_slots(self.lease_id, self._replica)
        self.epochs.update(claimed)
        return sorted(claimed)

    async def renew(self) -> None:
        """Raises LeaseLost when it had run out."""
        asked = self._clock.monotonic()
        if not await self.store.renew_lease(self.lease_id, LEASE_SECONDS):
            raise LeaseLost(f"the lease {self.stream} ran out before it was renewed")
        self._valid_until = asked + LEASE_SECONDS

    async def end(self) -> None:
        await self.store.end_lease(self.lease_id)

    def check(self) -> None:
        """Raises LeaseLost when, by our own clock, it has run out."""
        if self._clock.monotonic() > self._valid_until:
            raise LeaseLost(f"the lease {self.stream} was not renewed in time")


class LeaseKeeper:
    """Renews the leases, and takes slots that others have let go."""

    def __init__(
        self,
        leases: list[ShardLease],
        *,
        claimed: Callable[[ShardLease, list[int]], Awaitable[None]],
        give_up: Callable[[str], None],
    ) -> None:
        self._leases = leases
        self._claimed = claimed
        self._give_up = give_up
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(lease), name=f"lease-{lease.stream}") for lease in self._leases]

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lease in self._leases if tasks else ():
            try:
                await lease.end()
            except Exception as error:
                log.warning(
                    "could not end a lease; it will run out", extra={"lease": lease.stream, "error": repr(error)}
                )

    async def _keep(self, lease: ShardLease) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            try:
                await lease.renew()
                slots = await lease.claim()
            except LeaseLost as error:
                log.critical("lease lost", extra={"lease": lease.stream})
                self._give_up(str(error))
                return
            except Exception as error:
                # The shard is away: commits wait as well, and `check` stops them once the lease has run out.
                log.warning("could not renew a lease", extra={"lease": lease.stream, "error": repr(error)})
                continue
            if slots:
                log.info("took over slots", extra={"shard": lease.store.shard, "slots": len(slots)})
                await self._claimed(lease, slots)
