"""The tree of teams: what each is promised, what it uses, and how far it is above its guarantee (C2, C4, C6)."""

# Shares are compared as integers: (amount * lcm(pools) / pool) / weight, with 2^64 in front of the division. Two
# different shares of weights below 2^32 differ there, and equal ones are equal.

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Mapping, Sequence
from fractions import Fraction
from math import lcm
from operator import add, mul, sub
from typing import Final

from mwfs_scheduler.fair_share.leaving.lower import Lower
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape, Time

_SHIFT: Final = 64
_PLENTY: Final = 1 << 62

Amounts = Sequence[tuple[int, int]]
#: Lowest priority, then latest start, then id: the order in which a team's work is asked to leave (C7).
LeavingPlace = tuple[int, Time, str]


class Line:
    """The waiting requests of a team that have one shape, in order."""

    __slots__ = ("asks_for", "asleep", "never", "requests", "shape", "team", "tried", "turn")

    def __init__(self, team: Team, shape: Shape) -> None:
        self.team = team
        self.shape = shape
        #: A bit for each resource.
        self.asks_for = sum(1 << resource for resource, _ in shape.needs)
        self.requests: list[tuple[tuple[int, Time, Time, str], Request]] = []
        #: They can never start as the teams and the hosts are; None when that has not been looked at.
        self.never: bool | None = None
        #: The burst limit of the team, or of one above it, is in the way.
        self.asleep = False
        #: While there is no room for the shape: nobody can be asked to make some.
        self.tried = False
        #: Whose turn was worked out last, at which state of the branches above, and that turn; see `contest`.
        self.turn: tuple[Request, int, object] | None = None

    def join(self, request: Request) -> None:
        requests = self.requests
        if not requests or requests[-1][0] < request.place:
            requests.append((request.place, request))
        else:
            insort(requests, (request.place, request))

    def leave(self, request: Request) -> None:
        del self.requests[bisect_left(self.requests, (request.place,))]


