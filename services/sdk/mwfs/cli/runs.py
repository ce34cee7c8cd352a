"""`mwfs runs`: list, show, cancel, pause, resume and retry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.outputs import outputs
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client import Client
    from mwfs_api.events.v1 import events_pb2
    from mwfs_api.orchestrator.v1 import orchestrator_pb2


_LIST_EXAMPLES = """Examples:

$ mwfs runs list --state FAILED --since 2d

$ mwfs runs list --workflow flows:train --tag env=prod

$ mwfs runs list --text "out of memory" --since 2026-11-01 --until 2026-11-08 --limit 100

$ mwfs runs list --archived --until 2026-06-01"""


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="List, show, cancel, pause and retry runs; read their outputs.")
    group.command(name="list", epilog=_LIST_EXAMPLES)(list_runs)
    group.command(epilog="Examples:\n\n$ mwfs runs show 1a2b3c4d\n\n$ mwfs runs show 1a2b3c4d --watch")(show)
    group.command(epilog="Examples:\n\n$ mwfs runs cancel 1a2b3c4d")(cancel)
    group.command(epilog="Examples:\n\n$ mwfs runs pause 1a2b3c4d")(pause)
    group.command(epilog="Examples:\n\n$ mwfs runs resume 1a2b3c4d")(resume)
    group.command(epilog="Examples:\n\n$ mwfs runs retry 1a2b3c4d --watch")(retry)
    group.command(epilog="Examples:\n\n$ mwfs runs outputs 1a2b3c4d --save results/")(outputs)
    app.add_typer(group, name="runs")


def list_runs(
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only runs in this state, such as RUNNING. Repeat it.", show_default=False),
    ] = None,
    workflow: Annotated[str, typer.Option(metavar="MODULE:WORKFLOW", help="Only runs of it.", show_default=False)] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only runs with this tag. Repeat it.", show_default=False),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Created at or after it: 2026-11-20, 2026-11-20T14:00, or 90min, 2h, 7d ago.",
            show_default=False,
        ),
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Created before it.", show_default=False)] = "",
    text: Annotated[
        str,
        typer.Option(
            metavar="WORDS",
            help="With these words in workflow, request id, tags, principal or failure.",
            show_default=False,
        ),
    ] = "",
    archived: Annotated[
        bool, typer.Option("--archived", help="Those in the archive instead, by workflow, state and time.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """List runs, newest first."""
    from mwfs.cli.documents import run_document
    from mwfs.cli.moments import moment
    from mwfs.client import BlockingClient

    screen = Screen(output)
    states = [read_state(each) for each in state or []]
    with BlockingClient(home) as client:
        found = list(
            client.runs(
                states=states,
                workflow=workflow,
                created_after=moment(since) if since else None,
                created_before=moment(until) if until else None,
                tags=dict(_tag(each) for each in tag or []),
                text=text,
                archived=archived,
                limit=limit,
            )
        )
    if screen.json:
        screen.document({"runs": [run_document(run) for run in found]})
    elif not found:
        narrowed = archived or state or workflow or tag or since or until or text
        screen.print("No runs." if narrowed else "No runs yet. Start one: mwfs run MODULE:WORKFLOW")
    elif archived:
        screen.table(["RUN", "WORKFLOW", "STATE", "CREATED", "ARCHIVED"], [_archived_row(run) for run in found])
    else:
        screen.table(["RUN", "WORKFLOW", "STATE", "NODES", "CREATED", "TOOK"], [_row(run) for run in found])


def show(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show one run. Its state, how many nodes are where, and why it failed."""
    import asyncio

    from mwfs.cli import words
    from mwfs.cli.documents import run_document
    from mwfs.cli.results import show_failure
    from mwfs.cli.run import finish, leave
    from mwfs.client import Client
    from mwfs.client.watching import has_ended
    from mwfs_api.events.v1 import events_pb2

    screen = Screen(output)
    named: list[str] = []

    async def main() -> int:
        async with Client(home) as client:
            found = await client.get_run(run)
            if watch and not found.HasField("archive"):
                named.append(found.run_id)
                return await finish(client, screen, found.run_id, live=True)
            if screen.json:
                screen.document(run_document(found))
                return 0
            _show(screen, found)
            if found.HasField("archive"):
                if found.HasField("failure"):
                    screen.note(f"It failed: {found.failure.error_type}: {found.failure.message}")
            elif has_ended(found) and found.state != events_pb2.RUN_STATE_SUCCEEDED:
                await show_failure(screen, client, found)
            elif not has_ended(found):
                for group in await client.explain_waiting(found.run_id):
                    screen.note(f"Waiting: {words.counted(group.waiting, 'node')}: {group.message}")
                await _show_waits(screen, client, found)
            return 0

    try:
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = 130
        for run_id in named:
            leave(screen, run_id, home)
    raise typer.Exit(code)


def cancel(run: RunArgument, home: Home = None, output: Output = Format.TEXT) -> None:
    """Stop a run: nothing new starts, and what runs is stopped. Cleanups of what had begun run first, ten minutes at most; cancel again to skip them."""
    from mwfs.client import BlockingClient
    from mwfs_api.events.v1 import events_pb2

    with BlockingClient(home) as client:
        found = client.get_run(run)
        again = found.state == events_pb2.RUN_STATE_CANCELLING
        _show_state(Screen(output), client.cancel(found.run_id, skip_cleanups=again))


def pause(run: RunArgument, home: Home = None, output: Output = Format.TEXT) -> None:
    """Let nothing new start in a run until it is resumed. What runs goes on."""
    from mwfs.client import BlockingClient

    with BlockingClient(home) as client:
        _show_state(Screen(output), client.pause(client.get_run(run).run_id))


