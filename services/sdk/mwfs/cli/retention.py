"""`mwfs retention`: how long ended runs stay before they go to the archive, for those who run the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs_api.orchestrator.v1 import retention_pb2 as pb

_MAX_DAYS = 36_500


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Show and set how long ended runs stay before they are archived.")
    group.command(epilog="Examples:\n\n$ mwfs retention show\n\n$ mwfs retention show vision --output json")(show)
    group.command(
        name="set",
        epilog="Examples:\n\n$ mwfs retention set vision --days 30\n\n$ mwfs retention set vision --days 0\n\n"
        "$ mwfs retention set vision --default",
    )(set_days)
    app.add_typer(group, name="retention")


def show(
    team: Annotated[
        str, typer.Argument(metavar="TEAM", help="Only what counts for this team.", show_default=False)
    ] = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show for how many days runs stay after their end. For all teams, and for those with a setting of their own."""
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        response = client.retention.show(team)
    if screen.json:
        found = [_document(each) for each in response.retentions]
        screen.document({"retention": found, "trouble": response.trouble})
        return
    rows = [
        (each.team or "(all others)", _days(each.days), "" if each.own or not each.team else "as all", _archived(each))
        for each in response.retentions
    ]
    screen.table(["TEAM", "RUNS STAY", "", "ARCHIVED RUNS"], rows, right=["ARCHIVED RUNS"])
    if response.trouble:
        screen.note(f"Nothing is archived or removed now: {response.trouble}.")


def set_days(
    team: Annotated[str, typer.Argument(metavar="TEAM", help="Whose runs.", show_default=False)],
    days: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=_MAX_DAYS, help="Days after the end of a run; 0: for ever.", show_default=False
        ),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="As long as those of all teams without a setting.")
    ] = False,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Set for how many days the runs of a team stay after their end. Then they are archived: `mwfs runs list --archived` lists them.

    It is in force within the hour. What is archived stays so, also when the time gets longer.
    """
    from mwfs.client import BlockingClient
    from mwfs.errors import InvalidInput

    if (days is None) != default:
        raise InvalidInput("For how long?", "Give --days N, or --default for what counts for all teams.")
    screen = Screen(output)
    with BlockingClient(home) as client:
        found = client.retention.set(team, days)
    if screen.json:
        screen.document(_document(found))
    elif found.days:
        screen.print(f"Runs of team {found.team} are archived {_days(found.days)} after their end.")
    else:
        screen.print(f"Runs of team {found.team} stay for ever.")


def _days(days: int) -> str:
    return "for ever" if not days else f"{days:,} day{'s' if days != 1 else ''}"


def _archived(found: pb.Retention) -> str:
    return f"{found.archived_runs:,}" if found.team else ""


def _document(found: pb.Retention) -> dict[str, Any]:
    return {
        "team": found.team or None,
        "days": found.days,
        "own": found.own,
        "archived_runs": found.archived_runs if found.team else None,
    }
