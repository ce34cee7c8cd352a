"""`mwfs replay`: one node of a run again, here, on its recorded inputs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs_api.orchestrator.v1 import orchestrator_pb2

_EXAMPLES = """Examples:

$ mwfs replay 1a2b3c4d 7

$ mwfs replay 1a2b3c4d 7 --pdb"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(replay)


def replay(
    run: RunArgument,
    node: Annotated[
        int, typer.Argument(min=0, help="Number of the node, as `mwfs nodes` shows it.", show_default=False)
    ],
    pdb: Annotated[bool, typer.Option("--pdb", help="Open the debugger where it fails.")] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Call a node's operator here, on the inputs of the run. In this process, on what the run recorded, with the code as it is here.

    Exits with 1 when it fails. Says so when its code is not what the run was compiled with.
    """
    from mwfs.client import BlockingClient
    from mwfs.replay import replay_node

    screen = Screen(output)
    with screen.waiting("Fetching the inputs") as waiting, BlockingClient(home) as client:
        recorded = client.node_inputs(run, node)

        def calling() -> None:
            waiting.end()
            if not screen.json:
                operator = f"{recorded.operator.module}:{recorded.operator.qualname}"
                screen.note(
                    f"Node {recorded.node} of run {recorded.run_id[:8]}: {operator}, {recorded.file}:{recorded.line}"
                )

        result = replay_node(client, recorded, calling=calling)
    document = _document(recorded, result)
    if screen.json:
        screen.document(document)
    else:
        if result.same_code is False:
            screen.note("The code here is not what the run was compiled with.")
        if result.error is None:
            for name, shown in document["outputs"].items():
                screen.print(f"{name} = {shown}")
            if result.same_outputs is not None:
                screen.note(
                    "The result is the recorded one." if result.same_outputs else "The result is not the recorded one."
                )
    if result.error is None:
        return
    if not screen.json and result.failure is not None:
        screen.print(result.failure.traceback or f"{result.failure.error_type}: {result.failure.message}")
    if pdb:
        _post_mortem(result.error)
    raise typer.Exit(1)


def _post_mortem(error: BaseException) -> None:
    """The debugger at the user's innermost frame."""
    import pdb

    from mwfs.locations import user_entries

    entries = list(user_entries(error.__traceback__))
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    pdb.post_mortem(entries[0] if entries else error.__traceback__)


def _document(recorded: orchestrator_pb2.GetNodeInputsResponse, result: Any) -> dict[str, Any]:
    from mwfs.cli.documents import failure_document
    from mwfs.dag import show_value

    names = [output.name for output in recorded.operator.outputs]
    return {
        "run_id": recorded.run_id,
        "node": recorded.node,
        "operator": f"{recorded.operator.module}:{recorded.operator.qualname}",
        "called_at": f"{recorded.file}:{recorded.line}",
        "same_code": result.same_code,
        "same_outputs": result.same_outputs,
        "outputs": {name: show_value(value) for name, value in zip(names, result.outputs, strict=False)},
        "failure": failure_document(result.failure) if result.failure is not None else None,
    }
