"""`mwfs rerun`: a run again, in part."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mwfs.cli.options import Home, Output, Priority, RunArgument
from mwfs.cli.screen import Format, Screen

_EXAMPLES = """Examples:

$ mwfs rerun 1a2b3c4d --from train

$ mwfs rerun 1a2b3c4d --from 7 --dry-run

$ mwfs rerun 1a2b3c4d --set depth=5

$ mwfs rerun 1a2b3c4d --code HEAD --output json"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(rerun)


def rerun(
    run: RunArgument,
    start: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="NODE|OPERATOR", help="Runs anew, and what needs it. Repeat it.", show_default=False
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another value of an input. Repeat it.", show_default=False),
    ] = None,
    code: Annotated[
        str, typer.Option(metavar="run|HEAD", help="The code that the run had, or the code as it is here.")
    ] = "run",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run, and why.")] = False,
    compile_on_platform: Annotated[
        bool,
        typer.Option(
            "--compile-on-platform", help="Let a worker compile and plan; HEAD is then the newest registered version."
        ),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once the platform has the run, without waiting.")
    ] = False,
    request_id: Annotated[
        str, typer.Option(help="Submitting again under the same id finds the same run.", show_default=False)
    ] = "",
    priority: Priority = 0,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Run again, and take from the earlier run what is unaffected. Says why each node runs or does not.

    The earlier run may have succeeded, failed or been cancelled. To go on with a failed run itself: mwfs runs retry.
    """
    import asyncio

    from mwfs.cli.run import finish, leave
    from mwfs.client import Client
    from mwfs.client.reruns import Given
    from mwfs.errors import InvalidInput

    screen = Screen(output)
    begun: list[str] = []
    if code not in ("run", "HEAD"):
        raise InvalidInput(f"There is no code {code!r}.", "Give --code run or --code HEAD.")

    async def main() -> int:
        async with Client(home) as client:
            given = Given(values={}, files={}, sources={})
            if inputs:
                from mwfs.cli.inputs import read_inputs
                from mwfs.invoke import load_workflow

                workflow = load_workflow((await client.get_run(run)).workflow)
                typed = read_inputs(workflow, inputs, None, home=str(client.connection.home))
                given = Given(values=typed.values, files=typed.files.paths, sources=typed.sources)
            made = await client.rerun_values(
                run,
                start=start or [],
                given=given,
                code=code,  # type: ignore[arg-type]
                request_id=request_id,
                priority=priority,
                dry_run=dry_run,
                compile_on_platform=compile_on_platform,
            )
            submitted = made.submitted
            if submitted is not None:
                begun.append(submitted.run_id)
            if submitted is None or detach:
                _show(screen, made)
                return 0
            if not screen.json:
                for node in made.nodes or await client.rerun_plan(submitted.run_id):
                    screen.note(_line(node))
            return await finish(client, screen, submitted.run_id, live=screen.stderr.is_terminal)

    try:
        exit_code = asyncio.run(main())
    except KeyboardInterrupt:
        exit_code = 130
        for run_id in begun:
            leave(screen, run_id, home)
    raise typer.Exit(exit_code)


def _show(screen: Screen, made: Any) -> None:
    if screen.json:
        screen.document(
            {
                "base_run_id": made.base_run_id,
                "run_id": made.submitted.run_id if made.submitted is not None else None,
                "nodes": [
                    {
                        "node": node.node,
                        "operator": node.operator,
                        "runs": node.base_node is None,
                        "base_node": node.base_node,
                        "reason": node.reason,
                    }
                    for node in made.nodes
                ],
            }
        )
        return
    if made.submitted is not None:
        screen.print(made.submitted.run_id)
    rows = [
        (str(node.node), node.operator, "runs" if node.base_node is None else "taken", node.reason)
        for node in made.nodes
    ]
    if rows:
        screen.table(["NODE", "OPERATOR", "WHAT", "WHY"], rows)
    else:
        screen.note("A worker plans it: `mwfs nodes RUN --why` says what it takes once it is compiled.")


def _line(node: Any) -> str:
    what = "runs" if node.base_node is None else "taken"
    return f"Node {node.node} {node.operator.rpartition(':')[2]}: {what}, {node.reason}"
