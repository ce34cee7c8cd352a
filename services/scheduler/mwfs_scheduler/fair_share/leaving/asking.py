"""Who is asked to leave next, when those before have left (C6 to C8). Nothing is changed here."""

# Usage only falls while one after the other leaves, so a branch or a grant that has been passed over need not be looked at
# again, and a branch comes later with each that has left.

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from mwfs_scheduler.fair_share.model import Grant, Host, Knobs, Request, Time
from mwfs_scheduler.fair_share.state.teams import LeavingPlace, Team

#: With `fair_preemption` and no cap of its own, work is made to leave this often at most: the plain rule need not end.
FAIR_CAP: Final = 3

#: (share above the guarantee, negative; name; team): the branch most above its guarantee is least.
Branch = tuple[int, str, Team]

Only = Mapping[Team, Sequence[tuple[LeavingPlace, Grant]]]


def cap_of(knobs: Knobs) -> int | None:
    """How often work may be made to leave."""
    cap = knobs.max_preemptions_per_job
    return FAIR_CAP if cap is None and knobs.fair_preemption else cap


@dataclass(slots=True, kw_only=True, eq=False)
class Asker:
    """For whom others are asked to leave; without a request: for anybody who stands alone at the top, within its guarantee."""

    request: Request | None
    #: Its path from the top down.
    path: Sequence[Team | None]
    #: Per level of the path: whether it stays within its guarantee there, so may reclaim from beside it.
    may_reclaim: Sequence[bool]
    asked: tuple[tuple[int, int], ...]
    #: The resources of `asked`.
    asked_for: tuple[int, ...]
    resources: frozenset[int]
    usable: Set[Host]
    #: Nobody above it is asked; None: everybody may be.
    highest: int | None
    #: Branches of the path whose burst limit is in the way.
    tight: Sequence[Team] = ()


def may_leave(grant: Grant, asker: Asker, knobs: Knobs, now: Time) -> bool:
    """Whether the grant may be asked, and it could be of use."""
    request, resources = grant.request, asker.resources
    for resource, _ in request.total:
        if resource in resources:
            break
    else:
        return False
    if knobs.min_runtime_s and knobs.min_runtime_s > now - grant.start:
        return False
    cap = cap_of(knobs)
    if cap is not None and request.preemptions >= cap:
        return False
    usable = asker.usable
    for host in grant.hosts:
        if host in usable:
            return True
    return any(branch in request.team.path for branch in asker.tight)


