"""Dags as commands name them: a run, `MODULE:WORKFLOW` with inputs, or a file that `mwfs compile --save` wrote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mwfs.errors import InvalidInput

if TYPE_CHECKING:
    from mwfs.client import BlockingClient
    from mwfs.dag import Dag


def compiled(workflow: str, given: Iterable[str], inputs_file: str | None, *, home: str | None = None) -> Dag:
    """The Dag of `MODULE:WORKFLOW` with typed inputs. Raises InvalidInput, CompileError, NotLoadable."""
    from mwfs.cli.inputs import read_inputs
    from mwfs.compiler import compile_values
    from mwfs.invoke import load_workflow

    loaded = load_workflow(workflow)
    typed = read_inputs(loaded, given, inputs_file, home=home)
    return compile_values(loaded, typed.values, typed.files, typed.sources)


def compiled_with_history(
    workflow: str, given: Iterable[str], inputs_file: str | None, *, home: str | None = None
) -> Dag:
    """The same; a platform that runs is asked for what the passes can use: earlier results, and how long operators took."""
    from mwfs.cli.inputs import read_inputs
    from mwfs.client import BlockingClient
    from mwfs.client.results_cache import PlatformResults, read_through
    from mwfs.compiler import compile_values
    from mwfs.errors import Unavailable
    from mwfs.invoke import load_workflow

    loaded = load_workflow(workflow)
    typed = read_inputs(loaded, given, inputs_file, home=home)
    try:
        with BlockingClient(home) as client:
            read_through(client, typed.files)
            return compile_values(
                loaded,
                typed.values,
                typed.files,
                typed.sources,
                earlier=PlatformResults(client),
                seconds=client.history(loaded.ref),
            )
    except Unavailable:
        return compile_values(loaded, typed.values, typed.files, typed.sources)


def named(
    name: str,
    given: Iterable[str],
    inputs_file: str | None,
    client: BlockingClient | None,
    *,
    home: str | None = None,
) -> Dag:
    """The Dag that a name stands for. Raises InvalidInput, and the client's errors for a run."""
    from mwfs.dag import Dag

    path = Path(name)
    if path.is_file():
        from google.protobuf.message import DecodeError

        from mwfs_types.errors import BadDag

        try:
            return Dag.from_bytes(path.read_bytes())
        except (BadDag, DecodeError) as error:
            raise InvalidInput(
                f"{name} is not a Dag: {error}.", "Name a file that `mwfs compile --save` wrote."
            ) from None
    if ":" in name:
        return compiled(name, given, inputs_file, home=home)
    if client is None:
        raise InvalidInput(f"{name!r} is neither a file nor MODULE:WORKFLOW.", "Name one of these, or a run.")
    return Dag(client.dag(name))
