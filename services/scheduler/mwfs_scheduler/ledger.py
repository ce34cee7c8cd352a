"""All that the scheduler knows, and how each message changes it. Pure: no I/O, no clock, no randomness."""

# One mutable object instead of frozen values: a message changes a handful of counters among a hundred thousand groups.
# The decision engine's cluster is made from what stands here, and made anew when a new type of GPU, a new custom resource of
# a host or another tree of teams changes what everything in it is counted in.

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace

from mwfs_chassis.errors import ResourceExhausted
from mwfs_scheduler.fair_share.booking import Decision
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Grant, Knobs, Request, Time
from mwfs_scheduler.machines import Machines
from mwfs_scheduler.model import Group, Held, Holding, Inventory, KnownHost, NewGroup, Notice
from mwfs_scheduler.quotas import Quotas
from mwfs_scheduler.resources import MAX_CUSTOM_NAMES, Resources, listed
from mwfs_scheduler.settings import RUNNING
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
        self.resources = Resources()
        self._machines = Machines(self.resources)
        #: False: hosts have changed, and the engine has not been told to look at all that follows from it.
        self._settled = True
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
        self._last_grant = 0
        self._decayed = 0
        self._group_of: dict[Request, Group] = {}
        self._holding_of: dict[Grant, Holding] = {}
        quotas = quotas or Quotas()
        self._learn(quotas)
        self.cluster = self._cluster(0)
        self._machines.move(self.cluster)
        self.tree = TeamTree(quotas, self.cluster, self.resources)
        self._settle()

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
        group = Group(replica=replica, about=new, request=self._request(replica, new))
        self._group_of[group.request] = group
        self.groups[replica][new.group_id] = group
        self._note_idle(group)

    def demand(self, replica: str, group_id: str, add: int) -> None:
        """`add` more nodes of a known group wait."""
        if add <= 0:
            return
        group = self.groups[replica][group_id]
        if not group.waiting:
            self.idle[replica].pop(group_id, None)
            group.request.team = self.tree.team(group.about.team)
        self._waits(group, add)
        self.cluster.wait_too(group.request, add)

    def withdraw(self, replica: str, group_id: str) -> None:
        """The group's waiting nodes are no longer wanted. Unknown groups are ignored: they were empty and forgotten."""
        group = self.groups.get(replica, {}).pop(group_id, None)
        if group is None:
            return
        self.idle.get(replica, {}).pop(group_id, None)
        del self._group_of[group.request]
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
            del self._group_of[self.groups[group.replica].pop(oldest).request]

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
            del self._holding_of[holding.grant]
            self._machines.forget(holding.host)

    def _book(self, replica: str, held: Held) -> None:
        """Note what a replica says that it holds."""
        about = NewGroup(
            group_id=held.grant_id,
            team=held.team,
            run_id="",
            need=held.need,
            priority=held.priority,
            preemptible=held.preemptible,
        )
        request = self._request(replica, about)
        grant = Grant(
            id=request.id,
            request=request,
            start=self.cluster.now - held.age_s,
            hosts=[self._machines.host(held.host)],
            count=held.count,
        )
        holding = Holding(
            grant_id=held.grant_id, replica=replica, group_id="", host=held.host, need=held.need, grant=grant
        )
        self._note(holding)
        self.cluster.start(grant)
        self.cluster.may_be_asked(grant)

    def _note(self, holding: Holding) -> None:
        self.holdings[holding.replica][holding.grant_id] = holding
        self._holding_of[holding.grant] = holding
        self.nodes_granted += holding.count

    # --- hosts --------------------------------------------------------------------------------------------------------

    @property
    def hosts(self) -> Mapping[str, KnownHost]:
        """Those that offer something, and those on which something runs."""
        return self._machines.by_name

    def offer(self, inventory: Inventory) -> None:
        """A host offers this from now on. Raises ResourceExhausted when its custom resources have names beyond those that can be counted."""
        self._count_offered(inventory)
        self._machines.offer(inventory)
        self._settled = False

    def withdraw_host(self, name: str) -> None:
        """A host offers nothing any more. What was granted on it is remembered until it is released."""
        self._machines.withdraw(name)
        self._settled = False

    # --- teams --------------------------------------------------------------------------------------------------------

    def apply(self, quotas: Quotas) -> None:
        """These quotas hold from now on. What runs goes on, also where there is too much of it now."""
        if self._learn(quotas) or not self.tree.same_shape(quotas):
            self._begin_again(quotas)
        else:
            self.tree.quotas = quotas
            self._settled = False

    # --- decisions ----------------------------------------------------------------------------------------------------

    def pass_time(self, now: int) -> None:
        """It is `now` (s). A clock that goes back stands still meanwhile."""
        if now > self.cluster.now:
            self.cluster.go_on(now - self.cluster.now)
        if now - self._decayed >= DECAY_S:
            self.cluster.decay(now - self._decayed)
            self.tree.forget_idle()
            self._decayed = now

    def decide(self, *, reclaim: bool = True, searches: int | None = None) -> Outcome:
        """Start what may start, and make room where somebody has a right to it. All is booked; it is returned in order.

        Without `reclaim`, those who found nobody to ask before do not look again. After so many `searches` for victims the rest
        is left for the next pass, which should follow at once: `unfinished`.
        """
        outcome = Outcome()
        self.settle()
        if self.awaited:
            return outcome
        self.last = decision = decide(self.cluster, reclaim=reclaim, searches=searches)
        for grant in decision.started:
            group = self._group_of[grant.request]
            holding = Holding(
                grant_id=grant.id,
                replica=group.replica,
                group_id=group.group_id,
                host=grant.hosts[0].id,
                need=group.about.need,
                grant=grant,
            )
            self._note(holding)
            outcome.granted.append(holding)
            self._waits(group, -grant.count)
            if not group.waiting:
                self._note_idle(group)
        for grant, request in decision.leaving:
            beneficiary, grace = self._group_of[request], int(self.knobs.grace_s)
            outcome.notices.append(
                Notice(holding=self._holding_of[grant], count=grant.count, grace_s=grace, beneficiary=beneficiary)
            )
        return outcome

    def group_of(self, request: Request) -> Group:
        """Whose request it is, or a part of it for which room is being made."""
        return self._group_of[request.whole or request]

    def imagined(
        self, quotas: Quotas, about: Callable[[Group], NewGroup], added: Iterable[Inventory] = ()
    ) -> Callable[[], Ledger]:
        """What makes a ledger of its own, in whatever thread, from the facts of this moment: with these quotas, groups as `about` describes them,
        and further hosts. This one stays as it is.

        Who is ahead by past use stays so. Room that is being made is planned anew by its first decision.
        """
        other = Ledger(self.epoch, self.knobs)
        for name in self.resources.names:  # in the same order, which is that of what is remembered of past use
            other.resources.learn(name)
        other._learn(quotas)
        other.awaited = set(self.awaited)
        other.waiting_by_team = self.waiting_by_team.copy()
        other.nodes_waiting, other.nodes_granted = self.nodes_waiting, self.nodes_granted
        other._last_grant, other._decayed = self._last_grant, self._decayed
        other._machines = self._machines.imagined(other.resources, added)
        other.holdings = {
            replica: {id: replace(holding, grant=copy(holding.grant)) for id, holding in holdings.items()}
            for replica, holdings in self.holdings.items()
        }
        other.groups = {
            replica: {id: replace(group, about=about(group)) for id, group in groups.items()}
            for replica, groups in self.groups.items()
        }
        other.idle = {replica: dict(idle) for replica, idle in self.idle.items()}
        now, past = self.cluster.now, self._past()

        def make() -> Ledger:
            needs = [group.about.need for groups in other.groups.values() for group in groups.values()]
            offered = [known.inventory.capacity for known in other.hosts.values() if known.inventory is not None]
            for need in (*needs, *offered):
                other.resources.learn_type(need)
            for capacity in offered:
                for name, _ in capacity.custom:
                    other.resources.learn(name)
            other._make(quotas, now, past)
            return other

        return make

    @property
    def unfinished(self) -> bool:
        """Whether somebody who may ask others to make room has not had the turn to do so."""
        return not self.awaited and self.cluster.waiting.is_postponed

    # --- the engine's side --------------------------------------------------------------------------------------------

    def _cluster(self, now: Time) -> Cluster:
        return Cluster(
            resources=self.resources.names,
            knobs=self.knobs,
            now=now,
            told=True,
            most_together=self.resources.together(),
            grant_id=self._grant_id,
        )

    def _grant_id(self, _: Request) -> str:
        self._last_grant += 1
        return f"{self.epoch}.{self._last_grant}"

    def _request(self, replica: str, about: NewGroup) -> Request:
        return Request.build(
            id=f"{about.group_id}@{replica}",
            team=self.tree.team(about.team),
            shape=self.resources.shape(about.need),
            priority=about.priority,
            rank=about.rank_band if self.knobs.rank else 0,
            submit=about.submit_time_us,
            preemptible=about.preemptible,
            copies=0,
        )

    def _learn(self, quotas: Quotas) -> bool:
        """Whether resources are named there that were not counted before."""
        names = [name for each in quotas.teams for name in (*(each.guaranteed or ()), *(each.burst or ()))]
        return sum(self.resources.learn(name) for name in names) > 0

    def _count_offered(self, inventory: Inventory) -> None:
        """Make sure that all that a host has is counted."""
        beyond = self.resources.beyond(inventory.capacity)
        if beyond:
            raise ResourceExhausted(
                f"{MAX_CUSTOM_NAMES} custom resources can be told apart, and {inventory.host} has further ones: {listed(beyond)}.",
                "Offer such as licenses under names that hosts share, or start the scheduler again to forget names of before.",
            )
        new = [self.resources.learn(name) for name, _ in inventory.capacity.custom]
        if self.resources.learn_type(inventory.capacity) or any(new):
            self._begin_again(self.tree.quotas)

    def settle(self) -> None:
        """Let the engine look at hosts that have come, gone or changed. A decision does that first."""
        if not self._settled:
            self._settle()

    def _settle(self) -> None:
        self._settled = True
        self.tree.write(self.tree.quotas)
        self.cluster.settle()

    def _begin_again(self, quotas: Quotas) -> None:
        """Make the cluster anew, from what is known. Intents are made again by the next decision; notices stand."""
        self._make(quotas, self.cluster.now, self._past())

    def _past(self) -> dict[str, list[int]]:
        """What is remembered of the past use of each team itself."""
        found = {}
        for team in self.cluster.teams.values():
            below = [child.past for child in team.children if child.past is not None]
            past = [max(0, used - sum(each[at] for each in below)) for at, used in enumerate(team.past or ())]
            if any(past):
                found[team.id] = past
        return found

    def _make(self, quotas: Quotas, now: Time, past: Mapping[str, list[int]]) -> None:
        width = len(self.resources.names)
        self.cluster = self._cluster(now)
        self.tree = TeamTree(quotas, self.cluster, self.resources)
        self.last = Decision()
        self._group_of.clear()
        self._holding_of.clear()
        self._machines.move(self.cluster)
        for name, used in past.items():
            self.cluster.remember(self.tree.team(name), used + [0] * (width - len(used)))
        self._settle()
        for holdings in self.holdings.values():
            for holding in holdings.values():
                self._start_again(holding)
        for groups in self.groups.values():
            for group in groups.values():
                group.request = self._request(group.replica, group.about)
                self._group_of[group.request] = group
                self.cluster.wait_too(group.request, group.waiting)

    def _start_again(self, holding: Holding) -> None:
        old = holding.grant
        request = Request.build(
            id=old.id,
            team=self.tree.team(holding.team),
            shape=self.resources.shape(holding.need),
            priority=old.request.priority,
            submit=old.request.submit,
            preemptible=old.request.preemptible,
            preemptions=old.request.preemptions,
            copies=0,
        )
        host = self._machines.host(holding.host)
        holding.grant = Grant(id=old.id, request=request, start=old.start, hosts=[host], count=old.count)
        self._holding_of[holding.grant] = holding
        self.cluster.start(holding.grant)
        self.cluster.may_be_asked(holding.grant)
        if old.leaves_at is not None and holding.grant.askable:
            self.cluster.tell_to_leave(holding.grant, old.leaves_at)
