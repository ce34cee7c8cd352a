"""`mwfs register`: store a version of a workflow, so that forms, schedules and others can run it."""

from __future__ import annotations

import typer

from mwfs.cli.options import Home, Output, WorkflowArgument
from mwfs.cli.screen import Format, Screen

_EXAMPLES = """Examples:

$ mwfs register flows:train"""


def register(app: typer.Typer) -> None:
    app.command(name="register", epilog=_EXAMPLES)(register_workflow)


def register_workflow(workflow: WorkflowArgument, home: Home = None, output: Output = Format.TEXT) -> None:
    """Store this version of a workflow on the platform. Its inputs and outputs, its documentation, and its code; `mwfs run` does it by itself."""
    from mwfs.cli.documents import version_document
    from mwfs.cli.uploads import UploadBar
    from mwfs.client import BlockingClient
    from mwfs.invoke import load_workflow

    screen = Screen(output)
    loaded = load_workflow(workflow)
    with BlockingClient(home) as client, UploadBar(screen) as bar:
        version = client.register(loaded, progress=bar.report)
    if screen.json:
        screen.document(version_document(version))
    else:
        screen.print(f"{version.workflow} {version.digest}")
