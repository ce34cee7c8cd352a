"""`mwfs shards`: the databases that hold the runs, for those who run the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client import BlockingClient
    from mwfs_api.orchestrator.v1 import shards_pb2 as pb

ShardArgument = Annotated[
    str, typer.Argument(metavar="SHARD", help="Its number, or the name of its database.", show_default=False)
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until all has moved.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="List, add and drain the databases that hold the runs.")
    group.command(name="list", epilog="Examples:\n\n$ mwfs shards list\n\n$ mwfs shards list --output json")(
        list_shards
    )
    group.command(
        epilog="Examples:\n\n$ mwfs shards add --local\n\n$ mwfs shards add postgresql://mwfs:secret@db3:5432/mwfs\n\n"
        "$ mwfs shards add shard_7 --no-balance"
    )(add)
    group.command(
        epilog="Examples:\n\n$ mwfs shards drain 2\n\n$ mwfs shards drain shard_2 --no-wait\n\n$ mwfs shards drain 2 --cancel"
    )(drain)
    app.add_typer(group, name="shards")


def list_shards(home: Home = None, output: Output = Format.TEXT) -> None:
    """List the shards. Their state, how many slots they hold, how many runs go on in them, and their size."""
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = client.shards.list()
    if screen.json:
        screen.document({"shards": [_document(each) for each in found]})
        return
    rows = [
        (
            str(each.shard),
            _state(each),
            each.database,
            str(each.slots),
            str(each.slots_to_move),
            "?" if each.trouble else str(each.runs_going_on),
            "?" if each.trouble else f"{each.size_bytes / 1e6:,.1f} MB",
            each.trouble,
        )
        for each in found
    ]
    screen.table(
        ["SHARD", "STATE", "DATABASE", "SLOTS", "TO MOVE", "RUNS", "SIZE", ""],
        rows,
        right=["SLOTS", "TO MOVE", "RUNS", "SIZE"],
    )


def add(
    database: Annotated[
        str,
        typer.Argument(
            metavar="DSN|NAME",
            help="An empty database; a name alone is one beside the catalogue, created if it is not there.",
            show_default=False,
        ),
    ] = "",
    local: Annotated[
        bool, typer.Option("--local", help="A new database beside the catalogue, with the next free name.")
    ] = False,
    balance: Annotated[
        bool, typer.Option("--balance/--no-balance", help="Let its share of the slots move to it.")
    ] = True,
    wait: Wait = True,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Add a database to those that hold the runs. Its share of the slots moves to it while their runs go on.

    The same database again changes nothing. Ctrl-C ends the waiting, not the moving.
    """
    from mwfs.client import BlockingClient
    from mwfs.errors import InvalidInput

    screen = Screen(output)
    if bool(database) == local:
        raise InvalidInput("Which database?", "Give a DSN or a name, or --local for a new one beside the catalogue.")
    with BlockingClient(home) as client:
        with screen.waiting("Preparing the database"):
            response = client.shards.add(database, balance=balance)
        shard = response.shard
        if shard.slots_to_move and wait:
            shard = _follow(client, screen, shard)
    if screen.json:
        screen.document(_document(shard) | {"created": response.created})
    else:
        known = "Added" if response.created else "It was there already:"
        screen.print(f"{known} shard {shard.shard} ({shard.database}) with {shard.slots:,} slots.{_rest(shard)}")


def drain(
    shard: ShardArgument,
    cancel: Annotated[
        bool,
        typer.Option("--cancel", help="Call it off: slots that have not moved stay, the others remain where they are."),
    ] = False,
    wait: Wait = True,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Move all slots of a shard to the others, while their runs go on. Afterwards its database is not used any more.

    Ctrl-C ends the waiting, not the moving; the command again shows how far it is, and with --cancel calls it off.
    """
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = client.shards.cancel_drain(shard) if cancel else client.shards.drain(shard)
        if wait and not cancel and _state(found) != "DRAINED":
            found = _follow(client, screen, found)
    if screen.json:
        screen.document(_document(found))
    elif _state(found) == "DRAINED":
        screen.print(f"Shard {found.shard} ({found.database}) is drained: it holds nothing any more.")
    elif cancel:
        screen.print(f"Shard {found.shard} ({found.database}) is not drained: it keeps its {found.slots:,} slots.")
    else:
        screen.print(f"Shard {found.shard} ({found.database}) is being drained.{_rest(found)}")


def _follow(client: BlockingClient, screen: Screen, shard: pb.Shard) -> pb.Shard:
    """Shows the moves of a shard until none is left, through restarts of the platform."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from mwfs.errors import Unavailable

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    said = -1
    try:
        with Progress(*columns, console=screen.stderr, disable=not screen.stderr.is_terminal) as progress:
            bar = progress.add_task("Moving slots", total=None)
            while True:
                try:
                    for update in client.shards.watch(str(shard.shard)):
                        shard = update.shard
                        total = max(update.planned, shard.slots_to_move)
                        done = total - shard.slots_to_move
                        what = "Clearing up" if total and done == total else "Moving slots"
                        progress.update(bar, total=total, completed=done, description=what)
                        tenth = 10 * done // max(total, 1)
                        if not screen.stderr.is_terminal and tenth != said:
                            said = tenth
                            screen.note(f"{what}: {done}/{total}")
                    return shard
                except Unavailable:
                    client.shards.list()  # waits for the platform; raises when it is not coming back
    except KeyboardInterrupt:
        screen.note(f"The slots of shard {shard.shard} go on moving. `mwfs shards list` shows how far they are.")
        raise


def _rest(shard: pb.Shard) -> str:
    return f" {shard.slots_to_move:,} are still to move." if shard.slots_to_move else ""


def _state(shard: pb.Shard) -> str:
    from mwfs_api.orchestrator.v1 import shards_pb2 as pb

    return pb.ShardState.Name(shard.state).removeprefix("SHARD_STATE_")


def _document(shard: pb.Shard) -> dict[str, Any]:
    return {
        "shard": shard.shard,
        "database": shard.database,
        "state": _state(shard),
        "slots": shard.slots,
        "slots_to_move": shard.slots_to_move,
        "slots_to_clear": shard.slots_to_clear,
        "runs_going_on": None if shard.trouble else shard.runs_going_on,
        "size_bytes": None if shard.trouble else shard.size_bytes,
        "trouble": shard.trouble,
    }
