"""`mwfs nodes`: the nodes of a run, or all about one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client import BlockingClient
    from mwfs_api.events.v1 import events_pb2
    from mwfs_api.orchestrator.v1 import orchestrator_pb2
    from mwfs_api.scheduler.v1 import scheduler_pb2

    #: Why nodes wait for room, by the group in which they do.
    Waiting = Mapping[str, scheduler_pb2.WaitingGroup]

_EXAMPLES = """Examples:

$ mwfs nodes 1a2b3c4d

$ mwfs nodes 1a2b3c4d 17

$ mwfs nodes 1a2b3c4d --state FAILED --limit 5

$ mwfs nodes 1a2b3c4d --why"""
_COLUMNS = ["NODE", "OPERATOR", "STATE", "ATTEMPT", "TOOK", "NEEDS", "CALLED AT", "FAILURE"]
#: Shown when there is something in them.
_MORE_COLUMNS = ["KEPT", "PREEMPTED", "WAITS", "WHY"]


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(nodes)


def nodes(
    run: RunArgument,
    node: Annotated[
        int | None, typer.Argument(metavar="NODE", min=0, help="All about this node.", show_default=False)
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only nodes in this state, such as FAILED. Repeat it.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    why: Annotated[bool, typer.Option("--why", help="Also why each node of a rerun runs, or does not.")] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """List the nodes of a run, or show one of them. Operator, state, attempt, and the line that called it; what they kept, how often they were preempted, why they wait for room."""
    from mwfs.cli.documents import node_document, waiting_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    states = [_state(each) for each in state or []]
    with BlockingClient(home) as client:
        found_run = client.get_run(run)
        run_id = found_run.run_id
        if node is None:
            found = list(client.nodes(run_id, states=states, limit=limit))
        else:
            found = [client.node(run_id, node)]
        waiting = _waiting(client, screen, run_id, found)
        plan = client.rerun_plan(run_id) if why and found_run.start_time_us else []
    reasons = {planned.node: planned.reason for planned in plan}
    if screen.json:
        documents = []
        for each in found:
            group = waiting.get(each.waiting_group)
            document = node_document(each) | {"waiting": waiting_document(group) if group is not None else None}
            documents.append(document | ({"why": reasons.get(each.node)} if why else {}))
        screen.document({"run_id": run_id, "nodes": documents})
    elif node is not None:
        _show(screen, found[0], waiting, reasons)
    elif not found:
        screen.print("No nodes.")
    else:
        rows = [(*_row(each), *_more(each, waiting, reasons)) for each in found]
        shown = [
            *range(len(_COLUMNS)),
            *(at for at in range(len(_COLUMNS), len(rows[0])) if any(row[at] for row in rows)),
        ]
        titles = [*_COLUMNS, *_MORE_COLUMNS]
        screen.table(
            [titles[at] for at in shown], [[row[at] for at in shown] for row in rows], right=("NODE", "ATTEMPT")
        )
        if len(found) == limit:
            screen.note(f"The first {limit}; more with --limit.")


def _waiting(client: BlockingClient, screen: Screen, run_id: str, found: Sequence[orchestrator_pb2.Node]) -> Waiting:
    """What the scheduler says of those that wait for room. Without a scheduler that answers, the rest is shown still."""
    from mwfs.errors import MwfsError

    if not any(node.waiting_group for node in found):
        return {}
    try:
        return {group.group_id: group for group in client.explain_waiting(run_id)}
    except MwfsError as error:
        screen.note(f"Why nodes wait is not known at present: {error}")
        return {}


def _row(node: orchestrator_pb2.Node) -> tuple[str, ...]:
    from mwfs.cli import words
    from mwfs.cli.results import failure_line

    needs = ",".join(str(each) for each in node.depends_on[:6]) + (",…" if len(node.depends_on) > 6 else "")
    return (
        str(node.node),
        words.operator_name(node.operator),
        words.coloured(words.node_state(node.state)) + _waits_for(node),
        _attempt(node),
        _took(node),
        needs,
        f"{node.file}:{node.line}" if node.file else "",
        failure_line(node.failure).splitlines()[0] if node.HasField("failure") else "",
    )


def _more(node: orchestrator_pb2.Node, waiting: Waiting, reasons: Mapping[int, str]) -> tuple[str, ...]:
    from mwfs.cli import words

    group = waiting.get(node.waiting_group)
    return (
        _kept(node),
        _preempted(node),
        words.waiting_reason(group.reason) if group is not None else "",
        reasons.get(node.node, ""),
    )


def _show(screen: Screen, node: orchestrator_pb2.Node, waiting: Waiting, reasons: Mapping[int, str]) -> None:
    from mwfs.cli import words
    from mwfs.cli.results import failure_line

    group, told = waiting.get(node.waiting_group), node.interruptions.told
    facts = {
        "Node": f"{node.node} {node.operator}",
        "State": words.node_state(node.state) + _waits_for(node),
        "Attempt": _attempt(node),
        "Host": node.host,
        "Took": _took(node),
        "Needs": ", ".join(map(str, node.depends_on)),
        "Called at": f"{node.file}:{node.line}" if node.file else "",
        "Waits": f"{words.waiting_reason(group.reason)}: {group.message}" if group is not None else "",
        "Kept": _kept(node),
        "Preempted": _preempted(node),
        "Told": f"attempt {node.interruptions.told_attempt}, until {words.iso_time(told.deadline_us)}: {told.reason}"
        if node.interruptions.told_attempt
        else "",
        "Why": reasons.get(node.node, ""),
        "Failure": failure_line(node.failure) if node.HasField("failure") else "",
    }
    for name, fact in facts.items():
        if fact:
            screen.print(f"{name + ':':<10} {fact}")


def _attempt(node: orchestrator_pb2.Node) -> str:
    return "reused" if node.HasField("origin") else str(node.attempt or "")


def _took(node: orchestrator_pb2.Node) -> str:
    from mwfs.cli import words

    times = node.start_time_us, node.end_time_us
    return words.duration((times[1] - times[0]) / 1e6) if all(times) else ""


def _kept(node: orchestrator_pb2.Node) -> str:
    """`3 checkpoints, the last at step 30, 2 min ago`."""
    from mwfs.cli import words

    known = node.interruptions
    if not known.checkpoints:
        return ""
    last = f"the last at step {known.checkpoint_step}, {words.ago(known.checkpoint_time_us)}"
    return f"{words.counted(known.checkpoints, 'checkpoint')}, {last}"


def _preempted(node: orchestrator_pb2.Node) -> str:
    """`2 times, 1.2 s of work lost`; of one that has to make room now, that too."""
    from mwfs.cli import words
    from mwfs_api.events.v1 import events_pb2

    known, parts = node.interruptions, []
    if known.preemptions:
        parts.append("once" if known.preemptions == 1 else f"{known.preemptions:,} times")
    if known.lost_us:
        parts.append(f"{words.duration(known.lost_us / 1e6)} of work lost")
    if node.state == events_pb2.NODE_STATE_RUNNING and known.told_attempt == node.attempt:
        parts.append("making room now")
    return ", ".join(parts)


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
