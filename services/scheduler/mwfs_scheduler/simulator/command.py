"""The command `mwfs scheduler simulate`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from mwfs.cli.options import Output
from mwfs.cli.screen import Format, Screen
from mwfs.errors import MwfsError
from mwfs_scheduler.simulator.settings import POLICIES, BadSetting, read
from mwfs_scheduler.simulator.shipped import SHIPPED

if TYPE_CHECKING:
    from mwfs_scheduler.simulator.simulate import Plan, Result


class Rule(StrEnum):
    EQUAL = "equal"
    GPU_HOURS = "gpu-hours"
    PEAK = "peak"


class Kept(StrEnum):
    INTERVAL = "interval"
    NOTICE = "notice"
    NONE = "none"


class Durations(StrEnum):
    KNOWN = "known"
    LIMITS = "limits"
    UNKNOWN = "unknown"


class Picture(StrEnum):
    PNG = "png"
    SVG = "svg"


_POLICY_HELP = (
    "; ".join(f"{name}: {says}" for name, says in POLICIES.items())
    + ". NAME:setting=value,… changes settings of that one: knobs, durations, shards, splitter_s. Repeat it."
)


class Unsimulable(MwfsError):
    """The trace, the window or a setting is not as it must be."""

    exit_code: ClassVar[int] = 2


def simulate_command(
    trace: Annotated[
        str, typer.Option("--trace", metavar="NAME|FILE", help=f"{', '.join(SHIPPED)}, or a CSV file of jobs.")
    ] = "philly",
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME", help=_POLICY_HELP, show_default="all"),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="GPUs of the cluster. [default: 640, for openb its own]", show_default=False
        ),
    ] = None,
    gpus_per_host: Annotated[
        int, typer.Option(min=1, max=1024, help="A wider job becomes a gang. openb has hosts of its own.")
    ] = 8,
    entitlements: Annotated[
        Rule, typer.Option(help="The rule by which the cluster is promised to the teams; the traces do not say it.")
    ] = Rule.EQUAL,
    by_type: Annotated[
        bool,
        typer.Option("--by-type", help="Promise GPUs by type: each job of openb gets one of those that would do."),
    ] = False,
    durations: Annotated[
        Durations, typer.Option(help="What the policies are told of how long a job runs.")
    ] = Durations.LIMITS,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SETTING=VALUE", help="A setting for `ours`. Repeat it.", show_default=False),
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, max=64, help="Run `ours` as so many engines, each with a part of the hosts.")
    ] = 1,
    splitter_interval: Annotated[
        int, typer.Option(min=1, max=10**6, help="Seconds between two looks of the splitter of guarantees.")
    ] = 300,
    from_: Annotated[float, typer.Option("--from", min=0, max=10**5, help="Day at which the window begins.")] = 0,
    days: Annotated[
        float | None,
        typer.Option(min=0, max=10**5, help="Days of the window. [default: to the end]", show_default=False),
    ] = None,
    warmup: Annotated[float, typer.Option(min=0, max=10**5, help="First days that run, but are not counted.")] = 0,
    carry: Annotated[
        bool,
        typer.Option(
            help="What was submitted before the window and would still run is there at its begin, not counted."
        ),
    ] = True,
    jitter: Annotated[float, typer.Option(min=0, max=10**3, help="By the seed, begin up to so many days later.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many jobs.", show_default=False)] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds 1 to N; mean and deviation are over them.")] = 1,
    interval: Annotated[int, typer.Option(min=0, max=86_400, help="Seconds from one decision to the next.")] = 10,
    checkpoint: Annotated[
        Kept,
        typer.Option(
            help="What evicted work keeps. interval: what it had done at its last checkpoint; notice: all up to when it was "
            "told to leave; none: nothing."
        ),
    ] = Kept.INTERVAL,
    checkpoint_every: Annotated[int, typer.Option(min=1, max=10**7, help="Seconds between checkpoints.")] = 1800,
    teams: Annotated[int, typer.Option(min=1, max=1000, help="Synthetic teams of openb, which has none.")] = 8,
    by_team: Annotated[bool, typer.Option("--by-team", help="Also how each team fared.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all figures.", show_default=False)
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Draw them (needs matplotlib).", show_default=False)
    ] = None,
    picture: Annotated[Picture, typer.Option("--picture", help="Their format.")] = Picture.PNG,
    output: Output = Format.TEXT,
) -> None:
    """Replay a trace of real jobs, and compare policies. On a virtual clock, with the engine of the service and with other policies."""
    from mwfs_scheduler.simulator.model import BadTrace, Checkpoints
    from mwfs_scheduler.simulator.report import write_csv
    from mwfs_scheduler.simulator.simulate import Plan
    from mwfs_scheduler.simulator.traces import Size, Window

    screen = Screen(output)
    if trace == "helios":
        _show_helios(screen)
        return
    if pictures is not None:
        _need_matplotlib()
    try:
        shared = [f"shards={shards}", f"splitter_s={splitter_interval}", *(set_ or ())]
        settings = [read(each, shared=shared, durations=durations.value) for each in policy or POLICIES]
        if len({setting.name for setting in settings}) < len(settings):
            raise BadSetting("A policy is given twice; give it other settings.")
        if by_type and any(setting.shards > 1 for setting in settings):
            raise BadSetting("--by-type and shards: the splitter shares out GPUs of any type; give one of the two.")
        plan = Plan(
            trace=trace,
            size=Size(gpus=gpus, gpus_per_host=gpus_per_host, teams=teams),
            window=Window(from_days=from_, days=days, warmup_days=warmup, carry=carry, limit=limit, jitter_days=jitter),
            entitlements=entitlements.value,
            by_type=by_type,
            settings=settings,
            seeds=range(1, seeds + 1),
            interval_s=interval,
            checkpoints=Checkpoints(rule=checkpoint.value, every_s=checkpoint_every),
        )
        results, complete = _run(screen, plan)
    except (BadTrace, BadSetting) as error:
        raise Unsimulable(str(error), "See mwfs scheduler simulate --help.") from None
    if not complete:
        screen.note(f"Interrupted: {len(results)} of {len(settings) * seeds} results are complete.")
    if results:
        _show(screen, plan, results, by_team=by_team)
        if csv is not None:
            with csv.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, results)
        if pictures is not None:
            from mwfs_scheduler.simulator.pictures import draw

            for path in draw(plan, results, pictures, picture.value):
                screen.note(f"Wrote {path}.")
    if not complete:
        raise typer.Exit(130)


def _run(screen: Screen, plan: Plan) -> tuple[list[Result], bool]:
    """The results, and whether all that were asked for are among them: Ctrl-C keeps those that are complete."""
    from mwfs_scheduler.simulator.simulate import simulate

    results: list[Result] = []
    try:
        with screen.waiting("Reading the trace") as waiting:

            def progress(title: str, part: float) -> None:
                waiting.say(f"{title}  {'█' * round(part * 30):░<30} {part:4.0%}")

            for result in simulate(plan, cpu=time.process_time, progress=progress):
                results.append(result)
    except KeyboardInterrupt:
        return results, False
    return results, True


def _show(screen: Screen, plan: Plan, results: Sequence[Result], *, by_team: bool) -> None:
    from mwfs_scheduler.simulator import report

    if screen.json:
        screen.document(report.document(plan, results))
        return
    headings, rows = report.table(plan, results)
    screen.table(headings, rows, right=headings[1:])
    if by_team:
        for name, of_teams in report.team_tables(plan, results):
            screen.print(f"{name}, seed {plan.seeds[0]}")
            screen.table(report.TEAM_HEADINGS, of_teams, right=report.TEAM_HEADINGS[1:])
    first = results[0].figures
    screen.note(
        f"{first['jobs']:,} jobs counted. Entitlements by the rule {plan.entitlements}, not the source's. "
        "WITHIN and BORROWING: whether the team was within its guarantee with the job when it started. "
        "RATIO: a team's time to the end over the same on hosts of its own; OF TEAMS WITHIN: of those that wanted no more than "
        "their guarantee on average."
    )


def _show_helios(screen: Screen) -> None:
    from mwfs_scheduler.simulator import helios
    from mwfs_scheduler.simulator.model import BadTrace

    try:
        view = helios.usage_view()
    except BadTrace as error:
        raise Unsimulable(str(error), "Install mwfs again: a file of the package is damaged.") from None
    if screen.json:
        screen.document(view)
        return
    headings = [
        "TEAM",
        "QUOTA",
        "RUNNING",
        "PENDING",
        "OVER QUOTA %",
        "WAITING %",
        "WAITING UNDER QUOTA %",
        "MOST OVER",
    ]
    rows = [
        [
            team,
            f"{each['quota_gpus']:.0f}",
            f"{each['running_gpus']:.1f}",
            f"{each['pending_gpus']:.1f}",
            f"{each['hours_over_quota']:.1%}",
            f"{each['hours_waiting']:.1%}",
            f"{each['hours_waiting_under_quota']:.1%}",
            f"{each['most_over_quota']:.2f}",
        ]
        for team, each in view["teams"].items()
    ]
    screen.table(headings, rows, right=headings[1:])
    screen.note(str(view["says"]))


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise Unsimulable(
            "Pictures need matplotlib.", "pip install 'mwfs[pictures]', or leave --pictures out."
        ) from None
