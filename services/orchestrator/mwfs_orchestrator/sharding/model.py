"""Shards, the slot map, and which slots go where. (pure)"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID


class ShardState(IntEnum):
    """ACTIVE → DRAINING → DRAINED, and ACTIVE again when the drain is called off, or it is added again."""

    ACTIVE = 1
    DRAINING = 2
    DRAINED = 3


class MoveState(IntEnum):
    """Of a slot that is to be on another shard."""

    WANTED = 1
    COPYING = 2
    #: The map says target; what is left on the source is removed.
    MOVED = 3
    #: The slot stays where it is; what may have been copied to the target is removed.
    CALLED_OFF = 4


class SlotPlace(IntEnum):
    """What a shard knows of a slot."""

    HERE = 1
    LEAVING = 2
    COMING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A database that holds slots."""

    shard: int
    #: A DSN, or a name on the catalogue's server.
    database: str
    identity: UUID
    state: ShardState
    #: Slots that the last drain or balance was to move.
    planned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMap:
    """All shards, and which of them holds each slot, at one moment."""

    version: int
    platform: UUID
    shards: Mapping[int, Shard]
    #: By slot.
    shard_of_slot: Sequence[int]
    #: Slots that move, or whose move is not wholly done.
    moves: int = 0

    @property
    def in_use(self) -> list[Shard]:
        return [shard for shard in self.shards.values() if shard.state is not ShardState.DRAINED]

    @property
    def active(self) -> list[int]:
        return [number for number, shard in self.shards.items() if shard.state is ShardState.ACTIVE]

    @property
    def unsettled(self) -> bool:
        """Whether a move, or the end of a drain, is still to come."""
        return self.moves > 0 or any(shard.state is ShardState.DRAINING for shard in self.shards.values())

    def slots_of(self, shard: int) -> list[int]:
        return [slot for slot, holder in enumerate(self.shard_of_slot) if holder == shard]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A slot on its way."""

    slot: int
    source: int
    target: int
    state: MoveState
    attempt: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """How far the moves of a shard are."""

    #: By state.
    moves: Mapping[MoveState, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Slots that are not on their new shard."""
        return self.moves.get(MoveState.WANTED, 0) + self.moves.get(MoveState.COPYING, 0)

    @property
    def to_clear(self) -> int:
        return self.moves.get(MoveState.MOVED, 0) + self.moves.get(MoveState.CALLED_OFF, 0)


def first_map(shards: int, slots: int) -> list[int]:
    """An even spread, the slots of a shard beside each other."""
    return [slot * shards // slots for slot in range(slots)]


def drain_plan(shard_of_slot: Sequence[int], source: int, targets: Iterable[int], moving: set[int]) -> dict[int, int]:
    """Slot → target, for all slots of a shard that do not move yet: those that have few get more."""
    held = Counter(shard_of_slot)
    room = [(held[target], target) for target in targets]
    heapq.heapify(room)
    plan = {}
    for slot, holder in enumerate(shard_of_slot):
        if holder == source and slot not in moving:
            count, target = heapq.heappop(room)
            plan[slot] = target
            heapq.heappush(room, (count + 1, target))
    return plan


def balance_plan(shard_of_slot: Sequence[int], new: int, active: Iterable[int], moving: set[int]) -> dict[int, int]:
    """Slot → the new shard, for as many slots as make its share, from those that have most."""
    shards = sorted({*active, new})
    share = len(shard_of_slot) // len(shards)
    held = Counter(shard_of_slot)
    free: dict[int, list[int]] = {shard: [] for shard in shards if shard != new}
    for slot, holder in enumerate(shard_of_slot):
        if holder in free and slot not in moving:
            free[holder].append(slot)
    plan: dict[int, int] = {}
    while held[new] < share:
        most = max((shard for shard in free if free[shard]), key=lambda shard: (held[shard], -shard), default=None)
        if most is None or held[most] <= share:
            break
        plan[free[most].pop()] = new
        held[most] -= 1
        held[new] += 1
    return plan
