"""Where a request stands between teams (C4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from mwfs_scheduler.fair_share.model import Amounts, Request, Time, times
from mwfs_scheduler.fair_share.state.rooms import PLENTY

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.cluster import Cluster
    from mwfs_scheduler.fair_share.state.teams import Line, Team

#: For each level of the path from the root down, of the branch with the request started: whether it is over its guarantee on what the
#: request asks for, and its share; then priority descending, submit time, team and id. It is compared all the time, and flat for that.
Turn = tuple[Time | str, ...]

#: What stands for a level that a path does not have.
_NO_LEVEL: Final = (False, 0)
#: Before all requests of equal levels.
_BEFORE_ALL: Final = (-PLENTY, 0, "", "")


class Turns:
    """The turns of one cluster, as it is."""

    def __init__(self, cluster: Cluster) -> None:
        self._total = cluster.knobs.share_basis == "total"
        self._depth = cluster.depth

    def of_line(self, line: Line) -> Turn:
        """The turn of the first request of the line; what was worked out before if nothing has changed since."""
        request = line.requests[0][1]
        state = 0
        for branch in line.team.path:
            state += branch.state
        known = line.turn
        if known is None or known[0] is not request or known[1] != state:
            known = line.turn = (request, state, self.of(request))
        # Another object each time, as a turn is void when it is not the latest.
        return (*cast(Turn, known[2]),)

    def earliest_of(self, line: Line) -> Turn:
        """No later than that of any request of the team that asks for the same resources: where one of nothing would stand."""
        return self.earliest_with(line.team, line.asks_for)

    def earliest_with(self, team: Team, asks_for: int) -> Turn:
        """The same for all requests of the team that ask for these resources at least."""
        state = 0
        for branch in team.path:
            state += branch.state
        if team.earliest is None or team.earliest[0] != state:
            team.earliest = state, {}
        known = team.earliest[1]
        found = known.get(asks_for)
        if found is None:
            found = known[asks_for] = self._earliest(team, asks_for)
        return cast(Turn, found)

    def _earliest(self, team: Team, asks_for: int) -> Turn:
        nothing = [0] * len(team.usage)
        levels: list[Time | str] = []
        for branch in team.path:
            levels += bool(asks_for & ~branch.has_left()), branch.share_with(nothing, total=self._total)
        if team.children:
            levels += bool(asks_for), team.share_of_own(team.own)
        return self._turn(levels, _BEFORE_ALL)

    def of(self, request: Request, copy: int = 1) -> Turn:
        """The turn of the request, or of a later copy of it once those before it have started."""
        team, total = request.team, self._total
        asked: Amounts = request.total
        dense: Sequence[int] = request.dense
        if copy > 1:
            asked, dense = times(asked, copy), [amount * copy for amount in dense]
        levels: list[Time | str] = []
        for branch in team.path:
            levels += not branch.within(branch.settled, asked), branch.share_with(dense, total=total)
        if team.children:
            own = [held + more for held, more in zip(team.own, dense, strict=True)]
            levels += bool(asked), team.share_of_own(own)
        return self._turn(levels, (-request.priority, request.submit, team.id, request.id))

    def _turn(self, levels: list[Time | str], then: tuple[int, Time, str, str]) -> Turn:
        """`levels`: of those that the path has."""
        return (*levels, *_NO_LEVEL * (self._depth - len(levels) // 2), *then)
