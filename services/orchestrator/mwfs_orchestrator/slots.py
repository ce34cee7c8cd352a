"""Who owns which slots: one renewed lease per (replica, shard), slots that name lease and epoch, and an even share for each replica.

A past owner is fenced by the epoch that each commit checks, never by a clock: the lease only says when others may take its slots.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import asyncpg

from mwfs_chassis.postgres import AWAY, is_cut

from .shard.moves import SlotMoves
from .shard.store import ShardStore, Standing

log = logging.getLogger(__name__)

_RENEW_EVERY_S: Final = 1.0
#: Slots that others let go are announced; those of the dead are not.
_LOOK_EVERY_S: Final = 0.5


class LeaseLost(Exception):
    """Another replica owns slots of ours."""


class SlotUser(Protocol):
    """What has to know when slots come and go."""

    async def take_up(self, lease: "ShardLease", slots: list[int]) -> None: ...
    async def let_go(self, lease: "ShardLease", slots: list[int]) -> None: ...
    def sample(self, slots: list[int], count: int) -> list[int]: ...


class ShardLease:
    """This replica's hold on slots of one shard."""

    def __init__(
        self,
        store: ShardStore,
        replica: str,
        address: Callable[[], str],
        *,
        seconds: float,
        map_version: Callable[[], int] = lambda: 0,
        slots_move: Callable[[], bool] = lambda: False,
    ) -> None:
        self.store = store
        #: Held while slots come or go: what is believed to be ours and what is would differ for a moment.
        self.changing = asyncio.Lock()
        #: Held while runs leave memory with their slots and until these are elsewhere: one hand-over at a time.
        self.handing_over = asyncio.Lock()
        self.moves = SlotMoves(store.pool)
        self._seconds = seconds
        self._map_version = map_version
        self._slots_move = slots_move
        self.lease_id = 0
        #: slot → epoch, for the slots that are ours.
        self.epochs: dict[int, int] = {}
        self.standing = Standing(held=0, slots=0, replicas=1)
        self._replica = replica
        self._address = address

    @property
    def stream(self) -> str:
        """Name of the stream of commits written under this lease."""
        return f"{self.store.shard}/{self.lease_id}"

    async def open(self) -> None:
        self.lease_id = await self.store.open_lease(self._replica, self._seconds)
        await self.renew()

    async def renew(self) -> None:
        """Raises LeaseLost when it came so late that others have taken slots of ours."""
        async with self.changing:
            believed = len(self.epochs)
            self.standing = await self.store.renew_lease(
                self.lease_id, self._seconds, self._address(), self._map_version()
            )
        if self.standing.held < believed:
            raise LeaseLost(
                f"of {believed} slots under the lease {self.stream} only {self.standing.held} are still ours"
            )

    async def claim(self) -> list[int]:
        """Takes free slots, up to an even share, and returns those that are new to us."""
        if self.standing.held > len(self.epochs):
            # A claim or a release of ours has lost its answer.
            held = await self.store.slots_of_lease(self.lease_id)
            forgotten = held.keys() - self.epochs.keys()
            self.epochs.update((slot, held[slot]) for slot in forgotten)
            if forgotten:
                return sorted(forgotten)
        missing = share_of(self.standing) - len(self.epochs)
        if missing <= 0:
            return []
        async with self.changing:
            claimed = await self.store.claim_slots(self.lease_id, self._replica, missing)
            self.epochs.update(claimed)
        return sorted(claimed)

    def surplus(self) -> int:
        """How many slots others should have. None while slots move between shards: each owner moves its own, and shares change all the time."""
        if self._slots_move():
            return 0
        return max(0, len(self.epochs) - share_of(self.standing))

    async def release(self, slots: list[int]) -> None:
        """Gives slots back; nothing of them may be uncommitted."""
        async with self.changing:
            for slot in slots:
                self.epochs.pop(slot, None)
            await self.store.release_slots(self.lease_id, slots)

    async def seal(self, epochs: Mapping[int, int]) -> dict[int, int]:
        """Slots of ours with the epochs that they had all the time: slot → epoch once nothing can be written to them any more. Raises Superseded."""
        async with self.changing:
            for slot in epochs:
                self.epochs.pop(slot, None)
            return await self.moves.seal(self.lease_id, epochs)

    async def receive(self, epochs: Mapping[int, int]) -> list[int]:
        """Slots that have come to this shard are ours, with these epochs."""
        async with self.changing:
            come = await self.moves.arrive(self.lease_id, epochs)
            self.epochs.update(come)
            return sorted(come)

    async def end(self) -> None:
        await self.store.end_lease(self.lease_id)


