"""`mwfs backfill`: one run for each partition of time, or for each key, so many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.occasion_runs import Name, Paused, Tags
from mwfs.cli.options import Home, Input, Inputs, Output, Priority, WorkflowArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.workflows import Workflow


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Run a workflow once for each partition, so many at a time.")
    group.command(
        epilog="Examples:\n\n$ mwfs backfill create q1 flows:daily --partitions 2026-01-01..2026-03-31 --max-parallel 8\n\n"
        "$ mwfs backfill create shops flows:by_shop --keys berlin,paris --join flows:report --join-fill rows=outputs:rows"
    )(create)
    group.command(name="list", epilog="Examples:\n\n$ mwfs backfill list")(list_backfills)
    group.command(epilog="Examples:\n\n$ mwfs backfill show q1\n\n$ mwfs backfill show q1 --state FAILED")(show)
    group.command(epilog="Examples:\n\n$ mwfs backfill pause q1")(pause)
    group.command(epilog="Examples:\n\n$ mwfs backfill resume q1")(resume)
    group.command(epilog="Examples:\n\n$ mwfs backfill cancel q1")(cancel)
    group.command(epilog="Examples:\n\n$ mwfs backfill delete q1")(delete)
    app.add_typer(group, name="backfill")


def create(
    name: Name,
    workflow: WorkflowArgument,
    partitions: Annotated[
        str,
        typer.Option(
            metavar="FIRST..LAST",
            help="Hours, days, weeks or months: 2026-01-01..2026-03-31, 2026-W01..2026-W10, 2026-01..2026-06.",
            show_default=False,
        ),
    ] = "",
    keys: Annotated[str, typer.Option(metavar="A,B,C", help="Partitions that are not time.", show_default=False)] = "",
    keys_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The same, one a line.", show_default=False)
    ] = None,
    partition_input: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The input that takes the partition. [default: the one without a value]",
            show_default=False,
        ),
    ] = "",
    max_parallel: Annotated[int, typer.Option(min=1, help="Runs that go on at a time.")] = 8,
    input: Input = None,
    inputs: Inputs = None,
    join: Annotated[
        str,
        typer.Option(metavar="MODULE:WORKFLOW", help="Started once all partitions have succeeded.", show_default=False),
    ] = "",
    join_fill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHAT",
            help="An input of the join: outputs:NAME (a list), runs (their ids) or partitions. Repeat it.",
            show_default=False,
        ),
    ] = None,
    join_input: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another input of the join.", show_default=False)
    ] = None,
    paused: Paused = False,
    priority: Priority = 0,
    tag: Tags = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Start one run for each partition, so many at a time. In their order; the same name and content is the same backfill."""
    from mwfs.cli.inputs import read_inputs
    from mwfs.cli.occasion_runs import encoded_run, read_fills, show_created
    from mwfs.cli.uploads import UploadBar
    from mwfs.client import BlockingClient
    from mwfs.errors import InvalidInput
    from mwfs.invoke import load_workflow

    screen = Screen(output)
    span = _read_range(partitions)
    named = _read_keys(keys, keys_file)
    if (span is None) == (named is None):
        raise InvalidInput(
            "A backfill needs either --partitions or keys.",
            "Write --partitions 2026-01-01..2026-03-31 or --keys a,b,c.",
        )
    loaded = load_workflow(workflow)
    takes = partition_input or _free_input(loaded, set(read_inputs(loaded, input or [], inputs, home=home).values))
    run = encoded_run(
        workflow, input or [], inputs, {takes: "partition"}, home=home, pinned=True, priority=priority, tags=tag or []
    )
    joined = None
    if join:
        fills = read_fills(join_fill or [], "--join-fill")
        joined = encoded_run(join, join_input or [], None, fills, home=home, pinned=True, tags=tag or [])
    with BlockingClient(home) as client, UploadBar(screen) as bar:
        response = client.automations.create_backfill(
            name,
            run,
            partitions=span,
            keys=named or [],
            max_parallel=max_parallel,
            join=joined,
            paused=paused,
            progress=bar.report,
        )
        show_created(screen, client, response)


