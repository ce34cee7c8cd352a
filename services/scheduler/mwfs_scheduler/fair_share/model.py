"""What the decision engine thinks about: shapes, requests, grants, hosts and knobs."""

# Quantities are integers in the smallest unit of their resource, in lists that all have the same order of resources.
# `Request`, `Grant` and `Host` change in place: they are the hot path, and one decision touches a few of the hundred
# thousand that may exist. Only `cluster.py` changes them.

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.state.teams import Team

#: Seconds; whole when it can be.
Time = int | Fraction

#: Labels that a host must have: each with the values that will do.
Selector = tuple[tuple[str, tuple[str, ...]], ...]

#: (resource, amount), resources ascending.
Amounts = tuple[tuple[int, int], ...]

#: Place in the line of a team (C3): priority and rank descending, then submit time, then id.
Place = tuple[int, Time, Time, str]


def times(amounts: Amounts, count: int) -> Amounts:
    return amounts if count == 1 else tuple((resource, amount * count) for resource, amount in amounts)


class Shape(NamedTuple):
    """What a request needs. Requests of equal shape fit, or do not fit, together."""

    #: (resource, amount) of one member; amounts above 0, resources ascending.
    needs: Amounts
    #: How many members start together.
    members: int = 1
    selector: Selector = ()
    #: How long it will run, when that is known; it decides what may be backfilled.
    duration: Time | None = None

    @property
    def total(self) -> Amounts:
        """(resource, amount) of all members."""
        return times(self.needs, self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The knobs of the contract (C11), with what holds for a file that does not set them."""

    reclaim_priority: str = "any"
    fair_preemption: bool = False
    share_basis: str = "borrowed"
    grace_s: Time = 0
    min_runtime_s: Time = 0
    max_preemptions_per_job: int | None = None
    rank: bool = False
    backfill: str = "none"
    aging_bound_s: Time | None = None
    half_life_s: Time | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """Work of a team that waits, or that ran and waits again."""

    id: str
    team: Team
    shape: Shape
    #: `shape.total`, and the same with an amount for each resource: read at each step.
    total: Amounts
    dense: tuple[int, ...]
    place: Place
    priority: int = 0
    submit: Time = 0
    #: Since when it has waited, if that is not its submit time.
    since: Time | None = None
    preemptible: bool = True
    paused: bool = False
    #: How often it has been made to leave.
    preemptions: int = 0
    #: How many like this wait, each with a turn of its own; more than 1 only of one member.
    copies: int = 1
    #: What it is a part of, while room is being made for so many copies of that.
    whole: Request | None = None
    part: int = 1

    @classmethod
    def build(
        cls,
        *,
        id: str,
        team: Team,
        shape: Shape,
        priority: int = 0,
        rank: Time = 0,
        submit: Time = 0,
        preemptible: bool = True,
        paused: bool = False,
        preemptions: int = 0,
        copies: int = 1,
    ) -> Request:
        """A request, with what follows from its fields worked out."""
        total = shape.total
        dense = [0] * len(team.usage)
        for resource, amount in total:
            dense[resource] = amount
        return cls(
            id=id,
            team=team,
            shape=shape,
            total=total,
            dense=tuple(dense),
            place=(-priority, -rank, submit, id),
            priority=priority,
            submit=submit,
            preemptible=preemptible,
            paused=paused,
            preemptions=preemptions,
            copies=copies,
        )

    def copy(self, id: str) -> Request:
        """The same under another id."""
        return replace(self, id=id, place=(*self.place[:3], id))

    def take(self, count: int, id: str) -> Request:
        """So many copies as one request of their own."""
        self.copies -= count
        shape = self.shape._replace(needs=times(self.shape.needs, count))
        return replace(
            self,
            id=id,
            shape=shape,
            total=shape.total,
            dense=tuple(amount * count for amount in self.dense),
            copies=1,
            whole=self,
            part=count,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Grant:
    """A request that runs."""

    id: str
    request: Request
    start: Time
    #: When it will end, if that is known.
    ends: Time | None = None
    #: The host of each member; a host that has vanished is not among them.
    hosts: list[Host] = field(default_factory=list)
    #: It stands among those of its team that may be asked to leave.
    askable: bool = False
    #: Until when it may still run after it has been told to leave; None while it has not.
    leaves_at: Time | None = None
    #: How many copies of the request run here, all on one host.
    count: int = 1

    @property
    def total(self) -> Amounts:
        """(resource, amount) of all that it holds."""
        return times(self.request.total, self.count)

    @property
    def placed(self) -> dict[Host, int]:
        """How many members are on each host, of all copies."""
        hosts = self.hosts
        if len(hosts) == 1:
            return {hosts[0]: self.count}
        placed: dict[Host, int] = {}
        for host in hosts:
            placed[host] = placed.get(host, 0) + 1
        return placed


@dataclass(slots=True, kw_only=True, eq=False)
class Host:
    """A machine."""

    id: str
    capacity: list[int]
    #: What nobody has. Below 0 when it has shrunk under what runs.
    free: list[int]
    labels: dict[str, str] = field(default_factory=dict)
    #: How many members of each run here, of all copies.
    grants: dict[Grant, int] = field(default_factory=dict)
    #: It has something that other machines lack, such as GPUs: work that does not need it goes elsewhere first.
    special: bool = False
    #: False: what runs goes on, nothing is placed.
    open: bool = True


class Reason(Enum):
    """Why a request waits, in the order in which the first that applies is given."""

    EXCEEDS_BURST = "exceeds_burst"
    NO_NODE_LARGE_ENOUGH = "no_node_large_enough"
    NO_SUCH_TYPE = "no_such_type"
    BURST_IN_USE = "burst_in_use"
    WAITING_FOR_CAPACITY = "waiting_for_capacity"
    FRAGMENTED = "fragmented"
    OVER_QUOTA_BEHIND = "over_quota_behind"
    WAITING_FOR_PREEMPTED = "waiting_for_preempted"
    RESERVED_FOR = "reserved_for"
    PAUSED = "paused"


#: As long as the configuration and the hosts stay as they are, a request with one of these never starts.
PERMANENT = frozenset({Reason.EXCEEDS_BURST, Reason.NO_NODE_LARGE_ENOUGH, Reason.NO_SUCH_TYPE})
