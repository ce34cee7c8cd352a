"""What the engine keeps up to date while the cluster changes finds the same as working everything out anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

from unit.scheduler.contract.instances import CORE, small

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Grant, Request
from mwfs_scheduler.fair_share.rooms import fitting
from mwfs_scheduler.fair_share.trial import asker_for
from mwfs_scheduler.fair_share.turns import Turns
from mwfs_scheduler.fair_share.victims import TrialSearch, VictimSearch, may_ask
from mwfs_scheduler.snapshots import Reader

MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "48")) * 4
EVENTS = 8


def histories() -> Iterator[tuple[str, Cluster, Random]]:
    """Clusters after each of some events: grants end, requests come, rounds with and without reclaim follow."""
    for seed in range(60_000, 60_000 + MANY):
        random = Random(seed)
        cluster = Reader(small(seed, CORE)).cluster()
        for event in range(EVENTS):
            if cluster.grants and random.random() < 0.7:
                cluster.end(cluster.grants[random.choice(sorted(cluster.grants))])
            known = [*cluster.waiting.requests.values(), *(grant.request for grant in cluster.grants.values())]
            if known and random.random() < 0.5:
                like = random.choice(sorted(known, key=lambda request: request.id))
                cluster.wait(like.copy(f"new{event}"))
            yield f"seed {seed}, event {event}", cluster, random
            decision = decide(cluster, reclaim=random.random() < 0.7)
            rested = [id for id, request in cluster.waiting.requests.items() if could_start(cluster, request)]
            assert decision.resting.keys() >= set(rested), f"seed {seed}, event {event}: {rested} would fit"


def could_start(cluster: Cluster, request: Request) -> bool:
    """Whether it has room, and no burst limit is in its way."""
    within = all(team.past_burst(team.usage, request.total) is None for team in request.team.path)
    return within and cluster.hosts.place(request.shape, {}) is not None


def asking(cluster: Cluster) -> list[Request]:
    """Those who have no room and may ask somebody to leave."""
    return [
        request
        for request in cluster.waiting.requests.values()
        if cluster.hosts.place(request.shape, {}) is None and may_ask(cluster, request)
    ]


def names(grants: list[Grant] | None) -> list[str] | None:
    return None if grants is None else [grant.id for grant in grants]


def test_who_makes_room_is_the_same_by_the_kept_order_by_a_trial_and_by_an_order_made_anew():
    found = 0
    for when, cluster, _ in histories():
        search = VictimSearch(cluster)
        for request in asking(cluster):
            kept = search.find(request, {})
            by_trial = TrialSearch(cluster, request, asker_for(cluster, request), {}).run()
            before = dict(cluster.borrowers)
            cluster.borrowers.clear()
            anew = search.find(request, {})
            cluster.borrowers.update(before)
            assert names(kept) == names(by_trial) == names(anew), f"{when}: {request.id}"
            found += kept is not None
    assert found > MANY // 4


def test_the_room_for_gangs_is_counted_as_by_looking_at_each_host():
    gangs = 0
    for when, cluster, _ in histories():
        for shape in {request.shape for request in cluster.waiting.requests.values()}:
            usable = cluster.hosts.usable(shape)
            expected = sum(fitting(host.free, shape.needs) for host in usable)
            assert cluster.hosts.rooms(shape).total() == expected, when
            if shape.members > 1 and expected >= shape.members:
                placed = cluster.hosts.place(shape, {})
                assert placed is not None, when
                assert all(fitting(host.free, shape.needs) >= placed.count(host) for host in placed), when
                gangs += 1
    assert gangs


def test_kept_turns_are_those_of_now():
    for when, cluster, _ in histories():
        turns = Turns(cluster)
        for team in cluster.teams.values():
            for line in team.lines.values():
                assert turns.of_line(line) == turns.of(line.requests[0][1]), when
