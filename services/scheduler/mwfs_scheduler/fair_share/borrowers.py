"""In what order the work of those above their guarantee would leave, kept up to date while the cluster changes (C7)."""

# With each of its grants that leaves a branch comes later, so each branch has an order of its own and the order of all is
# the merge of those by the share that is left. A change in a branch touches only its own part of it.

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

from mwfs_scheduler.fair_share.asking import Asker, Asking, cap_of
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Host, Time
from mwfs_scheduler.fair_share.openings import OWN, Openings, Step, Turn
from mwfs_scheduler.fair_share.orders import Orders, have_own_work
from mwfs_scheduler.fair_share.rooms import Needs
from mwfs_scheduler.fair_share.teams import LeavingPlace, Team, leaving_place

#: What stands before a turn: who keeps its guarantee leaves before, who does not after, the own team's lower priorities.
KEEPS, ENDS_UNDER = OWN - 1, OWN + 1

There = list[tuple[LeavingPlace, Grant]]

Known = TypeVar("Known")


class Borrowers:
    """Those whom a request for these resources, on these hosts, may ask as long as its top branch is within its guarantee."""

    def __init__(self, cluster: Cluster, asker: Asker) -> None:
        self._cluster = cluster
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
        self._needs_no_look = len(asker.usable) == len(cluster.hosts.by_id)
        self._cap = cap_of(cluster.knobs)
        self._openings: dict[Needs, Openings] = {}
        #: Where it has read to, of hosts and of branches.
        self._seen: tuple[int, int] = (-1, -1)
        self._rebuild()

    def openings(self, needs: Needs) -> Openings:
        """Where room for members with these needs would come."""
        found = self._openings.get(needs)
        if found is None:
            found = self._openings[needs] = Openings(self, needs, self._asker.usable)
        return found

    def of(self, top: Team) -> Sequence[Grant]:
        """Those of the branch who may be asked."""
        return self._of.get(top, ())

    def steps(self, host: Host) -> list[Step]:
        """Who on the host would leave, in order."""
        found = self._steps.get(host)
        if found is None:
            turns = self._turns
            found = [(turn, grant) for grant in host.grants if (turn := turns.get(grant)) is not None]
            found.sort(key=itemgetter(0))
            self._steps[host] = found
        return found

    def there(self, host: Host, *, careful: bool) -> There:
        """Who on the host may be asked if nobody else is. `careful`: and would not end under its guarantee."""
        found = self._there.get(host)
        if found is None:
            standing = [
                (status, leaving_place(grant), grant)
                for grant in host.grants
                if (status := self._status.get(grant)) is not None
            ]
            standing.sort(key=itemgetter(1))
            found = self._there[host] = (
                [(place, grant) for status, place, grant in standing if status == KEEPS],
                [(place, grant) for _, place, grant in standing],
            )
        return found[0 if careful else 1]

    def read_on(self) -> None:
        """Take in what has changed; call before anything else is asked."""
        cluster = self._cluster
        seen = cluster.hosts.changes.end, cluster.changes.end
        if seen == self._seen and (self._ripe is None or cluster.now < self._ripe):
            return
        hosts, tops = cluster.hosts.changes.since(self._seen[0]), cluster.changes.since(self._seen[1])
        if hosts is None or tops is None or (self._ripe is not None and cluster.now >= self._ripe):
            self._rebuild()
            return
        self._seen = seen
        earlier, other = set(hosts), set(hosts)
        for host in other:
            self._forget(host)
        for top in dict.fromkeys(tops):
            self._look_at(top, earlier, other)
        for openings in self._openings.values():
            openings.look_at(earlier, other)

    # --- keeping it up to date ----------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        cluster = self._cluster
        self._seen = cluster.hosts.changes.end, cluster.changes.end
        #: When somebody may be asked who is protected until then.
        self._ripe: Time | None = None
        self._turns: dict[Grant, Turn] = {}
        #: Of those who may be asked if nobody else is: `KEEPS` or `ENDS_UNDER`.
        self._status: dict[Grant, int] = {}
        #: All of a branch that have a turn, or a status.
        self._of: dict[Team, list[Grant]] = {}
        self._settled: dict[Team, list[int]] = {}
        self._steps: dict[Host, list[Step]] = {}
        self._there: dict[Host, tuple[There, There]] = {}
        self.orders = Orders(self._asker, self._may_leave)
        for top in cluster.tops:
            if top.leaving or top.children:
                self._look_at(top, set(), set())
        for openings in self._openings.values():
            openings.look_at(self._asker.usable, self._asker.usable)

    def _forget(self, host: Host) -> None:
        self._steps.pop(host, None)
        self._there.pop(host, None)

    def _look_at(self, top: Team, earlier: set[Host], better: set[Host]) -> None:
        """Work out the part of one branch. Adds the hosts on which somebody leaves earlier than before, and those where others may."""
        turns, status = self._turns, self._status
        own_turns, own_status = self._of_tree(top) if top.children else self._of_leaf(top)
        gone = [grant for grant in self._of.pop(top, ()) if grant not in own_turns and grant not in own_status]
        for grant in gone:
            turns.pop(grant, None)
            status.pop(grant, None)
            for host in grant.hosts:
                self._forget(host)
        before = self._settled.get(top)
        grown = before is None or any(now > then for now, then in zip(top.settled, before, strict=True))
        self._settled[top] = list(top.settled)
        together = dict.fromkeys((*own_status, *own_turns))
        for grant in together:
            turn, old = own_turns.get(grant), turns.get(grant)
            other = own_status.get(grant) != status.get(grant)
            if turn != old or other:
                for host in grant.hosts:
                    self._forget(host)
            comes_first = turn is not None and (old is None or turn < old)
            if comes_first:
                earlier.update(grant.hosts)
            if grown or other or top.children or comes_first:
                better.update(grant.hosts)
            _put(turns, grant, turn)
            _put(status, grant, own_status.get(grant))
        if together:
            self._of[top] = list(together)
        for grant in gone:
            earlier.update(grant.hosts)
            better.update(grant.hosts)

    def _of_leaf(self, team: Team) -> tuple[dict[Grant, Turn], dict[Grant, int]]:
        """The same as `_of_tree`, quickly."""
        settled, resources, asked = team.settled, self._asker.resources, self._asker.asked
        turns: dict[Grant, Turn] = {}
        status: dict[Grant, int] = {}
        if not team.over(settled, asked):
            return turns, status
        left, later = list(settled), list[tuple[LeavingPlace, Grant]]()
        over = True
        for place, grant in team.leaving:
            if not self._may_leave(grant):
                continue
            given = grant.total
            status[grant] = ENDS_UNDER if team.ends_under(settled, given, resources) else KEEPS
            if not over:
                continue
            if status[grant] == ENDS_UNDER or team.ends_under(left, given, resources):
                later.append((place, grant))
                continue
            turns[grant] = (KEEPS, -team.borrowed_share(left), team.id, place)
            for resource, amount in given:
                left[resource] -= amount
            over = team.over(left, asked)
        for place, grant in later if over else ():
            turns[grant] = (ENDS_UNDER, -team.borrowed_share(left), team.id, place)
            for resource, amount in grant.total:
                left[resource] -= amount
            if not team.over(left, asked):
                break
        return turns, status

    def _of_tree(self, top: Team) -> tuple[dict[Grant, Turn], dict[Grant, int]]:
        """When each grant of the branch would leave, and of each whether its team would keep its guarantee without it alone."""
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
        status = {}
        for team in top.subtree():
            if team.leaving and (team.children or team.over(team.settled, asker.asked)):
                for _, grant in team.leaving:
                    if self._may_leave(grant):
                        under = team.ends_under(team.settled, grant.total, asker.resources)
                        status[grant] = ENDS_UNDER if under else KEEPS
        return turns, status

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


def _put(known: dict[Grant, Known], grant: Grant, value: Known | None) -> None:
    if value is None:
        known.pop(grant, None)
    else:
        known[grant] = value
