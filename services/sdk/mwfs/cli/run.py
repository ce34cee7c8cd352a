"""`mwfs run`: compile, upload, submit, follow, and show what came out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Input, Inputs, NoPass, Output, Priority, WorkflowArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client import Client, Submitted

_EXAMPLES = """Examples:

$ mwfs run mwfs.examples.tabular:train --input labeled=iris.csv --input label=species

$ mwfs run flows:train --inputs inputs.json --input 'depths=[2, 4, 8]' --watch

$ mwfs run flows:train --no-pass cache

$ mwfs run flows:train --max-parallel 4 --on-failure continue

$ mwfs run flows:train --detach --output json | jq -r .run_id"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(run)


def run(
    workflow: WorkflowArgument,
    input: Input = None,
    inputs: Inputs = None,
    watch: Annotated[
        bool | None,
        typer.Option(
            "--watch/--no-watch", help="Show progress while it runs. [default: on a terminal]", show_default=False
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once the platform has the run, without waiting.")
    ] = False,
    compile_on_platform: Annotated[
        bool, typer.Option("--compile-on-platform", help="Let a worker compile, as forms and schedules do.")
    ] = False,
    request_id: Annotated[
        str, typer.Option(help="Submitting again under the same id finds the same run.", show_default=False)
    ] = "",
    no_pass: NoPass = None,
    priority: Priority = 0,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Shown in lists. Repeat it.")] = None,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most attempts at the same time.", show_default=False)
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="After a failure: block_dependents, cancel_dependents, cancel_run or continue. For operators that do not say.",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Run a workflow on the platform, wait, and show its outputs. Ctrl-C stops the waiting, not the run."""
    import asyncio

    from mwfs.client import Client

    screen = Screen(output)
    request = _Request(
        workflow=workflow,
        given=input or [],
        inputs_file=inputs,
        compile_on_platform=compile_on_platform,
        no_pass=no_pass or [],
        request_id=request_id,
        priority=priority,
        tags=read_tags(tag or []),
        max_parallel=max_parallel,
        on_failure=on_failure,
    )
    begun = _Begun()

    async def main() -> int:
        async with Client(home) as client:
            submitted = await _submit(client, screen, request)
            begun.submitted = submitted
            if detach:
                return _detached(screen, submitted, client.connection.home)
            live = watch if watch is not None else screen.stderr.is_terminal
            if live or not submitted.created:
                verb = "Submitted" if submitted.created else "Found, submitted before:"
                screen.note(f"{verb} run {submitted.run_id}")
            return await finish(client, screen, submitted.run_id, live=live)

    try:
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = 130
        if begun.submitted is not None:
            leave(screen, begun.submitted.run_id, home)
    raise typer.Exit(code)


class _Begun:
    """What is known when Ctrl-C comes."""

    submitted: Submitted | None = None


class _Request:
    def __init__(
        self,
        *,
        workflow: str,
        given: Iterable[str],
        inputs_file: str | None,
        compile_on_platform: bool,
        no_pass: list[str],
        request_id: str,
        priority: int,
        tags: dict[str, str],
        max_parallel: int | None,
        on_failure: str | None,
    ) -> None:
        self.workflow = workflow
        self.given = given
        self.inputs_file = inputs_file
        self.compile_on_platform = compile_on_platform
        self.no_pass = no_pass
        self.options: dict[str, Any] = {
            "request_id": request_id,
            "priority": priority,
            "tags": tags,
            "max_parallel": max_parallel,
            "on_failure": on_failure,
        }


async def _submit(client: Client, screen: Screen, request: _Request) -> Submitted:
    from mwfs import passes
    from mwfs.cli.inputs import read_inputs
    from mwfs.cli.uploads import UploadBar
    from mwfs.compiler import compile_values
    from mwfs.errors import InvalidInput
    from mwfs.invoke import load_workflow

    workflow = load_workflow(request.workflow)
    home = str(client.connection.home)
    typed = read_inputs(workflow, request.given, request.inputs_file, home=home)
    if request.no_pass and request.compile_on_platform:
        raise InvalidInput("--no-pass is for compiling here.", "Leave out --compile-on-platform.")
    with UploadBar(screen) as bar:
        if request.compile_on_platform:
            return await client.submit_values(
                workflow,
                typed.values,
                typed.files.paths,
                sources=typed.sources,
                progress=bar.report,
                **request.options,
            )
        with screen.waiting("Compiling"), passes.off(*request.no_pass):
            # Under an id that may be used again the Dag must be the same again, whatever ended in between.
            seconds = {} if request.options["request_id"] else await client.history(workflow.ref)
            dag = compile_values(workflow, typed.values, typed.files, typed.sources, seconds=seconds)
        return await client.submit(dag, progress=bar.report, **request.options)


async def finish(client: Client, screen: Screen, run_id: str, *, live: bool) -> int:
    """Follows a run to its end and shows it; returns the exit code."""
    from mwfs.cli.documents import output_document, run_document
    from mwfs.cli.progress import follow
    from mwfs.cli.results import show_failure, show_outputs
    from mwfs.client.watching import failure_of

    ended = await follow(client, screen, run_id, live=live)
    failed = failure_of(ended) is not None
    outputs = {} if failed else await client.outputs(run_id)
    if screen.json:
        screen.document(run_document(ended) | {"outputs": output_document(outputs)})
    elif not failed:
        show_outputs(screen, run_id, outputs, home=client.connection.home)
    if failed:
        await show_failure(screen, client, ended)
    return 1 if failed else 0


def leave(screen: Screen, run_id: str, home: str | None) -> None:
    """What Ctrl-C says."""
    from mwfs.home import home_option, resolve_home

    short, option = run_id[:8], home_option(resolve_home(home))
    screen.note(f"\nRun {short} goes on.")
    screen.note(f"  mwfs runs show {short} --watch{option}   look again")
    screen.note(f"  mwfs runs cancel {short}{option}         stop it")
    if screen.json:
        screen.document({"run_id": run_id, "state": None, "outputs": {}, "interrupted": True})


def _detached(screen: Screen, submitted: Submitted, home: Path) -> int:
    from mwfs.home import home_option

    if screen.json:
        screen.document({"run_id": submitted.run_id, "created": submitted.created, "request_id": submitted.request_id})
    else:
        screen.print(submitted.run_id)
        screen.note(f"Look at it: mwfs runs show {submitted.run_id[:8]} --watch{home_option(home)}")
    return 0


def read_tags(pairs: Iterable[str]) -> dict[str, str]:
    """From NAME=VALUE. Raises InvalidInput."""
    from mwfs.errors import InvalidInput

    tags = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(f"`--tag {pair}` is not NAME=VALUE.", "Write --tag stage=test.")
        tags[name] = value
    return tags
