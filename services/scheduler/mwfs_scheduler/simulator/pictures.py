"""The pictures of a simulation: waits, finish-time ratios, and use over time. Needs matplotlib (the extra `pictures`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mwfs_scheduler.simulator.model import PARTS
from mwfs_scheduler.simulator.report import by_setting
from mwfs_scheduler.simulator.simulate import Plan, Result


def draw(plan: Plan, results: Sequence[Result], folder: Path, kind: str) -> list[Path]:
    """Writes the pictures into the folder, which is made if it is not there; `kind` is png or svg.

    Raises ImportError without matplotlib, and OSError when the folder cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figures = {"waits": Figure(figsize=(10, 4.5)), "ratios": Figure(figsize=(10, 5))}
    _waits(figures["waits"], plan, results)
    _ratios(figures["ratios"], plan, results)
    for setting, of in by_setting(plan, results):
        name = "use-" + "".join(each if each.isalnum() or each == "-" else "-" for each in setting.name)
        figures[name] = Figure(figsize=(10, 4.5))
        _use(figures[name], setting.name, of[0])
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.{kind}"
        # The same results give the same file.
        with rc_context({"svg.hashsalt": name}):
            figure.tight_layout()
            figure.savefig(path, dpi=120, metadata={"Date": None} if kind == "svg" else None)
        written.append(path)
    return written


def _waits(figure, plan: Plan, results: Sequence[Result]) -> None:  # type: ignore[no-untyped-def]
    """Which part of the jobs waited no longer than that."""
    axes = figure.subplots(1, 2, sharey=True)
    for axis, within, title in zip(axes, (True, False), ("within the guarantee", "borrowing"), strict=True):
        for setting, of in by_setting(plan, results):
            waits = sorted(waited for result in of for waited, each in result.waits if each is within)
            if waits:
                parts = [(at + 1) / len(waits) for at in range(len(waits))]
                axis.step([max(waited, 1) for waited in waits], parts, where="post", label=setting.name)
        axis.set_xscale("log")
        axis.set_xlabel("waited, seconds")
        axis.set_title(f"Jobs that started {title}")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("part of the jobs")
    axes[-1].legend(loc="lower right", fontsize="small")


def _ratios(figure, plan: Plan, results: Sequence[Result]) -> None:  # type: ignore[no-untyped-def]
    """Per team: time to the end, over the time on hosts of its own."""
    axis = figure.subplots()
    marks = "osD^v<>PX*"
    for at, (setting, of) in enumerate(by_setting(plan, results)):
        teams = of[0].figures["teams"]
        there = {team: each["finish_time_ratio"] for team, each in teams.items() if each["finish_time_ratio"]}
        axis.plot(list(there), list(there.values()), marks[at % len(marks)], label=setting.name, alpha=0.8)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_yscale("log")
    axis.set_ylabel("finish-time ratio; below 1 sharing helps")
    axis.tick_params(axis="x", rotation=45)
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")


def _use(figure, name: str, result: Result) -> None:  # type: ignore[no-untyped-def]
    """GPUs in use by team, over time, of one seed."""
    from matplotlib import colormaps

    axis = figure.subplots()
    if result.use_over_time:
        days = [at / 86_400 for at, _ in result.use_over_time]
        teams = list(result.use_over_time[0][1])
        layers = [[use[team] / PARTS for _, use in result.use_over_time] for team in teams]
        axis.stackplot(days, layers, labels=teams, colors=[colormaps["tab20"](at % 20) for at in range(len(teams))])
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="x-small")
    axis.set_xlabel("days")
    axis.set_ylabel("GPUs in use")
    axis.set_title(f"{name}, seed {result.seed}")
