"""A snapshot file to a cluster and back: everything in it is checked before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any, Final

from mwfs_scheduler import snapshot_values as values
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape, Time
from mwfs_scheduler.fair_share.teams import Team
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
    "snapshot": {"knobs", "cluster", "teams", "running", "pending", "now", "round_s"},
    "team": {"id", "parent", "weight", "guaranteed", "burst", "past_usage"},
    "running": {
        *("id", "team", "req", "priority", "preemptible", "start", "on", "ends", "members", "labels", "submit"),
        *("rank", "duration", "preemptions"),
    },
    "pending": {
        *("id", "team", "req", "priority", "preemptible", "submit", "members", "copies", "rank", "labels"),
        *("duration", "paused", "preemptions"),
    },
}


class Units:
    """Whole numbers for amounts: each resource has a smallest unit."""

    def __init__(self, resources: Sequence[str], parts: Sequence[int]) -> None:
        self.resources = tuple(resources)
        self.parts = tuple(parts)
        self.index = {name: at for at, name in enumerate(resources)}

    def back(self, resource: int, amount: int) -> int | float:
        """The amount as the file would give it."""
        return number(Fraction(amount, self.parts[resource]))


def number(value: Time) -> int | float:
    """As JSON has it."""
    return int(value) if value == int(value) else float(value)


class Reader:
    """Reads one snapshot into a cluster."""

    def __init__(self, data: Any) -> None:
        self._data = values.record(data, "snapshot", _KEYS["snapshot"])
        cluster = data.get("cluster")
        nodes = {} if cluster is None else values.record(cluster, "cluster", {"nodes"})
        self._nodes = values.rows(nodes.get("nodes"), "cluster.nodes", None)
        self._teams = values.rows(data.get("teams"), "teams", _KEYS["team"])
        self._running = values.rows(data.get("running"), "running", _KEYS["running"])
        self._pending = values.rows(data.get("pending"), "pending", _KEYS["pending"])
        self.knobs = values.knobs(data.get("knobs"))
        self.round_s = values.not_negative(data.get("round_s"), "round_s", 0)
        self.units = self._units()

    def cluster(self) -> Cluster:
        """The cluster that the file describes. Raises BadSnapshot."""
        if any(exact := self._for_scaling()):
            self.units = Units(
                self.units.resources, [part * (more or 1) for part, more in zip(self.units.parts, exact, strict=True)]
            )
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

        def see(amounts: Any, where: str) -> None:
            for name, amount in values.amounts(amounts, where).items():
                parts[name] = lcm(parts.get(name, 1), amount.denominator if isinstance(amount, Fraction) else 1)

        for where, node in self._nodes:
            see({key: value for key, value in node.items() if key not in ("id", "labels")}, where)
        for where, team in self._teams:
            for key in ("guaranteed", "burst", "past_usage"):
                see(team.get(key), f"{where}.{key}")
        for where, row in (*self._running, *self._pending):
            see(row.get("req"), f"{where}.req")
        if self.knobs.half_life_s is not None:
            parts = {name: lcm(each, _MEMORY_PARTS) for name, each in parts.items()}
        if len(parts) > MAX_RESOURCES:
            raise BadSnapshot(f"At most {MAX_RESOURCES} resources may have names; found {len(parts):,}.")
        names = sorted(parts)
        return Units(names, [parts[name] for name in names])

    def _dense(self, amounts: Any, where: str) -> list[int]:
        dense = [0] * len(self.units.resources)
        for name, amount in values.amounts(amounts, where).items():
            at = self.units.index[name]
            dense[at] = int(amount * self.units.parts[at])
        return dense

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _add_hosts(self, cluster: Cluster) -> None:
        for where, node in self._nodes:
            id = values.id_of(node, where)
            if id in cluster.hosts.by_id:
                raise BadSnapshot(f"{where}: node {cut(id)!r} is there twice.")
            capacity = self._dense({key: value for key, value in node.items() if key not in ("id", "labels")}, where)
            special = any(
                amount and name not in _PLAIN for name, amount in zip(self.units.resources, capacity, strict=True)
            )
            labels = values.labels_of_node(node.get("labels"), where)
            cluster.add_host(Host(id=id, capacity=capacity, free=list(capacity), labels=labels, special=special))

    def _add_teams(self, cluster: Cluster) -> None:
        rows = {}
        for where, row in self._teams:
            id = values.id_of(row, where)
            if id in rows:
                raise BadSnapshot(f"{where}: team {cut(id)!r} is there twice.")
            rows[id] = (where, row)
        for id in _parents_first(rows):
            where, row = rows[id]
            parent = row.get("parent")
            weight = values.weight(row.get("weight"), f"{where}.weight")
            team = Team(id, cluster.teams[parent] if parent is not None else None, weight, len(self.units.resources))
            limits = values.amounts(row.get("burst"), f"{where}.burst")
            team.burst = [
                int(limits[name] * part) if name in limits else None
                for name, part in zip(self.units.resources, self.units.parts, strict=True)
            ]
            cluster.add_team(team)
        for id in reversed(list(cluster.teams)):
            where, row = rows[id]
            team, given = cluster.teams[id], row.get("guaranteed")
            if given is not None:
                team.guaranteed = self._dense(given, f"{where}.guaranteed")
            for at, name in enumerate(self.units.resources):
                if given is None or (name in given and given[name] is None):
                    team.guaranteed[at] = sum(child.guaranteed[at] for child in team.children)
        if self.knobs.half_life_s is not None:
            for id, team in cluster.teams.items():
                where, row = rows[id]
                cluster.remember(team, self._dense(row.get("past_usage"), f"{where}.past_usage"))

    def _request(self, cluster: Cluster, where: str, row: Mapping[str, Any], id: str, members: int) -> Request:
        name = row.get("team")
        team = cluster.teams.get(name) if isinstance(name, str) else None
        if team is None:
            raise BadSnapshot(f"{where}.team: there is no team {found(name)} among the teams.")
        asked = self._dense(row.get("req"), f"{where}.req")
        needs = tuple((at, amount) for at, amount in enumerate(asked) if amount)
        return Request.build(
            id=id,
            team=team,
            shape=Shape(needs, members, values.labels(row.get("labels"), where), _duration(row, where)),
            priority=values.whole(row.get("priority"), f"{where}.priority", 0),
            rank=values.time(row.get("rank"), f"{where}.rank", 0) if self.knobs.rank else 0,
            submit=values.time(row.get("submit"), f"{where}.submit", 0),
            preemptible=values.flag(row.get("preemptible"), f"{where}.preemptible", True),
            paused=values.flag(row.get("paused"), f"{where}.paused", False),
            preemptions=values.whole(row.get("preemptions"), f"{where}.preemptions", 0),
        )

    def _add_running(self, cluster: Cluster) -> None:
        for where, row in self._running:
            on = [] if row.get("on") is None else row["on"]
            if not isinstance(on, list) or len(on) > MAX_MEMBERS or not all(isinstance(name, str) for name in on):
                raise BadSnapshot(f"{where}.on must be a list of node ids, one per member; found {found(on)}.")
            members = values.whole(row.get("members"), f"{where}.members", len(on) or 1)
            if not 1 <= members <= MAX_MEMBERS or (on and members != len(on)):
                raise BadSnapshot(f"{where}.on must list a node for each of {members:,} members; found {len(on):,}.")
            id = values.id_of(row, where)
            if id in cluster.grants:
                raise BadSnapshot(f"{where}: {cut(id)!r} runs twice.")
            ends = values.optional(values.time, row.get("ends"), f"{where}.ends")
            request = self._request(cluster, where, row, id, members)
            # A node that is not there has vanished: what ran there still counts for its team.
            hosts = [cluster.hosts.by_id[name] for name in on if name in cluster.hosts.by_id]
            start = values.time(row.get("start"), f"{where}.start", 0)
            request.copies = 0
            grant = Grant(id=id, request=request, start=start, ends=ends, hosts=hosts)
            cluster.start(grant)
            cluster.may_be_asked(grant)

    def _add_pending(self, cluster: Cluster) -> None:
        waiting = 0
        for where, row in self._pending:
            copies = values.whole(row.get("copies"), f"{where}.copies", 1)
            members = values.whole(row.get("members"), f"{where}.members", 1)
            if copies < 0:
                raise BadSnapshot(f"{where}.copies must not be negative; found {copies}.")
            if not 1 <= members <= MAX_MEMBERS:
                raise BadSnapshot(f"{where}.members must be between 1 and {MAX_MEMBERS:,}; found {members}.")
            waiting += copies * members
            if waiting > MAX_WAITING:
                raise BadSnapshot(
                    f"{where}.copies: at most {MAX_WAITING:,} members may wait in all; found {waiting:,} up to here."
                )
            id = values.id_of(row, where)
            ids = [id] if row.get("copies") is None or copies == 1 else [f"{id}#{at}" for at in range(1, copies + 1)]
            first = self._request(cluster, where, row, id, members)
            for each in ids:
                if each in cluster.waiting.requests or each in cluster.grants or each in cluster.paused:
                    raise BadSnapshot(f"{where}: {cut(each)!r} is there twice.")
                cluster.wait(first if each == id else first.copy(each))


def _duration(row: Mapping[str, Any], where: str) -> Time | None:
    """How long the work runs when it starts (again): what the file says, or what a running one had been given."""
    duration = values.optional(values.not_negative, row.get("duration"), f"{where}.duration")
    if duration is None and row.get("ends") is not None and row.get("start") is not None:
        return max(0, values.time(row["ends"], f"{where}.ends", 0) - values.time(row["start"], f"{where}.start", 0))
    return duration


def _parents_first(rows: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[str]:
    depths: dict[str, int] = {}
    for id in rows:
        chain: dict[str, None] = {}
        at: Any = id
        while at is not None and at not in depths:
            where, row = rows[at]
            if at in chain:
                names = list(chain)
                circle = " → ".join([*names[names.index(at) :], at])
                raise BadSnapshot(f"{where}.parent: the teams form a circle: {cut(circle)}.")
            chain[at] = None
            parent = row.get("parent")
            if parent is not None and (not isinstance(parent, str) or parent not in rows):
                raise BadSnapshot(f"{where}.parent: there is no team {found(parent)}.")
            at = parent
        depth = 0 if at is None else depths[at] + 1
        for each in reversed(chain):
            depths[each] = depth
            depth += 1
        if depth > MAX_DEPTH:
            raise BadSnapshot(f"{rows[id][0]}: the tree of teams is deeper than {MAX_DEPTH}.")
    return sorted(depths, key=lambda id: (depths[id], id))