class Team:
    """A node of the tree."""

    __slots__ = (
        "_divided",
        "burst",
        "children",
        "earliest",
        "guaranteed",
        "id",
        "leaving",
        "lines",
        "lower",
        "memory",
        "own",
        "parent",
        "past",
        "path",
        "promised",
        "settled",
        "state",
        "unit",
        "usage",
    )

    def __init__(self, id: str, parent: Team | None, weight: Fraction, resources: int) -> None:
        self.id = id
        self.parent = parent
        #: From the top of the tree down to the team itself.
        self.path: tuple[Team, ...] = (*(parent.path if parent else ()), self)
        self.children: list[Team] = []
        #: As what a share is multiplied by and divided by.
        self._divided = 1, 1
        self.weight = weight
        self.guaranteed = [0] * resources
        #: None: no limit but the cluster.
        self.burst: list[int | None] = [None] * resources
        #: Of the team and all below it.
        self.usage = [0] * resources
        #: The same as it will be when all who were told to leave have left and those they make room for have started:
        #: order and rights to reclaim go by it.
        self.settled = [0] * resources
        #: Goes up with each change of what turns go by, and of what it can ask of its own work.
        self.state = 0
        #: What the team itself uses, without those below it; kept for teams that have teams below.
        self.own = [0] * resources
        #: Decayed memory of use, of the team and all below it.
        self.past: list[int] | None = None
        #: The same with so many more bits that steps do not add up to an error.
        self.memory: list[int] | None = None
        #: What will start once others have left: nobody else may fill the burst limit with it.
        self.promised: list[int] | None = None
        #: Its running work that may be asked to leave, in that order.
        self.leaving: list[tuple[LeavingPlace, Grant]] = []
        self.lines: dict[Shape, Line] = {}
        #: At which state of it and the teams above: where its requests stand at the earliest, by the bits of what they ask for; see `turns`.
        self.earliest: tuple[int, dict[int, object]] | None = None
        #: Per priority: its work of lower priority.
        self.lower: dict[int, Lower] = {}
        #: Per resource: what one unit of it counts in the comparison of shares.
        self.unit: list[int] = [0] * resources

    def within(self, usage: Sequence[int], asked: Amounts) -> bool:
        """Whether it stays within its guarantee on every requested resource with `asked` on top of `usage`."""
        guaranteed = self.guaranteed
        for resource, amount in asked:  # noqa: SIM110 - the hottest loop
            if usage[resource] + amount > guaranteed[resource]:
                return False
        return True

    def over(self, usage: Sequence[int], asked: Amounts) -> bool:
        """Whether `usage` is over its guarantee on a requested resource."""
        guaranteed = self.guaranteed
        for resource, _ in asked:  # noqa: SIM110
            if usage[resource] > guaranteed[resource]:
                return True
        return False

    def ends_under(self, usage: Sequence[int], given: Amounts, resources: Container[int]) -> bool:
        """Whether `usage` without `given` is under its guarantee, of these resources."""
        guaranteed = self.guaranteed
        for resource, amount in given:
            if usage[resource] - amount < guaranteed[resource] and resource in resources:
                return True
        return False

    def past_burst(self, usage: Sequence[int], asked: Amounts) -> int | None:
        """The first resource whose burst limit `asked` on top of `usage` would pass."""
        burst = self.burst
        for resource, amount in asked:
            limit = burst[resource]
            if limit is not None:
                if self.promised is not None:
                    amount += self.more_later(resource)
                if usage[resource] + amount > limit:
                    return resource
        return None

    def within_limits(self, asked: Amounts) -> bool:
        """Whether no burst limit is in the way of `asked` on top, its own and those above it."""
        for team in self.path:  # noqa: SIM110
            if team.past_burst(team.usage, asked) is not None:
                return False
        return True

    def tight(self, asked: Amounts) -> list[Team]:
        """The teams whose burst limit is in the way, from the top down."""
        return [team for team in self.path if team.past_burst(team.usage, asked) is not None]

    def may_reclaim(self, asked: Amounts) -> bool:
        """Whether it, or a team above it, stays within its guarantee with `asked` on top."""
        for team in self.path:  # noqa: SIM110
            if team.within(team.settled, asked):
                return True
        return False

    def has_left(self) -> int:
        """A bit for each resource of which it has not used up its guarantee."""
        bits = 0
        for resource, (used, guaranteed) in enumerate(zip(self.settled, self.guaranteed, strict=True)):
            if used < guaranteed:
                bits |= 1 << resource
        return bits

    def within_burst(self, usage: Sequence[int], asked: Amounts) -> bool:
        """Whether `asked` on top of `usage` stays within the burst limit; what is promised to others is not counted."""
        burst = self.burst
        return all((limit := burst[at]) is None or usage[at] + amount <= limit for at, amount in asked)

    def until_burst(self, asked: Amounts) -> int:
        """How often `asked` can start before the burst limit is in the way."""
        most = _PLENTY
        burst, usage = self.burst, self.usage
        for resource, amount in asked:
            limit = burst[resource]
            if limit is not None:
                left = limit - usage[resource] - self.more_later(resource)
                most = min(most, left // amount)
        return most

    def until_limit(self, resource: int) -> int:
        """How much of the resource the burst limit leaves."""
        limit = self.burst[resource]
        if limit is None:
            return _PLENTY
        return limit - self.usage[resource] - self.more_later(resource)

    def more_later(self, resource: int) -> int:
        """By so much more will be used when all who were told to leave have left and those have started for whom they leave."""
        if self.promised is None:
            return 0
        return max(0, self.settled[resource] - self.usage[resource])

    def until_guarantee(self, asked: Amounts) -> int:
        """How often `asked` can start before it is over its guarantee."""
        settled, guaranteed = self.settled, self.guaranteed
        return min(((guaranteed[at] - settled[at]) // amount for at, amount in asked), default=_PLENTY)

    def past_burst_now(self, asked: Amounts) -> int | None:
        """The same, by what runs alone."""
        for resource, amount in asked:
            limit = self.burst[resource]
            if limit is not None and self.usage[resource] + amount > limit:
                return resource
        return None

    def may_gain(self, given: Amounts) -> bool:
        """Whether having given this back can let the team start more, or ask others to leave; beside the room that it makes."""
        burst, settled, guaranteed = self.burst, self.settled, self.guaranteed
        return any(burst[at] is not None or settled[at] < guaranteed[at] for at, _ in given)

    def never(self, asked: Amounts) -> tuple[Team, int] | None:
        """The first team, from this one up, whose burst limit `asked` passes all alone, and on which resource."""
        for team in reversed(self.path):
            for resource, amount in asked:
                limit = team.burst[resource]
                if limit is not None and amount > limit:
                    return team, resource
        return None

    def borrowed_share(self, usage: Sequence[int]) -> int:
        """The weighted share of the cluster that `usage` takes above the guarantee."""
        return self.share_of(usage, total=False)

    def share_of(self, usage: Sequence[int], *, total: bool) -> int:
        """The weighted dominant share of `usage`."""
        return self.weighted_share(usage if total else map(sub, usage, self.guaranteed))

    def above_guarantee(self) -> list[int]:
        """How much it is above its guarantee, of each resource; negative below."""
        return list(map(sub, self.settled, self.guaranteed))

    def weighted_share(self, amounts: Iterable[int]) -> int:
        """The weighted share of the cluster that the largest of these amounts is."""
        most = max(map(mul, amounts, self.unit), default=0)
        if most <= 0:
            return 0
        by, over = self._divided
        return most * by // over

    def share_of_own(self, held: Sequence[int]) -> int:
        """The share of its own work beside the teams below it: as of a team of weight 1 without a guarantee."""
        return max((amount * unit for amount, unit in zip(held, self.unit, strict=True)), default=0) << _SHIFT

    def share_with(self, asked: Sequence[int], *, total: bool) -> int:
        """The weighted dominant share (C4) with `asked` (an amount per resource) on top, past use included."""
        amounts: Iterable[int] = map(add, self.settled, asked)
        if self.past is not None:
            amounts = map(add, amounts, self.past)
        return self.weighted_share(amounts if total else map(sub, amounts, self.guaranteed))

    def dominant(self, pools: Sequence[int], *, total: bool) -> tuple[Fraction, int | None]:
        """The weighted dominant share as it is, and the resource that makes it; none when the share is 0."""
        most, which = Fraction(0), None
        for resource, pool in enumerate(pools):
            if not pool:
                continue
            share = Fraction(self.usage[resource] - (0 if total else self.guaranteed[resource]), pool)
            if share > most:
                most, which = share, resource
        return most / self.weight, which

    def use(self, asked: Amounts, sign: int) -> None:
        """Count work of the team itself: `sign` is 1 when it starts and -1 when it ends."""
        for team in self.path:
            usage = team.usage
            for resource, amount in asked:
                usage[resource] += sign * amount
        self.settle(asked, sign)

    def settle(self, asked: Amounts, sign: int) -> None:
        """Count work that will start once others have left (1), or that has been told to leave (-1)."""
        for team in self.path:
            settled = team.settled
            team.state += 1
            for resource, amount in asked:
                settled[resource] += sign * amount
        if self.children:
            for resource, amount in asked:
                self.own[resource] += sign * amount

    def promise(self, asked: Amounts, sign: int) -> None:
        """Keep the burst limit free for work that will start once others have left (1), or no longer (-1)."""
        for team in self.path:
            promised = team.promised or [0] * len(team.usage)
            for resource, amount in asked:
                promised[resource] += sign * amount
            team.promised = promised if any(promised) else None

    def ask(self, grant: Grant) -> None:
        """Its grant may be asked to leave from now on."""
        insort(self.leaving, (leaving_place(grant), grant))
        self._in_lower(grant, grant.placed, 1)

    def do_not_ask(self, grant: Grant) -> None:
        """Its grant may not be asked to leave any more."""
        del self.leaving[bisect_left(self.leaving, (leaving_place(grant),))]
        self._in_lower(grant, grant.placed, -1)

    def holds_less(self, grant: Grant, members: Mapping[Host, int]) -> None:
        """So many members of a grant that may be asked to leave have ended."""
        self._in_lower(grant, members, -1)

    def _in_lower(self, grant: Grant, members: Mapping[Host, int], sign: int) -> None:
        for priority, lower in self.lower.items():
            if grant.request.priority < priority:
                lower.change(grant, members, sign)

    def subtree(self) -> Iterable[Team]:
        """The team and all below it."""
        yield self
        for child in self.children:
            yield from child.subtree()

    @property
    def weight(self) -> Fraction:
        """What its share is divided by."""
        return Fraction(self._divided[1], self._divided[0] >> _SHIFT)

    @weight.setter
    def weight(self, weight: Fraction) -> None:
        self._divided = weight.denominator << _SHIFT, weight.numerator


def leaving_place(grant: Grant) -> LeavingPlace:
    request = grant.request
    return (request.priority, -grant.start, grant.id)


def units_of(pools: Sequence[int]) -> list[int]:
    """What a unit of each resource counts in shares of a cluster with these pools."""
    whole = lcm(*(pool for pool in pools if pool))
    return [whole // pool if pool else 0 for pool in pools]


def scale_guarantees(teams: Mapping[str, Team], pools: Sequence[int]) -> list[int]:
    """Scale guarantees down in proportion where they exceed the cluster; the resources where that was needed.

    A guarantee is rounded down to the unit of its resource.
    """
    scaled = []
    for resource, pool in enumerate(pools):
        promised = sum(team.guaranteed[resource] for team in teams.values() if team.parent is None)
        if promised > pool:
            scaled.append(resource)
            for team in teams.values():
                team.guaranteed[resource] = team.guaranteed[resource] * pool // promised
    return scaled
