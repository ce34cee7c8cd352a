"""EASY backfill: of those that are blocked, who comes before one that starts has room kept for it."""

# Nobody looks at what is blocked while nobody can start. When somebody can, the teams are looked at that may come before it: where the
# first request of each stands that is blocked, if it comes before all of the team that could start. Which these are: `heads`.

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Reservation, comes_before_borrowers, reserve
from mwfs_scheduler.fair_share.leaving.victims import may_ask
from mwfs_scheduler.fair_share.model import Amounts, Request, Selector, Shape, Time
from mwfs_scheduler.fair_share.order.queues import FIRST
from mwfs_scheduler.fair_share.order.turns import Turn, Turns
from mwfs_scheduler.fair_share.state.teams import Line, Team

#: Of those that have waited too long, so many have room kept for them at a time.
MOST_AGED: Final = 4
#: A round of the service looks for room that will be there for so many: when nothing is known that would make any, it kept none.
MOST_TRIED: Final = 4


class Backfill:
    """Of one round."""

    def __init__(self, cluster: Cluster, kept: list[Reservation]) -> None:
        self._cluster = cluster
        self._kept = kept
        self._turns = Turns(cluster)
        #: Shapes for which no room is foreseen.
        self._in_vain: set[Shape] = set()
        self._left = MOST_TRIED if cluster.told else None
        self._aged_are_kept = cluster.knobs.aging_bound_s is None
        #: Where the first of another team stands that is blocked.
        self._next: Turn | None = None
        cluster.waiting.forget_newly_blocked()
        cluster.heads.look_again()

    def keep_before(self, request: Request) -> None:
        """The request may start next: keep room for the first before it that is blocked, and for which there will be any."""
        if not self._aged_are_kept and not comes_before_borrowers(request):
            self._aged_are_kept = True
            self._keep_for_aged()
        while self._may_keep():
            blocked = self._first_before(request)
            if blocked is None or self.keep(blocked):
                return
            self._cluster.heads.look_again()

    def next_blocked(self, request: Request) -> Turn | None:
        """The request starts: where the next stands for which room would be kept first; None when there is none."""
        if not self._may_keep():
            # From then on there may be a time to keep room for.
            easy = self._cluster.knobs.backfill == "easy"
            return FIRST if easy and not self._cluster.ends and request.shape.duration is not None else None
        return FIRST if self._first_before(request) is not None else self._next

    def keep(self, request: Request) -> bool:
        """Keep room for a request that is blocked and has its turn; False when none is foreseen, or somebody else has it."""
        if not self._may_keep() or request.shape in self._in_vain:
            return False
        if any(each.request is request for each in self._kept):
            return True
        if self._left is not None:
            self._left -= 1
        reservation = reserve(self._cluster, request, self._kept, aged=False)
        if reservation is None:
            self._in_vain.add(request.shape)
            return False
        self._kept.append(reservation)
        return True

    def _keep_for_aged(self) -> None:
        """Who has waited too long has room kept from all that borrow, who has waited for longest first."""
        cluster, ages, bound = self._cluster, self._cluster.waiting.ages, self._cluster.knobs.aging_bound_s
        assert ages is not None
        assert bound is not None
        for request in islice(ages.until(cluster.now - bound), 4 * MOST_AGED):
            if len(self._kept) >= MOST_AGED:
                return
            if not request.team.lines[request.shape].never and request.team.within_limits(request.total):
                reservation = reserve(cluster, request, self._kept, aged=True)
                if reservation is not None:
                    self._kept.append(reservation)

    def stirred(self, teams: Iterable[Team]) -> None:
        """For these teams something is better than before."""
        self._cluster.heads.look_again(teams)

    def _may_keep(self) -> bool:
        easy = self._cluster.knobs.backfill == "easy"
        others = all(each.aged for each in self._kept)
        return easy and others and self._left != 0 and len(self._cluster.ends) > 0

    def _first_before(self, request: Request) -> Request | None:
        own, turns = request.team, self._turns
        heads = self._cluster.heads
        heads.look_again(self._cluster.waiting.newly_blocked())
        first = heads.first(turns, self._head, but=own)
        self._next = None if first is None else first[0]
        if first is not None and first[0] >= turns.of_line(own.lines[request.shape]):
            first = None
        mine = self._head(own)
        if (
            mine is not None
            and mine.requests[0][0] < request.place
            and (first is None or turns.of_line(mine) < first[0])
        ):
            return mine.requests[0][1]
        return None if first is None else first[2].requests[0][1]

    def _head(self, team: Team) -> Line | None:
        """The line of the first request of the team that lacks nothing but room; None when another of the team has its turn before."""
        cluster, waiting = self._cluster, self._cluster.waiting
        for line in waiting.in_order(team):
            request = line.requests[0][1]
            if line.shape in self._in_vain or waiting.has_bound(line.shape) or not team.within_limits(request.total):
                continue
            if waiting.witnesses.has_room(line.shape):
                return None
            if waiting.rests(line) or not may_ask(cluster, request):
                return line
            return None
        return None


class Bound:
    """Shapes that find no room beside what is kept: whoever needs as much for as long, or longer, finds none either."""

    def __init__(self) -> None:
        #: By what is needed, and whose kept room is in the way.
        self._least: dict[tuple[tuple[Amounts, int, Selector], tuple[int, ...]], Time | None] = {}

    def add(self, shape: Shape, kept: Iterable[Reservation]) -> None:
        key = shape[:3], tuple(map(id, kept))
        least = self._least.get(key)
        if least is None or (shape.duration is not None and shape.duration < least):
            self._least[key] = shape.duration

    def has(self, shape: Shape, kept: Iterable[Reservation]) -> bool:
        key = shape[:3], tuple(map(id, kept))
        if key not in self._least:
            return False
        least = self._least[key]
        return shape.duration is None or (least is not None and shape.duration >= least)

    def clear(self) -> None:
        self._least.clear()
