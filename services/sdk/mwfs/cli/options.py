"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from mwfs.cli.screen import Format
from mwfs_types.limits import MAX_PRIORITY

Home = Annotated[
    str | None,
    typer.Option(
        "--home", metavar="DIR", help="Home of the platform. [default: $MWFS_HOME or ~/.mwfs]", show_default=False
    ),
]
Output = Annotated[
    Format, typer.Option("--output", "-o", help="text for people, json for programs: one document on stdout.")
]
Priority = Annotated[
    int, typer.Option(metavar="N", min=-MAX_PRIORITY, max=MAX_PRIORITY, help="Added to the priority of each node.")
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of the run, or its first characters (at least 4).", show_default=False)
]
WorkflowArgument = Annotated[
    str, typer.Argument(metavar="MODULE:WORKFLOW", help="The workflow, importable from here.", show_default=False)
]
#: Of commands that need no platform, so that scripts may give --home to every command.
NoHome = Annotated[str | None, typer.Option("--home", hidden=True)]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="NAME=VALUE",
        help="One input; JSON where its type is not a scalar, a path where it is a file, run:ID#output or "
        "latest:MODULE:WORKFLOW#output for what an earlier run gave. Repeat it.",
        show_default=False,
    ),
]
NoPass = Annotated[
    list[str] | None,
    typer.Option(
        "--no-pass",
        metavar="NAME",
        help="Switch a pass off: share, dead, cache, fuse or rank. Without cache no earlier result is taken. Repeat it.",
        show_default=False,
    ),
]
Inputs = Annotated[
    str | None,
    typer.Option("--inputs", metavar="FILE.json", help="A JSON object with inputs; --input wins.", show_default=False),
]
