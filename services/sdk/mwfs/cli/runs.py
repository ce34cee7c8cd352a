"""`mwfs runs`: list, show, cancel, retry, and the outputs of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client import RemoteFile
    from mwfs_api.events.v1 import events_pb2
    from mwfs_api.orchestrator.v1 import orchestrator_pb2


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="List, show, cancel and retry runs, and read their outputs.")
    group.command(name="list", epilog="Examples:\n\n$ mwfs runs list --state FAILED\n\n$ mwfs runs list --limit 5")(
        list_runs
    )
    group.command(epilog="Examples:\n\n$ mwfs runs show 1a2b3c4d\n\n$ mwfs runs show 1a2b3c4d --watch")(show)
    group.command(epilog="Examples:\n\n$ mwfs runs cancel 1a2b3c4d")(cancel)
    group.command(epilog="Examples:\n\n$ mwfs runs retry 1a2b3c4d --watch")(retry)
    group.command(epilog="Examples:\n\n$ mwfs runs outputs 1a2b3c4d --save results/")(outputs)
    app.add_typer(group, name="runs")


def list_runs(
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only runs in this state, such as RUNNING. Repeat it.", show_default=False),
    ] = None,
    workflow: Annotated[str, typer.Option(metavar="MODULE:WORKFLOW", help="Only runs of it.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """List runs, newest first."""
    from mwfs.cli.documents import run_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    states = [_state(each) for each in state or []]
    with BlockingClient(home) as client:
        found = list(client.runs(states=states, workflow=workflow, limit=limit))
    if screen.json:
        screen.document({"runs": [run_document(run) for run in found]})
    elif not found:
        screen.print("No runs." if state or workflow else "No runs yet. Start one: mwfs run MODULE:WORKFLOW")
    else:
        screen.table(["RUN", "WORKFLOW", "STATE", "NODES", "CREATED", "TOOK"], [_row(run) for run in found])


def show(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show one run: its state, how many nodes are where, and why it failed."""
    import asyncio

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
            if watch:
                named.append(found.run_id)
                return await finish(client, screen, found.run_id, live=True)
            if screen.json:
                screen.document(run_document(found))
                return 0
            _show(screen, found)
            if has_ended(found) and found.state != events_pb2.RUN_STATE_SUCCEEDED:
                await show_failure(screen, client, found)
            elif not has_ended(found):
                for group in await client.explain_waiting(found.run_id):
                    screen.note(f"Waiting: {group.waiting} nodes: {group.message}")
            return 0

    try:
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = 130
        for run_id in named:
            leave(screen, run_id, home)
    raise typer.Exit(code)


def cancel(run: RunArgument, home: Home = None, output: Output = Format.TEXT) -> None:
    """Stop a run: nothing new starts, and what runs is stopped."""
    from mwfs.cli import words
    from mwfs.cli.documents import run_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        cancelled = client.cancel(client.get_run(run).run_id)
    if screen.json:
        screen.document(run_document(cancelled))
    else:
        screen.print(f"{cancelled.run_id} {words.run_state(cancelled.state)}")


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
                suffix = Path(file.file_name).suffix
                saved[name] = str(client.download(file, Path(save) / f"{name}{suffix}"))
                screen.note(f"Saved {saved[name]}")
    if screen.json:
        screen.document({"run_id": run_id, "outputs": output_document(values), "saved": saved})
    else:
        show_outputs(screen, run_id, values, home=None if save else resolve_home(home))


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


def _state(name: str) -> events_pb2.RunState.ValueType:
    from mwfs.errors import InvalidInput
    from mwfs_api.events.v1 import events_pb2

    try:
        return events_pb2.RunState.Value(f"RUN_STATE_{name.strip().upper()}")
    except ValueError:
        known = ", ".join(each.removeprefix("RUN_STATE_") for each in events_pb2.RunState.keys()[1:])
        raise InvalidInput(f"{name!r} is no state of a run.", f"The states are {known}.") from None


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
    }
    for name, fact in facts.items():
        if fact:
            screen.print(f"{name + ':':<10} {fact}")
