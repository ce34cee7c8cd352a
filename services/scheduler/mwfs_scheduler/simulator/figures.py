"""The figures of one run of one policy. Everything is in seconds, GPUs, or parts of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean, stdev
from typing import Any

from mwfs_scheduler.simulator.entitlements import peaks
from mwfs_scheduler.simulator.ledger import Ledger
from mwfs_scheduler.simulator.model import PARTS, Amounts, Work, Workload
from mwfs_scheduler.simulator.replay import Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """How the jobs of each team fare on hosts of their own, of the size of the team's guarantee."""

    #: From submission to the end, by job; jobs that never end there are left out.
    took_s: Mapping[str, int]
    #: Jobs that wait there no longer than for the next decision: their team's guarantee is enough for them.
    at_once: frozenset[str]


def alone(replay: Replay, interval_s: int) -> Alone:
    """From a run of the policy `static`."""
    ended = [work for work in replay.works.values() if work.finished is not None]
    return Alone(
        took_s={work.job.id: _took(work) for work in ended},
        at_once=frozenset(work.job.id for work in ended if work.waited <= interval_s),
    )


def figures(
    workload: Workload, guarantees: Mapping[str, Amounts], replay: Replay, ledger: Ledger, private: Alone
) -> dict[str, Any]:
    """What is reported of one run."""
    counted = [work for work in replay.works.values() if work.job.submit >= workload.counted_from]
    ended = [work for work in counted if work.finished is not None]
    gpu, hour = workload.gpu, 3600 * PARTS
    span = workload.until - workload.counted_from
    pool = workload.pools[gpu]
    teams = _teams(workload, guarantees, ledger, counted, private)
    shares = ledger.fragments.means()
    return {
        "jobs": len(counted),
        "finished": len(ended),
        "never_start": sum(work.job.id in replay.never for work in counted),
        "completion_s": _spread([_took(work) for work in ended]),
        "wait_s": _spread([work.waited for work in ended]),
        "wait_within_s": _spread([work.waited for work in ended if work.within]),
        "wait_borrowing_s": _spread([work.waited for work in ended if not work.within]),
        "wait_alone_at_once_s": _spread([work.waited for work in ended if work.job.id in private.at_once]),
        "wait_others_s": _spread([work.waited for work in ended if work.job.id not in private.at_once]),
        "wait_gangs_s": _spread([work.waited for work in ended if work.job.members > 1]),
        "reclaim_s": _spread(ledger.reclaim_s),
        "utilisation": ledger.used_s / (pool * span) if pool and span else None,
        "idle_wanted_gpu_hours": ledger.idle_wanted_s / hour,
        "free_unusable": shares["unusable"],
        "free_on_partial_hosts": shares["partial"],
        "evictions": sum(work.evictions for work in counted),
        "lost_gpu_hours": sum(work.lost * work.job.total[gpu] for work in counted) / hour,
        "finish_time_ratio_max": max((each["finish_time_ratio"] or 0 for each in teams.values()), default=None),
        "finish_time_ratio_max_peak_within": _most(teams, "peak_within"),
        "finish_time_ratio_max_mean_within": _most(teams, "mean_within"),
        "rounds": replay.rounds,
        "decisions": replay.decisions,
        "cpu_s": replay.cpu_s,
        "decisions_per_cpu_s": replay.decisions / replay.cpu_s if replay.cpu_s else None,
        "teams": teams,
    }


def _teams(
    workload: Workload, guarantees: Mapping[str, Amounts], ledger: Ledger, counted: Sequence[Work], private: Alone
) -> dict[str, Any]:
    gpu = workload.gpu
    span = workload.until - workload.counted_from
    most = peaks(workload)
    found: dict[str, Any] = {}
    by_team: dict[str, list[Work]] = {team: [] for team in guarantees}
    for work in counted:
        by_team[work.job.team].append(work)
    for team, works in by_team.items():
        both = [work for work in works if work.finished is not None and work.job.id in private.took_s]
        shared, own = sum(map(_took, both)), sum(private.took_s[work.job.id] for work in both)
        guaranteed = guarantees[team][gpu]
        asked = sum(work.job.total[gpu] * work.job.duration for work in works)
        found[team] = {
            "jobs": len(works),
            "guaranteed_gpus": guaranteed / PARTS,
            "used_gpus": ledger.team_used_s[team] / span / PARTS if span else None,
            #: GPUs on average, if every job had run at once.
            "wanted_gpus": asked / span / PARTS if span else None,
            "peak_wanted_gpus": most[team] / PARTS,
            "mean_within": asked <= guaranteed * span,
            "peak_within": most[team] <= guaranteed,
            "wait_s": _spread([work.waited for work in works if work.finished is not None]),
            "compared_jobs": len(both),
            "finish_time_ratio": shared / own if own else None,
            "lost_gpu_hours": sum(work.lost * work.job.total[gpu] for work in works) / 3600 / PARTS,
        }
    return found


def _most(teams: Mapping[str, Any], which: str) -> float | None:
    """Of the teams that demanded no more than their guarantee."""
    ratios = [each["finish_time_ratio"] for each in teams.values() if each[which] and each["finish_time_ratio"]]
    return max(ratios, default=None)


def _took(work: Work) -> int:
    assert work.finished is not None
    return work.finished - work.job.submit


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "mean": fmean(ordered) if ordered else None,
        "p50": quantile(ordered, 0.5),
        "p90": quantile(ordered, 0.9),
        "p99": quantile(ordered, 0.99),
        "max": ordered[-1] if ordered else None,
    }


def quantile(ordered: Sequence[float], part: float) -> float | None:
    """The least value that is not below this part of them."""
    return ordered[max(0, ceil(len(ordered) * part - 1e-9) - 1)] if ordered else None


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, of every number that all of them have."""
    found: dict[str, Any] = {}
    for key in runs[0]:
        values = [run.get(key) for run in runs]
        if isinstance(values[0], Mapping):
            inner = [value for value in values if isinstance(value, Mapping)]
            found[key] = over_seeds(inner)
        else:
            found[key] = _mean_and_deviation(values)
    return found


def _mean_and_deviation(values: Iterable[Any]) -> dict[str, float | None]:
    there = [float(value) for value in values if value is not None]
    return {
        "mean": fmean(there) if there else None,
        "deviation": stdev(there) if len(there) > 1 else None,
    }
