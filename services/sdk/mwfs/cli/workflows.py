"""`mwfs workflows`: what is registered."""

from __future__ import annotations

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen

_EXAMPLES = """Examples:

$ mwfs workflows"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(workflows)


def workflows(home: Home = None, output: Output = Format.TEXT) -> None:
    """List the registered workflows. Each with its newest version, inputs and outputs."""
    from mwfs.cli import words
    from mwfs.cli.documents import version_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        versions = list(client.workflows())
    documents = [version_document(version) for version in versions]
    if screen.json:
        screen.document({"workflows": documents})
    elif not documents:
        screen.print("No workflow is registered yet. `mwfs run MODULE:WORKFLOW` registers one and runs it.")
    else:
        screen.table(
            ["WORKFLOW", "VERSION", "REGISTERED", "INPUTS", "OUTPUTS"],
            [
                (
                    document["workflow"],
                    document["digest"].removeprefix("sha256:")[:12],
                    words.ago(version.create_time_us),
                    ", ".join(f"{each['name']}: {each['type']}" for each in document["inputs"]),
                    ", ".join(f"{each['name']}: {each['type']}" for each in document["outputs"]),
                )
                for version, document in zip(versions, documents, strict=True)
            ],
        )
