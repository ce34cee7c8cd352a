"""`mwfs logs`: what an attempt printed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

_EXAMPLES = """Examples:

$ mwfs logs 1a2b3c4d 3

$ mwfs logs 1a2b3c4d 3 --attempt 1 --tail 4096

$ mwfs logs 1a2b3c4d 3 --follow

$ mwfs logs 1a2b3c4d -1     (compiling on the platform)"""


def register(app: typer.Typer) -> None:
    # "-1" is a node number, not an option.
    app.command(epilog=_EXAMPLES, context_settings={"ignore_unknown_options": True})(logs)


def logs(
    run: RunArgument,
    node: Annotated[
        int, typer.Argument(help="Number of the node; -1 is compiling on the platform.", show_default=False)
    ],
    attempt: Annotated[int, typer.Option(min=0, help="Which attempt. [default: the last]", show_default=False)] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
    tail: Annotated[
        int, typer.Option(min=0, metavar="BYTES", help="Only the last so many bytes.", show_default=False)
    ] = 0,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Print what an attempt wrote to stdout and stderr."""
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        run_id = client.get_run(run).run_id
        pieces = client.logs(run_id, node, attempt=attempt, follow=follow, tail_bytes=tail)
        if screen.json:
            text = b"".join(pieces).decode("utf-8", "replace")
            screen.document({"run_id": run_id, "node": node, "attempt": attempt or None, "text": text})
            return
        empty = True
        for piece in pieces:
            empty = empty and not piece
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        if empty:
            screen.note(f"Node {node} printed nothing.")
