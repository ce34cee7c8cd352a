"""What `mwfs scheduler simulate` prints: a table for people, a document for programs, rows for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TextIO

from mwfs_scheduler.simulator.figures import over_seeds
from mwfs_scheduler.simulator.settings import Setting
from mwfs_scheduler.simulator.simulate import Plan, Result, described

#: (heading, where in the figures, divided by, decimals).
COLUMNS: Final[tuple[tuple[str, tuple[str, ...], float, int], ...]] = (
    ("COMPLETION h", ("completion_s", "mean"), 3600, 2),
    ("WAIT mean s", ("wait_s", "mean"), 1, 0),
    ("p50", ("wait_s", "p50"), 1, 0),
    ("p99", ("wait_s", "p99"), 1, 0),
    ("MOST d", ("wait_s", "max"), 86_400, 1),
    ("WITHIN mean", ("wait_within_s", "mean"), 1, 0),
    ("p99 ", ("wait_within_s", "p99"), 1, 0),
    ("BORROWING mean", ("wait_borrowing_s", "mean"), 1, 0),
    ("p99  ", ("wait_borrowing_s", "p99"), 1, 0),
    ("RECLAIM p99 s", ("reclaim_s", "p99"), 1, 0),
    ("USED %", ("utilisation",), 0.01, 1),
    ("IDLE WANTED GPU h", ("idle_wanted_gpu_hours",), 1, 0),
    ("UNUSABLE %", ("free_unusable",), 0.01, 1),
    ("RATIO max", ("finish_time_ratio_max",), 1, 2),
    ("OF TEAMS WITHIN", ("finish_time_ratio_max_mean_within",), 1, 2),
    ("EVICTED", ("evictions",), 1, 0),
    ("LOST GPU h", ("lost_gpu_hours",), 1, 0),
    ("NEVER", ("never_start",), 1, 0),
    ("DECISIONS /CPU s", ("decisions_per_cpu_s",), 1, 0),
)
TEAM_HEADINGS: Final = ("TEAM", "GUARANTEED", "WANTED", "PEAK", "USED", "JOBS", "WAIT mean s", "RATIO")


def document(plan: Plan, results: Sequence[Result]) -> dict[str, Any]:
    """Everything: the rules, and per policy the figures of each seed, their mean and their deviation."""
    return {
        **described(plan),
        "policies": [
            {
                "policy": setting.name,
                "settings": _settings(setting),
                "seeds": [{"seed": result.seed, **result.figures} for result in of],
                "over_seeds": over_seeds([result.figures for result in of]),
            }
            for setting, of in by_setting(plan, results)
        ],
    }


def by_setting(plan: Plan, results: Sequence[Result]) -> list[tuple[Setting, list[Result]]]:
    """The results of each policy, in the order in which the policies were asked for."""
    found = [(setting, [result for result in results if result.setting is setting]) for setting in plan.settings]
    return [(setting, of) for setting, of in found if of]


def table(plan: Plan, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): a row per policy, mean ± deviation where there are several seeds."""
    rows = []
    for setting, of in by_setting(plan, results):
        all_ = over_seeds([result.figures for result in of])
        rows.append([setting.name, *(_cell(all_, where, by, decimals) for _, where, by, decimals in COLUMNS)])
    return ["POLICY", *(heading for heading, _, _, _ in COLUMNS)], rows


def team_tables(plan: Plan, results: Sequence[Result]) -> list[tuple[str, list[list[str]]]]:
    """(policy, rows) of the first seed: how each team fared."""
    found = []
    for setting, of in by_setting(plan, results):
        rows = [
            [
                team,
                _number(each["guaranteed_gpus"], 0),
                _number(each["wanted_gpus"], 1),
                _number(each["peak_wanted_gpus"], 0),
                _number(each["used_gpus"], 1),
                str(each["jobs"]),
                _number(each["wait_s"]["mean"], 0),
                _number(each["finish_time_ratio"], 2),
            ]
            for team, each in of[0].figures["teams"].items()
        ]
        found.append((setting.name, rows))
    return found


def write_csv(file: TextIO, results: Sequence[Result]) -> None:
    """A row per run and team, and one per run for all teams; numbers as they are."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["policy", "seed", "team", "figure", "value"])
    for result in results:
        for team, figure, value in _flat(result.figures):
            writer.writerow([result.setting.name, result.seed, team, figure, "" if value is None else value])


def _flat(figures: Mapping[str, Any], team: str = "", before: str = "") -> list[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    for key, value in figures.items():
        if key == "teams" and not team:
            for name, each in value.items():
                found += _flat(each, name)
        elif isinstance(value, Mapping):
            found += _flat(value, team, f"{before}{key}.")
        else:
            found.append((team, before + key, value))
    return found


def _settings(setting: Setting) -> dict[str, Any]:
    found: dict[str, Any] = {"durations": setting.durations}
    if setting.policy in ("ours", "drf"):
        found |= {"knobs": asdict(setting.knobs), "shards": setting.shards}
        if setting.shards > 1:
            found["splitter_s"] = setting.splitter_s
    return found


def _cell(all_: Mapping[str, Any], where: tuple[str, ...], by: float, decimals: int) -> str:
    found: Any = all_
    for key in where:
        found = found[key]
    mean, deviation = found["mean"], found["deviation"]
    if mean is None:
        return "–"
    text = _number(mean / by, decimals)
    return text if deviation is None else f"{text} ± {_number(deviation / by, decimals)}"


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"
