"""Which of the teams comes first with a request that is blocked, kept from round to round."""

# Each team stands no later than any of its requests would: with nothing more than it has now. What a team has that is blocked is only worked
# out for those that come first by that. They are put back when more of theirs may be blocked than when they were looked at.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mwfs_scheduler.fair_share.order.queues import Queue
from mwfs_scheduler.fair_share.order.turns import Turn, Turns
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.teams import Line, Team
from mwfs_scheduler.fair_share.waiting.waiting import Waiting

#: Places that do not count any more are cleared away when there are so many times as many as teams.
MOST_PLACES: Final = 8


class Heads:
    """Of all teams of which something waits."""

    def __init__(self, teams: Mapping[str, Team], waiting: Waiting, changes: Changes[Team]) -> None:
        self._teams = teams
        self._waiting = waiting
        #: Branches at the top in which turns may be others.
        self._changes = changes
        self._seen = 0
        self._queue: Queue[Team] | None = None
        #: Teams that have been looked at, and those of them that must be put back.
        self._looked_at: dict[Team, None] = {}
        self._again: dict[Team, None] = {}

    def forget(self) -> None:
        """All turns may be others."""
        self._queue = None

    def look_again(self, teams: Iterable[Team] | None = None) -> None:
        """More of what these have may be blocked; of all, if none are named."""
        looked_at = self._looked_at
        if teams is None:
            self._again.update(looked_at)
            looked_at.clear()
        else:
            for team in teams:
                if team in looked_at:
                    del looked_at[team]
                    self._again[team] = None

    def first(self, turns: Turns, head: Callable[[Team], Line | None], but: Team) -> tuple[Turn, Team, Line] | None:
        """The team whose `head`, the line of its first request that is blocked, comes first; `but` is left out."""
        queue = self._put_right(turns)
        found: dict[Team, Line] = {}

        def has_head(team: Team) -> bool:
            self._looked_at[team] = None
            line = None if team is but else head(team)
            if line is not None:
                found[team] = line
            return line is not None

        self._again[but] = None
        first = queue.first(lambda team: turns.of_line(found[team]), has_head)
        return None if first is None else (*first, found[first[1]])

    def _put_right(self, turns: Turns) -> Queue[Team]:
        """The queue, with all in it where they may stand at the earliest if anything has happened to them."""
        waiting, changed = self._waiting, self._changes.since(self._seen)
        queue = self._queue
        if queue is None or changed is None or len(queue) > MOST_PLACES * len(self._teams):
            self._looked_at.clear()
            queue = self._queue = Queue(
                (self._earliest(team, turns), team) for team in self._teams.values() if team.lines
            )
        else:
            moved = self._again | waiting.joined
            for top in dict.fromkeys(changed):
                moved.update(dict.fromkeys(top.subtree()))
            for team in moved:
                if team.lines:
                    queue.put(team, self._earliest(team, turns))
        self._seen = self._changes.end
        self._again.clear()
        waiting.joined.clear()
        return queue

    def _earliest(self, team: Team, turns: Turns) -> Turn:
        return turns.earliest_with(team, self._waiting.asks_for(team))
