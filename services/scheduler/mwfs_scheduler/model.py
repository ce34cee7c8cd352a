"""What the scheduler thinks about: shapes, groups, grants, hosts and teams, and nothing of gRPC or SQL."""

# `Group`, `Grant`, `HostLedger` and `TeamLedger` change in place: they are the hot path, and one decision touches a few
# of the hundred thousand that may exist. Only `ledger.py` changes them.

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import NamedTuple


class Shape(NamedTuple):
    """What one node needs. A tuple, because it is hashed and compared at every step."""

    #: Thousandths of a core, at least 1: a node that asks for nothing would otherwise fit without end.
    cpu_millis: int
    memory_bytes: int
    gpus: int
    #: "" is any type; always "" when `gpus` is 0.
    gpu_type: str


#: Place in the line of a team: priority and rank band descending, then submit time, then id.
QueueKey = tuple[int, int, int, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a host offers."""

    host: str
    #: host:port of its action service.
    address: str
    capacity: Shape
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """A group as its replica describes it when it is first seen."""

    group_id: str
    team: str
    run_id: str
    shape: Shape
    priority: int = 0
    rank_band: int = 0
    submit_time_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A grant that a replica says it holds."""

    grant_id: str
    host: str
    count: int
    shape: Shape
    team: str


@dataclass(slots=True, kw_only=True)
class Group:
    """Nodes of one run that are alike."""

    replica: str
    group_id: str
    team: str
    run_id: str
    shape: Shape
    key: QueueKey
    #: Nodes that wait; it stands in the line of its team exactly while this is above 0.
    waiting: int = 0


@dataclass(slots=True, kw_only=True)
class Grant:
    """Nodes that may run on a host."""

    grant_id: str
    replica: str
    group_id: str
    team: str
    host: str
    shape: Shape
    #: Nodes that have not been released.
    count: int


@dataclass(slots=True, kw_only=True)
class HostLedger:
    """A host: what it offers, and what has been granted on it."""

    host: str
    #: None while its action service is not connected: nothing is placed, what was granted is remembered.
    inventory: Inventory | None = None
    used_cpu: int = 0
    used_memory: int = 0
    used_gpus: int = 0

    def take(self, shape: Shape, count: int) -> None:
        """Count `count` more nodes (fewer when negative)."""
        self.used_cpu += shape.cpu_millis * count
        self.used_memory += shape.memory_bytes * count
        self.used_gpus += shape.gpus * count

    @property
    def forgettable(self) -> bool:
        """True when nothing is known of it that matters."""
        return self.inventory is None and not (self.used_cpu or self.used_memory or self.used_gpus)


@dataclass(slots=True, kw_only=True)
class TeamLedger:
    """A team: what it holds, and its waiting groups, in one ordered line per shape."""

    team: str
    held_cpu: int = 0
    held_memory: int = 0
    held_gpus: int = 0
    lines: dict[Shape, list[QueueKey]] = field(default_factory=dict)

    def hold(self, shape: Shape, count: int) -> None:
        """Count `count` more nodes (fewer when negative)."""
        self.held_cpu += shape.cpu_millis * count
        self.held_memory += shape.memory_bytes * count
        self.held_gpus += shape.gpus * count

    def join(self, group: Group) -> None:
        """Put a group into its line."""
        insort(self.lines.setdefault(group.shape, []), group.key)

    def leave(self, group: Group) -> None:
        """Take a group out of its line."""
        line = self.lines[group.shape]
        del line[bisect_left(line, group.key)]
        if not line:
            del self.lines[group.shape]

    @property
    def forgettable(self) -> bool:
        """True when it neither holds nor wants anything."""
        return not (self.lines or self.held_cpu or self.held_memory or self.held_gpus)
