"""The commands put together, and the one place where errors become words and exit codes.

Exit codes: 0 all well, 1 the run failed, 2 bad input, 3 the platform cannot be reached, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import version as distribution_version
from typing import Annotated, Final

import typer

from mwfs.cli.screen import Format, Screen
from mwfs.errors import MwfsError

ENTRY_POINTS = "mwfs.commands"


#: The modules of our commands, in the order of the help. One that has the name of a command brings that command.
_MODULES: Final = (
    "run",
    "compile",
    "plan",
    "diff",
    "register",
    "workflows",
    "types",
    "schema",
    "runs",
    "nodes",
    "signal",
    "logs",
    "events",
    "timeline",
    "replay",
    "rerun",
    "why_miss",
    "schedules",
    "triggers",
    "backfill",
    "hosts",
    "shards",
    "retention",
    "bench",
)


def build_app(command: str = "") -> typer.Typer:
    """All commands: ours, and those of installed packages (`up`, `down`, `status`).

    When a module or an entry point has the name of the `command` that is asked for, nothing else is loaded: the rest would cost a tenth of a second.
    """
    app = typer.Typer(
        name="mwfs",
        help="Run typed ML workflows: define them in Python, start a platform, run, watch and compare.",
        epilog="First steps:\n\n$ mwfs up --detach\n\n$ mwfs run mwfs.bench.workflows:fanout --input n=10\n\n$ mwfs runs list",
        no_args_is_help=True,
        add_completion=False,
        # Rich panels would cost 0.15 s with each `--help`.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    named = command.replace("-", "_")
    if named in _MODULES:
        _register(app, named)
        return app
    points = entry_points(group=ENTRY_POINTS)
    if command in points.names and _load(app, points[command]):
        return app
    for name in _MODULES:
        _register(app, name)
    for point in points:
        if point.name != command:  # which has just said why it cannot be loaded
            _load(app, point)
    return app


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version of mwfs and exit.")] = False,
    # Only of --version: a command has its own, and whoever gives it too early is told so.
    output: Annotated[Format | None, typer.Option("--output", "-o", hidden=True)] = None,
) -> None:
    if version:
        found = distribution_version("mwfs")
        screen = Screen(output or Format.TEXT)
        if screen.json:
            screen.document({"version": found})
        else:
            screen.print(f"mwfs {found}")
        raise typer.Exit
    if output is not None:
        context.fail("--output goes behind the command: mwfs COMMAND --output json.")
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


def _register(app: typer.Typer, module: str) -> None:
    import_module(f"mwfs.cli.{module}").register(app)


def _load(app: typer.Typer, point: EntryPoint) -> bool:
    """Whether the commands of an installed package could be loaded: one that is broken must not take every command away."""
    try:
        point.load()(app)
    except Exception as error:
        print(f"mwfs: the commands of {point.value} cannot be loaded: {error}", file=sys.stderr)
        return False
    return True


def run_cli(arguments: list[str]) -> int:
    """Runs one command; returns the exit code. Never shows a traceback of ours unless MWFS_DEBUG is set."""
    # `mwfs run my_flows:train` works where my_flows.py lies, as `python -m` would.
    working_directory = os.getcwd()
    if working_directory not in sys.path:
        sys.path.insert(0, working_directory)
    screen = Screen(Format.JSON if _wants_json(arguments) else Format.TEXT)
    try:
        build_app(arguments[0] if arguments else "")(arguments, prog_name="mwfs")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("MWFS_DEBUG"):
            raise
        return screen.error(_known(error))
    return 0


def _known(error: Exception) -> MwfsError:
    from mwfs.errors import InvalidInput
    from mwfs_types.errors import TypeSystemError

    if isinstance(error, MwfsError):
        return error
    if isinstance(error, TypeSystemError):
        return InvalidInput(str(error))
    if isinstance(error, OSError) and error.filename:
        return InvalidInput(f"{error.filename}: {error.strerror}.", "Name a file that exists and may be read.")
    return MwfsError(
        f"mwfs failed: {type(error).__name__}: {error}.",
        "This is a defect of mwfs; set MWFS_DEBUG=1 to see where.",
    )


def _wants_json(arguments: list[str]) -> bool:
    """Known before the arguments are parsed, so that wrong ones are reported as asked for too."""
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    return any(name == "--output=json" or (name in ("--output", "-o") and value == "json") for name, value in pairs)
