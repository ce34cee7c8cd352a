"""Random snapshots of unusual shapes, a family for each: deep trees, wide gangs, many resources, odd numbers, ties everywhere."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Snapshot = dict[str, Any]


def wide(seed: int, family: str) -> Snapshot:
    """A snapshot of the family. The same for the same seed."""
    return FAMILIES[family](Random(f"{family} {seed}"))


class Wide:
    """One snapshot; a family changes what is drawn from."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.resources = ["gpu", "cpu"]
        self.capacities: list[Any] = [2, 4, 8]
        self.sizes: list[Any] = [1, 1, 2, 3, 4]
        self.promises: list[Any] = [0, 1, 2, 4]
        self.limits: list[Any] = [None, None, 4, 6, 8]
        self.weights: list[Any] = [1, 1, 2]
        self.members = [1]
        self.times = list(range(0, 101, 10))
        self.priorities = [0, 0, 1, 5]
        self.most_teams = 6
        self.most_nodes = 5
        self.most_running = 14
        self.most_pending = 12
        self.depth = 2
        #: How likely a team below another is, one that has both teams below and work, and work that may not be evicted.
        self.below = 0.5
        self.own_work = 0.1
        self.fixed = 0.1
        self.no_guarantee = 0.2
        self.labels: list[dict[str, Any]] = [{}]
        self.wanted: list[dict[str, Any]] = [{}]
        self.knobs: Snapshot = {}
        self.now = 100
        self.round_s: Any = None
        #: Guarantees are cut until they fit the cluster.
        self.fit = True

    def snapshot(self) -> Snapshot:
        random = self.random
        nodes = self.nodes()
        teams = self.teams(nodes)
        parents = {team.get("parent") for team in teams}
        at = [team["id"] for team in teams if team["id"] not in parents or random.random() < self.own_work]
        found: Snapshot = {
            "knobs": self.knobs, "cluster": {"nodes": nodes}, "teams": teams,
            "running": self.running(nodes, at), "pending": self.pending(at), "now": self.now,
        }  # fmt: skip
        if self.round_s is not None:
            found["round_s"] = self.round_s
        return found

    def nodes(self) -> list[Snapshot]:
        random = self.random
        found = []
        for number in range(random.randint(1, self.most_nodes)):
            node: Snapshot = {"id": f"n{number}"}
            node |= {name: random.choice(self.capacities) for name in self.resources if random.random() < 0.92}
            labels = random.choice(self.labels)
            if labels:
                node["labels"] = labels
            found.append(node)
        return found

    def teams(self, nodes: list[Snapshot]) -> list[Snapshot]:
        random = self.random
        found: list[Snapshot] = []
        depths: dict[str, int] = {}
        for number in range(random.randint(1, self.most_teams)):
            team: Snapshot = {"id": f"t{number}", "weight": random.choice(self.weights)}
            above = [one for one, depth in depths.items() if depth + 1 < self.depth]
            if above and random.random() < self.below:
                # The newest, so that trees become deep.
                team["parent"] = random.choice([above[-1], random.choice(above)])
            depths[team["id"]] = depths[team["parent"]] + 1 if "parent" in team else 0
            if random.random() >= self.no_guarantee:
                team["guaranteed"] = {
                    name: random.choice(self.promises) for name in self.resources if random.random() < 0.9
                }
            team["burst"] = {name: random.choice(self.limits) for name in self.resources if random.random() < 0.7}
            found.append(team)
        if self.fit:
            self.cut(nodes, found)
        random.shuffle(found)
        return found

    def cut(self, nodes: list[Snapshot], teams: list[Snapshot]) -> None:
        """No guarantee is above its part of what there is."""
        for name in self.resources:
            tops = sum(1 for team in teams if (team.get("guaranteed") or {}).get(name))
            pool = sum(node.get(name) or 0 for node in nodes)
            for team in teams:
                given = team.get("guaranteed") or {}
                if given.get(name):
                    given[name] = min(given[name], pool // tops)

    def request(self) -> Snapshot:
        random = self.random
        found = {name: random.choice(self.sizes) for name in self.resources if random.random() < 0.7}
        return found or {random.choice(self.resources): random.choice(self.sizes)}

    def running(self, nodes: list[Snapshot], teams: list[str]) -> list[Snapshot]:
        random = self.random
        left = {node["id"]: dict(node) for node in nodes}
        found: list[Snapshot] = []
        for number in range(random.randint(0, self.most_running)):
            request = self.request()
            on: list[str] = []
            for _ in range(random.choice(self.members)):
                fit = [
                    id
                    for id, free in left.items()
                    if all((free.get(name) or 0) >= each for name, each in request.items())
                ]
                if not fit:
                    break
                on.append(random.choice(fit))
                for name, each in request.items():
                    left[on[-1]][name] = left[on[-1]].get(name, 0) - each
            if on:
                found.append(
                    {"id": f"r{number}", "team": random.choice(teams), "req": request, "on": on,
                     "priority": random.choice(self.priorities), "start": random.choice(self.times),
                     "preemptible": random.random() >= self.fixed}
                )  # fmt: skip
        return found

    def pending(self, teams: list[str]) -> list[Snapshot]:
        random = self.random
        found: list[Snapshot] = []
        for number in range(random.randint(0, self.most_pending)):
            job: Snapshot = {
                "id": f"p{number}", "team": random.choice(teams), "req": self.request(),
                "priority": random.choice(self.priorities), "submit": random.choice(self.times),
                "members": random.choice(self.members), "rank": random.choice([0, 0, 1, 2]),
            }  # fmt: skip
            wanted = random.choice(self.wanted)
            if wanted:
                job["labels"] = wanted
            found.append(job)
        return found


def deep(random: Random) -> Snapshot:
    """Chains of up to seven levels, with limits and guarantees on each."""
    wide = Wide(random)
    wide.depth, wide.most_teams, wide.below, wide.own_work = 7, 10, 0.85, 0.15
    wide.no_guarantee = 0.4
    return wide.snapshot()


def gangs(random: Random) -> Snapshot:
    """Gangs wider than any host, waiting and running."""
    wide = Wide(random)
    wide.members = [1, 2, 3, 5, 8, 12]
    wide.sizes = [1, 1, 1, 2]
    wide.limits = [None, None, 8, 12]
    return wide.snapshot()


def labelled(random: Random) -> Snapshot:
    """Nodes with several labels, and requests that want one of a list, or one that nobody has."""
    wide = Wide(random)
    types, zones = ["a100", "h100", "t4"], ["x", "y"]
    wide.labels = [{}, *({"gpu_type": one, "zone": zone} for one in types for zone in zones), {"zone": "x"}]
    wide.wanted = [
        *({}, {}, {"gpu_type": "h100"}, {"gpu_type": ["a100", "t4"]}, {"gpu_type": ["h100", "none"], "zone": "x"}),
        *({"zone": ["x", "y"]}, {"zone": "z"}, {"gpu_type": ["t4"], "zone": ["y"]}, {"disk": "ssd"}),
    ]
    wide.members = [1, 1, 2]
    return wide.snapshot()


def odd_numbers(random: Random) -> Snapshot:
    """Tenths and thirds as amounts and weights, or amounts of the size of bytes."""
    wide = Wide(random)
    if random.random() < 0.5:
        wide.sizes, wide.capacities = [0.1, 0.3, 0.7, 1.1, 0.25], [1, 2.2, 0.9, 3.3]
        wide.promises, wide.limits = [0, 0.5, 1.2, 0.1], [None, 1.5, 2.2, 0.3]
    else:
        big = 10**12
        wide.sizes, wide.capacities = [big, big + 1, 2 * big - 1], [4 * big, 4 * big + 3, 2 * big]
        wide.promises, wide.limits = [0, big, 3 * big + 1], [None, 4 * big, 6 * big + 1]
    wide.weights = [0.333333333333, 0.333333333334, 1, 7, 0.1, 3.7]
    found = wide.snapshot()
    for part in ("running", "pending"):
        for row in found[part]:
            row["req"] = {name: amount for name, amount in row["req"].items() if amount}
    return exact_running(found)


def exact_running(snapshot: Snapshot) -> Snapshot:
    """Without the running work that an inexact sum has let on a node that is too small for it."""
    from unit.scheduler.contract.cluster import parse

    cluster = parse(snapshot)
    kept: list[Snapshot] = []
    for row in snapshot["running"]:
        jobs = [cluster.running[one["id"]] for one in (*kept, row)]
        if all(amount >= 0 for node in cluster.free(jobs).values() for amount in node.values()):
            kept.append(row)
    return snapshot | {"running": kept}


def many_resources(random: Random) -> Snapshot:
    """Eight resources, some of which no node has or nobody wants; requests of nothing, or of zero."""
    wide = Wide(random)
    wide.resources = ["gpu", "cpu", "mem", "h100", "licenses", "disk", "tpu", "none"]
    wide.capacities = [0, 4, 8, 8]
    wide.sizes = [0, 0, 1, 2]
    found = wide.snapshot()
    for node in found["cluster"]["nodes"]:
        node.pop("none", None)
    for row in found["running"]:
        row["req"].pop("none", None)
    for row in found["pending"]:
        if random.random() < 0.9:
            row["req"].pop("none", None)
    return found


def ties(random: Random) -> Snapshot:
    """Everything is equal but the names, which sort in different ways."""
    wide = Wide(random)
    wide.capacities, wide.sizes, wide.promises, wide.weights = [4], [1], [1], [1]
    wide.limits, wide.times, wide.priorities = [None], [0], [0]
    wide.resources = random.choice([["gpu"], ["gpu", "cpu"]])
    wide.fixed, wide.no_guarantee = 0, 0
    found = wide.snapshot()
    names = ["A", "a", "10", "9", "é", "Z", "b-1", "b_1", "b1", " ", "zz", "ä", "n", "_", "0"]
    for part in ("running", "pending"):
        for row, name in zip(found[part], random.sample(names, len(names)), strict=False):
            row["id"] = f"{part[0]}{name}"
    if random.random() < 0.4 and found["pending"]:
        found["pending"][0]["copies"] = 12
    return found


def over_limits(random: Random) -> Snapshot:
    """Quotas below what runs, guarantees that exceed the cluster, and parents that promise less than their children."""
    wide = Wide(random)
    wide.promises, wide.limits, wide.fit = [0, 2, 6, 12, 20], [None, 0, 1, 2, 3], False
    wide.depth = 3
    return wide.snapshot()


def crowded(random: Random) -> Snapshot:
    """Large nodes full of small work, so that there is much to choose from."""
    wide = Wide(random)
    wide.capacities, wide.sizes, wide.most_nodes, wide.most_running = [8], [1, 1, 2, 4], 3, 24
    wide.promises, wide.limits = [2, 4, 8], [None]
    wide.depth = 3
    return wide.snapshot()


def knobs(random: Random) -> Snapshot:
    """Knobs that change who may be a victim, and whose turn it is."""
    wide = Wide(random)
    wide.depth = 3
    wide.knobs = {
        "reclaim_priority": random.choice(["any", "lower", "lower_or_equal"]),
        "share_basis": random.choice(["borrowed", "total"]),
        "rank": random.choice(["on", "off"]),
        "min_runtime_s": random.choice([0, 30, 60]),
        "max_preemptions_per_job": random.choice([None, 0, 1]),
    }
    return wide.snapshot()


def grace(random: Random) -> Snapshot:
    """Notices that end after one or some rounds, while work ends and comes back."""
    wide = Wide(random)
    wide.depth = 3
    wide.members = [1, 1, 1, 2]
    wide.knobs = {"grace_s": random.choice([1, 5, 10, 25])}
    wide.round_s = random.choice([1, 5, 10])
    found = wide.snapshot()
    for row in found["running"]:
        if random.random() < 0.3:
            row["ends"] = 100 + random.choice([1, 5, 10, 20])
    return found


def kept_room(random: Random) -> Snapshot:
    """Backfill and ageing, with known and unknown ends."""
    wide = Wide(random)
    wide.members = [1, 1, 2, 4]
    wide.knobs = {"backfill": random.choice(["easy", "easy", "none"]), "aging_bound_s": random.choice([None, 0, 50])}
    wide.round_s = random.choice([0, 5, 10])
    found = wide.snapshot()
    for row in found["running"]:
        if random.random() < 0.7:
            row["ends"] = 100 + random.choice([1, 5, 10, 20])
    for row in found["pending"]:
        if random.random() < 0.7:
            row["duration"] = random.choice([1, 5, 10, 20])
    return found


FAMILIES: dict[str, Callable[[Random], Snapshot]] = {
    each.__name__: each
    for each in (
        *(deep, gangs, labelled, odd_numbers, many_resources, ties, over_limits, crowded, knobs, grace, kept_room),
    )
}
