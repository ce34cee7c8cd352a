"""What each team is promised. The traces do not say it: a rule chooses, and the report names the rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from mwfs_scheduler.simulator.model import PARTS, Amounts, Workload

RULES: Final = {
    "equal": "the same for every team",
    "gpu-hours": "in proportion to the GPU-hours that the team's jobs of the window need",
    "peak": "in proportion to the GPUs that the team would use at most if all its jobs started at once",
}

K = TypeVar("K", str, int)


def entitlements(workload: Workload, rule: str) -> dict[str, Amounts]:
    """All of the cluster, shared out by the rule: whole GPUs by largest remainder, the rest in proportion to the GPUs.

    Where types count, the GPUs of each type are shared out by themselves; a type that nobody wants is shared out equally.
    """
    weigh = {"equal": _equal, "gpu-hours": _gpu_hours, "peak": peaks}[rule]
    nobody = dict.fromkeys(workload.teams, 0)
    gpus, of_kind = dict(nobody), dict[int, dict[str, int]]()
    for kind in workload.kinds:
        wanted = replace(workload, jobs=[job for job in workload.jobs if job.amounts[kind]])
        weights = nobody | (_equal(workload) if rule == "equal" or not wanted.jobs else weigh(wanted))
        of_kind[kind] = shared_out(workload.pools[kind] // PARTS, weights, gpus)
        for team, whole in of_kind[kind].items():
            gpus[team] += whole
    found = {}
    for team, whole in gpus.items():
        amounts = list(of_gpus(workload, whole))
        for kind, shares in of_kind.items():
            amounts[kind] = shares[team] * PARTS
        found[team] = tuple(amounts)
    return found


def of_gpus(workload: Workload, gpus: int) -> Amounts:
    """So many GPUs, and the same part of everything else."""
    pools = workload.pools
    return tuple(pool * gpus * PARTS // (pools[workload.gpu] or 1) for pool in pools)


def shared_out(whole: int, weights: Mapping[K, int], before: Mapping[K, int] | None = None) -> dict[K, int]:
    """`whole` in proportion to the weights, by largest remainder; of equal ones who has less `before`, then by name."""
    all_ = sum(weights.values())
    if not all_:
        return dict.fromkeys(weights, 0)
    shares = {name: whole * weight // all_ for name, weight in weights.items()}
    has = before or {}
    remainders = sorted(weights, key=lambda name: (-(whole * weights[name] % all_), has.get(name, 0), name))
    for name in remainders[: whole - sum(shares.values())]:
        shares[name] += 1
    return shares


def peaks(workload: Workload) -> dict[str, int]:
    """The GPUs, in parts, that each team would use at most if all its jobs started when they were submitted."""
    found = {}
    for team in workload.teams:
        steps = []
        for job in workload.jobs:
            if job.team == team:
                gpus = job.total[workload.gpu]
                steps += [(job.submit, gpus), (job.submit + job.duration, -gpus)]
        # What ends at a time has gone before what starts at it.
        used = most = 0
        for _, gpus in sorted(steps):
            used += gpus
            most = max(most, used)
        found[team] = most
    return found


def _equal(workload: Workload) -> dict[str, int]:
    return dict.fromkeys(workload.teams, 1)


def _gpu_hours(workload: Workload) -> dict[str, int]:
    needed = dict.fromkeys(workload.teams, 0)
    for job in workload.jobs:
        needed[job.team] += job.total[workload.gpu] * job.duration
    return needed
