"""All that the scheduler knows, and how each message changes it. Pure: no I/O, no clock, no randomness."""

# One mutable object instead of frozen values: a message changes a handful of counters among a hundred thousand groups.

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from mwfs_scheduler.model import Grant, Group, Held, HostLedger, Inventory, NewGroup, Shape, TeamLedger
from mwfs_scheduler.placement import fitting

#: A group without waiting nodes is kept so that a later `add` need not describe it again; beyond this many a replica,
#: the one that has been empty for longest is forgotten.
IDLE_GROUPS_KEPT = 20_000


class Ledger:
    """Groups, grants, hosts and teams of one scheduler epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.hosts: dict[str, HostLedger] = {}
        self.teams: dict[str, TeamLedger] = {}
        #: By replica, then by id.
        self.groups: dict[str, dict[str, Group]] = {}
        self.grants: dict[str, dict[str, Grant]] = {}
        #: By replica: empty groups, the one that has been empty for longest first.
        self.idle: dict[str, dict[str, None]] = {}
        #: Who waits for each shape. A dict as an ordered set: order of arrival, the same in every replay.
        self.waiters: dict[Shape, dict[str, None]] = {}
        #: Shapes that fitted nowhere when last tried. They sleep until a host that was freed can take them.
        self.blocked: set[Shape] = set()
        self.freed: dict[str, None] = {}
        #: Replicas that held grants of an earlier epoch and have not said hello. Until they have, nothing is granted.
        self.awaited: set[str] = set()
        #: Pool of each resource times its factor is one and the same integer, so that shares compare exactly.
        self.factor_cpu = self.factor_memory = self.factor_gpus = 0
        self.nodes_waiting = 0
        self.nodes_granted = 0
        self.unknown_releases = 0
        self._last_grant = 0

    # --- replicas -----------------------------------------------------------------------------------------------------

    def hello(self, replica: str, held: Iterable[Held]) -> None:
        """Replace all that is known of the replica by what it says it holds."""
        self.forget_groups(replica)
        self.forget_grants(replica)
        self.awaited.discard(replica)
        self.groups[replica] = {}
        self.idle[replica] = {}
        adopted = self.grants[replica] = {}
        for one in held:
            if one.count and one.grant_id not in adopted:
                self._book(_grant_of(replica, one))

    def adopt(self, replica: str, one: Held) -> None:
        """The replica holds this from now on, instead of the one that held it: the runs have come to it."""
        if not one.count:
            return
        for other in self.grants:
            if other != replica and one.grant_id in self.grants[other]:
                self.release(other, one.grant_id, min(one.count, self.grants[other][one.grant_id].count))
                break
        known = self.grants[replica].get(one.grant_id)
        if known is None:
            self._book(_grant_of(replica, one))
            return
        known.count += one.count
        self.host(known.host).take(known.shape, one.count)
        self.team(known.team).hold(known.shape, one.count)
        self.nodes_granted += one.count

    def forget_groups(self, replica: str) -> None:
        """Nobody waits for these any more."""
        for group in list(self.groups.get(replica, {}).values()):
            self.withdraw(replica, group.group_id)
        self.groups.pop(replica, None)
        self.idle.pop(replica, None)

    def forget_grants(self, replica: str) -> None:
        """Give back all that the replica holds."""
        for grant in list(self.grants.get(replica, {}).values()):
            self.release(replica, grant.grant_id, grant.count)
        self.grants.pop(replica, None)

    # --- groups -------------------------------------------------------------------------------------------------------

    def knows(self, replica: str, group_id: str) -> bool:
        """True when a demand for this group need not describe it."""
        return group_id in self.groups[replica]

    def describe(self, replica: str, new: NewGroup) -> None:
        """Note a group that has been seen for the first time."""
        key = (-new.priority, -new.rank_band, new.submit_time_us, new.group_id, replica)
        group = Group(
            replica=replica, group_id=new.group_id, team=new.team, run_id=new.run_id, shape=new.shape, key=key
        )
        self.groups[replica][new.group_id] = group
        self._note_idle(group)

    def demand(self, replica: str, group_id: str, add: int) -> None:
        """`add` more nodes of a known group wait."""
        if add <= 0:
            return
        group = self.groups[replica][group_id]
        if not group.waiting:
            self.idle[replica].pop(group_id, None)
            self.team(group.team).join(group)
            self.waiters.setdefault(group.shape, {})[group.team] = None
        group.waiting += add
        self.nodes_waiting += add

    def withdraw(self, replica: str, group_id: str) -> None:
        """The group's waiting nodes are no longer wanted. Unknown groups are ignored: they were empty and forgotten."""
        group = self.groups.get(replica, {}).pop(group_id, None)
        if group is None:
            return
        self.idle.get(replica, {}).pop(group_id, None)
        if group.waiting:
            self.unqueue(group, group.waiting)

    def unqueue(self, group: Group, count: int) -> None:
        """`count` nodes of the group wait no longer."""
        group.waiting -= count
        self.nodes_waiting -= count
        if group.waiting:
            return
        team = self.teams[group.team]
        team.leave(group)
        if group.shape not in team.lines:
            waiting = self.waiters[group.shape]
            del waiting[group.team]
            if not waiting:
                del self.waiters[group.shape]
                self.blocked.discard(group.shape)
        if self.groups.get(group.replica, {}).get(group.group_id) is group:
            self._note_idle(group)
        self._forget_team(team)

    def _note_idle(self, group: Group) -> None:
        idle = self.idle[group.replica]
        idle[group.group_id] = None
        if len(idle) > IDLE_GROUPS_KEPT:
            oldest = next(iter(idle))
            del idle[oldest], self.groups[group.replica][oldest]

    # --- grants -------------------------------------------------------------------------------------------------------

    def grant(self, group: Group, host: HostLedger, count: int) -> Grant:
        """Give `count` nodes of the group a place on the host."""
        self._last_grant += 1
        grant = Grant(
            grant_id=f"{self.epoch}.{self._last_grant}",
            replica=group.replica,
            group_id=group.group_id,
            team=group.team,
            host=host.host,
            shape=group.shape,
            count=count,
        )
        self._book(grant)
        self.unqueue(group, count)
        return grant

    def enlarge(self, grant: Grant, group: Group, count: int) -> None:
        """Let `count` more nodes run under a grant that has not been sent yet."""
        grant.count += count
        self.hosts[grant.host].take(grant.shape, count)
        self.teams[grant.team].hold(grant.shape, count)
        self.nodes_granted += count
        self.unqueue(group, count)

    def release(self, replica: str, grant_id: str, count: int) -> None:
        """`count` nodes of a grant have ended or were not used. What was never granted is counted and ignored."""
        grants = self.grants.get(replica, {})
        grant = grants.get(grant_id)
        if grant is None or count > grant.count:
            self.unknown_releases += 1
        if grant is None:
            return
        count = min(count, grant.count)
        if not count:
            return
        grant.count -= count
        if not grant.count:
            del grants[grant_id]
        host = self.hosts[grant.host]
        host.take(grant.shape, -count)
        self.freed[host.host] = None
        team = self.teams[grant.team]
        team.hold(grant.shape, -count)
        self.nodes_granted -= count
        self._forget_team(team)
        if host.forgettable:
            del self.hosts[host.host]

    def _book(self, grant: Grant) -> None:
        self.grants[grant.replica][grant.grant_id] = grant
        self.host(grant.host).take(grant.shape, grant.count)
        self.team(grant.team).hold(grant.shape, grant.count)
        self.nodes_granted += grant.count

    # --- hosts and teams ----------------------------------------------------------------------------------------------

    def offer(self, inventory: Inventory) -> None:
        """A host offers this from now on."""
        self.host(inventory.host).inventory = inventory
        self.freed[inventory.host] = None
        self._weigh()

    def withdraw_host(self, name: str) -> None:
        """A host offers nothing any more. What was granted on it is remembered until it is released."""
        host = self.hosts.get(name)
        if host is None:
            return
        host.inventory = None
        if host.forgettable:
            del self.hosts[name]
        self._weigh()

    def host(self, name: str) -> HostLedger:
        """The host of that name, noted if it is new."""
        if name not in self.hosts:
            self.hosts[name] = HostLedger(host=name)
        return self.hosts[name]

    def team(self, name: str) -> TeamLedger:
        """The team of that name, noted if it is new."""
        if name not in self.teams:
            self.teams[name] = TeamLedger(team=name)
        return self.teams[name]

    def inventories(self) -> list[Inventory]:
        """What the connected hosts offer, by name."""
        offered = [host.inventory for host in self.hosts.values() if host.inventory is not None]
        return sorted(offered, key=lambda inventory: inventory.host)

    def wake(self) -> None:
        """Shapes that a freed host can take are tried again."""
        for name in self.freed:
            host = self.hosts.get(name)
            if host is not None and self.blocked:
                self.blocked = {shape for shape in self.blocked if not fitting(host, shape)}
        self.freed = {}

    def share(self, team: TeamLedger) -> int:
        """The team's dominant share of the pool, scaled to an exact integer."""
        return max(
            team.held_cpu * self.factor_cpu, team.held_memory * self.factor_memory, team.held_gpus * self.factor_gpus
        )

    def _weigh(self) -> None:
        offered = [inventory.capacity for inventory in self.inventories()]
        pools = [sum(one.cpu_millis for one in offered), sum(one.memory_bytes for one in offered)]
        pools.append(sum(one.gpus for one in offered))
        whole = prod(pool for pool in pools if pool)
        self.factor_cpu, self.factor_memory, self.factor_gpus = (whole // pool if pool else 0 for pool in pools)

    def _forget_team(self, team: TeamLedger) -> None:
        if team.forgettable:
            self.teams.pop(team.team, None)


def _grant_of(replica: str, held: Held) -> Grant:
    return Grant(
        grant_id=held.grant_id,
        replica=replica,
        group_id="",
        team=held.team,
        host=held.host,
        shape=held.shape,
        count=held.count,
    )
