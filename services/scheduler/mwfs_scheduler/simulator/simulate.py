"""One simulation: every policy on the same workload, for every seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mwfs_scheduler.simulator.entitlements import RULES, entitlements
from mwfs_scheduler.simulator.figures import Alone, alone, figures
from mwfs_scheduler.simulator.fragments import Fragments
from mwfs_scheduler.simulator.gpu_types import of_one_type
from mwfs_scheduler.simulator.ledger import Ledger
from mwfs_scheduler.simulator.model import Amounts, Checkpoints, Workload
from mwfs_scheduler.simulator.policies import Contract, Policy, Queue, build_cluster
from mwfs_scheduler.simulator.pools import Shards, Static
from mwfs_scheduler.simulator.replay import Replay
from mwfs_scheduler.simulator.settings import DURATIONS, Setting
from mwfs_scheduler.simulator.traces import Size, Window, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for."""

    trace: str
    size: Size
    window: Window
    entitlements: str
    #: Each job wants GPUs of one type, and guarantees are of types.
    by_type: bool = False
    settings: Sequence[Setting]
    seeds: Sequence[int]
    #: Decisions are made at multiples of this many seconds.
    interval_s: int = 10
    checkpoints: Checkpoints = Checkpoints()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One policy under one seed, with what pictures need."""

    setting: Setting
    seed: int
    figures: Mapping[str, Any]
    #: Of the counted jobs that ended: (waited, within the guarantee).
    waits: Sequence[tuple[int, bool]]
    use_over_time: Sequence[tuple[int, Mapping[str, int]]]


def simulate(plan: Plan, *, cpu: Callable[[], float], progress: Callable[[str, float], None]) -> Iterator[Result]:
    """The results one after another. Raises BadTrace."""
    for seed in plan.seeds:
        workload = load(plan.trace, plan.size, plan.window, seed)
        if plan.by_type:
            workload = of_one_type(workload, seed)
        guarantees = entitlements(workload, plan.entitlements)
        private: Alone | None = None
        # What every team would have alone is what all are compared with.
        own = Setting(name="static", policy="static", durations="unknown")
        asked = [each for each in plan.settings if each.policy == "static"]
        for setting in [*(asked[:1] or [own]), *(each for each in plan.settings if each not in asked[:1])]:
            ledger = Ledger(workload, guarantees, Fragments(workload))
            replay = Replay(
                workload,
                build_policy(setting, workload, guarantees),
                ledger,
                interval_s=plan.interval_s,
                checkpoints=plan.checkpoints,
                cpu=cpu,
            )
            title = f"{setting.name}, seed {seed}"
            replay.run(lambda part, title=title: progress(title, part))  # type: ignore[misc]
            private = private or alone(replay, plan.interval_s)
            if setting is own:
                continue
            counted = [work for work in replay.works.values() if work.job.submit >= workload.counted_from]
            yield Result(
                setting=setting,
                seed=seed,
                figures=figures(workload, guarantees, replay, ledger, private),
                waits=[(work.waited, bool(work.within)) for work in counted if work.finished is not None],
                use_over_time=ledger.use_over_time,
            )


def build_policy(setting: Setting, workload: Workload, guarantees: Mapping[str, Amounts]) -> Policy:
    """The policy on idle hosts."""
    if setting.policy == "static":
        return Static(workload, guarantees, setting.durations)
    if setting.policy == "drf":
        guarantees = {team: tuple(0 for _ in amounts) for team, amounts in guarantees.items()}
    if setting.shards > 1:
        return Shards(
            workload,
            guarantees,
            setting.knobs,
            setting.durations,
            shards=setting.shards,
            splitter_s=setting.splitter_s,
        )
    cluster = build_cluster(workload.resources, workload.machines, guarantees, setting.knobs)
    if setting.policy in ("ours", "drf"):
        return Contract(cluster, setting.durations)
    return Queue(cluster, setting.policy, setting.durations)


def described(plan: Plan) -> dict[str, Any]:
    """What was simulated and by which rules: without it the figures say nothing."""
    window, keep = plan.window, plan.checkpoints
    return {
        "trace": plan.trace,
        "gpus": plan.size.gpus,
        "gpus_per_host": plan.size.gpus_per_host,
        "window": {
            "from_days": window.from_days,
            "days": window.days,
            "warmup_days": window.warmup_days,
            "carry": window.carry,
            "jitter_days": window.jitter_days,
            "limit": window.limit,
        },
        "seeds": list(plan.seeds),
        "decision_interval_s": plan.interval_s,
        "entitlements": f"{plan.entitlements}: {RULES[plan.entitlements]}. A rule of this simulation, not the source's.",
        "types": "one for each job, by the seed; guarantees are of types" if plan.by_type else "as in the trace",
        "checkpoints": f"{keep.rule}, every {keep.every_s} s",
        "durations": DURATIONS,
        "teams": "synthetic, by the seed" if plan.trace.startswith("openb") else "of the trace",
    }
