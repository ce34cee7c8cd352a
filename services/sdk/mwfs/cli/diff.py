"""`mwfs diff`: what changed between two runs, or between a run and the code as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Input, Inputs, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.dag import Dag

_EXAMPLES = """Examples:

$ mwfs diff 1a2b3c4d 5e6f7a8b

$ mwfs diff 1a2b3c4d flows:train --input labeled=iris.csv

$ mwfs diff before.dag after.dag --exit-code"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(diff)


def diff(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A run, MODULE:WORKFLOW, or a file of `mwfs compile --save`.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    input: Input = None,
    inputs: Inputs = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when there are differences.")] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show what differs in graph, code, types, options and inputs. Inputs are for the sides that are MODULE:WORKFLOW;
    those that are not given are taken from the other side."""
    from dataclasses import asdict

    from mwfs.dag_diff import diff as differences

    screen = Screen(output)
    with screen.waiting("Reading both sides") as waiting:
        old, new = _sides(before, after, input or [], inputs, home)
        waiting.say("Comparing")
        changes = differences(old, new)
    if screen.json:
        screen.document({"before": before, "after": after, "changes": [asdict(change) for change in changes]})
    elif not changes:
        screen.print("No differences.")
    else:
        screen.table(
            ["KIND", "WHAT", "BEFORE", "AFTER"],
            [(change.kind, change.what, change.before or "–", change.after or "–") for change in changes],
        )
    if changes and exit_code:
        raise typer.Exit(1)


def _sides(before: str, after: str, given: list[str], inputs_file: str | None, home: str | None) -> tuple[Dag, Dag]:
    from pathlib import Path

    from mwfs.cli import dags
    from mwfs.client import BlockingClient

    names = (before, after)
    if all(":" in name or Path(name).is_file() for name in names):
        old, new = (dags.named(name, given, inputs_file, None, home=home) for name in names)
        return old, new
    with BlockingClient(home) as client:
        found: dict[int, Dag] = {}
        for side, name in enumerate(names):
            if ":" not in name:
                found[side] = dags.named(name, (), None, client)
        for side, name in enumerate(names):
            if side not in found:
                found[side] = (
                    _like(found[1 - side], name, given, inputs_file, home)
                    if 1 - side in found
                    else dags.compiled(name, given, inputs_file, home=home)
                )
        return found[0], found[1]


def _like(other: Dag, workflow: str, given: list[str], inputs_file: str | None, home: str | None) -> Dag:
    """The workflow as it is now, with the other side's inputs where none are given."""
    from mwfs.cli.inputs import read_inputs
    from mwfs.compiler import compile_values
    from mwfs.invoke import load_workflow

    loaded = load_workflow(workflow)
    names = {parameter.name for parameter in loaded.parameters}
    values = {row.name: other.proto.constants[row.constant] for row in other.proto.inputs if row.name in names}
    sources = {row.name: row.source for row in other.proto.inputs if row.source and row.name in names}
    typed = read_inputs(loaded, given, inputs_file, home=home)
    kept = {name: source for name, source in sources.items() if name not in typed.values}
    return compile_values(loaded, values | typed.values, typed.files, kept | typed.sources)