def list_backfills(home: Home = None, output: Output = Format.TEXT) -> None:
    """List the backfills, by name."""
    from mwfs.cli.occasion_runs import show_list, state_word
    from mwfs.client import BlockingClient
    from mwfs.client.automations import BACKFILL

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = list(client.automations.list(BACKFILL))
    rows = [(each.name, state_word(each.state), each.backfill.run.workflow, each.message) for each in found]
    show_list(screen, "backfills", found, ["NAME", "STATE", "WORKFLOW", ""], rows)


def show(
    name: Name,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="List only partitions in this state, such as FAILED.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="List at most so many partitions.")] = 20,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show how far a backfill is. How many partitions are where, which have failed, and the join."""
    from mwfs.cli.occasion_runs import automation_document, occasion_document, show_automation, show_occasions
    from mwfs.client import BlockingClient
    from mwfs.client.automations import BACKFILL

    screen = Screen(output)
    states = [_read_state(each) for each in state or []]
    with BlockingClient(home) as client:
        found = client.automations.get(BACKFILL, name)
        listed = list(client.automations.occasions(BACKFILL, name, states=states, limit=limit)) if limit else []
    if screen.json:
        screen.document(automation_document(found) | {"partitions": [occasion_document(each) for each in listed]})
        return
    show_automation(screen, found)
    if listed:
        screen.print("")
        show_occasions(screen, "PARTITION", listed)


def pause(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Start no further partition until it is resumed. What runs goes on."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import BACKFILL

    show_result(home, output, lambda automations: automations.pause(BACKFILL, name))


def resume(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Go on with a backfill after a pause, a failure or a cancel. After a failure or a cancel the partitions that have not succeeded run again."""
    from mwfs.cli.occasion_runs import show_result
    from mwfs.client.automations import BACKFILL

    show_result(home, output, lambda automations: automations.resume(BACKFILL, name))


def cancel(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Start no further partition, and cancel those that run."""
    from mwfs.cli.occasion_runs import show_result

    show_result(home, output, lambda automations: automations.cancel_backfill(name))


def delete(name: Name, home: Home = None, output: Output = Format.TEXT) -> None:
    """Remove a backfill that has ended. Its runs stay."""
    from mwfs.cli.occasion_runs import delete_one
    from mwfs.client.automations import BACKFILL

    delete_one(home, output, BACKFILL, name)


def _read_range(text: str) -> tuple[str, str] | None:
    from mwfs.errors import InvalidInput

    if not text:
        return None
    first, dots, last = text.partition("..")
    if not dots or not first or not last:
        raise InvalidInput(f"`--partitions {text}` is not FIRST..LAST.", "Write --partitions 2026-01-01..2026-03-31.")
    return first, last


def _read_keys(text: str, file: str | None) -> list[str] | None:
    from pathlib import Path

    if not text and file is None:
        return None
    keys = [key.strip() for key in text.split(",") if key.strip()] if text else []
    if file is not None:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        keys += [line.strip() for line in lines if line.strip()]
    return keys


def _free_input(workflow: Workflow[..., Any], given: set[str]) -> str:
    """The only required input without a value."""
    from mwfs.errors import InvalidInput

    free = [each.name for each in workflow.parameters if each.required and each.name not in given]
    if len(free) != 1:
        raise InvalidInput(
            f"It is not clear which input of `{workflow.ref}` takes the partition: {', '.join(free) or 'all have a value'}.",
            "Name it with --partition-input.",
        )
    return free[0]


def _read_state(name: str) -> Any:
    from mwfs.errors import InvalidInput
    from mwfs_api.orchestrator.v1 import automations_pb2 as pb

    try:
        return pb.OccasionState.Value(f"OCCASION_STATE_{name.strip().upper()}")
    except ValueError:
        known = ", ".join(each.removeprefix("OCCASION_STATE_") for each in pb.OccasionState.keys()[1:])
        raise InvalidInput(f"{name!r} is no state of a partition.", f"The states are {known}.") from None