def resume(run: RunArgument, home: Home = None, output: Output = Format.TEXT) -> None:
    """Let a paused run go on where it was."""
    from mwfs.client import BlockingClient

    with BlockingClient(home) as client:
        _show_state(Screen(output), client.resume(client.get_run(run).run_id))


def _show_state(screen: Screen, run: orchestrator_pb2.Run) -> None:
    from mwfs.cli import words
    from mwfs.cli.documents import run_document

    if screen.json:
        screen.document(run_document(run))
    else:
        screen.print(f"{run.run_id} {words.run_state(run.state)}")


def retry(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    request_id: Annotated[
        str, typer.Option(help="Repeating the command with the same id revives once.", show_default=False)
    ] = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Run again what did not succeed in a failed or cancelled run. What succeeded stays."""
    import asyncio

    from mwfs.cli import words
    from mwfs.cli.documents import run_document
    from mwfs.cli.run import finish, leave
    from mwfs.client import Client
    from mwfs.home import home_option

    screen = Screen(output)
    named: list[str] = []

    async def main() -> int:
        async with Client(home) as client:
            revived = await client.retry((await client.get_run(run)).run_id, request_id=request_id)
            if watch:
                named.append(revived.run_id)
                return await finish(client, screen, revived.run_id, live=True)
            if screen.json:
                screen.document(run_document(revived))
            else:
                screen.print(f"{revived.run_id} {words.run_state(revived.state)} round {revived.round}")
                option = home_option(client.connection.home)
                screen.note(f"Look at it: mwfs runs show {revived.run_id[:8]} --watch{option}")
            return 0

    try:
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = 130
        for run_id in named:
            leave(screen, run_id, home)
    raise typer.Exit(code)


async def _show_waits(screen: Screen, client: Client, run: orchestrator_pb2.Run) -> None:
    """What the run waits for from outside, and until when."""
    from mwfs.cli import words
    from mwfs_api.events.v1 import events_pb2
    from mwfs_types.rendering import describe

    for signal in await client.signals(run.run_id):
        if not signal.waiting_nodes:
            continue
        until = f", until {words.iso_time(signal.until_time_us)}" if signal.until_time_us else ""
        screen.note(
            f"Waiting: {words.counted(len(signal.waiting_nodes), 'node')} for the signal `{signal.name}` ({describe(signal.type)}){until}: "
            f"mwfs signal {run.run_id[:8]} {signal.name} JSON"
        )
    if any(count.state == events_pb2.NODE_STATE_WAITING for count in run.node_counts):
        async for node in client.nodes(run.run_id, states=[events_pb2.NODE_STATE_WAITING], limit=20):
            if node.HasField("wait") and node.wait.child_run_id:
                screen.note(f"Waiting: node {node.node} for its child run: mwfs runs show {node.wait.child_run_id}")
            elif node.HasField("wait") and not node.wait.signal:
                screen.note(f"Waiting: node {node.node} sleeps until {words.iso_time(node.wait.until_time_us)}")


def read_state(name: str) -> events_pb2.RunState.ValueType:
    """From a name such as RUNNING. Raises InvalidInput."""
    from mwfs.errors import InvalidInput
    from mwfs_api.events.v1 import events_pb2

    try:
        return events_pb2.RunState.Value(f"RUN_STATE_{name.strip().upper()}")
    except ValueError:
        known = ", ".join(each.removeprefix("RUN_STATE_") for each in events_pb2.RunState.keys()[1:])
        raise InvalidInput(f"{name!r} is no state of a run.", f"The states are {known}.") from None


def _tag(text: str) -> tuple[str, str]:
    from mwfs.errors import InvalidInput

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{text!r} is not a tag.", "Write NAME=VALUE, such as env=prod.")
    return name, value


def _row(run: orchestrator_pb2.Run) -> tuple[str, ...]:
    from mwfs.cli import words

    done = sum(each.count for each in run.node_counts if words.node_state(each.state) == "SUCCEEDED")
    took = words.duration((run.end_time_us - run.create_time_us) / 1e6) if run.end_time_us else ""
    return (
        run.run_id[:8],
        run.workflow,
        words.coloured(words.run_state(run.state)),
        f"{done}/{run.node_count}",
        words.ago(run.create_time_us),
        took,
    )


def _archived_row(run: orchestrator_pb2.Run) -> tuple[str, ...]:
    from mwfs.cli import words

    return (
        run.run_id[:8],
        run.workflow,
        words.coloured(words.run_state(run.state)),
        words.ago(run.create_time_us),
        words.ago(run.archive.archive_time_us),
    )


def _show(screen: Screen, run: orchestrator_pb2.Run) -> None:
    from mwfs.cli import words

    facts = {
        "Run": run.run_id,
        "Workflow": run.workflow,
        "Version": run.version_digest,
        "State": words.run_state(run.state) + (f" (round {run.round})" if run.round > 1 else ""),
        "Created": f"{words.iso_time(run.create_time_us)} ({words.ago(run.create_time_us)}) by {run.principal} of {run.team}",
        "Took": words.duration((run.end_time_us - run.create_time_us) / 1e6) if run.end_time_us else "",
        "Request": run.request_id,
        "Nodes": f"{run.node_count}: "
        + ", ".join(f"{each.count} {words.node_state(each.state).lower()}" for each in run.node_counts),
        "Tags": ", ".join(f"{name}={value}" for name, value in sorted(run.tags.items())),
        "Archived": f"{words.iso_time(run.archive.archive_time_us)} in {run.archive.digest}"
        if run.HasField("archive")
        else "",
    }
    for name, fact in facts.items():
        if fact:
            screen.print(f"{name + ':':<10} {fact}")
