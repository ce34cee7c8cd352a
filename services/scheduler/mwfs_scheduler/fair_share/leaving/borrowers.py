"""In what order the work of those above their guarantee would leave, kept up to date while the cluster changes (C7)."""

# With each of its grants that leaves a branch comes later, so each branch has an order of its own and the order of all is
# the merge of those by the share that is left. A change in a branch touches only its own part of it. What is worked out of
# that for a host is worked out when somebody asks about the host.

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import gt

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.leaving.asking import Asker, Asking, cap_of
from mwfs_scheduler.fair_share.leaving.chances import Chances
from mwfs_scheduler.fair_share.leaving.on_hosts import OnHosts, Standing
from mwfs_scheduler.fair_share.leaving.openings import OWN, Openings, Turn
from mwfs_scheduler.fair_share.leaving.orders import Orders, have_own_work, leave_in_order
from mwfs_scheduler.fair_share.model import Grant, Host, Time
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.rooms import Needs
from mwfs_scheduler.fair_share.state.teams import LeavingPlace, Team

#: What stands before a turn: who keeps its guarantee leaves before, who does not after, the own team's lower priorities.
KEEPS, ENDS_UNDER = OWN - 1, OWN + 1


class Borrowers:
    """Those whom a request for these resources, on these hosts, may ask as long as its branch below `above` is within its guarantee.

    `above`: None for the branches at the top. No team between `above` and the deepest has both teams below it and work, unless it is a branch at the top.
    """

    def __init__(self, cluster: Cluster, asker: Asker, above: Team | None) -> None:
        self._cluster = cluster
        self._above = above
        #: On a path, where the branches below `above` are.
        self.level = 0 if above is None else len(above.path)
        self._asker = Asker(
            request=None,
            path=(None,),
            may_reclaim=(True,),
            asked=asker.asked,
            asked_for=asker.asked_for,
            resources=asker.resources,
            usable=asker.usable,
            highest=asker.highest,
        )
        self.usable = asker.usable
        self._needs_no_look = len(asker.usable) == len(cluster.hosts.by_id)
        self._cap = cap_of(cluster.knobs)
        #: Hosts on which somebody leaves earlier than before, hosts where there is more room or others may be asked, and teams that use
        #: more, or are below one that does.
        self.earlier: Changes[Host] = Changes()
        self.better: Changes[Host] = Changes()
        self.grown: Changes[Team] = Changes()
        self._openings: dict[Needs, Openings] = {}
        self._chances: dict[Needs, tuple[Chances, Chances]] = {}
        #: Where it has read to, of hosts and of teams.
        self._seen: tuple[int, int] = (-1, -1)
        self._rebuild()

    def openings(self, needs: Needs) -> Openings:
        """Where room for members with these needs would come."""
        found = self._openings.get(needs)
        if found is None:
            found = self._openings[needs] = Openings(self, needs)
        return found

    def chances(self, needs: Needs, *, careful: bool) -> Chances:
        """Where those on one host alone may make room for a member with these needs."""
        found = self._chances.get(needs)
        if found is None:
            found = self._chances[needs] = Chances(self, needs, careful=True), Chances(self, needs, careful=False)
        return found[0 if careful else 1]

    def of(self, branch: Team) -> Iterable[Grant]:
        """Those of the branch who may be asked."""
        return [grant for team in branch.subtree() for grant in self._of.get(team, ())]

    def of_team(self, team: Team) -> Iterable[Grant]:
        """Those of the team itself."""
        return self._of.get(team, ())

    def helping(self, needs: Needs, *, careful: bool) -> Mapping[Host, int]:
        """How many members would fit where without all who may be asked there if nobody else is."""
        rooms = {host: self.on_hosts.room(host, needs, careful=careful) for host in self.hosts()}
        return {host: fits for host, fits in rooms.items() if fits}

    def hosts(self) -> list[Host]:
        """The hosts with any of them that the request can use."""
        return [host for host in self.on_hosts if host in self.usable]

    def read_on(self) -> None:
        """Take in what has changed; call before anything else is asked."""
        cluster = self._cluster
        seen = cluster.hosts.changes.end, cluster.touched.end
        if seen == self._seen and (self._ripe is None or cluster.now < self._ripe):
            return
        hosts, teams = cluster.hosts.changes.since(self._seen[0]), cluster.touched.since(self._seen[1])
        if hosts is None or teams is None or (self._ripe is not None and cluster.now >= self._ripe):
            self._rebuild()
            return
        self._seen = seen
        earlier = {host for host in hosts if host in self.on_hosts}
        self.on_hosts.forget(earlier)
        better = {host for host in earlier if self._has_more_room(host)}
        self._take_in(dict.fromkeys(teams), earlier, better)
        for host in earlier:
            self.earlier.note(host)
        for host in better:
            self.better.note(host)

    # --- keeping it up to date ----------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        cluster, above = self._cluster, self._above
        self._seen = cluster.hosts.changes.end, cluster.touched.end
        #: When somebody may be asked who is protected until then.
        self._ripe: Time | None = None
        self._turns: dict[Grant, Turn] = {}
        #: Those of a branch who have one.
        self._turned: dict[Team, dict[Grant, Turn]] = {}
        #: Who of a team may be asked if nobody else is.
        self._of: dict[Team, dict[Grant, LeavingPlace]] = {}
        self._standing: dict[Grant, Standing] = {}
        #: What it, and those above it, used when that was looked at, and what was free on hosts.
        self._used: dict[Team, list[int]] = {}
        self._free: dict[Host, list[int]] = {}
        #: Who would leave on a host, and who may be asked there; ask after `read_on` only.
        self.on_hosts = OnHosts(self._turns, self._standing, self.level)
        self.orders = Orders(self._asker, self._of)
        branches = cluster.tops if above is None else above.children
        self._take_in((team for branch in branches for team in branch.subtree() if team.leaving), set(), set())
        for changes in (self.earlier, self.better, self.grown):
            changes.forget()

    def _take_in(self, teams: Iterable[Team], earlier: set[Host], better: set[Host]) -> None:
        """Take in that these teams have changed.

        Adds the hosts on which somebody leaves earlier than before, and those where others may be asked than before.
        """
        level, above = self.level, self._above
        branches: dict[Team, None] = {}
        grown: dict[Team, None] = {}
        for team in teams:
            path = team.path
            if len(path) <= level or (above is not None and path[level - 1] is not above):
                continue
            branches[path[level]] = None
            self._take_in_work_of(team, better)
            for each in path[level:]:
                if self._has_grown(each):
                    grown[each] = None
        self.on_hosts.forget_shares(branches)
        for branch in branches:
            self._place(branch, earlier)
        for team in grown:
            for each in team.subtree():
                self.grown.note(each)

    def _has_more_room(self, host: Host) -> bool:
        """Whether more of anything is free there than when this was asked last."""
        before, self._free[host] = self._free.get(host), list(host.free)
        return before is None or any(map(gt, host.free, before))

    def _has_grown(self, team: Team) -> bool:
        """Whether it uses more of anything than when this was asked last."""
        before, self._used[team] = self._used.get(team), list(team.settled)
        return before is None or any(map(gt, team.settled, before))

    def _take_in_work_of(self, team: Team, better: set[Host]) -> None:
        """Who of the team may be asked."""
        before, now = self._of.pop(team, {}), dict[Grant, LeavingPlace]()
        settled, resources = team.settled, self._asker.resources
        standing, forget, may_leave = self._standing, self.on_hosts.forget, self._may_leave
        if team.children or team.over(settled, self._asker.asked):
            for place, grant in team.leaving:
                if may_leave(grant):
                    now[grant] = place
                    known, stands = standing.get(grant), (place, not team.ends_under(settled, grant.total, resources))
                    if known != stands:
                        standing[grant] = stands
                        forget(grant.hosts)
                        if known is None or stands[1]:
                            better.update(grant.hosts)
        for grant in before:
            if grant not in now:
                del standing[grant]
                forget(grant.hosts)
        if now:
            self._of[team] = now

    def _place(self, branch: Team, earlier: set[Host]) -> None:
        """Work out the turns of one branch."""
        forget, turns = self.on_hosts.forget, self._turns
        now = self._turns_of_tree(branch) if branch.children else self._turns_of_leaf(branch)
        for grant in self._turned.pop(branch, {}):
            if grant not in now:
                del turns[grant]
                forget(grant.hosts)
        for grant, turn in now.items():
            before = turns.get(grant)
            if before != turn:
                forget(grant.hosts)
                if before is None or turn < before:
                    earlier.update(grant.hosts)
                turns[grant] = turn
        if now:
            self._turned[branch] = now

    def _turns_of_leaf(self, team: Team) -> dict[Grant, Turn]:
        """The same as of a tree, quickly."""
        may_leave = self._of.get(team)
        if may_leave is None:
            return {}
        name = team.id
        first, then = leave_in_order(team, self._asker, may_leave)
        turns = {grant: (KEEPS, share, name, may_leave[grant]) for share, grant in first}
        for share, grant in then:
            turns[grant] = (ENDS_UNDER, share, name, may_leave[grant])
        return turns

    def _turns_of_tree(self, top: Team) -> dict[Grant, Turn]:
        """When each grant of the branch would leave."""
        asker = self._asker
        turns: dict[Grant, Turn] = {}
        if not have_own_work(top.subtree()):
            for stage, leavers in zip((KEEPS, ENDS_UNDER), self.orders.of(top), strict=True):
                for share, name, _, leaver in leavers:
                    turns[leaver] = (stage, share, name, (len(turns), 0, ""))
        elif top.over(top.settled, asker.asked):
            asking = Asking(self._cluster.knobs, self._cluster.now, asker, [(0, top.id, top)])
            for stage in (KEEPS, ENDS_UNDER):
                asking.begin(careful=stage == KEEPS)
                while (grant := asking.borrower()) is not None:
                    turns[grant] = (stage, -top.borrowed_share(asking.left_of(top)), top.id, (len(turns), 0, ""))
                    asking.leave(grant)
        return turns

    def _may_leave(self, grant: Grant) -> bool:
        asker, knobs, request = self._asker, self._cluster.knobs, grant.request
        resources = asker.resources
        for resource, _ in request.total:
            if resource in resources:
                break
        else:
            return False
        if asker.highest is not None and request.priority > asker.highest:
            return False
        if self._cap is not None and request.preemptions >= self._cap:
            return False
        if knobs.min_runtime_s and self._cluster.now - grant.start < knobs.min_runtime_s:
            at = grant.start + knobs.min_runtime_s
            self._ripe = at if self._ripe is None else min(self._ripe, at)
            return False
        return self._needs_no_look or any(host in asker.usable for host in grant.hosts)
