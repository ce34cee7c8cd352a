"""How a run ended, for people: its outputs as a table, or what failed, where, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mwfs.cli import words
from mwfs.cli.documents import output_document
from mwfs.cli.screen import Screen
from mwfs.home import home_option
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.client import Client

_TRACEBACK_LINES = 16


def show_outputs(screen: Screen, run_id: str, outputs: Mapping[str, object], *, home: Path | None = None) -> None:
    """Outputs by name; nested numbers a row each, so that metrics can be read. `home`: say how to fetch its files."""
    from mwfs.client.outputs import RemoteFile

    if not outputs:
        screen.print("The workflow has no outputs.")
        return
    screen.table(["OUTPUT", "VALUE"], list(_rows("", outputs)))
    if home is not None and any(isinstance(value, RemoteFile) for value in outputs.values()):
        screen.note(f"Files: mwfs runs outputs {run_id[:8]} --save FOLDER{home_option(home)}")


def _rows(prefix: str, values: Mapping[str, object]) -> list[tuple[str, str]]:
    from mwfs.client.outputs import RemoteFile

    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, RemoteFile):
            shown = f"{value.type or 'File'} {value.file_name} ({words.size(value.size)}, {value.digest[:19]}…)"
            rows.append((prefix + name, shown))
        elif isinstance(value, dict) and 0 < len(value) <= 50:
            rows.extend(_rows(f"{prefix}{name}.", value))
        else:
            rows.append((prefix + name, _short(value)))
    return rows


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    text = json.dumps(output_document(value), ensure_ascii=False, default=str)
    return text if len(text) <= 500 else f"{text[:500]}… ({len(text)} characters)"


async def show_failure(screen: Screen, client: Client, run: orchestrator_pb2.Run) -> None:
    """The operator that failed, the user's line, the message, the end of the traceback, and the next commands."""
    short = run.run_id[:8]
    state = words.run_state(run.state)
    if run.state == events_pb2.RUN_STATE_CANCELLED:
        screen.note(
            f"Run {short} was cancelled. Go on with it: mwfs runs retry {short}{home_option(client.connection.home)}"
        )
        return
    failure = run.failure
    operator = ""
    attempt = 0
    if failure.node >= 0 and run.HasField("failure"):
        from mwfs.errors import MwfsError

        try:
            node = await client.node(run.run_id, failure.node)
            operator, attempt = words.operator_name(node.operator), node.attempt
        except MwfsError:
            pass  # the failure itself is known, and matters more
    where = f"node {failure.node} ({operator})" if operator else f"node {failure.node}" if failure.node >= 0 else ""
    tried = f", attempt {attempt}" if attempt > 1 else ""
    note = screen.note
    note(f"\nRun {short} {state}{f': {where}{tried}' if where else ''}")
    note(f"  {failure_line(failure)}")
    if failure.file:
        note(f"  at {failure.file}:{failure.line}")
    if failure.traceback.strip():
        lines = failure.traceback.rstrip().splitlines()
        if len(lines) > _TRACEBACK_LINES:
            note("    …")
        for line in lines[-_TRACEBACK_LINES:]:
            note(f"    {line}")
    if failure.next_step:
        note(f"  {failure.next_step}")
    others = {words.node_state(each.state): each.count for each in run.node_counts}
    failed, upstream = others.get("FAILED", 0), others.get("UPSTREAM_FAILED", 0)
    if failed > 1 or upstream:
        note(f"  {failed} failed, {upstream} could not run because of that.")
    home = home_option(client.connection.home)
    commands = []
    if failure.node >= 0:
        commands = [
            (f"mwfs logs {short} {failure.node}{home}", "what it printed"),
            (f"mwfs replay {short} {failure.node} --pdb{home}", "call it here on the same inputs, in the debugger"),
        ]
    commands += [
        (f"mwfs nodes {short} --state FAILED{home}", "every failed node"),
        (f"mwfs runs retry {short}{home}", "run again what did not succeed"),
    ]
    widest = max(len(command) for command, _ in commands)
    note("Next:")
    for command, what in commands:
        note(f"  {command:<{widest}}   {what}")


def failure_line(failure: events_pb2.Failure) -> str:
    """The failure in one line."""
    message = failure.message or "no message"
    return f"{failure.error_type}: {message}" if failure.error_type else message
