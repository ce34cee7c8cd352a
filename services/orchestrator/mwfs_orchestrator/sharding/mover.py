"""Moves slots from shard to shard while their runs go on. See adr/0010-shards.md.

Each replica moves slots that it owns: it is their only writer, so what changes while they are copied is what it commits itself. The catalogue says
where a slot is; what is half done is gone on with, or undone, by whoever comes to own the slot next.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from prometheus_client import Counter

from mwfs_chassis.postgres import is_transient
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.engine import Engine
from mwfs_orchestrator.history import History
from mwfs_orchestrator.shard.moves import Copy, Digests, SlotMoves, Superseded

from .in_use import OpenShard, Shards
from .model import Move, MoveState, ShardState
from .store import MapStore

log = logging.getLogger(__name__)

MOVED = Counter("mwfs_orchestrator_slots_moved", "Slots that have come to another shard.")
FAILED = Counter("mwfs_orchestrator_slot_moves_failed", "Tries to move slots that were given up, to be made again.")

#: Slots that move together.
BATCH: Final = 64
_TO_MOVE: Final = (MoveState.WANTED, MoveState.COPYING)
#: So few changed rows are copied while the slots stand still.
_FEW_ROWS: Final = 200
_MAX_ROUNDS: Final = 5
_LOOK_AGAIN_S: Final = 0.5
_RETRY_S: Final = 1.0
_FOLD_AGAIN_S: Final = 0.02


class Differs(Exception):
    """A copy is not what it was copied from."""


class Mover:
    """One batch at a time."""

    def __init__(self, *, catalogue: MapStore, shards: Shards, engine: Engine, history: History, replica: str) -> None:
        #: Called at each step that a process may die after.
        self.reached: Callable[[str], Awaitable[None]] = _go_on
        self._catalogue = catalogue
        self._shards = shards
        self._engine = engine
        self._history = history
        self._replica = replica
        #: Slots that are being copied, and the runs in them that have changed meanwhile.
        self._copying: frozenset[int] = frozenset()
        self._touched: set[UUID] = set()
        #: Slots (with the map's version) that are known to live on their new shard.
        self._arrived: set[tuple[int, int]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="mover")

    async def stop(self) -> None:
        """What is half done, another replica goes on with, or this one when it is back."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    def committed(self, changes: Changes) -> None:
        """What was committed here."""
        if self._copying:
            self._touched.update(run.header.run_id for run in changes.events if run.header.slot in self._copying)

    async def _run(self) -> None:
        stale = False
        while True:
            news = self._shards.news
            try:
                if stale:
                    await self._shards.refresh()
                    stale = False
                if self._shards.map.unsettled and await self._step():
                    continue
                patience = _LOOK_AGAIN_S if self._shards.map.unsettled else None
            except Exception as error:
                FAILED.inc()
                if is_transient(error) or isinstance(error, (Superseded, OSError, TimeoutError)):
                    log.warning("a move of slots is tried again", extra={"error": repr(error)})
                else:
                    log.exception("a move of slots failed; it is tried again")
                patience = _RETRY_S
            try:
                async with asyncio.timeout(patience):
                    await news.wait()
            except TimeoutError:
                stale = True

    async def _step(self) -> bool:
        """Does something; False when there is nothing to do for us now."""
        moves = await self._catalogue.moves()
        by_source: dict[int, list[Move]] = defaultdict(list)
        for move in moves:
            by_source[move.source].append(move)
        did = False
        for number, leaving in by_source.items():
            source = self._shards.open.get(number)
            if source is not None:
                did = await self._resume(source, leaving) or did
                did = await self._undo(source, leaving) or did
                batch = self._next_batch(source, leaving)
                if batch:
                    await self._move(source, self._shards.open[batch[0].target], batch)
                    did = True
        for number, shard in self._shards.map.shards.items():
            left = shard.state is not ShardState.DRAINING or number in by_source
            if not left and await self._catalogue.end_drain(number):
                log.info("a shard is drained", extra={"shard": number})
                await self._shards.refresh()
        return did

    def _next_batch(self, source: OpenShard, moves: Sequence[Move]) -> list[Move]:
        """Some of the slots that we own, all to the same target."""
        ours = [
            move
            for move in moves
            if move.state in _TO_MOVE
            and move.slot in source.lease.epochs
            and self._engine.owns(move.slot)
            and move.target in self._shards.open
        ]
        return [move for move in ours if move.target == ours[0].target][:BATCH]

    # What was begun before, here or by a replica that is gone.

    async def _resume(self, source: OpenShard, moves: Sequence[Move]) -> bool:
        sealed = await source.lease.moves.claim_leaving(source.lease.lease_id, self._replica)
        undone = {move.slot: move.attempt for move in moves if move.slot in sealed and move.state in _TO_MOVE}
        stay = [move.slot for move in moves if move.slot in sealed and move.state is MoveState.CALLED_OFF]
        if undone or stay:
            stay += await self._catalogue.want_again(undone)
            await source.lease.moves.unseal(source.lease.lease_id, stay)
            log.info("took a move of slots back", extra={"shard": source.store.shard, "slots": len(stay)})
            return True
        moved = [move for move in moves if move.slot in sealed and move.state is MoveState.MOVED]
        if not moved:
            return False
        left_open = [move for move in moved if (move.slot, move.version) not in self._arrived]
        for target in {move.target for move in left_open} & self._shards.open.keys():
            epochs = {move.slot: sealed[move.slot] + 1 for move in left_open if move.target == target}
            await self._shards.open[target].lease.moves.arrive(None, epochs)
            self._arrived.update((move.slot, move.version) for move in left_open if move.target == target)
        version = await source.lease.moves.known_version()
        old = [move.slot for move in moved if move.version <= version and move.target in self._shards.open]
        if not old:
            # Somebody goes by an older map, and may still read what was here; or has not said that it knows the new one.
            return False
        await source.lease.moves.clear({slot: sealed[slot] for slot in old})
        await self.reached("cleared")
        await source.lease.moves.remove_slots(old)
        await self._catalogue.end(old)
        self._arrived -= {(move.slot, move.version) for move in moved if move.slot in old}
        return True

    async def _undo(self, source: OpenShard, moves: Sequence[Move]) -> bool:
        """Removes what was copied of slots that stay after all. Their owner does, so no try of its own goes on."""
        called_off = [
            move
            for move in moves
            if move.state is MoveState.CALLED_OFF
            and move.slot in source.lease.epochs
            and move.target in self._shards.open
        ]
        for number in {move.target for move in called_off}:
            target = self._shards.open[number].lease.moves
            attempts = await self._catalogue.begin_undoing(
                {move.slot: move.attempt for move in called_off if move.target == number}
            )
            await target.expect(attempts)  # from here on no earlier try writes there
            await self.reached("copies removed")
            await target.give_room_back(attempts)
            await self._catalogue.end_undoing(attempts)
            log.info("slots stay after all", extra={"shard": source.store.shard, "slots": len(attempts)})
        return bool(called_off)

    # One batch.

    async def _move(self, source: OpenShard, target: OpenShard, batch: Sequence[Move]) -> None:
        attempts = await self._catalogue.begin({move.slot: move.attempt for move in batch})
        # Of the present owner, us: a slot that changed hands meanwhile has another one, and cannot be sealed with this.
        epochs = {slot: source.lease.epochs[slot] for slot in attempts if slot in source.lease.epochs}
        attempts = {slot: attempts[slot] for slot in epochs}
        if not attempts:
            return
        await self.reached("begun")
        try:
            await target.lease.moves.expect(attempts)
            await self._check_wanted(target, attempts)
            self._touched = set()
            self._copying = frozenset(attempts)  # from here on nothing that is committed escapes
            copy = Copy(source.lease.moves, target.lease.moves, attempts, await target.lease.moves.next_stream())
            await self._fold(source)
            await copy.all()
            await self.reached("copied")
            changed = await self._follow(copy)
            quiet = await self._compare_quiet(source.lease.moves, target.lease.moves, copy, changed)
            await self._compare_changed(copy, changed)
            await self.reached("followed")
            await self._catalogue.check_tries(attempts)  # before anything stands still
            # What is left is little: the runs stand still from here on.
            await self._fold(source)
            await copy.changed(self._touched)
            async with source.lease.handing_over, target.lease.handing_over:
                await self._cut_over(source, target, copy, epochs, changed, quiet)
        finally:
            self._copying = frozenset()
            self._engine.forget_kept()

    async def _check_wanted(self, target: OpenShard, attempts: dict[int, int]) -> None:
        """The room on the target may have been taken after the moves were called off, and all else had been removed. Raises Superseded."""
        try:
            await self._catalogue.check_tries(attempts)
        except Superseded:
            await target.lease.moves.give_room_back(attempts)
            raise

    async def _follow(self, copy: Copy) -> set[UUID]:
        """Copies what has changed, until little does; the runs that have."""
        changed: set[UUID] = set()
        for _ in range(_MAX_ROUNDS):
            touched, self._touched = self._touched, set()
            changed |= touched
            if await copy.changed(touched) <= _FEW_ROWS:
                break
        return changed

    async def _compare_quiet(self, source: SlotMoves, target: SlotMoves, copy: Copy, changed: set[UUID]) -> bool:
        """Whether the runs that have not changed are known to be the same on both shards; else that is looked at later. Raises Differs."""
        before = len(self._touched)
        slots = list(copy.attempts)
        known = changed | self._touched
        ours, theirs = await asyncio.gather(source.digests(slots, without=known), target.digests(slots, without=known))
        if ours == theirs:
            changed |= known
            return True
        if len(self._touched) == before:
            _check_same((ours, theirs))
        return False

    async def _compare_changed(self, copy: Copy, changed: set[UUID]) -> None:
        """The runs that have changed, as they are at one moment: what changes from here on is in `_touched`. Raises Differs."""
        touched, self._touched = self._touched, set()
        changed |= touched
        _check_same(await copy.compare(changed))

    async def _cut_over(
        self,
        source: OpenShard,
        target: OpenShard,
        copy: Copy,
        epochs: dict[int, int],
        changed: set[UUID],
        quiet: bool,
    ) -> None:
        if any(source.lease.epochs.get(slot) != epoch for slot, epoch in epochs.items()):
            raise Superseded("slots of the batch have another owner now")
        slots = list(epochs)
        sealed: dict[int, int] = {}
        begun = time.perf_counter()
        await self._engine.let_go(source.lease, slots, keep=True)
        try:
            await self.reached("let go")
            await self._fold(source)
            await target.lease.moves.add_watches(await source.lease.moves.watches())
            sealed = await source.lease.seal(epochs)
            await self.reached("sealed")
            _check_same(await copy.last(self._touched))
            if not quiet:
                _check_same(await asyncio.gather(source.lease.moves.digests(slots), target.lease.moves.digests(slots)))
            await self.reached("verified")
            version = await self._catalogue.flip(copy.attempts, source.store.shard, target.store.shard)
        except Exception:
            if not sealed:
                await source.lease.release(slots)  # to be taken up again as they are
            raise
        await self.reached("flipped")
        await self._shards.refresh()
        come = await target.lease.receive({slot: epoch + 1 for slot, epoch in sealed.items()})
        self._arrived.update((slot, version) for slot in come)
        await self.reached("arrived")
        await target.keeper.take_up(come)
        MOVED.inc(len(come))
        log.info(
            "moved slots",
            extra={
                "from": source.store.shard,
                "to": target.store.shard,
                "slots": len(come),
                "runs_changed": len(changed | self._touched),
                "stood_still_s": round(time.perf_counter() - begun, 3),
            },
        )

    async def _fold(self, source: OpenShard) -> None:
        """History has all that was committed until now."""
        wanted = await source.lease.moves.unfolded_positions()
        for stream, position in wanted.items():
            while (await source.store.history_position(stream))[0] < position:
                await self._history.fold(source.store, stream)
                if (await source.store.history_position(stream))[0] < position:
                    await asyncio.sleep(_FOLD_AGAIN_S)  # another replica is at it


def _check_same(both: Sequence[Digests]) -> None:
    """Raises Differs."""
    ours, theirs = both
    names = [name for name in ours if ours[name] != theirs[name]]
    if names:
        found = f"{[ours[name] for name in names]} and {[theirs[name] for name in names]}"
        raise Differs(f"the copy differs in {', '.join(names)}: {found}")


async def _go_on(step: str) -> None:
    """Nobody waits at the steps."""
