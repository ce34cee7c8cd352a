"""`mwfs runs outputs`: what a run left, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from pathlib import Path

    from mwfs.client import BlockingClient, RemoteFile


def outputs(
    run: RunArgument,
    save: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Also download its files into this folder.", show_default=False)
    ] = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show the outputs of a succeeded run, and download its files."""
    from pathlib import Path

    from mwfs.cli.documents import output_document
    from mwfs.cli.results import show_outputs
    from mwfs.client import BlockingClient
    from mwfs.home import resolve_home

    screen = Screen(output)
    saved: dict[str, str] = {}
    with BlockingClient(home) as client:
        run_id = client.get_run(run).run_id
        values = client.outputs(run_id)
        if save is not None:
            for name, file in _files("", values):
                saved[name] = str(_save(client, file, Path(save), name))
                screen.note(f"Saved {saved[name]}")
    if screen.json:
        screen.document({"run_id": run_id, "outputs": output_document(values), "saved": saved})
    else:
        show_outputs(screen, run_id, values, home=None if save else resolve_home(home))


def _save(client: BlockingClient, file: RemoteFile, folder: Path, name: str) -> Path:
    """Downloads a file under this name and its own suffix; a Directory becomes a folder again."""
    from pathlib import Path

    from mwfs.errors import InvalidInput
    from mwfs.types.files import TAR
    from mwfs.types.folder_archives import unpack

    if file.encoding != TAR:
        return client.download(file, folder / f"{name}{Path(file.file_name).suffix}")
    target = folder / name
    if target.exists():
        raise InvalidInput(f"{target} exists already.", "Remove it, or save into another folder.")
    archive = client.download(file, folder / f"{name}.tar")
    unpack(archive, target)
    archive.unlink()
    return target


def _files(path: str, value: object) -> Iterator[tuple[str, RemoteFile]]:
    """Every file in the outputs, with a file name for it: `models.3` for the fourth of the list `models`."""
    from mwfs.client import RemoteFile

    if isinstance(value, RemoteFile):
        yield path.replace("/", "_"), value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _files(f"{path}.{name}" if path else str(name), each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _files(f"{path}.{index}", each)