def share_of(standing: Standing) -> int:
    """An even share of the shard's slots, rounded up, so that none is left without an owner."""
    return -(-standing.slots // max(1, standing.replicas))


class LeaseKeeper:
    """Renews one lease, takes slots that are free, and lets go of those that others should have."""

    def __init__(self, lease: ShardLease, *, user: SlotUser, give_up: Callable[[str], None]) -> None:
        self._lease = lease
        self._user = user
        self._give_up = give_up
        #: Slots that are ours and whose runs are not here yet.
        self._claimed: list[int] = []
        self._look = asyncio.Event()
        self._listening: asyncpg.pool.PoolConnectionProxy | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Before anything else of the shard: comes to own slots, and takes up the runs that are in them."""
        lease = self._lease
        await lease.open()
        slots = await lease.claim()
        log.info("owns slots", extra={"shard": lease.store.shard, "slots": len(slots), "stream": lease.stream})
        await self._user.take_up(lease, slots)
        self._tasks = [
            asyncio.create_task(self._every(_RENEW_EVERY_S, lease.renew), name=f"lease-{lease.stream}"),
            asyncio.create_task(self._every(_LOOK_EVERY_S, self.balance), name=f"slots-{lease.stream}"),
        ]

    async def stop(self) -> None:
        """Everything must be committed by now."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop_listening()
        if tasks:
            try:
                await self._lease.end()
            except Exception as error:
                log.warning(
                    "could not end a lease; it will run out", extra={"lease": self._lease.stream, "error": repr(error)}
                )

    async def balance(self) -> None:
        """Once: an even share is ours, or on its way."""
        lease = self._lease
        await self._listen()
        async with lease.handing_over:
            if self._claimed:  # the shard went away meanwhile
                await self._take_up()
            surplus = lease.surplus()
            if surplus:
                slots = self._user.sample(sorted(lease.epochs), surplus)
                await self._user.let_go(lease, slots)
                await lease.release(slots)
                log.info("let go of slots", extra={"shard": lease.store.shard, "slots": len(slots)})
                return
            self._claimed = await lease.claim()
            if self._claimed:
                log.info("took over slots", extra={"shard": lease.store.shard, "slots": len(self._claimed)})
                await self._take_up()

    async def take_up(self, slots: list[int]) -> None:
        """Slots that have become ours by a move. While the lease's `handing_over` is held."""
        self._claimed += slots
        await self._take_up()

    async def _take_up(self) -> None:
        await self._user.take_up(self._lease, self._claimed)
        self._claimed = []

    async def _every(self, seconds: float, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._look.wait()
            self._look.clear()
            try:
                await once()
            except LeaseLost as error:
                log.critical("lease lost", extra={"lease": self._lease.stream})
                self._give_up(str(error))
                return
            except AWAY as error:
                # The shard is away: commits wait as well.
                log.warning(
                    "a lease could not be looked after", extra={"lease": self._lease.stream, "error": repr(error)}
                )
            except Exception as error:
                log.critical("slots could not be handed over", exc_info=error, extra={"lease": self._lease.stream})
                self._give_up(f"slots of shard {self._lease.store.shard}: {error!r}")
                return

    async def _listen(self) -> None:
        connection = self._listening
        if connection is not None and not is_cut(connection):
            return
        await self._stop_listening()
        self._listening = await self._lease.store.listen(self._look.set)

    async def _stop_listening(self) -> None:
        connection, self._listening = self._listening, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()
                await self._lease.store.pool.release(connection)