class Asking:
    """The order in which grants are asked.

    `only`: nobody else is asked; as `Team.leaving`, by team. `below`: nor who is not below that team of the path.
    """

    def __init__(
        self,
        knobs: Knobs,
        now: Time,
        asker: Asker,
        borrowers: Sequence[Branch],
        *,
        only: Only | None = None,
        below: Team | None = None,
    ) -> None:
        self._knobs = knobs
        self._now = now
        self._asker = asker
        self._path = asker.path
        self._asked = asker.asked
        self._team = None if asker.request is None else asker.request.team
        self._borrowers = borrowers
        self._only = only
        self._above, self._level = below, 0 if below is None else len(below.path)
        #: With `only`: their teams, and those above them. Nobody else has anything to give.
        self._near = None if only is None else frozenset(team for giving in only for team in giving.path)
        self._gone: set[Grant] = set()
        #: What is left after those who have left: of what a team uses, and of what a team with teams below uses itself.
        self._left: dict[Team, list[int]] = {}
        self._own_left: dict[Team, list[int]] = {}
        self.begin(careful=True)

    def begin(self, *, careful: bool) -> None:
        """Look at all branches from the start. `careful`: at nobody who would end under its guarantee."""
        self._careful = careful
        self._branches: dict[Team | None, list[Branch]] = {None: self._tops()}
        self._at: dict[Team, int] = {}

    def left_of(self, team: Team) -> list[int]:
        """What the team uses beside those who have left."""
        return self._left.get(team) or team.settled

    def leave(self, grant: Grant) -> None:
        """The grant leaves."""
        self._gone.add(grant)
        self._count(grant, 1)

    def stay(self, grant: Grant) -> None:
        """The grant stays after all. Nobody else can be asked after that."""
        self._count(grant, -1)

    def _count(self, grant: Grant, sign: int) -> None:
        team, total = grant.request.team, grant.total
        for each in team.path:
            _less(self._left.setdefault(each, list(each.settled)), total, sign)
        if team.children:
            _less(self._own_left.setdefault(team, list(team.own)), total, sign)

    # --- who is next --------------------------------------------------------------------------------------------------

    def borrower(self) -> Grant | None:
        """The next of those above their guarantee."""
        return self._beside(self._above, self._level)

    def _beside(self, above: Team | None, level: int) -> Grant | None:
        """The next victim below `above`, which is on the request's own path, but beside that path."""
        own = self._path[level] if level < len(self._path) else None
        branches = self._below(above, own)
        while branches:
            branch = self._most_over(branches, above)
            if branch is None:
                continue
            if branch is own:
                found = self._beside(branch, level + 1)
            elif branch is above:
                found = self._work_of(branch, branch, level, own=True)
            else:
                found = self._inside(branch, branch, level)
            if found is not None:
                return found
            heappop(branches)
        return None

    def _inside(self, team: Team, top: Team, level: int) -> Grant | None:
        """The next victim in a branch beside the request's own; `top` is the branch just below the common ancestor."""
        if not team.over(self.left_of(team), self._asked):
            return None
        if not team.children:
            return self._work_of(team, top, level)
        branches = self._below(team, None)
        while branches:
            branch = self._most_over(branches, team)
            if branch is None:
                continue
            found = self._work_of(team, top, level) if branch is team else self._inside(branch, top, level)
            if found is not None:
                return found
            heappop(branches)
        return None

    def _tops(self) -> list[Branch]:
        """The branches at the top; the request's own is among them, for what is beside it further down.

        They come in order, so they are a heap. A key that has become too old is put right when it comes to the top.
        """
        top = self._path[0]
        tops = list(self._borrowers)
        if (
            top is not None
            and top.children
            and (self._near is None or top in self._near)
            and not any(branch is top for _, _, branch in tops)
        ):
            heappush(tops, (0, top.id, top))
        return tops

    def _below(self, above: Team | None, own: Team | None) -> list[Branch]:
        """The children of a team, and the team itself for its own work."""
        branches = self._branches.get(above)
        if branches is None:
            assert above is not None
            near = self._near
            branches = self._branches[above] = [
                (self._key(branch, above), branch.id, branch)
                for branch in above.children
                if (near is None or branch in near)
                and (branch is own or branch.over(self.left_of(branch), self._asked))
            ]
            if above is not self._team and self._leaving(above):
                branches.append((self._key(above, above), above.id, above))
            heapify(branches)
        return branches

    def _most_over(self, branches: list[Branch], above: Team | None) -> Team | None:
        """The branch that is most above its guarantee; None when its place had to be put right first."""
        share, id, branch = branches[0]
        now = self._key(branch, above)
        if share != now:
            heapreplace(branches, (now, id, branch))
            return None
        return branch

    def _key(self, branch: Team, above: Team | None) -> int:
        if branch is above:
            return -branch.share_of_own(self._own_left.get(branch) or branch.own)
        return -branch.borrowed_share(self.left_of(branch))

    def _work_of(self, team: Team, top: Team, level: int, *, own: bool = False) -> Grant | None:
        """The next victim among the work of the team itself. `own`: the team is above the request's, and has no guarantee for it."""
        reclaims = level < len(self._path) and self._asker.may_reclaim[level]
        if not reclaims and not self._knobs.fair_preemption:
            return None
        if not own and not team.over(self.left_of(team), self._asked):
            return None
        at, leaving = self._at.get(team, 0), self._leaving(team)
        try:
            while at < len(leaving):
                grant = leaving[at][1]
                at += 1
                if not self._may_leave(grant) or not self._right_priority(grant) or grant in self._gone:
                    continue
                if self._careful and self._ends_under(grant):
                    continue
                if reclaims or self._fairer(level, top, grant, own=own):
                    return grant
            return None
        finally:
            self._at[team] = at

    def _leaving(self, team: Team) -> Sequence[tuple[LeavingPlace, Grant]]:
        return team.leaving if self._only is None else self._only.get(team, ())

    def of_own_team(self) -> Grant | None:
        """The next of the lower priorities of the own team."""
        request = self._asker.request
        assert request is not None
        for (priority, _, _), grant in self._leaving(request.team):
            if priority >= request.priority:
                return None
            if grant not in self._gone and self._may_leave(grant):
                return grant
        return None

    # --- may it leave -------------------------------------------------------------------------------------------------

    def _may_leave(self, grant: Grant) -> bool:
        return may_leave(grant, self._asker, self._knobs, self._now)

    def _right_priority(self, grant: Grant) -> bool:
        highest = self._asker.highest
        return highest is None or grant.request.priority <= highest

    def _ends_under(self, grant: Grant) -> bool:
        """Whether its team would hold less than its guarantee of a requested resource that the grant holds."""
        team = grant.request.team
        return team.ends_under(self.left_of(team), grant.total, self._asker.resources)

    def _fairer(self, level: int, top: Team, grant: Grant, *, own: bool) -> bool:
        """Whether the branch that asks would not end with more than the one that loses; `own`: than the work of that team alone.

        What leaves of the side that asks does not count, as it may be put back.
        """
        basis = self._knobs.share_basis == "total"
        theirs = list(self._own_left.get(top) or top.own) if own else list(self.left_of(top))
        _less(theirs, grant.total, 1)
        keeps = top.share_of_own(theirs) if own else top.share_of(theirs, total=basis)
        request = self._asker.request
        assert request is not None
        team = request.team
        if level == len(team.path):
            mine = [held + more for held, more in zip(team.own, request.dense, strict=True)]
            return team.share_of_own(mine) <= keeps
        branch = team.path[level]
        mine = list(branch.settled)
        _less(mine, self._asked, -1)
        return branch.share_of(mine, total=basis) <= keeps


def _less(amounts: list[int], asked: Sequence[tuple[int, int]], times: int) -> None:
    for resource, amount in asked:
        amounts[resource] -= amount * times
