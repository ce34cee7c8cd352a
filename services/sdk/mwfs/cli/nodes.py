"""`mwfs nodes`: the nodes of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs_api.events.v1 import events_pb2
    from mwfs_api.orchestrator.v1 import orchestrator_pb2

_EXAMPLES = """Examples:

$ mwfs nodes 1a2b3c4d

$ mwfs nodes 1a2b3c4d --state FAILED --limit 5

$ mwfs nodes 1a2b3c4d --why"""
_COLUMNS = ["NODE", "OPERATOR", "STATE", "ATTEMPT", "TOOK", "NEEDS", "CALLED AT", "FAILURE"]


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(nodes)


def nodes(
    run: RunArgument,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only nodes in this state, such as FAILED. Repeat it.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    why: Annotated[bool, typer.Option("--why", help="Also why each node of a rerun runs, or does not.")] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """List the nodes of a run: operator, state, attempt, and the line that called it."""
    from mwfs.cli.documents import node_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    states = [_state(each) for each in state or []]
    with BlockingClient(home) as client:
        found_run = client.get_run(run)
        run_id = found_run.run_id
        found = list(client.nodes(run_id, states=states, limit=limit))
        plan = client.rerun_plan(run_id) if why and found_run.start_time_us else []
    reasons = {planned.node: planned.reason for planned in plan}
    if screen.json:
        extra = [{"why": reasons.get(node.node)} if why else {} for node in found]
        documents = [node_document(node) | more for node, more in zip(found, extra, strict=True)]
        screen.document({"run_id": run_id, "nodes": documents})
    elif not found:
        screen.print("No nodes.")
    else:
        screen.table(
            [*_COLUMNS, *(["WHY"] if why else [])],
            [(*_row(node), *([reasons.get(node.node, "")] if why else [])) for node in found],
            right=("NODE", "ATTEMPT"),
        )
        if len(found) == limit:
            screen.note(f"The first {limit}; more with --limit.")


def _row(node: orchestrator_pb2.Node) -> tuple[str, ...]:
    from mwfs.cli import words
    from mwfs.cli.results import failure_line

    needs = ",".join(str(each) for each in node.depends_on[:6]) + (",…" if len(node.depends_on) > 6 else "")
    took = (
        words.duration((node.end_time_us - node.start_time_us) / 1e6) if node.end_time_us and node.start_time_us else ""
    )
    return (
        str(node.node),
        words.operator_name(node.operator),
        words.coloured(words.node_state(node.state)) + _waits_for(node),
        "reused" if node.HasField("origin") else str(node.attempt or ""),
        took,
        needs,
        f"{node.file}:{node.line}" if node.file else "",
        failure_line(node.failure).splitlines()[0] if node.HasField("failure") else "",
    )


def _waits_for(node: orchestrator_pb2.Node) -> str:
    from mwfs.cli import words

    if not node.HasField("wait"):
        return ""
    if node.wait.child_run_id:
        return f" for child run {node.wait.child_run_id[:8]}"
    signal = f" for signal {node.wait.signal}" if node.wait.signal else ""
    until = words.iso_time(node.wait.until_time_us)
    return f"{signal} until {until[:19]}Z" if until else signal


def _state(name: str) -> events_pb2.NodeState.ValueType:
    from mwfs.errors import InvalidInput
    from mwfs_api.events.v1 import events_pb2

    try:
        return events_pb2.NodeState.Value(f"NODE_STATE_{name.strip().upper()}")
    except ValueError:
        known = ", ".join(each.removeprefix("NODE_STATE_") for each in events_pb2.NodeState.keys()[1:])
        raise InvalidInput(f"{name!r} is no state of a node.", f"The states are {known}.") from None
