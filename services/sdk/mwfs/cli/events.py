"""`mwfs events`: what happened to a run, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client.run_events import RunEvent

_EXAMPLES = """Examples:

$ mwfs events 1a2b3c4d

$ mwfs events 1a2b3c4d --from 120 --follow

$ mwfs events 1a2b3c4d --output json | jq .kind"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(events)


def events(
    run: RunArgument,
    first: Annotated[
        int, typer.Option("--from", min=1, metavar="NUMBER", help="Begin with the event of this number.")
    ] = 1,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on after the end of the run, as it may be retried, until Ctrl-C.")
    ] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Print the events of a run as they happen, until it has ended. With JSON: a document a line."""
    from mwfs.cli.documents import event_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    operators: dict[int, str] = {}
    with BlockingClient(home) as client:
        run_id = client.get_run(run).run_id
        empty = True
        for event in client.events(run_id, first=first, follow=follow):
            empty = False
            if screen.json:
                screen.line(event_document(event))
            else:
                _learn(operators, event)
                screen.print(_line(event, operators.get(event.node, "")))
    if empty and not screen.json:
        screen.note(f"Run {run_id[:8]} has ended and has no event {first}.")


def _learn(operators: dict[int, str], event: RunEvent) -> None:
    """Names of operators come with the events in which their nodes begin to exist."""
    from mwfs.cli.words import operator_name
    from mwfs_api.events.v1 import events_pb2

    if isinstance(event.fact, events_pb2.DagFacts):
        known = len(operators)
        for index, operator in enumerate(event.fact.node_operator):
            operators[known + index] = operator_name(event.fact.operators[operator])


def _line(event: RunEvent, operator: str) -> str:
    from mwfs.cli import words
    from mwfs_api.events.v1 import events_pb2

    parts = [f"{event.number:>6}", (words.iso_time(event.time_us) or "")[11:23], words.event_kind(event.kind)]
    if event.node >= 0:
        parts.append(f"node {event.node}" + (f" {operator}" if operator else ""))
    if event.attempt > 1:
        parts.append(f"attempt {event.attempt}")
    if event.body_ended_us:
        parts.append(words.duration((event.body_ended_us - event.body_started_us) / 1e6))
    if event.place.strip("/"):
        parts.append(f"on {event.place}")
    if isinstance(event.fact, events_pb2.Failure):
        parts.append(": ".join(filter(None, (event.fact.error_type, event.fact.message))))
    elif isinstance(event.fact, events_pb2.DagFacts):
        parts.append(f"{len(event.fact.node_operator)} nodes")
    elif isinstance(event.fact, events_pb2.ResultOrigin):
        parts.append(f"from node {event.fact.node} of run {event.fact.run_id[:8]}")
    elif isinstance(event.fact, events_pb2.WaitFacts) and event.fact.child_run_id:
        parts.append(f"for child run {event.fact.child_run_id[:8]}")
    elif isinstance(event.fact, events_pb2.PreemptionFacts):
        left = words.duration(max(0.0, (event.fact.deadline_us - event.time_us) / 1e6))
        parts.append(f"within {left}: {event.fact.reason}" if event.fact.reason else f"within {left}")
    elif isinstance(event.fact, events_pb2.Checkpoint):
        parts.append(f"step {event.fact.step}, {words.size(event.fact.size)}")
    elif isinstance(event.fact, events_pb2.RunFacts):
        parts.append(f"{event.fact.workflow} by {event.fact.principal}")
    return "  ".join(parts)
