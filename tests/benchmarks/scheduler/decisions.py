"""How fast the engine of the contract decides, in CPU seconds of one core, beside its targets.

`python tests/benchmarks/scheduler/decisions.py` measures 1,100 teams and 1,500 hosts with 10,000, 50,000 and 100,000 requests that
wait, `--trees` the same with the teams in organisations of 20, and `--limits` with burst limits as low as what is promised to
their teams; `--output json` prints the figures alone, and `--profile FILE` saves a profile of the last column for
`python -m pstats`.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import sys
from collections.abc import Callable, Iterable
from random import Random
from time import process_time
from typing import Any, Final

from mwfs_chassis.lifecycle import collect_seldom
from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.snapshots import Reader

Snapshot = dict[str, Any]

#: Of an organisation, where there are any.
TEAMS_IN_ONE: Final = 20

#: What is measured, its unit, and the target where there is one.
FIGURES: Final = {
    "starts_per_s": ("starts a second in a round that fills the hosts", ">= 10,000"),
    "evicting_starts_per_s": ("starts a second in a round in which each makes others leave", ">= 500"),
    "evicted_per_s": ("grants made to leave a second in that round", ""),
    "reclaim_starts_per_s": ("all starts a second in that round, most of which make nobody leave", ""),
    "reclaim_round_s": ("all of that round, s", ""),
    "event_p50_ms": ("an event (a grant ends or a request comes) without reclaim, median, ms", ""),
    "event_p99_ms": ("the same, 99 of 100, ms", "<= 5"),
    "reclaim_event_p50_ms": ("an event with reclaim, median, ms", ""),
    "reclaim_event_p99_ms": ("the same, 99 of 100, ms", "<= 5"),
    "rebuild_s": ("all built anew from what runs and waits, and the first round, s", "<= 2"),
    "read_s": ("the same from a snapshot file, with all its checks, s", ""),
}


def snapshot(teams: int, pending: int, hosts: int, seed: int, *, trees: bool = False, limits: bool = False) -> Snapshot:
    """Hosts with 8 GPUs; teams with guarantees, a few of them with most of what waits; requests of 0 to 8 GPUs.

    `trees`: the teams belong to organisations of 20, which have what is promised to their teams. `limits`: and may use no more.
    """
    random = Random(seed)
    gpus = [random.choice([0, 1, 1, 1, 2, 4, 8]) for _ in range(pending)]
    return {
        "cluster": {"nodes": [{"id": f"n{at}", "cpu": 96, "mem": 768, "gpu": 8} for at in range(hosts)]},
        "teams": [
            {
                "id": f"t{at}",
                "weight": random.choice([1, 1, 2, 3]),
                "guaranteed": {"gpu": 8, "cpu": 64, "mem": 512},
                "burst": {"gpu": 400},
                "parent": f"org{at // TEAMS_IN_ONE}" if trees else None,
            }
            for at in range(teams)
        ]
        + [
            {"id": f"org{at}", "burst": {"gpu": 8 * TEAMS_IN_ONE} if limits else {}}
            for at in range((teams + TEAMS_IN_ONE - 1) // TEAMS_IN_ONE if trees else 0)
        ],
        "pending": [
            {
                "id": f"p{at}",
                "team": f"t{min(int(random.expovariate(5 / teams)), teams - 1)}",
                "req": {"gpu": gpus[at], "cpu": random.choice([2, 4, 8]) * max(gpus[at], 1), "mem": 16},
                "members": random.choice([1] * 20 + [2, 4]),
                "priority": random.choice([0, 0, 0, 5]),
                "submit": at,
            }
            for at in range(pending)
        ],
    }


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    began = process_time()
    found = what()
    return process_time() - began, found


def of_rate(times: list[float], percent: int) -> float:
    """The time, in ms, that so many of a hundred do not pass."""
    return round(1e3 * sorted(times)[min(len(times) * percent // 100, len(times) - 1)], 3)


def filling(given: Snapshot) -> dict[str, float]:
    """A round that fills the hosts, without anybody having to leave; then all built anew."""
    shown = {}
    cluster = Reader(given).cluster()
    seconds, decision = timed(lambda: decide(cluster, reclaim=False))
    shown["starts_per_s"] = round(len(decision.started) / seconds)
    seconds, again = timed(lambda: rebuilt(cluster))
    shown["rebuild_s"] = round(seconds, 3)
    assert requests_in(again) == requests_in(cluster), "whoever has left in its first round waits again"
    return shown


def requests_in(cluster: Cluster) -> int:
    return len(cluster.grants) + len(cluster.waiting.requests) + len(cluster.intents)


def rebuilt(cluster: Cluster) -> Cluster:
    """The same cluster, built anew from what runs and what waits, with its first round."""
    found = Cluster(resources=cluster.resources, knobs=cluster.knobs, now=cluster.now)
    for host in cluster.hosts:
        found.add_host(Host(id=host.id, capacity=host.capacity, free=list(host.capacity), special=host.special))
    for team in cluster.teams.values():
        parent = None if team.parent is None else found.teams[team.parent.id]
        new = Team(team.id, parent, team.weight, len(cluster.resources))
        new.guaranteed, new.burst = list(team.guaranteed), list(team.burst)
        found.add_team(new)
    found.settle()
    for grant in cluster.grants.values():
        hosts = [found.hosts.by_id[host.id] for host in grant.hosts]
        request = like(grant.request, found, grant.request.id)
        new_grant = Grant(id=grant.id, request=request, start=grant.start, hosts=hosts, count=grant.count)
        found.start(new_grant)
        found.may_be_asked(new_grant)
    for request in cluster.waiting.requests.values():
        found.wait(like(request, found, request.id))
    decide(found, reclaim=False)
    return found


def like(request: Request, cluster: Cluster, id: str) -> Request:
    return Request.build(
        id=id,
        team=cluster.teams[request.team.id],
        shape=Shape(request.shape.needs, request.shape.members),
        priority=request.priority,
        submit=request.submit,
        copies=request.copies,
    )


def reclaiming(given: Snapshot, events: int, seed: int) -> dict[str, float]:
    """Half of the teams has filled the hosts; then the others come for what they are guaranteed; then events."""
    shown: dict[str, float] = {}
    late = [one for one in given["pending"] if int(one["team"][1:]) % 2]
    early = [one for one in given["pending"] if not int(one["team"][1:]) % 2]
    shown["read_s"], cluster = timed(lambda: Reader(given | {"pending": early}).cluster())
    decide(cluster, reclaim=False)
    decide(cluster)
    other = Reader(given | {"pending": late}).cluster()
    for request in other.waiting.requests.values():
        cluster.wait(like(request, cluster, request.id))
    seconds, decision = timed(lambda: decide(cluster))
    shown["reclaim_round_s"] = round(seconds, 3)
    shown["evicting_starts_per_s"] = round(len({request.id for _, request in decision.leaving}) / seconds)
    shown["reclaim_starts_per_s"] = round(len(decision.started) / seconds)
    shown["evicted_per_s"] = round(len(decision.leaving) / seconds)
    while decision.leaving or decision.started:
        decision = decide(cluster)
    for name, reclaim in (("event", False), ("reclaim_event", True)):
        times = list(happenings(cluster, events, reclaim=reclaim, random=Random(seed)))
        shown[f"{name}_p50_ms"], shown[f"{name}_p99_ms"] = of_rate(times, 50), of_rate(times, 99)
    shown["read_s"] = round(timed(lambda: Reader(given).cluster())[0], 3)
    return shown


def happenings(cluster: Cluster, events: int, *, reclaim: bool, random: Random) -> Iterable[float]:
    """Seconds for each of some events: a grant ends or a request comes, and a decision follows."""
    ids = iter(random.sample(sorted(cluster.grants), events))
    known = random.sample(sorted(cluster.waiting.requests), events)
    kinds = [cluster.waiting.requests[id] for id in known]
    for number in range(events):
        if number % 2:
            request = like(kinds[number], cluster, f"{kinds[number].id}+{reclaim}{number}")
            yield timed(lambda request=request: (cluster.wait(request), decide(cluster, reclaim=reclaim)))[0]  # type: ignore[misc]
        else:
            grant = next(cluster.grants[id] for id in ids if id in cluster.grants)
            yield timed(lambda grant=grant: (cluster.end(grant), decide(cluster, reclaim=reclaim)))[0]  # type: ignore[misc]


def table(figures: dict[int, dict[str, float]]) -> str:
    """As Markdown."""
    columns = "".join(f" {pending:,} |" for pending in figures)
    lines = [f"| what | target |{columns}", "|---|---|" + "---|" * len(figures)]
    for name, (words, target) in FIGURES.items():
        values = "".join(f" {each[name]:,} |" for each in figures.values())
        lines.append(f"| {words} | {target} |{values}")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--teams", type=int, default=1_100)
    options.add_argument("--pending", type=int, nargs="+", default=[10_000, 50_000, 100_000])
    options.add_argument("--hosts", type=int, default=1_500)
    options.add_argument("--events", type=int, default=1_000)
    options.add_argument("--trees", action="store_true", help="teams in organisations of 20")
    options.add_argument("--limits", action="store_true", help="and burst limits of organisations: implies --trees")
    options.add_argument("--knobs", type=json.loads, default={}, help="such as '{\"half_life_s\": 3600}'")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--output", choices=["text", "json"], default="text")
    options.add_argument("--profile", help="a file for the profile of the last column")
    given = options.parse_args()

    collect_seldom()  # as the service does
    figures: dict[int, dict[str, float]] = {}
    for pending in given.pending:
        gc.collect()  # what the last ones left
        trees = given.trees or given.limits
        world = snapshot(given.teams, pending, given.hosts, given.seed, trees=trees, limits=given.limits)
        world["knobs"] = given.knobs
        profile = cProfile.Profile() if given.profile and pending == given.pending[-1] else None
        if profile:
            profile.enable()
        figures[pending] = filling(world) | reclaiming(world, min(given.events, pending // 4), given.seed)
        if profile:
            profile.disable()
            profile.dump_stats(given.profile)
        print(f"{pending:,} pending: measured", file=sys.stderr)
    print(json.dumps(figures, indent=2) if given.output == "json" else table(figures))


if __name__ == "__main__":
    main()
