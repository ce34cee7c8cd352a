"""The decision engine's cluster for all that the ledger knows: made from it, and made anew when what is counted changes. Pure."""

# A new type of GPU, a new custom resource of a host or another tree of teams changes what everything in the cluster is counted in.

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mwfs_chassis.errors import ResourceExhausted
from mwfs_scheduler.durations import in_steps
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Knobs, Request, Time
from mwfs_scheduler.machines import Machines
from mwfs_scheduler.model import Group, Held, Holding, Inventory, NewGroup
from mwfs_scheduler.quotas import Quotas
from mwfs_scheduler.resources import MAX_CUSTOM_NAMES, Resources, listed
from mwfs_scheduler.team_tree import TeamTree


class SharedCluster:
    """What the decision engine has of groups, grants, hosts and teams, and whose each of that is."""

    def __init__(self, epoch: int, knobs: Knobs, quotas: Quotas) -> None:
        self._epoch = epoch
        self._knobs = knobs
        self.resources = Resources()
        self.machines = Machines(self.resources)
        #: False: hosts or amounts have changed, and the engine has not been told to look at all that follows from it.
        self._settled = True
        self._last_grant = 0
        self.group_of: dict[Request, Group] = {}
        self.holding_of: dict[Grant, Holding] = {}
        self._learn(quotas)
        self._stand(quotas, 0)
        self._settle()

    def _stand(self, quotas: Quotas, now: Time) -> None:
        """A new cluster, with the hosts and the teams that have quotas."""
        self.cluster = Cluster(
            resources=self.resources.names,
            knobs=self._knobs,
            now=now,
            told=True,
            most_together=self.resources.together(),
            grant_id=self._grant_id,
        )
        self.tree = TeamTree(quotas, self.cluster, self.resources)
        self.machines.move(self.cluster)

    def _grant_id(self, _: Request) -> str:
        self._last_grant += 1
        return f"{self._epoch}.{self._last_grant}"

    # --- groups and grants --------------------------------------------------------------------------------------------

    def group(self, replica: str, about: NewGroup) -> Group:
        """A group of which nothing waits yet."""
        group = Group(replica=replica, about=about, request=self._request(replica, about))
        self.group_of[group.request] = group
        return group

    def _request(self, replica: str, about: NewGroup) -> Request:
        return Request.build(
            id=f"{about.group_id}@{replica}",
            team=self.tree.team(about.team),
            shape=self.resources.shape(about.need, in_steps(about.expected_s)),
            priority=about.priority,
            rank=about.rank_band if self._knobs.rank else 0,
            submit=about.submit_time_us,
            preemptible=about.preemptible,
            preemptions=about.preemptions,
            copies=0,
        )

    def holding(self, replica: str, held: Held) -> Holding:
        """What a replica says that it holds; `start` it next."""
        about = NewGroup(
            group_id=held.grant_id,
            team=held.team,
            run_id="",
            need=held.need,
            priority=held.priority,
            preemptible=held.preemptible,
            preemptions=held.preemptions,
        )
        request = self._request(replica, about)
        grant = Grant(
            id=request.id,
            request=request,
            start=self.cluster.now - held.age_s,
            ends=None if held.expected_s is None else self.cluster.now - held.age_s + held.expected_s,
            hosts=[self.machines.host(held.host)],
            count=held.count,
        )
        return Holding(
            grant_id=held.grant_id, replica=replica, group_id="", host=held.host, need=held.need, grant=grant
        )

    def start(self, holding: Holding, leaves_at: Time | None = None) -> None:
        """It takes up its room, and may be asked to leave; or it was, and leaves until then."""
        self.holding_of[holding.grant] = holding
        self.cluster.start(holding.grant)
        self.cluster.may_be_asked(holding.grant)
        if leaves_at is not None and holding.grant.askable:
            self.cluster.tell_to_leave(holding.grant, leaves_at)

    # --- hosts and teams ----------------------------------------------------------------------------------------------

    def learn_offered(self, inventory: Inventory) -> bool:
        """Make sure that all that a host has is counted. True: the cluster must be made anew.

        Raises ResourceExhausted when its custom resources have names beyond those that can be counted.
        """
        beyond = self.resources.beyond(inventory.capacity)
        if beyond:
            raise ResourceExhausted(
                f"{MAX_CUSTOM_NAMES} custom resources can be told apart, and {inventory.host} has further ones: {listed(beyond)}.",
                "Offer such as licenses under names that hosts share, or start the scheduler again to forget names of before.",
            )
        new = [self.resources.learn(name) for name, _ in inventory.capacity.custom]
        return self.resources.learn_type(inventory.capacity) or any(new)

    def offer(self, inventory: Inventory) -> None:
        """A host offers this from now on."""
        self.machines.offer(inventory)
        self._settled = False

    def withdraw_host(self, name: str) -> None:
        """A host offers nothing any more."""
        self.machines.withdraw(name)
        self._settled = False

    def adjust(self, quotas: Quotas) -> bool:
        """These quotas hold from now on. True: they do not before the cluster is made anew."""
        if self._learn(quotas) or not self.tree.same_shape(quotas):
            return True
        self.tree.quotas = quotas
        self._settled = False
        return False

    def _learn(self, quotas: Quotas) -> bool:
        """Whether resources are named there that were not counted before."""
        names = [name for each in quotas.teams for name in (*(each.guaranteed or ()), *(each.burst or ()))]
        return sum(self.resources.learn(name) for name in names) > 0

    def settle(self) -> None:
        """Let the engine look at hosts and amounts that have come, gone or changed."""
        if not self._settled:
            self._settle()

    def _settle(self) -> None:
        self._settled = True
        self.tree.write(self.tree.quotas)
        self.cluster.settle()

    # --- made anew ----------------------------------------------------------------------------------------------------

    def past(self) -> dict[str, list[int]]:
        """What is remembered of the past use of each team itself."""
        found = {}
        for team in self.cluster.teams.values():
            below = [child.past for child in team.children if child.past is not None]
            past = [max(0, used - sum(each[at] for each in below)) for at, used in enumerate(team.past or ())]
            if any(past):
                found[team.id] = past
        return found

    def make_anew(
        self,
        quotas: Quotas,
        now: Time,
        past: Mapping[str, list[int]],
        holdings: Iterable[Holding],
        groups: Iterable[Group],
    ) -> None:
        """Another cluster with all of this. Intents are made again by the next decision; notices stand."""
        width = len(self.resources.names)
        self.group_of.clear()
        self.holding_of.clear()
        self._stand(quotas, now)
        for name, used in past.items():
            self.cluster.remember(self.tree.team(name), used + [0] * (width - len(used)))
        self._settle()
        for holding in holdings:
            self._start_again(holding)
        for group in groups:
            since = group.request.since
            group.request = self._request(group.replica, group.about)
            group.request.since = since
            self.group_of[group.request] = group
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
        host = self.machines.host(holding.host)
        holding.grant = Grant(id=old.id, request=request, start=old.start, ends=old.ends, hosts=[host], count=old.count)
        self.start(holding, old.leaves_at)

    def imagined(self, quotas: Quotas, added: Iterable[Inventory]) -> SharedCluster:
        """One of its own that counts the same, and what these quotas name; with the same hosts and these. It must be made anew before it is used."""
        other = SharedCluster(self._epoch, self._knobs, Quotas())
        for name in self.resources.names:  # in the same order, which is that of what is remembered of past use
            other.resources.learn(name)
        other._learn(quotas)
        other._last_grant = self._last_grant
        other.machines = self.machines.imagined(other.resources, added)
        return other

    def learn_wanted(self, groups: Iterable[Group]) -> None:
        """Count all that the hosts have, and the types that these ask for, before it is made anew."""
        offered = [known.inventory.capacity for known in self.machines.by_name.values() if known.inventory is not None]
        for need in (*(group.about.need for group in groups), *offered):
            self.resources.learn_type(need)
        for capacity in offered:
            for name, _ in capacity.custom:
                self.resources.learn(name)
