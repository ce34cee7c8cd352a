"""All that the scheduler knows, and how each message changes it. Pure: no I/O, no clock, no randomness."""

# One mutable object instead of frozen values: a message changes a handful of counters among a hundred thousand groups.
# The decision engine's side of it is in `shared_cluster.py`.

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import chain

from mwfs_scheduler.durations import in_steps
from mwfs_scheduler.fair_share.booking import Decision
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Knobs, Request
from mwfs_scheduler.model import Group, Held, Holding, Inventory, KnownHost, NewGroup, Notice
from mwfs_scheduler.quotas import Quotas
from mwfs_scheduler.resources import Resources
from mwfs_scheduler.settings import RUNNING
from mwfs_scheduler.shared_cluster import SharedCluster
from mwfs_scheduler.team_tree import TeamTree

#: A group without waiting nodes is kept so that a later `add` need not describe it again; beyond this many a replica,
#: the one that has been empty for longest is forgotten.
IDLE_GROUPS_KEPT = 20_000
#: The memory of past use decays in steps of this many seconds.
DECAY_S = 10


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a decision pass has given and taken."""

    granted: list[Holding] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class Ledger:
    """Groups, grants, hosts and teams of one scheduler epoch."""

    def __init__(self, epoch: int, knobs: Knobs = RUNNING, quotas: Quotas | None = None) -> None:
        self.epoch = epoch
        self.knobs = knobs
        self._shared = SharedCluster(epoch, knobs, quotas or Quotas())
        #: By replica, then by id.
        self.groups: dict[str, dict[str, Group]] = {}
        self.holdings: dict[str, dict[str, Holding]] = {}
        #: By replica: empty groups, the one that has been empty for longest first.
        self.idle: dict[str, dict[str, None]] = {}
        #: Replicas that held grants of an earlier epoch and have not said hello. Until they have, nothing is granted.
        self.awaited: set[str] = set()
        self.nodes_waiting = 0
        self.waiting_by_team: Counter[str] = Counter()
        self.nodes_granted = 0
        self.unknown_releases = 0
        self.last = Decision()
        self._decayed = 0

    @property
    def cluster(self) -> Cluster:
        """To be read; another one after some changes."""
        return self._shared.cluster

    @property
    def tree(self) -> TeamTree:
        return self._shared.tree

    @property
    def resources(self) -> Resources:
        return self._shared.resources

    # --- replicas -----------------------------------------------------------------------------------------------------

    def hello(self, replica: str, held: Iterable[Held]) -> None:
        """Replace all that is known of the replica by what it says it holds."""
        self.forget_groups(replica)
        self.forget_grants(replica)
        self.awaited.discard(replica)
        self.groups[replica] = {}
        self.idle[replica] = {}
        holdings = self.holdings[replica] = {}
        for one in held:
            if one.count and one.grant_id not in holdings:
                self._book(replica, one)
        self.cluster.put_off_ends()

    def adopt(self, replica: str, one: Held) -> None:
        """The replica holds this from now on, instead of the one that held it: the runs have come to it."""
        if not one.count:
            return
        for other, holdings in self.holdings.items():
            if other != replica and one.grant_id in holdings:
                self.release(other, one.grant_id, min(one.count, holdings[one.grant_id].count))
                break
        known = self.holdings[replica].get(one.grant_id)
        if known is None:
            self._book(replica, one)
            self.cluster.put_off_ends()
            return
        self.cluster.enlarge(known.grant, one.count)
        self.nodes_granted += one.count

    def forget_groups(self, replica: str) -> None:
        """Nobody waits for these any more."""
        for group_id in list(self.groups.get(replica, ())):
            self.withdraw(replica, group_id)
        self.groups.pop(replica, None)
        self.idle.pop(replica, None)

    def forget_grants(self, replica: str) -> None:
        """Give back all that the replica holds."""
        for holding in list(self.holdings.get(replica, {}).values()):
            self.release(replica, holding.grant_id, holding.count)
        self.holdings.pop(replica, None)

    # --- groups -------------------------------------------------------------------------------------------------------

    def knows(self, replica: str, group_id: str) -> bool:
        """True when a demand for this group need not describe it."""
        return group_id in self.groups[replica]

    def describe(self, replica: str, new: NewGroup) -> None:
        """Note a group that has been seen for the first time."""
        group = self.groups[replica][new.group_id] = self._shared.group(replica, new)
        self._note_idle(group)

    def demand(self, replica: str, group_id: str, add: int) -> None:
        """`add` more nodes of a known group wait."""
        if add <= 0:
            return
        group = self.groups[replica][group_id]
        if not group.waiting:
            self.idle[replica].pop(group_id, None)
            group.request.team = self.tree.team(group.about.team)
            group.request.since = self.cluster.now
        self._waits(group, add)
        self.cluster.wait_too(group.request, add)

    def expect(self, replica: str, group_id: str, expected_s: int | None) -> None:
        """The nodes of a known group that wait will probably take so long."""
        group = self.groups[replica][group_id]
        if expected_s == group.about.expected_s:
            return
        group.about = replace(group.about, expected_s=expected_s)
        request = group.request
        shape = request.shape._replace(duration=in_steps(expected_s))
        if shape == request.shape:
            return
        copies = request.copies
        if copies:
            self.cluster.take(request, copies)
        request.shape = shape
        self.cluster.wait_too(request, copies)

    def withdraw(self, replica: str, group_id: str) -> None:
        """The group's waiting nodes are no longer wanted. Unknown groups are ignored: they were empty and forgotten."""
        group = self.groups.get(replica, {}).pop(group_id, None)
        if group is None:
            return
        self.idle.get(replica, {}).pop(group_id, None)
        del self._shared.group_of[group.request]
        if group.waiting:
            self._waits(group, -group.waiting)
            self.cluster.forget(group.request)

    def _waits(self, group: Group, more: int) -> None:
        """So many more of its nodes wait."""
        group.waiting += more
        self.nodes_waiting += more
        by_team, team = self.waiting_by_team, group.about.team
        by_team[team] += more
        if not by_team[team]:
            del by_team[team]

    def _note_idle(self, group: Group) -> None:
        idle = self.idle[group.replica]
        idle[group.group_id] = None
        if len(idle) > IDLE_GROUPS_KEPT:
            oldest = next(iter(idle))
            del idle[oldest]
            del self._shared.group_of[self.groups[group.replica].pop(oldest).request]

    # --- grants -------------------------------------------------------------------------------------------------------

    def release(self, replica: str, grant_id: str, count: int) -> None:
        """`count` nodes of a grant have ended or were not used. What was never granted is counted and ignored."""
        holdings = self.holdings.get(replica, {})
        holding = holdings.get(grant_id)
        if holding is None or count > holding.count:
            self.unknown_releases += 1
        if holding is None:
            return
        count = min(count, holding.count)
        if not count:
            return
        self.nodes_granted -= count
        self.cluster.shrink(holding.grant, count)
        if not holding.count:
            del holdings[grant_id]
            del self._shared.holding_of[holding.grant]
            self._shared.machines.forget(holding.host)

    def _book(self, replica: str, held: Held) -> None:
        """Note what a replica says that it holds."""
        holding = self._shared.holding(replica, held)
        self._note(holding)
        self._shared.start(holding, None if held.leaving_s is None else self.cluster.now + held.leaving_s)

    def _note(self, holding: Holding) -> None:
        self.holdings[holding.replica][holding.grant_id] = holding
        self.nodes_granted += holding.count

    # --- hosts --------------------------------------------------------------------------------------------------------

    @property
    def hosts(self) -> Mapping[str, KnownHost]:
        """Those that offer something, and those on which something runs."""
        return self._shared.machines.by_name

    def offer(self, inventory: Inventory) -> None:
        """A host offers this from now on. Raises ResourceExhausted when its custom resources have names beyond those that can be counted."""
        if self._shared.learn_offered(inventory):
            self._begin_again(self.tree.quotas)
        self._shared.offer(inventory)

    def withdraw_host(self, name: str) -> None:
        """A host offers nothing any more. What was granted on it is remembered until it is released."""
        self._shared.withdraw_host(name)

    # --- teams --------------------------------------------------------------------------------------------------------

    def apply(self, quotas: Quotas) -> None:
        """These quotas hold from now on. What runs goes on, also where there is too much of it now."""
        if self._shared.adjust(quotas):
            self._begin_again(quotas)

    def _begin_again(self, quotas: Quotas) -> None:
        self.last = Decision()
        shared = self._shared
        shared.make_anew(quotas, self.cluster.now, shared.past(), self._every_holding(), self._every_group())

    # --- decisions ----------------------------------------------------------------------------------------------------

    def pass_time(self, now: int) -> None:
        """It is `now` (s). A clock that goes back stands still meanwhile."""
        if now > self.cluster.now:
            self.cluster.go_on(now - self.cluster.now)
            self.cluster.put_off_ends()
        if now - self._decayed >= DECAY_S:
            self.cluster.decay(now - self._decayed)
            self.tree.forget_idle()
            self._decayed = now

    def settle(self) -> None:
        """Let the engine look at hosts that have come, gone or changed. A decision does that first."""
        self._shared.settle()

    def decide(self, *, reclaim: bool = True, searches: int | None = None) -> Outcome:
        """Start what may start, and make room where somebody has a right to it. All is booked; it is returned in order.

        Without `reclaim`, those who found nobody to ask before do not look again. After so many `searches` for victims the rest
        is left for the next pass, which should follow at once: `unfinished`.
        """
        outcome = Outcome()
        self.settle()
        if self.awaited:
            return outcome
        decision = decide(self.cluster, reclaim=reclaim, searches=searches)
        self.last = Decision(reservations=self.last.reservations) if decision.at_rest else decision
        for grant in decision.started:
            group = self._shared.group_of[grant.request]
            holding = Holding(
                grant_id=grant.id,
                replica=group.replica,
                group_id=group.group_id,
                host=grant.hosts[0].id,
                need=group.about.need,
                grant=grant,
            )
            self._shared.holding_of[grant] = holding
            self._note(holding)
            outcome.granted.append(holding)
            self._waits(group, -grant.count)
            if not group.waiting:
                self._note_idle(group)
        for grant, request in decision.leaving:
            outcome.notices.append(
                Notice(
                    holding=self._shared.holding_of[grant],
                    count=grant.count,
                    grace_s=int(self.knobs.grace_s),
                    beneficiary=self._shared.group_of[request],
                )
            )
        return outcome

    def group_of(self, request: Request) -> Group:
        """Whose request it is, or a part of it for which room is being made."""
        return self._shared.group_of[request.whole or request]

    def imagined(
        self, quotas: Quotas, about: Callable[[Group], NewGroup], added: Iterable[Inventory] = ()
    ) -> Callable[[], Ledger]:
        """What makes a ledger of its own, in whatever thread, from the facts of this moment: with these quotas, groups as `about` describes them,
        and further hosts. This one stays as it is.

        Who is ahead by past use stays so. Room that is being made is planned anew by its first decision.
        """
        other = Ledger(self.epoch, self.knobs)
        other._shared = self._shared.imagined(quotas, added)
        other.awaited = set(self.awaited)
        other.waiting_by_team = self.waiting_by_team.copy()
        other.nodes_waiting, other.nodes_granted = self.nodes_waiting, self.nodes_granted
        other._decayed = self._decayed
        other.holdings = {
            replica: {id: replace(holding, grant=copy(holding.grant)) for id, holding in holdings.items()}
            for replica, holdings in self.holdings.items()
        }
        other.groups = {
            replica: {id: replace(group, about=about(group)) for id, group in groups.items()}
            for replica, groups in self.groups.items()
        }
        other.idle = {replica: dict(idle) for replica, idle in self.idle.items()}
        now, past = self.cluster.now, self._shared.past()

        def make() -> Ledger:
            other._shared.learn_wanted(other._every_group())
            other._shared.make_anew(quotas, now, past, other._every_holding(), other._every_group())
            return other

        return make

    def _every_holding(self) -> Iterator[Holding]:
        return chain.from_iterable(of_replica.values() for of_replica in self.holdings.values())

    def _every_group(self) -> Iterator[Group]:
        return chain.from_iterable(of_replica.values() for of_replica in self.groups.values())

    @property
    def unfinished(self) -> bool:
        """Whether somebody who may ask others to make room has not had the turn to do so."""
        return not self.awaited and self.cluster.waiting.is_postponed
