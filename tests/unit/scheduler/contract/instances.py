"""Random snapshots: small ones that turn every feature on now and then, and large ones of the size of a company."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from unit.scheduler.contract.cluster import parse

Snapshot = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Features:
    """How likely each feature is in a small instance."""

    trees: float = 0.5
    #: Guarantees add up to more than there is.
    overcommitted: float = 0.4
    own_work_of_parents: float = 0.15
    labels: float = 0.3
    gangs: float = 0.3
    copies: float = 0.15
    not_preemptible: float = 0.15
    second_resource: float = 0.6
    fractions: float = 0.1
    bursts: float = 0.5
    weights: float = 0.4
    ends: float = 0.4
    rank: float = 0.3
    reclaim_priority: float = 0.25
    share_basis: float = 0.25
    fair_preemption: float = 0.15
    protections: float = 0.2
    past_usage: float = 0.2
    backfill: float = 0.25
    aging: float = 0.15
    grace: float = 0.15
    rounds: float = 0.5


EVERYTHING = Features()
#: Flat or deep teams, gangs, labels, bursts, weights, priorities: the core of C1 to C10 and C12.
CORE = Features(
    overcommitted=0.2, fair_preemption=0, protections=0, past_usage=0, backfill=0, aging=0, grace=0, ends=0, rounds=0
)
#: The core without a team that has both children and work, and with guarantees that can be kept.
LEAVES = Features(
    overcommitted=0, own_work_of_parents=0, fair_preemption=0, protections=0, past_usage=0, backfill=0, aging=0, grace=0, ends=0, rounds=0
)  # fmt: skip


#: All but what lets two planners keep room for somebody at different places, and guarantees that can be kept.
COMPARABLE = Features(overcommitted=0, backfill=0, aging=0, grace=0)


def small(seed: int, features: Features = EVERYTHING) -> Snapshot:
    """1 to 6 nodes, 1 to 6 teams, up to 12 running (all fit) and up to 12 pending."""
    return Small(Random(seed), features).snapshot()


class Small:
    def __init__(self, random: Random, features: Features) -> None:
        self.random = random
        self.features = features
        self.resources = ["gpu", "cpu"] if self.has("second_resource") else ["gpu"]
        if random.random() < 0.1:
            self.resources.append("mem")
        self.now = random.choice([0, 100, 100])

    def has(self, feature: str) -> bool:
        return self.random.random() < getattr(self.features, feature)

    def snapshot(self) -> Snapshot:
        nodes = self.nodes()
        teams = self.teams()
        if not self.has("overcommitted"):
            self.fit_guarantees(nodes, teams)
        parents = {team.get("parent") for team in teams}
        own_work = self.has("own_work_of_parents")
        at = [team["id"] for team in teams if own_work or team["id"] not in parents]
        found: Snapshot = {
            "knobs": self.knobs(), "cluster": {"nodes": nodes}, "teams": teams,
            "running": self.running(nodes, at), "pending": self.pending(at),
        }  # fmt: skip
        if self.now:
            found["now"] = self.now
        if self.has("rounds"):
            found["round_s"] = self.random.choice([5, 10, 50])
        return found

    def nodes(self) -> list[Snapshot]:
        found = []
        labelled = self.has("labels")
        for number in range(self.random.randint(1, self.random.choice([2, 3, 6]))):
            node: Snapshot = {"id": f"n{number}"}
            for resource in self.resources:
                node[resource] = self.random.choice([2, 4, 4, 8])
            if len(self.resources) > 1 and self.random.random() < 0.15:
                del node[self.random.choice(self.resources)]
            if labelled:
                node["labels"] = {"gpu_type": self.random.choice(["a100", "h100"])}
                if self.random.random() < 0.3:
                    node["labels"]["zone"] = self.random.choice(["a", "b"])
            found.append(node)
        self.labelled = labelled
        return found

    def teams(self) -> list[Snapshot]:
        trees, bursts, weights, past = (self.has(name) for name in ("trees", "bursts", "weights", "past_usage"))
        found: list[Snapshot] = []
        depth: dict[str, int] = {}
        for number in range(self.random.randint(1, 6)):
            team: Snapshot = {"id": f"t{number}"}
            above = [one for one in depth if depth[one] < 3]
            if trees and above and self.random.random() < 0.6:
                team["parent"] = self.random.choice(above)
            depth[team["id"]] = depth.get(team.get("parent"), 0) + 1
            if self.random.random() < 0.8:
                team["guaranteed"] = {
                    name: self.random.choice([0, 1, 2, 2, 4, 6])
                    for name in self.resources
                    if self.random.random() < 0.85
                }
            elif self.random.random() < 0.3:
                team["guaranteed"] = None
            if bursts and self.random.random() < 0.6:
                team["burst"] = {name: self.random.choice([2, 4, 6, 8, None]) for name in self.resources}
            if weights:
                team["weight"] = self.random.choice([1, 1, 2, 3, 0.5])
            if past and self.random.random() < 0.6:
                team["past_usage"] = {name: self.random.randint(0, 8) for name in self.resources}
            found.append(team)
        self.random.shuffle(found)
        return found

    def fit_guarantees(self, nodes: list[Snapshot], teams: list[Snapshot]) -> None:
        """Takes from the largest guarantee until all that roots are promised is there."""
        for resource in self.resources:
            while True:
                cluster = parse({"cluster": {"nodes": nodes}, "teams": teams})
                promised = sum(cluster.promise(root, resource) for root in cluster.children(None))
                if promised <= cluster.pool(resource):
                    break
                given = [team["guaranteed"] for team in teams if (team.get("guaranteed") or {}).get(resource)]
                max(given, key=lambda one: one[resource])[resource] -= 1

    def request(self) -> dict[str, Any]:
        sizes = [1, 1, 1, 2, 2, 3, 4] if self.random.random() < 0.95 else [9]
        found = {name: self.random.choice(sizes) for name in self.resources if self.random.random() < 0.8}
        if not found:
            found[self.random.choice(self.resources)] = 1
        if self.has("fractions"):
            name = self.random.choice(sorted(found))
            found[name] = self.random.choice([0.5, 0.1, 0.25, 1.5])
        return found

    def running(self, nodes: list[Snapshot], teams: list[str]) -> list[Snapshot]:
        left = {node["id"]: dict(node) for node in nodes}
        found: list[Snapshot] = []
        for number in range(self.random.randint(0, 12)):
            request, members = self.request(), self.members()
            on: list[str] = []
            for _ in range(members):
                fit = [
                    name
                    for name, free in left.items()
                    if all(free.get(key, 0) >= each for key, each in request.items())
                ]
                if not fit:
                    break
                on.append(self.random.choice(fit))
                for key, each in request.items():
                    left[on[-1]][key] = round(left[on[-1]][key] - each, 2)
            if not on:
                continue
            job: Snapshot = {
                "id": f"r{number}", "team": self.random.choice(teams), "req": request, "on": on,
                "priority": self.random.choice([0, 0, 0, 1, 5]), "start": self.random.randint(0, self.now or 100),
            }  # fmt: skip
            if self.has("not_preemptible"):
                job["preemptible"] = False
            if self.has("ends"):
                job["ends"] = self.now + self.random.choice([5, 10, 20, 40])
                job["start"] = min(job["start"], self.now)
            found.append(job)
        return found

    def members(self) -> int:
        return self.random.choice([2, 2, 3, 4]) if self.has("gangs") else 1

    def pending(self, teams: list[str]) -> list[Snapshot]:
        found = []
        for number in range(self.random.randint(0, 12)):
            job: Snapshot = {
                "id": f"p{number}", "team": self.random.choice(teams), "req": self.request(),
                "priority": self.random.choice([0, 0, 0, 1, 5]), "submit": self.random.randint(0, self.now or 100),
            }  # fmt: skip
            members = self.members()
            if members > 1:
                job["members"] = members
            if self.has("copies"):
                job["copies"] = self.random.choice([1, 2, 3])
            if self.labelled and self.random.random() < 0.5:
                job["labels"] = self.random.choice(
                    [
                        {"gpu_type": "a100"},
                        {"gpu_type": ["a100", "h100"]},
                        {"zone": "a"},
                        {"gpu_type": "h100", "zone": ["b"]},
                    ]
                )
            if self.random.random() < 0.3:
                job["rank"] = self.random.randint(0, 3)
            if self.has("ends"):
                job["duration"] = self.random.choice([5, 10, 20, 40])
            if self.random.random() < 0.02:
                job["req"]["tpu"] = 1
            if self.has("not_preemptible"):
                job["preemptible"] = False
            found.append(job)
        return found

    def knobs(self) -> Snapshot:
        chances: dict[str, tuple[str, list[Any]]] = {
            "rank": ("rank", ["on"]),
            "reclaim_priority": ("reclaim_priority", ["lower_or_equal", "lower"]),
            "share_basis": ("share_basis", ["total"]),
            "min_runtime_s": ("protections", [20, 50]),
            "max_preemptions_per_job": ("protections", [0, 1, 2]),
            "half_life_s": ("past_usage", [5, 10]),
            "backfill": ("backfill", ["easy"]),
            "aging_bound_s": ("aging", [0, 20, 60]),
            "grace_s": ("grace", [5, 10]),
        }
        found = {name: self.random.choice(values) for name, (feature, values) in chances.items() if self.has(feature)}
        if self.has("fair_preemption"):
            found |= {"fair_preemption": True, "max_preemptions_per_job": self.random.choice([1, 2])}
        return found


def large(
    seed: int, *, teams: int = 1_100, pending: int = 100_000, nodes: int = 1_500, running: float = 0.9
) -> Snapshot:
    """A company: organisations of about ten teams, 8-GPU nodes of which a share is in use, queues of a few shapes."""
    random = Random(seed)
    shapes = [
        {"gpu": 1, "cpu": 8, "mem": 64},
        {"gpu": 2, "cpu": 16, "mem": 128},
        {"gpu": 8, "cpu": 64, "mem": 512},
        {"cpu": 4, "mem": 16},
    ]
    orgs = max(1, teams // 11)
    names = [f"team{number}" for number in range(teams - orgs)]
    fair = {"gpu": 8 * nodes // max(1, len(names)), "cpu": 64 * nodes // max(1, len(names))}
    found_teams: list[Snapshot] = [{"id": f"org{number}", "weight": random.choice([1, 2])} for number in range(orgs)]
    for number, name in enumerate(names):
        team: Snapshot = {"id": name, "parent": f"org{number % orgs}", "guaranteed": fair}
        if random.random() < 0.3:
            team["burst"] = {"gpu": fair["gpu"] * 4}
        found_teams.append(team)
    busy: list[Snapshot] = []
    for number in range(int(nodes * running)):
        for part in range(4):
            busy.append(
                {"id": f"r{number}.{part}", "team": random.choice(names[: len(names) // 2 or 1]), "req": shapes[1],
                 "start": random.randint(0, 1_000), "priority": random.choice([0, 0, 1]), "on": [f"n{number}"]}
            )  # fmt: skip
    waiting: list[Snapshot] = [
        {"id": f"p{number}", "team": random.choice(names), "req": random.choice(shapes), "submit": random.randint(0, 1_000),
         "priority": random.choice([0, 0, 0, 1]), "members": random.choice([1] * 19 + [4])}
        for number in range(pending)
    ]  # fmt: skip
    machines = [{"id": f"n{number}", "gpu": 8, "cpu": 96, "mem": 1024} for number in range(nodes)]
    return {"now": 1_000, "cluster": {"nodes": machines}, "teams": found_teams, "running": busy, "pending": waiting}
