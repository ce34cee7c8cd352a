"""`mwfs schema`: what the inputs of a workflow may be, as JSON Schema."""

from __future__ import annotations

import typer

from mwfs.cli.options import NoHome, Output, WorkflowArgument
from mwfs.cli.screen import Format, Screen

_EXAMPLES = """Examples:

$ mwfs schema mwfs.examples.tabular:train

$ mwfs schema flows:train | check-jsonschema --schemafile - inputs.json"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(schema)


def schema(workflow: WorkflowArgument, home: NoHome = None, output: Output = Format.TEXT) -> None:
    """Print the JSON Schema of a workflow's inputs. It is what forms show and what an --inputs file holds, in the draft of 2020-12; needs no platform."""
    from mwfs.invoke import load_workflow

    Screen(Format.JSON).document(load_workflow(workflow).input_schema())
