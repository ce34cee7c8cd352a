"""Whose turn it is: the order inside a team (C3) and between teams (C4)."""

# One heap of the heads of all teams. While nobody leaves, usage only grows, so a place in it can only get worse: it is
# looked at again when it comes to the top. What may come earlier (a new head, room that was given back) is put in anew;
# a place that is not the team's latest is void.

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import cast

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Amounts, Place, Request, Shape, Time, times
from mwfs_scheduler.fair_share.teams import Line, Team

#: (over its guarantee on what the request asks for, share) of a branch with the request started.
Level = tuple[bool, int]
#: The levels of the path from the root down, then priority descending, submit time, team and id.
Turn = tuple[tuple[Level, ...], tuple[int, Time, str, str]]

_NO_LEVEL: Level = (False, 0)


class Contest:
    """The turns of one round. A request that could not start holds no turn: `could_start` says so, and lets its line rest."""

    def __init__(self, cluster: Cluster, could_start: Callable[[Line, Request], bool]) -> None:
        self._cluster = cluster
        self._could_start = could_start
        self._total = cluster.knobs.share_basis == "total"
        self._depth = cluster.depth
        self._lines: dict[Team, list[tuple[Place, Line]]] = {}
        self._turns: list[tuple[Turn, Team, Request]] = []
        self._latest: dict[Team, Turn] = {}
        #: The teams whose first request has a shape.
        self._heads: dict[Shape, dict[Team, None]] = {}
        self._head_of: dict[Team, Line] = {}
        for team, lines in cluster.waiting.restless().items():
            self._lines[team] = _by_place(lines)
            self._join(team)
        heapify(self._turns)

    def next(self) -> Request | None:
        """The request that comes first; None when nobody is left to look at."""
        turns = self._turns
        while turns:
            turn, team, request = turns[0]
            if self._latest.get(team) is not turn:
                heappop(turns)
            elif (team.parent is None and not team.children) or (now := self._turn(request)) == turn:
                return request
            else:
                self._latest[team] = now
                heapreplace(turns, (now, team, request))
        return None

    def in_a_row(self, request: Request, most: int) -> int:
        """How many copies of the request, which comes first, start one after the other before another team comes first.

        At least one, at most `most`. The team must be `served` next.
        """
        heappop(self._turns)
        if self.next() is None:
            return most
        others = self._turns[0][0]
        if self._turn(request, most) <= others:
            return most
        return bisect_right(range(2, most), others, key=lambda copy: self._turn(request, copy)) + 1

    def served(self, team: Team) -> None:
        """The first of the team has started or sleeps: the team takes its new place."""
        self._latest.pop(team, None)
        line = self._head_of.pop(team, None)
        if line is not None:
            self._heads[line.shape].pop(team, None)
        self._join(team, push=True)

    def full(self, shape: Shape) -> None:
        """The shape has no room any more: those whose first request has it take other places."""
        for team in list(self._heads.get(shape, ())):
            self.served(team)

    def stirred(self, lines: Mapping[Team, Iterable[Line]]) -> None:
        """For these teams something got better, and these lines of theirs are to be looked at again: they take new places."""
        for team, roused in lines.items():
            placed = self._lines.setdefault(team, [])
            for line in roused:
                if line.requests:
                    heappush(placed, (line.requests[0][0], line))
            self.served(team)

    def _join(self, team: Team, *, push: bool = False) -> None:
        line = self._head(team)
        if line is not None:
            request = line.requests[0][1]
            self._heads.setdefault(line.shape, {})[team] = None
            self._head_of[team] = line
            turn = self._latest[team] = self._turn_of(line, request)
            entry = (turn, team, request)
            if push:
                heappush(self._turns, entry)
            else:
                self._turns.append(entry)

    def _head(self, team: Team) -> Line | None:
        """The line of the first request of the team that could start, of those whose line is restless."""
        lines = self._lines.get(team)
        while lines:
            place, line = lines[0]
            if line.asleep or not line.requests or (line.tried and self._cluster.waiting.is_full(line.shape)):
                heappop(lines)
            elif line.requests[0][0] != place:
                heapreplace(lines, (line.requests[0][0], line))
            elif self._could_start(line, line.requests[0][1]):
                return line
            else:
                heappop(lines)
        return None

    def _turn_of(self, line: Line, request: Request) -> Turn:
        """The turn of the first request of the line; what was worked out before if nothing has changed since."""
        state = 0
        for branch in line.team.path:
            state += branch.state
        known = line.turn
        if known is None or known[0] is not request or known[1] != state:
            known = line.turn = (request, state, self._turn(request))
        # Another object each time, as a turn is void when it is not the latest.
        levels, rest = cast(Turn, known[2])
        return levels, rest

    def _turn(self, request: Request, copy: int = 1) -> Turn:
        """The turn of the request, or of a later copy of it once those before it have started."""
        team, total = request.team, self._total
        asked: Amounts = request.total
        dense: Sequence[int] = request.dense
        if copy > 1:
            asked, dense = times(asked, copy), [amount * copy for amount in dense]
        levels = [
            (not branch.within(branch.settled, asked), branch.share_with(dense, total=total)) for branch in team.path
        ]
        if team.children:
            own = [held + more for held, more in zip(team.own, dense, strict=True)]
            levels.append((bool(asked), team.share_of_own(own)))
        if len(levels) < self._depth:
            levels += [_NO_LEVEL] * (self._depth - len(levels))
        return tuple(levels), (-request.priority, request.submit, team.id, request.id)


def _by_place(lines: list[Line]) -> list[tuple[Place, Line]]:
    placed = [(line.requests[0][0], line) for line in lines]
    heapify(placed)
    return placed
