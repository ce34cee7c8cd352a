"""A snapshot file to a cluster and back: everything in it is checked before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any, Final

from mwfs_scheduler import snapshot_values as values
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Selector, Shape, Time
from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.snapshot_rows import Row, rows
from mwfs_scheduler.snapshot_values import BadSnapshot, cut, found, parse

__all__ = ["BadSnapshot", "Reader", "Units", "number", "parse"]

#: Bounds of what is believed. All members of all that waits count, copies included.
MAX_WAITING: Final = 1_000_000
MAX_MEMBERS: Final = 100_000
MAX_RESOURCES: Final = 256
MAX_DEPTH: Final = 64
#: Parts of a unit that the decayed memory of use is kept in.
_MEMORY_PARTS: Final = 10**6
#: What every machine has; a host with anything else is special, and is left to those who need it.
_PLAIN: Final = frozenset({"cpu", "mem", "memory", "disk"})

_KEYS: Final = {
    "snapshot": frozenset({"knobs", "cluster", "teams", "running", "pending", "now", "round_s"}),
    "team": frozenset({"id", "parent", "weight", "guaranteed", "burst", "past_usage"}),
    "running": frozenset(
        {
            *("id", "team", "req", "priority", "preemptible", "start", "on", "ends", "members", "labels", "submit"),
            *("rank", "duration", "preemptions"),
        }
    ),
    "pending": frozenset(
        {
            *("id", "team", "req", "priority", "preemptible", "submit", "members", "copies", "rank", "labels"),
            *("duration", "paused", "preemptions"),
        }
    ),
}


class Units:
    """Whole numbers for amounts: each resource has a smallest unit."""

    def __init__(self, resources: Sequence[str], parts: Sequence[int]) -> None:
        self.resources = tuple(resources)
        self.parts = tuple(parts)
        self.index = {name: at for at, name in enumerate(resources)}

    def back(self, resource: int, amount: int) -> int | float:
        """The amount as the file would give it."""
        parts = self.parts[resource]
        return amount if parts == 1 else number(Fraction(amount, parts))


def number(value: Time) -> int | float:
    """As JSON has it."""
    return int(value) if value == int(value) else float(value)


class Reader:
    """Reads one snapshot into a cluster."""

    def __init__(self, data: Any) -> None:
        self._data = values.record(data, "snapshot", _KEYS["snapshot"])
        cluster = data.get("cluster")
        nodes = {} if cluster is None else values.record(cluster, "cluster", {"nodes"})
        self._nodes = rows(nodes.get("nodes"), "cluster.nodes", None)
        self._teams = rows(data.get("teams"), "teams", _KEYS["team"])
        self._running = rows(data.get("running"), "running", _KEYS["running"])
        self._pending = rows(data.get("pending"), "pending", _KEYS["pending"])
        self.knobs = values.knobs(data.get("knobs"))
        self.round_s = values.not_negative(data.get("round_s"), "round_s", 0)
        self.units = self._units()
        #: In these units, by what the file says: many ask for the same.
        self._shapes: dict[tuple[tuple[tuple[str, Time], ...], int, Selector, Time | None], Shape] = {}

    def cluster(self) -> Cluster:
        """The cluster that the file describes. Raises BadSnapshot."""
        if any(exact := self._for_scaling()):
            self.units = Units(
                self.units.resources, [part * (more or 1) for part, more in zip(self.units.parts, exact, strict=True)]
            )
            self._shapes.clear()
        return self._cluster()

    def _for_scaling(self) -> list[int]:
        """By what the units must be divided so that scaled guarantees are whole numbers; 0 where nothing is scaled."""
        cluster = Cluster(resources=self.units.resources, knobs=self.knobs, now=0)
        self._add_hosts(cluster)
        self._add_teams(cluster)
        promised = [sum(team.guaranteed[at] for team in cluster.tops) for at in range(len(self.units.resources))]
        pools = cluster.hosts.pools
        return [all_ // gcd(all_, pool) if all_ > pool else 0 for all_, pool in zip(promised, pools, strict=True)]

    def _cluster(self) -> Cluster:
        now = values.time(self._data.get("now"), "now", 0)
        cluster = Cluster(resources=self.units.resources, knobs=self.knobs, now=now)
        self._add_hosts(cluster)
        self._add_teams(cluster)
        cluster.settle()
        self._add_running(cluster)
        self._add_pending(cluster)
        return cluster

    # --- amounts ------------------------------------------------------------------------------------------------------

    def _units(self) -> Units:
        """One pass over all amounts, for the names of the resources and the smallest unit of each."""
        parts: dict[str, int] = {}
        seen: set[tuple[tuple[str, Time], ...]] = set()

        def see(amounts: Mapping[str, Time]) -> None:
            key = tuple(amounts.items())
            if key not in seen:
                seen.add(key)
                for name, amount in key:
                    parts[name] = lcm(parts.get(name, 1), amount.denominator)

        for node in self._nodes:
            see(_capacity(node))
        for team in self._teams:
            for key in ("guaranteed", "burst", "past_usage"):
                see(team.amounts(key))
        for row in (*self._running, *self._pending):
            see(row.amounts("req"))
        if self.knobs.half_life_s is not None:
            parts = {name: lcm(each, _MEMORY_PARTS) for name, each in parts.items()}
        if len(parts) > MAX_RESOURCES:
            raise BadSnapshot(f"At most {MAX_RESOURCES} resources may have names; found {len(parts):,}.")
        names = sorted(parts)
        return Units(names, [parts[name] for name in names])

    def _dense(self, amounts: Mapping[str, Time]) -> list[int]:
        dense = [0] * len(self.units.resources)
        for name, amount in amounts.items():
            at = self.units.index[name]
            dense[at] = int(amount * self.units.parts[at])
        return dense

    def _shape(self, row: Row, members: int) -> Shape:
        amounts = row.amounts("req")
        key = tuple(amounts.items()), members, row.labels(), _duration(row)
        shape = self._shapes.get(key)
        if shape is None:
            needs = tuple((at, amount) for at, amount in enumerate(self._dense(amounts)) if amount)
            shape = self._shapes[key] = Shape(needs, *key[1:])
        return shape

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _add_hosts(self, cluster: Cluster) -> None:
        for node in self._nodes:
            id = node.id()
            if id in cluster.hosts.by_id:
                raise BadSnapshot(f"{node.where}: node {cut(id)!r} is there twice.")
            capacity = self._dense(_capacity(node))
            special = any(
                amount and name not in _PLAIN for name, amount in zip(self.units.resources, capacity, strict=True)
            )
            labels = values.labels_of_node(node.given.get("labels"), node.where)
            cluster.add_host(Host(id=id, capacity=capacity, free=list(capacity), labels=labels, special=special))

    def _add_teams(self, cluster: Cluster) -> None:
        rows: dict[str, Row] = {}
        for row in self._teams:
            id = row.id()
            if id in rows:
                raise BadSnapshot(f"{row.where}: team {cut(id)!r} is there twice.")
            rows[id] = row
        for id in _parents_first(rows):
            row = rows[id]
            parent = row.given.get("parent")
            weight = values.weight(row.given.get("weight"), f"{row.where}.weight")
            team = Team(id, cluster.teams[parent] if parent is not None else None, weight, len(self.units.resources))
            limits = row.amounts("burst")
            team.burst = [
                int(limits[name] * part) if name in limits else None
                for name, part in zip(self.units.resources, self.units.parts, strict=True)
            ]
            cluster.add_team(team)
        for id in reversed(list(cluster.teams)):
            row = rows[id]
            team, given = cluster.teams[id], row.given.get("guaranteed")
            if given is not None:
                team.guaranteed = self._dense(row.amounts("guaranteed"))
            for at, name in enumerate(self.units.resources):
                if given is None or (name in given and given[name] is None):
                    team.guaranteed[at] = sum(child.guaranteed[at] for child in team.children)
        if self.knobs.half_life_s is not None:
            for id, team in cluster.teams.items():
                cluster.remember(team, self._dense(rows[id].amounts("past_usage")))

    def _request(self, cluster: Cluster, row: Row, id: str, members: int) -> Request:
        name = row.given.get("team")
        team = cluster.teams.get(name) if isinstance(name, str) else None
        if team is None:
            raise BadSnapshot(f"{row.where}.team: there is no team {found(name)} among the teams.")
        return Request.build(
            id=id,
            team=team,
            shape=self._shape(row, members),
            priority=row.whole("priority", 0),
            rank=row.time("rank", 0) if self.knobs.rank else 0,
            submit=row.time("submit", 0),
            preemptible=row.flag("preemptible", True),
            paused=row.flag("paused", False),
            preemptions=row.whole("preemptions", 0),
        )

    def _add_running(self, cluster: Cluster) -> None:
        for row in self._running:
            on = [] if row.given.get("on") is None else row.given["on"]
            if not isinstance(on, list) or len(on) > MAX_MEMBERS or not all(isinstance(name, str) for name in on):
                raise BadSnapshot(f"{row.where}.on must be a list of node ids, one per member; found {found(on)}.")
            members = row.whole("members", len(on) or 1)
            if not 1 <= members <= MAX_MEMBERS or (on and members != len(on)):
                raise BadSnapshot(
                    f"{row.where}.on must list a node for each of {members:,} members; found {len(on):,}."
                )
            id = row.id()
            if id in cluster.grants:
                raise BadSnapshot(f"{row.where}: {cut(id)!r} runs twice.")
            ends = row.time("ends", 0) if row.has("ends") else None
            request = self._request(cluster, row, id, members)
            # A node that is not there has vanished: what ran there still counts for its team.
            hosts = [cluster.hosts.by_id[name] for name in on if name in cluster.hosts.by_id]
            request.copies = 0
            grant = Grant(id=id, request=request, start=row.time("start", 0), ends=ends, hosts=hosts)
            cluster.start(grant)
            cluster.may_be_asked(grant)

    def _add_pending(self, cluster: Cluster) -> None:
        waiting = 0
        for row in self._pending:
            copies, members = row.whole("copies", 1), row.whole("members", 1)
            if copies < 0:
                raise BadSnapshot(f"{row.where}.copies must not be negative; found {copies}.")
            if not 1 <= members <= MAX_MEMBERS:
                raise BadSnapshot(f"{row.where}.members must be between 1 and {MAX_MEMBERS:,}; found {members}.")
            waiting += copies * members
            if waiting > MAX_WAITING:
                raise BadSnapshot(
                    f"{row.where}.copies: at most {MAX_WAITING:,} members may wait in all; found {waiting:,} up to here."
                )
            id = row.id()
            ids = [id] if copies == 1 or not row.has("copies") else [f"{id}#{at}" for at in range(1, copies + 1)]
            first = self._request(cluster, row, id, members)
            for each in ids:
                if each in cluster.waiting.requests or each in cluster.grants or each in cluster.paused:
                    raise BadSnapshot(f"{row.where}: {cut(each)!r} is there twice.")
                cluster.wait(first if each == id else first.copy(each))


def _capacity(node: Row) -> Mapping[str, Time]:
    return values.amounts({key: value for key, value in node.given.items() if key not in ("id", "labels")}, node.where)


def _duration(row: Row) -> Time | None:
    """How long the work runs when it starts (again): what the file says, or what a running one had been given."""
    duration = row.seconds("duration")
    if duration is None and row.has("ends") and row.has("start"):
        return max(0, row.time("ends", 0) - row.time("start", 0))
    return duration


def _parents_first(rows: Mapping[str, Row]) -> list[str]:
    depths: dict[str, int] = {}
    for id in rows:
        chain: dict[str, None] = {}
        at: Any = id
        while at is not None and at not in depths:
            row = rows[at]
            if at in chain:
                names = list(chain)
                circle = " → ".join([*names[names.index(at) :], at])
                raise BadSnapshot(f"{row.where}.parent: the teams form a circle: {cut(circle)}.")
            chain[at] = None
            parent = row.given.get("parent")
            if parent is not None and (not isinstance(parent, str) or parent not in rows):
                raise BadSnapshot(f"{row.where}.parent: there is no team {found(parent)}.")
            at = parent
        depth = 0 if at is None else depths[at] + 1
        for each in reversed(chain):
            depths[each] = depth
            depth += 1
        if depth > MAX_DEPTH:
            raise BadSnapshot(f"{rows[id].where}: the tree of teams is deeper than {MAX_DEPTH}.")
    return sorted(depths, key=lambda id: (depths[id], id))
