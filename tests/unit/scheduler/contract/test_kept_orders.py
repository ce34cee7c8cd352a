"""What the engine keeps up to date while the cluster changes finds the same as working everything out anew."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from unit.scheduler.contract.instances import CORE, small

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.leaving.trial import asker_for
from mwfs_scheduler.fair_share.leaving.victims import TrialSearch, VictimSearch, may_ask
from mwfs_scheduler.fair_share.model import Grant, Request, Shape
from mwfs_scheduler.fair_share.order.turns import Turns
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.fair_share.state.teams import Line
from mwfs_scheduler.fair_share.waiting.hopeless import Hopeless
from mwfs_scheduler.fair_share.waiting.hopes import Askers
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
                assert turns.earliest_of(line) < turns.of_line(line), when


def test_what_lower_priorities_would_make_of_room_is_counted_as_by_looking_at_all_of_them():
    asked = 0
    for when, cluster, _ in histories():
        for request in cluster.waiting.requests.values():
            shape, lower = request.shape, 0
            for host in cluster.hosts.usable(shape):
                free = list(host.free)
                for _, grant in request.team.leaving:
                    if grant.request.priority < request.priority:
                        for resource, amount in grant.request.shape.needs:
                            free[resource] += amount * host.grants.get(grant, 0)
                lower += fitting(free, shape.needs) - fitting(host.free, shape.needs)
            assert cluster.lowers.room(request).more == lower, f"{when}: {request.id}"
            asked += lower > 0
    assert asked > MANY // 4


def gangs(seed: int) -> Iterator[Cluster]:
    """After each of some events: many teams with small work of low priority that runs, and gangs of few shapes that may ask it to leave."""
    random = Random(seed)
    hosts = [{"id": f"n{at}", "gpu": 8} for at in range(12)]
    orgs = [{"id": f"org{at}", "burst": {"gpu": 16}} for at in range(4)]
    teams = [{"id": f"t{at}", "parent": random.choice([None, "org0", "org1", "org2"])} for at in range(24)]
    small_ones = [
        {"id": f"s{at}", "team": f"t{random.randrange(24)}", "req": {"gpu": random.choice([1, 2, 3])}, "submit": at}
        for at in range(80)
    ]
    cluster = Reader({"cluster": {"nodes": hosts}, "teams": orgs + teams, "pending": small_ones}).cluster()
    decide(cluster)
    for event in range(60):
        for number in range(20 if event == 0 else random.randrange(2)):
            team, shape = cluster.teams[f"t{random.randrange(24)}"], Shape(((0, random.choice([3, 4])),), 3)
            cluster.wait(Request.build(id=f"g{event}.{number}", team=team, shape=shape, priority=5, submit=event))
        if cluster.grants and random.random() < 0.8:
            cluster.end(cluster.grants[random.choice(sorted(cluster.grants))])
        if random.random() < 0.1:
            cluster.take(cluster.waiting.requests[random.choice(sorted(cluster.waiting.requests))], 1)
        decide(cluster, reclaim=random.random() < 0.8)
        yield cluster


def test_who_is_not_asked_about_again_would_find_nobody(monkeypatch: pytest.MonkeyPatch):
    with_hope, without_room = Hopeless.with_hope, Hopeless.without_room
    seen: Counter[str] = Counter()

    def checked_with_hope(self: Hopeless, askers: Askers, *, are_woken: bool) -> list[Line]:
        lines = list(self)
        found = with_hope(self, askers, are_woken=are_woken)
        may_find = [line for line in lines if not askers.is_hopeless(line)]
        woken = [line for line in may_find if are_woken and has_room(askers, line)]
        assert set(found) == set(may_find).difference(woken)
        assert all(self.has_room(line) for line in woken)
        seen.update(found=len(found), left_out=len(lines) - len(may_find), woken=len(woken))
        return found

    def checked_without_room(self: Hopeless, askers: Askers | None) -> list[Line]:
        had_room = [line for line in self if self.has_room(line)]
        found = without_room(self, askers)
        assert askers is not None
        assert set(found) == {line for line in had_room if not askers.is_hopeless(line)}
        seen.update(found_later=len(found), left_out_later=len(had_room) - len(found))
        return found

    monkeypatch.setattr(Hopeless, "with_hope", checked_with_hope)
    monkeypatch.setattr(Hopeless, "without_room", checked_without_room)
    for seed in range(MANY // 8):
        for _ in gangs(seed):
            pass
    assert all(seen[what] for what in ("found", "left_out", "woken", "found_later", "left_out_later")), seen


def has_room(askers: Askers, line: Line) -> bool:
    return askers.room(line.shape) >= line.shape.members and line.team.within_limits(line.requests[0][1].total)
