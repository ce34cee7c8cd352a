"""What a snapshot file says, in exact numbers, and what fits where: the ground the reference and the checker stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Number = int | Fraction
Amounts = dict[str, Number]

KNOBS: dict[str, Any] = {
    "reclaim_priority": "any", "fair_preemption": False, "share_basis": "borrowed", "grace_s": 0, "min_runtime_s": 0,
    "max_preemptions_per_job": None, "rank": "off", "backfill": "none", "aging_bound_s": None, "half_life_s": None,
}  # fmt: skip


def exact(value: Any) -> Number:
    """A number of the file without rounding: 0.1 is a tenth."""
    if isinstance(value, float):
        value = Fraction(str(value))
    return int(value) if value == int(value) else value


def plain(value: Number) -> int | float:
    """An exact number as JSON has it."""
    return int(value) if value == int(value) else float(value)


def amounts(given: Mapping[str, Any] | None) -> Amounts:
    return {name: exact(value) for name, value in (given or {}).items() if value is not None}


@dataclass(slots=True, kw_only=True)
class Node:
    id: str
    capacity: Amounts
    labels: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Team:
    id: str
    parent: str | None
    weight: Number
    guaranteed: Amounts | None
    burst: Amounts
    past: Amounts


@dataclass(slots=True, kw_only=True)
class Job:
    """A request, waiting (`on` is empty) or running."""

    id: str
    team: str
    req: Amounts
    members: int = 1
    priority: Number = 0
    rank: Number = 0
    preemptible: bool = True
    paused: bool = False
    submit: Number = 0
    duration: Number | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    start: Number = 0
    ends: Number | None = None
    on: tuple[str, ...] = ()
    preemptions: int = 0
    #: Resources of which it wants some, by name.
    requested: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.requested = sorted(name for name, amount in self.req.items() if amount > 0)

    def total(self, resource: str) -> Number:
        return self.req.get(resource, 0) * self.members


@dataclass(slots=True)
class Cluster:
    nodes: dict[str, Node]
    teams: dict[str, Team]
    running: dict[str, Job]
    pending: dict[str, Job]
    knobs: dict[str, Any]
    now: Number
    round_s: Number

    #: What never changes: path of a team, children, guarantee, pool, resources, nodes that match labels.
    known: dict[Any, Any] = field(default_factory=dict)

    def path(self, team: str) -> list[str]:
        """A team's ancestors from the root down, itself last."""
        if ("path", team) not in self.known:
            above = self.teams[team].parent
            self.known["path", team] = [*([] if above is None else self.path(above)), team]
        return list(self.known["path", team])

    def children(self, team: str | None) -> list[str]:
        if ("children", team) not in self.known:
            self.known["children", team] = sorted(one.id for one in self.teams.values() if one.parent == team)
        return list(self.known["children", team])

    def guarantee(self, team: str, resource: str) -> Number:
        """What the team is promised; all promises are scaled in proportion where those at the top exceed the cluster."""
        if (team, resource) not in self.known:
            promised = sum((self.promise(top, resource) for top in self.children(None)), start=0)
            factor = Fraction(self.pool(resource)) / promised if promised > self.pool(resource) else 1
            self.known[team, resource] = self.promise(team, resource) * factor
        return self.known[team, resource]

    def promise(self, team: str, resource: str) -> Number:
        """Not governed is 0 for a leaf and the children's sum for a parent; an absent resource is 0."""
        given = self.teams[team].guaranteed
        if given is None:
            return sum((self.promise(child, resource) for child in self.children(team)), start=0)
        return given.get(resource, 0)

    def pool(self, resource: str) -> Number:
        if ("pool", resource) not in self.known:
            total = sum((node.capacity.get(resource, 0) for node in self.nodes.values()), start=0)
            self.known["pool", resource] = total
        return self.known["pool", resource]

    def resources(self) -> list[str]:
        if "resources" not in self.known:
            names = {name for node in self.nodes.values() for name in node.capacity if self.pool(name) > 0}
            self.known["resources"] = sorted(names)
        return self.known["resources"]

    def matching(self, job: Job) -> list[Node]:
        """The nodes whose labels the request accepts."""

        def accepts(node: Node) -> bool:
            return all(
                node.labels.get(key) in (wanted if isinstance(wanted, list) else [wanted])
                for key, wanted in job.labels.items()
            )

        if ("matching", job.id) not in self.known:
            found = [self.nodes[name] for name in sorted(self.nodes) if accepts(self.nodes[name])]
            self.known["matching", job.id] = found
        return self.known["matching", job.id]

    def usage(self, jobs: Iterable[Job]) -> dict[str, Amounts]:
        """What each team and its descendants hold when those jobs run."""
        used: dict[str, Amounts] = {team: {} for team in self.teams}
        for job in jobs:
            own = used[job.team]
            for resource, amount in job.req.items():
                own[resource] = own.get(resource, 0) + amount * job.members
        for team in self.from_the_leaves():
            above = self.teams[team].parent
            if above is not None:
                for resource, amount in used[team].items():
                    used[above][resource] = used[above].get(resource, 0) + amount
        return used

    def from_the_leaves(self) -> list[str]:
        if "leaves first" not in self.known:
            self.known["leaves first"] = sorted(self.teams, key=lambda team: -len(self.path(team)))
        return self.known["leaves first"]

    def free(self, jobs: Iterable[Job]) -> dict[str, Amounts]:
        left = {node.id: dict(node.capacity) for node in self.nodes.values()}
        for job in jobs:
            for name in job.on:
                if name not in left:
                    continue
                for resource, amount in job.req.items():
                    left[name][resource] = left[name].get(resource, 0) - amount
        return left

    def burst_in_the_way(self, job: Job, jobs: Iterable[Job]) -> tuple[str, str, Number, Number] | None:
        """(team, resource, burst, in use) of the nearest limit that the request would pass, if any."""
        used = self.usage(jobs)
        for team in reversed(self.path(job.team)):
            for resource in job.requested:
                limit = self.teams[team].burst.get(resource)
                if limit is not None and used[team].get(resource, 0) + job.total(resource) > limit:
                    return team, resource, limit, used[team].get(resource, 0)
        return None

    def places(self, job: Job, free: Mapping[str, Amounts]) -> dict[str, int]:
        """How many members each node could take."""
        found = {}
        for node in self.matching(job):
            left = free[node.id]
            each = [left.get(resource, 0) // job.req[resource] for resource in job.requested]
            found[node.id] = min(max(0, min(each, default=job.members)), job.members)
        return found


def parse(snapshot: Mapping[str, Any]) -> Cluster:
    cluster = Cluster(
        nodes={one["id"]: read_node(one) for one in (snapshot.get("cluster") or {}).get("nodes") or []},
        teams={one["id"]: read_team(one) for one in snapshot.get("teams") or []},
        running={},
        pending={},
        knobs=KNOBS | {name: value for name, value in (snapshot.get("knobs") or {}).items() if value is not None},
        now=exact(snapshot.get("now") or 0),
        round_s=exact(snapshot.get("round_s") or 0),
    )
    for one in snapshot.get("running") or []:
        cluster.running[one["id"]] = read_running(one)
    for one in snapshot.get("pending") or []:
        for name in copies_of(one):
            cluster.pending[name] = read_job(one, name)
    return cluster


def read_node(given: Mapping[str, Any]) -> Node:
    capacity = amounts({name: value for name, value in given.items() if name not in ("id", "labels")})
    return Node(id=given["id"], capacity=capacity, labels=dict(given.get("labels") or {}))


def read_team(given: Mapping[str, Any]) -> Team:
    guaranteed = given.get("guaranteed")
    return Team(
        id=given["id"],
        parent=given.get("parent"),
        weight=exact(1 if given.get("weight") is None else given["weight"]),
        guaranteed=None if guaranteed is None else amounts(guaranteed),
        burst=amounts(given.get("burst")),
        past=amounts(given.get("past_usage")),
    )


def copies_of(given: Mapping[str, Any]) -> Sequence[str]:
    copies = given.get("copies")
    if copies is None or copies == 1:
        return [given["id"]]
    return [f"{given['id']}#{number}" for number in range(1, copies + 1)]


def read_job(given: Mapping[str, Any], name: str) -> Job:
    return Job(
        id=name,
        team=given["team"],
        req=amounts(given.get("req")),
        members=1 if given.get("members") is None else given["members"],
        priority=exact(given.get("priority") or 0),
        rank=exact(given.get("rank") or 0),
        preemptible=given.get("preemptible") is not False,
        paused=bool(given.get("paused")),
        submit=exact(given.get("submit") or 0),
        duration=None if given.get("duration") is None else exact(given["duration"]),
        labels=dict(given.get("labels") or {}),
        preemptions=given.get("preemptions") or 0,
    )


def read_running(given: Mapping[str, Any]) -> Job:
    job = read_job(given, given["id"])
    job.on = tuple(given["on"])
    job.members = len(job.on)
    job.start = exact(given.get("start") or 0)
    job.ends = None if given.get("ends") is None else exact(given["ends"])
    if job.duration is None and job.ends is not None:
        job.duration = job.ends - job.start
    return job
