"""The command `mwfs scheduler`, and where those of quotas join; the CLI finds it through the entry-point group `mwfs.commands`. No part of the service."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer

from mwfs.cli.options import Output
from mwfs.cli.screen import Format, Screen
from mwfs.errors import MwfsError
from mwfs_scheduler.simulator.command import simulate_command
from mwfs_scheduler.team_quotas import commands as quota_commands
from mwfs_scheduler.what_if import commands as what_if_commands

#: A larger file is not read.
MAX_BYTES = 256 << 20
#: The smallest that shows all parts.
_SNAPSHOT: Final = (
    '{"cluster": {"nodes": [{"id": "host-1", "gpu": 4, "cpu": 16}]}, "teams": [{"id": "vision", "guaranteed": {"gpu": 4, "cpu": 8}}, {"id": "ads"}], '
    '"running": [{"id": "old", "team": "ads", "req": {"gpu": 3}, "on": ["host-1"]}], '
    '"pending": [{"id": "new", "team": "vision", "req": {"gpu": 2, "cpu": 4}}]}'
)


class Unplannable(MwfsError):
    """The snapshot cannot be read, or something in it is not as it must be."""

    exit_code: ClassVar[int] = 2


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Plan on a snapshot, or simulate a trace; needs no platform.",
        epilog="Examples:\n\n$ mwfs scheduler plan snapshot.json --output text\n\n"
        "$ mwfs scheduler simulate --trace philly --from 42 --days 2 --policy fifo --policy ours",
    )
    # A group of one command would otherwise be the command.
    group.callback()(lambda: None)
    group.command(
        "plan",
        epilog="Examples:\n\n$ mwfs scheduler plan snapshot.json\n\n$ mwfs scheduler plan snapshot.json --rounds 5\n\n"
        "$ cat snapshot.json | mwfs scheduler plan - --output text\n\nA snapshot:\n\n" + _SNAPSHOT,
    )(plan)
    group.command(
        "simulate",
        epilog="Examples:\n\n$ mwfs scheduler simulate --trace philly --from 42 --days 2 --policy fifo --policy ours\n\n"
        "$ mwfs scheduler simulate --from 42 --days 2 --policy ours --policy ours:grace_s=0 --output json\n\n"
        "$ mwfs scheduler simulate --trace openb --gpus 2000 --policy ours --pictures pictures",
    )(simulate_command)
    app.add_typer(group, name="scheduler")
    quota_commands.register(app)
    what_if_commands.register(app)


def plan(
    snapshot: Annotated[
        str, typer.Argument(metavar="SNAPSHOT", help="A snapshot file; - reads standard input.", show_default=False)
    ],
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", metavar="N", min=1, max=100_000, help="Decide N times in a row, and print a list."),
    ] = None,
    output: Output = Format.JSON,
) -> None:
    """Decide on a snapshot of a cluster that a file holds. Prints who starts, who leaves and who waits, and why, by the engine of the service."""
    from mwfs_scheduler.plan import as_json, each_round
    from mwfs_scheduler.snapshot_values import BadSnapshot, parse

    screen = Screen(output)
    with _collecting_nothing():
        try:
            with screen.waiting("Deciding"):
                decisions = each_round(parse(_read(snapshot)), rounds or 1)
                first = next(decisions)
        except BadSnapshot as error:
            raise Unplannable(
                str(error), "Correct the snapshot; its format is in the README of the scheduler."
            ) from None
        for number, decision in enumerate(chain((first,), decisions), 1):
            if screen.json:
                begin, end = (
                    ("", "") if rounds is None else ("[\n" if number == 1 else ",\n", "\n]" * (number == rounds))
                )
                sys.stdout.write(begin + as_json(decision) + end)
                continue
            if rounds is not None:
                screen.print(f"Round {number}")
            _show(screen, decision)
    if screen.json:
        sys.stdout.write("\n")
        sys.stdout.flush()


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """A snapshot becomes a million objects that stay to the end, and rounds leave no garbage in circles: to look for it would take a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(snapshot: str) -> bytes:
    try:
        if snapshot == "-":
            text = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(snapshot).open("rb") as file:
                text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unplannable(
            f"{snapshot} cannot be read: {error.strerror}.", "Give the path of a snapshot file."
        ) from None
    if len(text) > MAX_BYTES:
        raise Unplannable(f"{snapshot} is larger than {MAX_BYTES >> 20} MiB.", "Plan for a part of the cluster.")
    return text


def _show(screen: Screen, decision: dict[str, Any]) -> None:
    rows = [("starts", each["id"], "on " + ", ".join(sorted(set(each["on"])))) for each in decision["admitted"]]
    rows += [("leaves", each["id"], f"for {each['for']}") for each in decision["preempted"]]
    rows += [("waits", each["id"], _why(each)) for each in decision["waiting"]]
    screen.table(["", "REQUEST", ""], rows)
    shares = decision["shares"]
    screen.table(
        ["TEAM", "SHARE", "OF"],
        [(team, f"{share['dominant']:.4f}", share["resource"] or "") for team, share in shares.items()],
        right=["SHARE"],
    )
    for warning in decision.get("warnings", ()):
        screen.note(warning)


def _why(waiting: dict[str, Any]) -> str:
    detail = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in waiting["detail"].items())
    return f"{waiting['reason']} ({detail})" if detail else str(waiting["reason"])
