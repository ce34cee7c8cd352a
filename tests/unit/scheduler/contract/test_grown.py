"""A cluster that has grown through events decides as one that is built anew from what runs and waits, also where room is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from unit.scheduler.contract.instances import CORE, small

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import Decision, decide
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.snapshots import Reader

MANY = int(os.environ.get("MWFS_SCHEDULER_INSTANCES", "48")) * 2
#: The core with `backfill: easy` and known ends. What has been scaled down cannot be read back from a cluster.
EASY = replace(CORE, backfill=1, ends=0.8, overcommitted=0)
EVENTS = 8


def history(seed: int) -> Iterator[Cluster]:
    """A cluster after each of some events: grants end, requests come, time passes. A decision must follow each."""
    random = Random(seed)
    cluster = Reader(small(seed, EASY)).cluster()
    for event in range(EVENTS):
        if cluster.grants and random.random() < 0.7:
            cluster.end(cluster.grants[random.choice(sorted(cluster.grants))])
        known = {each.id: each for each in cluster.waiting.requests.values()}
        known |= {grant.request.id: grant.request for grant in cluster.grants.values()}
        if known and random.random() < 0.5:
            cluster.wait(known[random.choice(sorted(known))].copy(f"new{event}"))
        if random.random() < 0.5:
            cluster.pass_time(random.choice([1, 10, 30]))
        yield cluster


def anew(cluster: Cluster) -> Cluster:
    """The same from what runs and what waits."""
    found = Cluster(resources=cluster.resources, knobs=cluster.knobs, now=cluster.now)
    for host in cluster.hosts:
        capacity = host.capacity
        found.add_host(
            Host(id=host.id, capacity=capacity, free=list(capacity), labels=host.labels, special=host.special)
        )
    for team in cluster.teams.values():
        parent = None if team.parent is None else found.teams[team.parent.id]
        new = Team(team.id, parent, team.weight, len(cluster.resources))
        new.guaranteed, new.burst = list(team.guaranteed), list(team.burst)
        found.add_team(new)
    found.settle()

    def like(request: Request) -> Request:
        return replace(request, team=found.teams[request.team.id])

    for grant in sorted(cluster.grants.values(), key=lambda grant: grant.id):
        hosts = [found.hosts.by_id[host.id] for host in grant.hosts]
        copy = Grant(id=grant.id, request=like(grant.request), start=grant.start, ends=grant.ends, hosts=hosts)
        found.start(copy)
        found.may_be_asked(copy)
    for request in sorted(cluster.waiting.requests.values(), key=lambda request: request.id):
        found.wait(like(request))
    return found


def shown(decision: Decision) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    started = [(grant.id, [host.id for host in grant.hosts]) for grant in decision.started]
    return started, [(grant.id, request.id) for grant, request in decision.leaving]


def test_what_has_grown_decides_as_what_is_built_anew():
    started = kept = 0
    for seed in range(60_000, 60_000 + MANY):
        for event, cluster in enumerate(history(seed)):
            expected = shown(decide(anew(cluster)))
            decision = decide(cluster)
            assert shown(decision) == expected, f"seed {seed}, event {event}"
            started += len(decision.started)
            kept += bool(decision.reservations)
    assert started > MANY
    assert kept > MANY // 4
