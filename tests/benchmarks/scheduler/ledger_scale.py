"""What the service pays per message at scale, in CPU seconds of one core: coming up, one release, a flood, and quotas that change.

`python tests/benchmarks/scheduler/ledger_scale.py --teams 1100 --groups 100000 --hosts 1500`; with `--durations` it is known of each how long it will
probably take, so that room is kept for who is blocked.
"""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from random import Random
from time import process_time

from mwfs_scheduler.engine import SEARCHES_AT_ONCE
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Inventory, Need, NewGroup
from mwfs_scheduler.quotas import Quotas, TeamQuota

GIB = 1 << 30


def tree(teams: int, version: int, *, flat: bool) -> Quotas:
    """Teams with a guarantee and a limit each, in organisations of 20; or all of them at the top."""
    guaranteed = {"cpu": 64_000, "memory": 512 * GIB, "gpu": 8}
    found = [TeamQuota(team=f"org{at}", parent=None, weight=Fraction(1)) for at in range(0, 0 if flat else teams, 20)]
    for at in range(teams):
        burst = {"gpu": 400 + version}
        parent = None if flat else f"org{at // 20 * 20}"
        found.append(TeamQuota(team=f"t{at}", parent=parent, weight=Fraction(1), guaranteed=guaranteed, burst=burst))
    return Quotas(version=version, teams=tuple(found))


def group(random: Random, teams: int, at: int, *, durations: bool) -> NewGroup:
    gpus = random.choice([0, 1, 1, 1, 2, 4, 8])
    return NewGroup(
        group_id=f"g{at}",
        team=f"t{min(int(random.expovariate(5 / teams)), teams - 1)}",
        run_id=f"run{at % 1000}",
        need=Need(random.choice([2000, 4000, 8000]) * max(gpus, 1), 16 * GIB, gpus, "h100" if gpus else ""),
        priority=random.choice([0, 0, 0, 5]),
        submit_time_us=at,
        expected_s=round(random.lognormvariate(6, 2)) + 1 if durations else None,
    )


def spread(times: list[float]) -> dict[str, float]:
    times.sort()
    return {"p50": round(times[len(times) // 2], 3), "p99": round(times[len(times) * 99 // 100], 3)}


def passes(ledger: Ledger, *, reclaim: bool) -> tuple[list[float], int, int]:
    """Milliseconds of a pass and of those that follow at once, as the service makes them; grants and notices."""
    times, grants, notices = [], 0, 0
    while True:
        began = process_time()
        outcome = ledger.decide(reclaim=reclaim, searches=SEARCHES_AT_ONCE)
        times.append(1e3 * (process_time() - began))
        grants, notices = grants + len(outcome.granted), notices + len(outcome.notices)
        reclaim = False
        if not ledger.unfinished:
            return times, grants, notices


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--teams", type=int, default=1_100)
    options.add_argument("--groups", type=int, default=100_000)
    options.add_argument("--hosts", type=int, default=1_500)
    options.add_argument("--events", type=int, default=300)
    options.add_argument("--no-quotas", action="store_true")
    options.add_argument("--flat", action="store_true", help="no organisations")
    options.add_argument("--durations", action="store_true")
    given = options.parse_args()
    random = Random(1)
    shown: dict[str, object] = {}

    began = process_time()
    ledger = Ledger(1, quotas=Quotas() if given.no_quotas else tree(given.teams, 1, flat=given.flat))
    ledger.hello("r", [])
    for at in range(given.hosts):
        capacity = Need(96_000, 768 * GIB, 8, "h100")
        ledger.offer(Inventory(host=f"h{at}", address="h:1", capacity=capacity))
    for at in range(given.groups):
        about = group(random, given.teams, at, durations=given.durations)
        ledger.describe("r", about)
        ledger.demand("r", about.group_id, random.choice([1, 1, 1, 20]))
    shown["coming_up_s"] = round(process_time() - began, 3)

    times, grants, notices = passes(ledger, reclaim=True)
    shown["first_passes"] = {"s": round(sum(times) / 1e3, 3), "ms": spread(times), "grants": grants, "notices": notices}

    times, grants, notices = [], 0, 0
    for _ in range(given.events):
        holding = random.choice(list(ledger.holdings["r"].values()))
        ledger.release("r", holding.grant_id, 1)
        took, started, told = passes(ledger, reclaim=False)
        times, grants, notices = times + took, grants + started, notices + told
    shown["pass_after_release_ms"] = {**spread(times), "passes": len(times), "grants": grants, "notices": notices}

    times, grants, notices = [], 0, 0
    for second in range(1, 6):
        ledger.pass_time(second)
        took, started, told = passes(ledger, reclaim=True)
        times, grants, notices = times + took, grants + started, notices + told
    shown["pass_each_second_ms"] = {**spread(times), "passes": len(times), "grants": grants, "notices": notices}

    began = process_time()
    for at in range(100_000):
        about = NewGroup(
            group_id=f"flood{at}", team="t1", run_id="flood", need=Need(1000, GIB, 0, ""), submit_time_us=at
        )
        ledger.describe("r", about)
        ledger.demand("r", about.group_id, 1)
    shown["flood_s"] = round(process_time() - began, 3)
    began = process_time()
    passes(ledger, reclaim=False)
    shown["flood_pass_ms"] = round(1e3 * (process_time() - began), 3)

    if not given.no_quotas:
        began = process_time()
        ledger.apply(tree(given.teams, 2, flat=given.flat))
        ledger.settle()
        shown["new_amounts_s"] = round(process_time() - began, 3)
    began = process_time()
    ledger.apply(tree(given.teams - 20, 3, flat=given.flat))
    ledger.settle()
    shown["new_tree_s"] = round(process_time() - began, 3)
    print(json.dumps(shown, indent=2))


if __name__ == "__main__":
    main()
