"""Copies of a request are started as if each were a request of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random

import pytest

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Grant, Host, Knobs, Request, Shape
from mwfs_scheduler.fair_share.state.teams import Team

RESOURCES = ("cpu", "gpu", "mem")
#: Copies of at most this start under one grant.
TOGETHER = (8, 0, 16)


@dataclass(frozen=True, slots=True)
class Wanted:
    id: str
    team: str
    shape: Shape
    priority: int
    submit: int
    copies: int


def amounts(random: Random, most: Iterable[int], chance: float) -> list[int]:
    return [random.randint(0, each) if random.random() < chance else 0 for each in most]


class World:
    """One cluster in which copies wait as copies, and one in which each is a request."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        knobs = Knobs(
            share_basis=random.choice(["borrowed", "total"]),
            backfill=random.choice(["none", "none", "easy"]),
            half_life_s=random.choice([None, 60]),
        )
        self.clusters = [self.empty(knobs), self.empty(knobs)]
        self.teams: list[str] = []
        for at in range(random.randint(1, 6)):
            parent = random.choice([None, *self.teams]) if random.random() < 0.6 else None
            weight = Fraction(random.choice([1, 1, 2, 3]), random.choice([1, 2]))
            guaranteed = amounts(random, (12, 3, 24), 0.6)
            burst = [random.choice([None, None, each + random.randint(0, 12)]) for each in guaranteed]
            for cluster in self.clusters:
                team = Team(f"t{at}", cluster.teams[parent] if parent else None, weight, len(RESOURCES))
                team.guaranteed, team.burst = list(guaranteed), list(burst)
                cluster.add_team(team)
            self.teams.append(f"t{at}")
        for at in range(random.randint(1, 4)):
            capacity = [random.randint(4, 40), random.choice([0, 0, 4, 8]), random.randint(4, 60)]
            for cluster in self.clusters:
                cluster.add_host(
                    Host(id=f"h{at}", capacity=list(capacity), free=list(capacity), special=capacity[1] > 0)
                )
        for cluster in self.clusters:
            cluster.settle()
        self.number = 0

    @staticmethod
    def empty(knobs: Knobs) -> Cluster:
        return Cluster(resources=RESOURCES, knobs=knobs, now=0, most_together=TOGETHER, grant_id=Names())

    def want(self) -> None:
        random = self.random
        self.number += 1
        needs = tuple((at, each) for at, each in enumerate(amounts(random, (3, 2, 5), 0.5)) if each) or ((0, 1),)
        gang = random.random() < 0.1
        wanted = Wanted(
            f"r{self.number:03}",
            random.choice(self.teams),
            Shape(needs, random.randint(2, 3) if gang else 1, (), random.choice([None, None, 5, 20])),
            random.choice([0, 0, 1]),
            random.choice([0, self.number]),
            1 if gang else random.randint(1, 40),
        )
        together, apart = self.clusters
        together.wait(request(together, wanted, wanted.id, wanted.copies))
        for copy in range(wanted.copies):
            apart.wait(request(apart, wanted, f"{wanted.id}#{copy:03}", 1))

    def decide(self) -> None:
        together, apart = (started(decide(cluster).started) for cluster in self.clusters)
        assert together == apart
        used = [[(team.usage, team.settled) for team in cluster.teams.values()] for cluster in self.clusters]
        assert used[0] == used[1]
        for host in self.clusters[0].hosts:
            assert min(host.free) >= 0

    def end_some(self) -> None:
        """The same copies of the same requests on the same hosts end in both."""
        together, apart = self.clusters
        for grant in list(together.grants.values()):
            if self.random.random() < 0.4:
                count = self.random.randint(1, grant.count)
                same = [each for each in apart.grants.values() if where(each) == where(grant)]
                together.shrink(grant, count)
                for each in same[:count]:
                    apart.end(each)


class Names:
    def __init__(self) -> None:
        self.last = 0

    def __call__(self, _: Request) -> str:
        self.last += 1
        return str(self.last)


def request(cluster: Cluster, wanted: Wanted, id: str, copies: int) -> Request:
    return Request.build(
        id=id,
        team=cluster.teams[wanted.team],
        shape=wanted.shape,
        priority=wanted.priority,
        submit=wanted.submit,
        preemptible=False,
        copies=copies,
    )


def where(grant: Grant) -> tuple[object, ...]:
    return grant.request.id.partition("#")[0], [host.id for host in grant.hosts], grant.start


def started(grants: Iterable[Grant]) -> Counter[tuple[str, tuple[str, ...]]]:
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for grant in grants:
        found[grant.request.id.partition("#")[0], tuple(host.id for host in grant.hosts)] += grant.count
    return found


@pytest.mark.parametrize("seeds", [range(at, at + 50) for at in range(0, 400, 50)], ids=str)
def test_the_outcome_is_that_of_one_by_one(seeds: range) -> None:
    for seed in seeds:
        world = World(seed)
        for _ in range(4):
            for _ in range(world.random.randint(0, 4)):
                world.want()
            world.decide()
            world.end_some()
            for cluster in world.clusters:
                cluster.pass_time(7)
        world.decide()


def test_a_grant_carries_no_more_than_may_stand_together() -> None:
    cluster = World.empty(Knobs())
    cluster.add_team(Team("t", None, Fraction(1), len(RESOURCES)))
    cluster.add_host(Host(id="h", capacity=[100, 4, 100], free=[100, 4, 100]))
    cluster.settle()
    small = Wanted("small", "t", Shape(((0, 1), (2, 3))), 0, 0, 12)
    cluster.wait(request(cluster, small, "small", 12))
    assert [grant.count for grant in decide(cluster).started] == [5, 5, 2]
    cluster.wait(request(cluster, replace(small, shape=Shape(((0, 20),))), "large", 2))
    assert [grant.count for grant in decide(cluster).started] == [1, 1]
    cluster.wait(request(cluster, replace(small, shape=Shape(((1, 1),))), "gpus", 2))
    assert [grant.count for grant in decide(cluster).started] == [1, 1]
