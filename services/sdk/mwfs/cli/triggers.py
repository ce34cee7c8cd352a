"""`mwfs triggers`: runs that start when another run has ended, or has given an artifact."""

from __future__ import annotations

from typing import Annotated

import typer

from mwfs.cli.occasion_runs import Limit, Name, Paused, Pin, Tags
from mwfs.cli.options import Home, Input, Inputs, Output, Priority, WorkflowArgument
from mwfs.cli.screen import Format, Screen


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Start runs when other runs end, or give an artifact.")
    group.command(
        epilog="Examples:\n\n$ mwfs triggers create evaluate flows:evaluate --on flows:train --fill model=output:model\n\n"
        "$ mwfs triggers create alarm flows:page --on flows:train --state FAILED --fill run=run\n\n"
        "$ mwfs triggers create any-model flows:scan --on any --output-type Model"
    )(create)
    group.command(name="list", epilog="Examples:\n\n$ mwfs triggers list")(list_triggers)
    group.command(epilog="Examples:\n\n$ mwfs triggers show evaluate")(show)
    group.command(epilog="Examples:\n\n$ mwfs triggers history evaluate --limit 5")(history)
    group.command(epilog="Examples:\n\n$ mwfs triggers pause evaluate")(pause)
    group.command(epilog="Examples:\n\n$ mwfs triggers resume evaluate")(resume)
    group.command(epilog="Examples:\n\n$ mwfs triggers delete evaluate")(delete)
    app.add_typer(group, name="triggers")


def create(
    name: Name,
    workflow: WorkflowArgument,
    on: Annotated[
        str,
        typer.Option(
            metavar="MODULE:WORKFLOW", help="When a run of it ends; `any`: of any workflow.", show_default=False
        ),
    ],
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="How it must end: SUCCEEDED, FAILED or CANCELLED. Repeat it. [default: SUCCEEDED]",
            show_default=False,
        ),
    ] = None,
    with_tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only if it has this tag. Repeat it.", show_default=False),
    ] = None,
    output_name: Annotated[
        str, typer.Option(metavar="NAME", help="Only if it has an output of this name.", show_default=False)
    ] = "",
    output_type: Annotated[
        str,
        typer.Option(metavar="TYPE", help="Only if it has an output of this type, such as Model.", show_default=False),
    ] = "",
    input: Input = None,
    inputs: Inputs = None,
    fill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHAT",
            help="An input taken from the run that ended: output:NAME, run (its id) or state. Repeat it.",
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
    """Start a run whenever a run of another workflow ends. Once for each end."""
    from mwfs.cli.occasion_runs import encoded_run, read_fills, show_created
    from mwfs.cli.run import read_tags
    from mwfs.cli.runs import read_state
    from mwfs.cli.uploads import UploadBar
    from mwfs.client import BlockingClient

    screen = Screen(output)
    states = [read_state(each) for each in state or []]
    fills = read_fills(fill or [], "--fill")
    run = encoded_run(workflow, input or [], inputs, fills, home=home, pinned=pin, priority=priority, tags=tag or [])
    with BlockingClient(home) as client, UploadBar(screen) as bar:
        response = client.automations.create_trigger(
            name,
            run,
            workflow="" if on == "any" else on,
            states=states,
            tags=read_tags(with_tag or []),
            output=output_name,
            output_type=output_type,
            paused=paused,
            progress=bar.report,
        )
        show_created(screen, client, response)


def list_triggers(home: Home = None, output: Output = Format.TEXT) -> None:
    """List the triggers, by name."""
    from mwfs.cli import words
    from mwfs.cli.occasion_runs import show_list, state_word
    from mwfs.client import BlockingClient
    from mwfs.client.automations import TRIGGER

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = list(client.automations.list(TRIGGER))
    rows = [
        (
            each.name,
            state_word(each.state),
            each.trigger.workflow or "any",
            " ".join(words.run_state(state) for state in each.trigger.states) or "SUCCEEDED",
            each.trigger.run.workflow,
        )
        for each in found
    ]
    show_list(screen, "triggers", found, ["NAME", "STATE", "ON", "ENDS", "WORKFLOW"], rows)


def show(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Show one trigger: what it waits for, and what it starts."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import TRIGGER

    show_result(home, output, lambda automations: automations.get(TRIGGER, name))


def history(name: Name, limit: Limit = 20, home: Home = None, output: Output = Format.TEXT) -> None:
    """List what a trigger was about, and the runs that it started. Each end of a run, newest first."""
    from mwfs.cli.occasion_runs import show_occasions
    from mwfs.client import BlockingClient
    from mwfs.client.automations import TRIGGER

    screen = Screen(output)
    with BlockingClient(home) as client:
        show_occasions(screen, "RUN/ROUND", list(client.automations.occasions(TRIGGER, name, limit=limit)))


def pause(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Start nothing until it is resumed. What ends during the pause is left out."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import TRIGGER

    show_result(home, output, lambda automations: automations.pause(TRIGGER, name))


def resume(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Go on with what ends from now."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import TRIGGER

    show_result(home, output, lambda automations: automations.resume(TRIGGER, name))


def delete(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Remove a trigger and its history. Its runs stay."""
    from mwfs.cli.occasion_runs import delete_one
    from mwfs.client.automations import TRIGGER

    delete_one(home, output, TRIGGER, name)
