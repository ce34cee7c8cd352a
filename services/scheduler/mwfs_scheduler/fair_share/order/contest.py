"""Whose turn it is: the order inside a team (C3) and between teams (C4)."""

# One heap of the heads of all teams. While nobody leaves, usage only grows, so a place in it can only get worse: it is
# looked at again when it comes to the top. What may come earlier (a new head, room that was given back) is put in anew;
# a place that is not the team's latest is void.

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.leaving.search import reclaims
from mwfs_scheduler.fair_share.model import Amounts, Place, Request, Shape
from mwfs_scheduler.fair_share.order.turns import Turn, Turns
from mwfs_scheduler.fair_share.state.teams import Line, Team


class Contest:
    """The turns of one round. A request that could not start holds no turn: `could_start` says so, and lets its line rest."""

    def __init__(
        self, cluster: Cluster, could_start: Callable[[Line, Request], bool], tries: Callable[[], bool]
    ) -> None:
        self._cluster = cluster
        self._could_start = could_start
        #: Whether `could_start` knows if others would leave: then who asks is asked again after each start.
        self._tries = tries
        self._turn = Turns(cluster)
        self._lines: dict[Team, list[tuple[Place, Line]]] = {}
        self._turns: list[tuple[Turn, Team, Request]] = []
        self._latest: dict[Team, Turn] = {}
        #: The teams whose first request has a shape, but for those that hold their turn because others may be asked to leave for them.
        self._heads: dict[Shape, dict[Team, None]] = {}
        self._head_of: dict[Team, Line] = {}
        #: By the top of their tree: the teams that hold their turn because others may be asked to leave for them.
        self._asking: dict[Team, dict[Team, None]] = {}
        #: The branches above a team, and itself, whose burst limit others share; and what their first requests ask for at most.
        self._limits: dict[Team, tuple[Team, ...]] = {}
        self._wanted: dict[Team, dict[int, int]] = {}
        for team, lines in cluster.waiting.restless().items():
            self._lines[team] = _by_place(lines)
            self._join(team)
        heapify(self._turns)

    def next(self) -> Request | None:
        """The request that comes first; None when nobody is left to look at."""
        waiting = self._cluster.waiting
        while True:
            first = self._first()
            if first is not None:
                team = first[1]
                earlier = waiting.with_room(team, self._head_of[team].requests[0][0])
                if earlier:
                    self._take_up(team, earlier)
                    continue
            woken = waiting.wake(self._turn, None if first is None else first[0])
            filled = waiting.roomy.found_full()
            for shape in filled:
                self.full(shape)
            if woken is not None:
                self._take_up(woken[0].team, woken)
            elif not filled:
                return None if first is None else first[2]

    def _first(self) -> tuple[Turn, Team, Request] | None:
        """Who comes first of those who have been taken up."""
        turns = self._turns
        while turns:
            turn, team, request = turns[0]
            if self._latest.get(team) is not turn:
                heappop(turns)
            elif (team.parent is None and not team.children) or (now := self._turn.of(request)) == turn:
                return turns[0]
            else:
                self._latest[team] = now
                heapreplace(turns, (now, team, request))
        return None

    def in_a_row(self, request: Request, most: int, next_blocked: Callable[[Request], Turn | None]) -> int:
        """How many copies of the request, which comes first, start one after the other before another team comes first, or who is blocked.

        At least one, at most `most`. The team must be `served` next.
        """
        heappop(self._turns)
        turns = [] if self.next() is None else [self._turns[0][0]]
        blocked = next_blocked(request)
        if blocked is not None:
            turns.append(blocked)
        if not turns:
            return most
        others = min(turns)
        if self._turn.of(request, most) <= others:
            return most
        return bisect_right(range(2, most), others, key=lambda copy: self._turn.of(request, copy)) + 1

    def served(self, team: Team) -> None:
        """The first of the team has started or sleeps: the team takes its new place."""
        self._latest.pop(team, None)
        line = self._head_of.pop(team, None)
        if line is not None:
            asking = self._asking.get(team.path[0])
            if asking is not None:
                asking.pop(team, None)
            of_shape = self._heads.get(line.shape)
            if of_shape is not None:
                of_shape.pop(team, None)
        self._join(team, push=True)

    def full(self, shape: Shape) -> None:
        """The shape has no room any more: those whose first request has it take other places."""
        for team in list(self._heads.get(shape, ())):
            self.served(team)

    def started(self, team: Team, asked: Amounts) -> None:
        """The team has started this: first requests that a shared burst limit leaves no room for any more take other places.

        So do those that might ask others to leave, when a branch that they share has used up its guarantee for that.
        """
        if self._tries():
            for each in [each for of_top in self._asking.values() for each in of_top]:
                self.served(each)
        asking = self._asking.get(team.path[0])
        for each in list(asking) if asking else ():
            if not reclaims(self._cluster, self._head_of[each].requests[0][1]):
                self.served(each)
        for branch in self._limits_of(team):
            wanted = self._wanted.get(branch, {})
            if any(branch.until_limit(resource) < wanted.get(resource, 0) for resource, _ in asked):
                self._wanted[branch] = {}
                for each in branch.subtree():
                    line = self._head_of.get(each)
                    if line is not None:
                        self.served(each)

    def until_tight(self, request: Request, most: int) -> int:
        """How many copies start, at most `most`, before a shared burst limit is in the way of another's first request."""
        for branch in self._limits_of(request.team):
            wanted = self._wanted.get(branch, {})
            for resource, amount in request.total:
                if resource in wanted:
                    most = min(most, (branch.until_limit(resource) - wanted[resource]) // amount + 1)
        return max(1, most)

    def _limits_of(self, team: Team) -> tuple[Team, ...]:
        found = self._limits.get(team)
        if found is None:
            found = self._limits[team] = tuple(
                branch for branch in team.path if branch.children and any(limit is not None for limit in branch.burst)
            )
        return found

    def stirred(self, lines: Mapping[Team, Iterable[Line]]) -> None:
        """For these teams something got better, and these lines of theirs are to be looked at again: they take new places."""
        for team, roused in lines.items():
            self._take_up(team, roused)

    def _take_up(self, team: Team, lines: Iterable[Line]) -> None:
        placed = self._lines.setdefault(team, [])
        for line in lines:
            if line.requests:
                heappush(placed, (line.requests[0][0], line))
        self.served(team)

    def _join(self, team: Team, *, push: bool = False) -> None:
        line = self._head(team)
        if line is not None:
            request = line.requests[0][1]
            full = self._cluster.waiting.witnesses.is_full(line.shape)
            asks = full or not team.within_limits(request.total)
            if not (asks if self._tries() else full and reclaims(self._cluster, request)):
                self._heads.setdefault(line.shape, {})[team] = None
            elif self._tries() or team.path[0].children:
                self._asking.setdefault(team.path[0], {})[team] = None
            self._head_of[team] = line
            for branch in self._limits_of(team):
                wanted = self._wanted.setdefault(branch, {})
                for resource, amount in request.total:
                    if branch.burst[resource] is not None and wanted.get(resource, 0) < amount <= branch.until_limit(
                        resource
                    ):
                        wanted[resource] = amount
            turn = self._latest[team] = self._turn.of_line(line)
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
            if line.asleep or not line.requests:
                heappop(lines)
            elif line.tried and self._cluster.waiting.witnesses.is_full(line.shape):
                heappop(lines)
                self._cluster.waiting.tried(line)
            elif line.requests[0][0] != place:
                heapreplace(lines, (line.requests[0][0], line))
            elif self._could_start(line, line.requests[0][1]):
                return line
            else:
                heappop(lines)
        return None


def _by_place(lines: list[Line]) -> list[tuple[Place, Line]]:
    placed = [(line.requests[0][0], line) for line in lines]
    heapify(placed)
    return placed
