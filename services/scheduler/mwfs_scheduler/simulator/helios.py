"""The Helios trace: what teams used, hour by hour, beside what they were entitled to. It holds no jobs, so nothing is replayed."""

from __future__ import annotations

from typing import Any, Final

from mwfs_scheduler.simulator.traces import number_of, rows_of

SAYS: Final = (
    "Use and demand by hour against the quota that the source gives. It can say how often teams were over or under their "
    "quota, and whether they waited while under it. It cannot say who waited for how long, nor how another policy would do: "
    "it has no jobs, and the demand that it shows depended on the policy of that time."
)


def usage_view() -> dict[str, Any]:
    """Per team, over the hours of the trace. Raises BadTrace."""
    teams: dict[str, list[tuple[float, float, float]]] = {}
    hours: dict[str, list[float]] = {}
    columns = ("quota_gpus", "running_gpus_mean", "pending_gpus_mean")
    for where, row in rows_of("helios", {"team", "hour", *columns}):
        quota, running, pending = (number_of(row, column, where) for column in columns)
        teams.setdefault(row["team"], []).append((quota, running, pending))
        of_hour = hours.setdefault(row["hour"], [0.0, 0.0, 0.0])
        for at, value in enumerate((quota, running, pending)):
            of_hour[at] += value
    return {
        "trace": "helios",
        "says": SAYS,
        "hours": len(hours),
        "quota_gpus": max(quota for quota, _, _ in hours.values()),
        "utilisation_of_quota": sum(used for _, used, _ in hours.values())
        / sum(quota for quota, _, _ in hours.values()),
        "idle_wanted_gpu_hours": sum(min(max(quota - used, 0), want) for quota, used, want in hours.values()),
        "teams": {team: _team(teams[team]) for team in sorted(teams)},
    }


def _team(hours: list[tuple[float, float, float]]) -> dict[str, float]:
    count = len(hours)
    return {
        "quota_gpus": max(quota for quota, _, _ in hours),
        "running_gpus": sum(used for _, used, _ in hours) / count,
        "pending_gpus": sum(want for _, _, want in hours) / count,
        "hours_over_quota": sum(used > quota for quota, used, _ in hours) / count,
        "hours_waiting": sum(want > 0 for _, _, want in hours) / count,
        #: Hours in which the team waited although it used less than its quota.
        "hours_waiting_under_quota": sum(want > 0 and used < quota for quota, used, want in hours) / count,
        "most_over_quota": max(used / quota if quota else 0.0 for quota, used, _ in hours),
    }
