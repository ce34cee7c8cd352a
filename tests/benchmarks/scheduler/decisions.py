"""How many decisions a second the engine of the contract takes, in CPU seconds of one core.

`python tests/benchmarks/scheduler/decisions.py --teams 1100 --pending 100000 --hosts 1500`
"""

from __future__ import annotations

import argparse
import json
from random import Random
from statistics import median
from time import process_time
from typing import Any

from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.snapshots import Reader


def snapshot(teams: int, pending: int, hosts: int, seed: int) -> dict[str, Any]:
    """Hosts with 8 GPUs; teams with guarantees, a few of them with most of what waits; requests of 0 to 8 GPUs."""
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
            }
            for at in range(teams)
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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--teams", type=int, default=1_100)
    options.add_argument("--pending", type=int, default=100_000)
    options.add_argument("--hosts", type=int, default=1_500)
    options.add_argument("--events", type=int, default=200)
    options.add_argument("--rounds", type=int, default=0, help="rounds with reclaim after the first")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()

    began = process_time()
    cluster = Reader(snapshot(given.teams, given.pending, given.hosts, given.seed)).cluster()
    shown: dict[str, Any] = {"read_s": process_time() - began}

    began = process_time()
    first = decide(cluster, reclaim=False)
    shown["first_round_s"] = process_time() - began
    shown["starts_per_s"] = len(first.started) / shown["first_round_s"]

    times, started = [], 0
    for grant in Random(given.seed).sample(list(cluster.grants.values()), given.events):
        if cluster.grants.get(grant.id) is grant:
            began = process_time()
            cluster.end(grant)
            started += len(decide(cluster, reclaim=False).started)
            times.append(1e3 * (process_time() - began))
    times.sort()
    shown["event_ms"] = {"p50": median(times), "p99": times[len(times) * 99 // 100], "started": started}

    for number in range(given.rounds):
        began = process_time()
        decision = decide(cluster)
        seconds = process_time() - began
        shown[f"reclaim_{number + 1}"] = {"s": seconds, "left": len(decision.leaving), "started": len(decision.started)}
    print(json.dumps(shown, indent=2))


if __name__ == "__main__":
    main()
