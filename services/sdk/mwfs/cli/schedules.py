"""`mwfs schedules`: runs that start at times that a cron expression names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mwfs.cli.occasion_runs import Limit, Name, Paused, Pin, Tags
from mwfs.cli.options import Home, Input, Inputs, Output, Priority, WorkflowArgument
from mwfs.cli.screen import Format, Screen


class CatchUp(StrEnum):
    """What becomes of missed occasions."""

    ALL = "all"
    LATEST = "latest"
    NONE = "none"


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Start runs at times that a cron expression names.")
    group.command(
        epilog="Examples:\n\n$ mwfs schedules create nightly flows:train --cron '0 6 * * *' --time-zone Europe/Berlin --fill day=day-1\n\n"
        "$ mwfs schedules create weekly flows:report --cron '30 7 * * MON' --catch-up all --input depth=3"
    )(create)
    group.command(name="list", epilog="Examples:\n\n$ mwfs schedules list")(list_schedules)
    group.command(epilog="Examples:\n\n$ mwfs schedules show nightly")(show)
    group.command(epilog="Examples:\n\n$ mwfs schedules history nightly --limit 5")(history)
    group.command(epilog="Examples:\n\n$ mwfs schedules pause nightly")(pause)
    group.command(epilog="Examples:\n\n$ mwfs schedules resume nightly")(resume)
    group.command(epilog="Examples:\n\n$ mwfs schedules delete nightly")(delete)
    app.add_typer(group, name="schedules")


def create(
    name: Name,
    workflow: WorkflowArgument,
    cron: Annotated[
        str,
        typer.Option(help="Minute, hour, day of month, month, day of week: '0 6 * * MON-FRI'.", show_default=False),
    ],
    time_zone: Annotated[str, typer.Option(help="Of the tz database, such as Europe/Berlin.")] = "UTC",
    catch_up: Annotated[
        CatchUp,
        typer.Option(help="What becomes of occasions that were missed because the platform was away."),
    ] = CatchUp.LATEST,
    input: Input = None,
    inputs: Inputs = None,
    fill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHAT",
            help="An input taken from the occasion: time, hour, day, week or month; day-1 is the day before. Repeat it.",
            show_default=False,
        ),
    ] = None,
    pin: Pin = False,
    paused: Paused = False,
    priority: Priority = 0,
    tag: Tags = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Start a run whenever the cron expression says so. Once for each occasion; clocks that change are followed."""
    from mwfs.cli.occasion_runs import encoded_run, read_fills, show_created
    from mwfs.cli.uploads import UploadBar
    from mwfs.client import BlockingClient

    screen = Screen(output)
    fills = read_fills(fill or [], "--fill")
    run = encoded_run(workflow, input or [], inputs, fills, home=home, pinned=pin, priority=priority, tags=tag or [])
    with BlockingClient(home) as client, UploadBar(screen) as bar:
        response = client.automations.create_schedule(
            name, run, cron=cron, time_zone=time_zone, catch_up=catch_up.value, paused=paused, progress=bar.report
        )
        show_created(screen, client, response)


def list_schedules(home: Home = None, output: Output = Format.TEXT) -> None:
    """List the schedules, by name."""
    from mwfs.cli import words
    from mwfs.cli.occasion_runs import show_list, state_word
    from mwfs.client import BlockingClient
    from mwfs.client.automations import SCHEDULE

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = list(client.automations.list(SCHEDULE))
    rows = [
        (
            each.name,
            state_word(each.state),
            each.schedule.cron,
            each.schedule.time_zone or "UTC",
            each.schedule.run.workflow,
            words.iso_time(each.next_time_us) or "",
        )
        for each in found
    ]
    show_list(screen, "schedules", found, ["NAME", "STATE", "CRON", "TIME ZONE", "WORKFLOW", "NEXT"], rows)


def show(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Show one schedule: when it is due next, and what it starts."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import SCHEDULE

    show_result(home, output, lambda automations: automations.get(SCHEDULE, name))


def history(name: Name, limit: Limit = 20, home: Home = None, output: Output = Format.TEXT) -> None:
    """List the occasions of a schedule with their runs, newest first."""
    from mwfs.cli.occasion_runs import show_occasions
    from mwfs.client import BlockingClient
    from mwfs.client.automations import SCHEDULE

    screen = Screen(output)
    with BlockingClient(home) as client:
        show_occasions(screen, "DUE", list(client.automations.occasions(SCHEDULE, name, limit=limit)))


def pause(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Start nothing until it is resumed. What falls into the pause is left out."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import SCHEDULE

    show_result(home, output, lambda automations: automations.pause(SCHEDULE, name))


def resume(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Go on with the next occasion from now."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import SCHEDULE

    show_result(home, output, lambda automations: automations.resume(SCHEDULE, name))


def delete(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Remove a schedule and its history. Its runs stay."""
    from mwfs.cli.occasion_runs import delete_one
    from mwfs.client.automations import SCHEDULE

    delete_one(home, output, SCHEDULE, name)
