"""What the sessions are about: what nodes need, groups, grants and hosts; nothing of gRPC or SQL."""

# `Group`, `Holding` and `KnownHost` change in place, with what the decision engine has of them. Only `ledger.py` and `shared_cluster.py` change them.

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mwfs_scheduler.fair_share.model import Grant, Host, Request, Selector


class Need(NamedTuple):
    """What one node needs, or a host has."""

    #: Thousandths of a core, of a node at least 1: it would otherwise fit without end.
    cpu_millis: int
    memory_bytes: int
    gpus: int
    #: "" is any type; always "" when `gpus` is 0.
    gpu_type: str
    #: Custom resources: (name, amount), names ascending, amounts above 0.
    custom: tuple[tuple[str, int], ...] = ()
    #: Of a node: what its host must have. Of a host: its labels, each with one value.
    labels: Selector = ()

    @property
    def amounts(self) -> dict[str, int]:
        """By the name under which each is counted, in the order in which they are told; what is 0 is left out."""
        named = {
            "cpu": self.cpu_millis,
            "memory": self.memory_bytes,
            "gpu": self.gpus,
            f"gpu:{self.gpu_type}": self.gpus if self.gpu_type else 0,
            **dict(self.custom),
        }
        return {name: amount for name, amount in named.items() if amount}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a host offers."""

    host: str
    #: host:port of its action service.
    address: str
    capacity: Need
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """A group as its replica describes it when it is first seen."""

    group_id: str
    team: str
    run_id: str
    need: Need
    priority: int = 0
    rank_band: int = 0
    submit_time_us: int = 0
    preemptible: bool = True
    #: How often each of its nodes was preempted before.
    preemptions: int = 0
    #: For how long the room of a node will probably be taken; None: not known.
    expected_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A grant that a replica says it holds."""

    grant_id: str
    host: str
    count: int
    need: Need
    team: str
    priority: int = 0
    preemptible: bool = True
    #: How often each of its nodes was preempted before.
    preemptions: int = 0
    #: How long its room has been in use.
    age_s: int = 0
    #: It was told to make room, and has so long left; None: it was not.
    leaving_s: int | None = None
    #: For how long it will probably have been in use in all; None: not known.
    expected_s: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """Nodes of one run that are alike."""

    replica: str
    about: NewGroup
    request: Request
    #: Nodes that wait, those included for which room is being made.
    waiting: int = 0

    @property
    def group_id(self) -> str:
        return self.about.group_id


@dataclass(slots=True, kw_only=True, eq=False)
class Holding:
    """Nodes of a replica that may run on a host."""

    grant_id: str
    replica: str
    #: "" when its replica said that it holds it.
    group_id: str
    host: str
    need: Need
    grant: Grant

    @property
    def count(self) -> int:
        """Nodes that have not been released."""
        return self.grant.count

    @property
    def team(self) -> str:
        return self.grant.request.team.id


@dataclass(slots=True, kw_only=True, eq=False)
class KnownHost:
    """A host that offers something, or on which something still runs."""

    #: None while its action service is not connected: nothing is placed, what was granted is remembered.
    inventory: Inventory | None
    host: Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A grant that must make room."""

    holding: Holding
    count: int
    grace_s: int
    #: Whom the room is for.
    beneficiary: Group
