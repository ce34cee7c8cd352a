"""A trial on a copy of the counters: who would have to leave for a request to start. Nothing is changed here."""

# Victims are taken one by one, top-down from the branch that is most above its guarantee, until the request would start.
# Then those that turned out not to be needed are put back, the last one first. Usage only falls during a trial, so a
# branch or a grant that has been passed over need not be looked at again.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.hosts import fitting
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.reservations import Limits
from mwfs_scheduler.fair_share.teams import LeavingPlace, Team

#: With `fair_preemption` and no cap of its own, work is made to leave this often at most: the plain rule need not end.
FAIR_CAP: Final = 3

#: (share above the guarantee, negative; name; team): the branch most above its guarantee is least.
Branch = tuple[int, str, Team]


class Care(Enum):
    """Who may be taken, in what order (C7)."""

    #: Borrowers that keep their guarantee, then the own team's lower priorities.
    ALWAYS = auto()
    #: The same, and then borrowers that end under their guarantee.
    FIRST = auto()
    #: Borrowers as they come, then the own team's lower priorities.
    NEVER = auto()


class Trial:
    """One search for one request. `only`: nobody else is taken; as `Team.leaving`, by team."""

    def __init__(
        self,
        cluster: Cluster,
        request: Request,
        limits: Limits,
        borrowers: Sequence[Branch],
        *,
        care: Care,
        only: Mapping[Team, Sequence[tuple[LeavingPlace, Grant]]] | None = None,
    ) -> None:
        self._hosts = cluster.hosts
        self._now = cluster.now
        self._knobs = cluster.knobs
        self._request = request
        self._path = request.team.path
        self._asked = request.total
        self._resources = frozenset(resource for resource, _ in request.total)
        self._limits = limits
        self._borrowers = borrowers
        self._care = care
        self._careful = care is not Care.NEVER
        self._only = only
        self.taken: list[Grant] = []
        self._gone: set[Grant] = set()
        self._usable = cluster.hosts.usable(request.shape)
        #: What is left after those taken: of what a team uses, and of what a team with teams below uses itself.
        self._left: dict[Team, list[int]] = {}
        self._own_left: dict[Team, list[int]] = {}
        self._free: dict[Host, list[int]] = {}
        self._rooms: dict[Host, int] = {}
        #: What may be taken of hosts that are reserved for others, with those taken gone.
        self._limited = {host: list(limit.amounts) for host, limit in limits.items()}
        #: Per level of the request's path: whether it stays within its guarantee there, so may reclaim from beside it.
        self._may_reclaim = [branch.within(branch.settled, self._asked) for branch in self._path]
        self._tight = [branch for branch in self._path if branch.past_burst(branch.usage, self._asked) is not None]
        self._room = self._room_now()
        self._cap = self._knobs.max_preemptions_per_job
        if self._cap is None and self._knobs.fair_preemption:
            self._cap = FAIR_CAP
        self._begin()

    def run(self) -> bool:
        """Take victims until the request would start, then put back those that are not needed."""
        if not (self._take(self._borrower) or self._take(self._of_own_team)):
            if self._care is not Care.FIRST:
                return False
            self._careful = False
            self._begin()
            if not self._take(self._borrower):
                return False
        self._put_back()
        return True

    def _put_back(self) -> None:
        with_room = [host for host, room in self._rooms.items() if room]
        if len(with_room) == 1 and self._room == self._rooms[with_room[0]] and not self._tight:
            # All the room is on one host, so that nobody elsewhere need leave.
            self.taken = [grant for grant in self.taken if with_room[0] in grant.hosts]
        for victim in reversed(self.taken[:]):
            self._count(victim, -1)
            if self._starts():
                self.taken.remove(victim)
            else:
                self._count(victim, 1)

    def _begin(self) -> None:
        """Look at all branches from the start."""
        self._branches: dict[Team | None, list[Branch]] = {None: self._tops()}
        self._at: dict[Team, int] = {}

    def _take(self, choose: Callable[[], Grant | None]) -> bool:
        while not self._starts():
            victim = choose()
            if victim is None:
                return False
            self.taken.append(victim)
            self._gone.add(victim)
            self._count(victim, 1)
        return True

    # --- what the cluster would be ------------------------------------------------------------------------------------

    def _starts(self) -> bool:
        if self._room < self._request.shape.members:
            return False
        for branch in self._tight:
            left = self._left_of(branch)
            usage = [
                used - (before - now) for used, before, now in zip(branch.usage, branch.settled, left, strict=True)
            ]
            if branch.past_burst(usage, self._asked) is not None:
                return False
        return True

    def _left_of(self, team: Team) -> list[int]:
        return self._left.get(team) or team.settled

    def _room_now(self) -> int:
        """How many members fit before anybody leaves."""
        shape = self._request.shape
        if shape.members == 1:
            return 0 if self._hosts.place(shape, self._limits) is None else 1
        return sum(self._fits(host, host.free) for host in self._hosts.selected(shape.selector))

    def _fits(self, host: Host, free: Sequence[int]) -> int:
        fits = fitting(free, self._request.shape.needs)
        if fits and host in self._limited:
            fits = min(fits, fitting(self._limited[host], self._request.shape.needs))
        return fits

    def _count(self, grant: Grant, sign: int) -> None:
        """The grant leaves (1), or stays after all (-1)."""
        team, total = grant.request.team, grant.total
        for each in team.path:
            _less(self._left.setdefault(each, list(each.settled)), total, sign)
        if team.children:
            _less(self._own_left.setdefault(team, list(team.own)), total, sign)
        for host, members in grant.placed.items():
            free = self._free.setdefault(host, list(host.free))
            if host not in self._rooms:
                self._rooms[host] = self._fits(host, free) if host in self._usable else 0
            _less(free, grant.request.shape.needs, -sign * members)
            if host in self._limited and self._limits[host].gains(grant):
                _less(self._limited[host], grant.request.shape.needs, -sign * members)
            if host in self._usable:
                fits = self._fits(host, free)
                self._room += fits - self._rooms[host]
                self._rooms[host] = fits

    # --- who is next --------------------------------------------------------------------------------------------------

    def _borrower(self) -> Grant | None:
        return self._beside(None, 0)

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
        if not team.over(self._left_of(team), self._asked):
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
        known = any(branch is top for _, _, branch in self._borrowers)
        tops = list(self._borrowers)
        if top.children and not known:
            heappush(tops, (0, top.id, top))
        return tops

    def _below(self, above: Team | None, own: Team | None) -> list[Branch]:
        """The children of a team, and the team itself for its own work."""
        branches = self._branches.get(above)
        if branches is None:
            assert above is not None
            branches = self._branches[above] = [
                (self._key(branch, above), branch.id, branch)
                for branch in above.children
                if branch is own or branch.over(self._left_of(branch), self._asked)
            ]
            if above is not self._request.team and above.leaving:
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
        return -branch.borrowed_share(self._left_of(branch))

    def _work_of(self, team: Team, top: Team, level: int, *, own: bool = False) -> Grant | None:
        """The next victim among the work of the team itself. `own`: the team is above the request's, and has no guarantee for it."""
        reclaims = level < len(self._path) and self._may_reclaim[level]
        if not reclaims and not self._knobs.fair_preemption:
            return None
        if not own and not team.over(self._left_of(team), self._asked):
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

    def _of_own_team(self) -> Grant | None:
        for (priority, _, _), grant in self._leaving(self._request.team):
            if priority >= self._request.priority:
                return None
            if grant not in self._gone and self._may_leave(grant):
                return grant
        return None

    # --- may it leave -------------------------------------------------------------------------------------------------

    def _may_leave(self, grant: Grant) -> bool:
        """Whether the grant may be asked, and it could be of use."""
        if not any(resource in self._resources for resource, _ in grant.request.total):
            return False
        if 0 < self._knobs.min_runtime_s > self._now - grant.start:
            return False
        if self._cap is not None and grant.request.preemptions >= self._cap:
            return False
        if any(host in self._usable for host in grant.hosts):
            return True
        return any(branch in grant.request.team.path for branch in self._tight)

    def _right_priority(self, grant: Grant) -> bool:
        rule = self._knobs.reclaim_priority
        if rule == "lower":
            return grant.request.priority < self._request.priority
        return rule == "any" or grant.request.priority <= self._request.priority

    def _ends_under(self, grant: Grant) -> bool:
        """Whether its team would hold less than its guarantee of a requested resource that the grant holds."""
        team = grant.request.team
        return team.ends_under(self._left_of(team), grant.total, self._resources)

    def _fairer(self, level: int, top: Team, grant: Grant, *, own: bool) -> bool:
        """Whether the branch that asks would not end with more than the one that loses; `own`: than the work of that team alone.

        What leaves of the side that asks does not count, as it may be put back.
        """
        basis = self._knobs.share_basis == "total"
        theirs = list(self._own_left.get(top) or top.own) if own else list(self._left_of(top))
        _less(theirs, grant.total, 1)
        keeps = top.share_of_own(theirs) if own else top.share_of(theirs, total=basis)
        if level == len(self._path):
            team = self._request.team
            mine = [held + more for held, more in zip(team.own, self._request.dense, strict=True)]
            return team.share_of_own(mine) <= keeps
        mine = list(self._path[level].settled)
        _less(mine, self._asked, -1)
        return self._path[level].share_of(mine, total=basis) <= keeps


def _less(amounts: list[int], asked: Sequence[tuple[int, int]], times: int) -> None:
    for resource, amount in asked:
        amounts[resource] -= amount * times
