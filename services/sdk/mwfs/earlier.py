"""Outputs of earlier runs as inputs: `mwfs.output_of("RUN", "model")`, also of the latest successful run of a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mwfs.errors import InvalidInput
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.assignability import explain_mismatch
from mwfs_types.errors import BadValue
from mwfs_types.rendering import describe
from mwfs_types.values import check

if TYPE_CHECKING:
    from mwfs.client import Client
    from mwfs.local_files import LocalFiles
    from mwfs.workflows import Workflow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest run of this workflow (`module:qualname`) that succeeded."""

    workflow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierOutput:
    """An output that is looked up when a workflow is compiled with it."""

    run: str | Latest
    output: str
    #: Where the platform lives; None: the client's, $MWFS_HOME or ~/.mwfs.
    home: str | None = None
    #: What to do when it is given to an operator.
    fix_as_argument: ClassVar[str] = "make it an input of the workflow, and give mwfs.output_of(…) for that"

    def __str__(self) -> str:
        run = f"latest:{self.run.workflow}" if isinstance(self.run, Latest) else f"run:{self.run}"
        return f"{run}#{self.output}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundOutput:
    """An output of a run, as it was found."""

    value: types_pb2.Value
    type: types_pb2.Type
    run_id: str
    output: str
    home: str

    @property
    def source(self) -> str:
        """Where the value came from, as the Dag records it."""
        return f"run:{self.run_id}/{self.output}"


def output_of(run: str | Latest, output: str = "result", *, home: str | None = None) -> Any:
    """An output of an earlier run, given as an input: `train.run_local(model=mwfs.output_of("3f2a91c0", "model"))`.

    run: its id or the beginning of it, or `mwfs.latest(workflow)`. The type is checked when the workflow is compiled, and the Dag
    records which run it was. Nothing is copied when the new run is on the same platform.
    """
    if not isinstance(run, (str, Latest)) or not run:
        raise InvalidInput(
            f"{run!r} is not a run.", 'Write mwfs.output_of("RUN_ID", "model"), or mwfs.output_of(mwfs.latest(train)).'
        )
    return EarlierOutput(run=run, output=output, home=home)


def latest(workflow: Workflow[..., Any] | str) -> Latest:
    """The newest successful run of a workflow, for `mwfs.output_of`. Which one that is, is decided at compile time."""
    return Latest(workflow if isinstance(workflow, str) else workflow.ref)


def parse_earlier(text: str) -> EarlierOutput | None:
    """What `run:RUN_ID#output` or `latest:module:workflow#output` names; None for other text. Raises InvalidInput."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("run", "latest"):
        return None
    run, hash_sign, output = rest.rpartition("#")
    if not hash_sign or not run or not output.isidentifier():
        raise InvalidInput(
            f"{text!r} does not name an output of a run.",
            "Write run:RUN_ID#OUTPUT or latest:MODULE:WORKFLOW#OUTPUT; an unnamed result is #result.",
        )
    return EarlierOutput(run=run if kind == "run" else Latest(run), output=output)


async def find(client: Client, wanted: EarlierOutput) -> FoundOutput:
    """Looks an output up. Raises InvalidInput when the run has no such output, and the client's errors."""
    run_id = await _run_id(client, wanted.run)
    outputs = (await client.typed_outputs(run_id)).outputs
    for output in outputs:
        if output.name == wanted.output:
            return FoundOutput(
                value=output.value,
                type=output.type,
                run_id=run_id,
                output=output.name,
                home=str(client.connection.home),
            )
    names = ", ".join(f"`{output.name}`" for output in outputs) or "none"
    raise InvalidInput(f"Run {run_id} has no output `{wanted.output}`; its outputs are {names}.", "Name one of them.")


async def _run_id(client: Client, run: str | Latest) -> str:
    if isinstance(run, str):
        return (await client.get_run(run)).run_id
    async for found in client.runs(states=[events_pb2.RUN_STATE_SUCCEEDED], workflow=run.workflow, limit=1):
        return found.run_id
    raise InvalidInput(f"No run of {run.workflow} has succeeded yet.", f"Run it first: mwfs run {run.workflow}")


async def find_all(client: Client, given: Any) -> Any:
    """The same with every earlier output looked up, in lists and maps too: those that name no platform on the client's."""
    if isinstance(given, EarlierOutput):
        return await find(client, given) if given.home is None else given
    if isinstance(given, dict):
        return {key: await find_all(client, value) for key, value in given.items()}
    if isinstance(given, list):
        return [await find_all(client, value) for value in given]
    return given


def find_blocking(wanted: EarlierOutput) -> FoundOutput:
    """`find` for code without a client."""
    from mwfs.client import Client

    async def look() -> FoundOutput:
        async with Client(wanted.home) as client:
            return await find(client, wanted)

    return _run_beside(look)


def fitting(found: FoundOutput, kind: types_pb2.Type, where: str) -> types_pb2.Value:
    """The value of an output where this type is expected. Raises InvalidInput."""
    problem = explain_mismatch(found.type, kind)
    if problem is None:
        try:
            check(found.value, kind)
        except BadValue as error:
            problem = f"expected {error.expected}, found {error.found}"
    if problem is not None:
        raise InvalidInput(
            f"{where} expects {describe(kind)}, found {describe(found.type)} from output `{found.output}` of run "
            f"{found.run_id}: {problem}.",
            "Name another output, or change the type of the input.",
        )
    return found.value


def read_from(files: LocalFiles, found: FoundOutput) -> None:
    """From now on these files also fetch what lies on the platform of an output that was found."""
    if found.home in files.elsewhere:
        return
    folder = files.scratch()

    def fetch(artifact: types_pb2.Artifact) -> Path:
        from mwfs.client import Client

        target = folder / artifact.digest.removeprefix("sha256:") / (artifact.file_name or "value")
        if not target.is_file():
            target.parent.mkdir(exist_ok=True)

            async def download() -> Path:
                async with Client(found.home) as client:
                    return await client.download(artifact, target)

            _run_beside(download)
        return target

    files.elsewhere[found.home] = fetch


def _run_beside(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine function, run on a thread of its own: the caller's may have a loop already."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="mwfs-earlier") as thread:
        return thread.submit(lambda: asyncio.run(work())).result()
