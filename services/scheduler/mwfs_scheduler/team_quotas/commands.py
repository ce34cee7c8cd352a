"""`mwfs quotas` and `mwfs teams`, for those who run the platform. No part of the service."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen
from mwfs.errors import InvalidInput

if TYPE_CHECKING:
    from mwfs_api.scheduler.v1 import quotas_pb2 as pb

Team = Annotated[str, typer.Argument(metavar="TEAM", help="Name of the team.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.", show_default=False)]
_AMOUNTS = "RESOURCE=AMOUNT,…"


class Part(StrEnum):
    """What of a quota can be cleared."""

    GUARANTEE = "guarantee"
    BURST = "burst"
    WEIGHT = "weight"
    PARENT = "parent"


_FIELDS: Final[Mapping[Part, Literal["guaranteed", "burst", "weight", "parent"]]] = {
    Part.GUARANTEE: "guaranteed",
    Part.BURST: "burst",
    Part.WEIGHT: "weight",
    Part.PARENT: "parent",
}


def register(app: typer.Typer) -> None:
    quotas = typer.Typer(
        no_args_is_help=True,
        help="Show and set what each team is promised, and its limits.",
        epilog="Examples:\n\n$ mwfs quotas show\n\n$ mwfs quotas set vision --guarantee gpu=8 --burst gpu=16",
    )
    quotas.command(epilog="Examples:\n\n$ mwfs quotas show\n\n$ mwfs quotas show vision --output json")(show)
    quotas.command(
        name="set",
        epilog="Examples:\n\n$ mwfs quotas set vision --guarantee gpu=8,cpu=64,memory=512GiB --burst gpu=16 --parent research\n\n"
        "$ mwfs quotas set vision --weight 2 --reason 'deadline in May'\n\n$ mwfs quotas set vision --burst gpu=none\n\n"
        "$ mwfs quotas set vision --clear guarantee --clear parent",
    )(set_quota)
    quotas.command(epilog="Example:\n\n$ mwfs quotas remove vision --reason 'merged into research'")(remove)
    quotas.command(
        epilog="Examples:\n\n$ mwfs quotas apply teams.toml --dry-run\n\n$ mwfs quotas apply teams.toml --yes --reason 'new year'\n\n"
        "A file:\n\n[teams.research]\n\nguaranteed = {gpu = 16, memory = '1TiB'}\n\n[teams.vision]\n\n"
        "parent = 'research'\n\nweight = 2\n\nburst = {gpu = 8}"
    )(apply)
    quotas.command(epilog="Examples:\n\n$ mwfs quotas history\n\n$ mwfs quotas history vision --limit 5")(history)
    app.add_typer(quotas, name="quotas")
    teams = typer.Typer(
        no_args_is_help=True,
        help="Show teams and what they use; `mwfs quotas` sets quotas.",
        epilog="Examples:\n\n$ mwfs teams list\n\n$ mwfs teams watch vision",
    )
    teams.command(name="list", epilog="Example:\n\n$ mwfs teams list")(list_teams)
    teams.command(name="show", epilog="Example:\n\n$ mwfs teams show vision")(show_team)
    teams.command(name="watch", epilog="Examples:\n\n$ mwfs teams watch\n\n$ mwfs teams watch vision --output json")(
        watch_teams
    )
    app.add_typer(teams, name="teams")


def show(
    team: Annotated[str, typer.Argument(metavar="TEAM", help="Only this team.", show_default=False)] = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show the tree of teams with guarantees, limits and weights. Also what of it counts on the cluster as it is."""
    from mwfs_scheduler.team_quotas import screens

    screen, found = Screen(output), _read(home, team)
    if screen.json:
        shown = [each for each in found.teams if each.HasField("quota") or team]
        screen.document(screens.teams_document(found) | {"teams": [screens.team_document(each) for each in shown]})
    elif team:
        screens.show_team(screen, found.teams[0], found)
    else:
        screens.show_quotas(screen, found)


def list_teams(home: Home = None, output: Output = Format.TEXT) -> None:
    """List all teams and what they use. Those that have a quota, hold something or wait for something."""
    from mwfs_scheduler.team_quotas import screens

    screen, found = Screen(output), _read(home, "")
    if screen.json:
        screen.document(screens.teams_document(found))
    else:
        screens.show_teams(screen, found)


def show_team(team: Team, home: Home = None, output: Output = Format.TEXT) -> None:
    """Show what a team uses, is promised and may use. Resource by resource."""
    from mwfs_scheduler.team_quotas import screens

    screen, found = Screen(output), _read(home, team)
    if screen.json:
        screen.document(screens.team_document(found.teams[0]) | {"notes": list(found.notes)})
    else:
        screens.show_team(screen, found.teams[0], found)


def watch_teams(
    team: Annotated[str, typer.Argument(metavar="TEAM", help="Only this team.", show_default=False)] = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show how teams stand, and each change as it happens. Use, guarantee, what is borrowed and lent, what waits, what preemption took. Ends with Ctrl-C; as JSON one document a line."""
    from mwfs.client import BlockingClient
    from mwfs_scheduler.team_quotas import screens

    screen = Screen(output)
    with BlockingClient(home) as client:
        if team:
            # A stream waits for a team that is not there yet; whoever mistypes a name would look at nothing for ever.
            client.quotas.teams(team)
        for response in client.quotas.watch(team):
            for changed in response.changed:
                if screen.json:
                    screen.line(screens.figures_document(response, changed))
                else:
                    screen.print(screens.figures(response, changed))


def set_quota(
    team: Team,
    guarantee: Annotated[
        str | None,
        typer.Option(
            metavar=_AMOUNTS,
            help="What it is promised; a resource that was not named so far is added.",
            show_default=False,
        ),
    ] = None,
    burst: Annotated[
        str | None,
        typer.Option(
            metavar=_AMOUNTS, help="What it may use at most; gpu=none takes a limit away.", show_default=False
        ),
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Its share of what nobody is promised.", show_default=False)
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="TEAM", help="The team that it is part of.", show_default=False)
    ] = None,
    clear: Annotated[
        list[Part] | None,
        typer.Option(help="Begin without this part, then set what else is given. Repeat it.", show_default=False),
    ] = None,
    reason: Reason = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Set the quota of a team; what is not named stays as it is. It is in force at once, and what runs goes on."""
    from mwfs.client import BlockingClient
    from mwfs_scheduler.team_quotas.amounts import parse, weight_of

    cleared = clear or []
    if guarantee is burst is weight is parent is None and not cleared:
        raise InvalidInput("Nothing would change.", "Give --guarantee, --burst, --weight, --parent or --clear.")
    with as_user_error():
        guaranteed = None if guarantee is None else parse(guarantee)
        limits = None if burst is None else parse(burst)
        weighs = None if weight is None else float(weight_of(weight))
    with BlockingClient(home) as client:
        found = client.quotas.teams()
        quota = quota_of(found, team)
        for part in cleared:
            quota.ClearField(_FIELDS[part])
        if parent is not None:
            quota.parent = parent
        if weighs is not None:
            quota.weight = weighs
        if guaranteed is not None:
            quota.guaranteed.SetInParent()
            put_amounts(quota.guaranteed, guaranteed)
        if limits is not None:
            put_amounts(quota.burst, limits)
            if not quota.burst.amounts:
                quota.ClearField("burst")
        response = client.quotas.change(found.version, set=[quota], reason=reason)
    _say_changed(Screen(output), response)


def remove(team: Team, reason: Reason = "", home: Home = None, output: Output = Format.TEXT) -> None:
    """Remove the quota of a team. Then it has weight 1, no guarantee and no limit; what runs goes on."""
    from mwfs.client import BlockingClient

    with BlockingClient(home) as client:
        version = client.quotas.teams().version
        response = client.quotas.change(version, removed=[team], reason=reason)
    _say_changed(Screen(output), response)


def apply(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The whole tree of teams, as TOML or .json.", show_default=False)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    reason: Reason = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Make the quotas what a file says. Teams that are not in it lose theirs; shows what would change, then asks."""
    from mwfs.client import BlockingClient
    from mwfs_scheduler.team_quotas import screens
    from mwfs_scheduler.team_quotas.file import read_file
    from mwfs_scheduler.team_quotas.wire import quota_to

    with as_user_error():
        wanted = [quota_to(quota) for quota in read_file(file).teams]
    names = {quota.team for quota in wanted}
    screen = Screen(output)
    with BlockingClient(home) as client:
        found = client.quotas.teams()
        removed = [team.team for team in found.teams if team.HasField("quota") and team.team not in names]
        response = client.quotas.change(found.version, set=wanted, removed=removed, dry_run=True)
        applied = False
        if response.changes and not dry_run:
            if not yes:
                _ask(screen, response)
            response = client.quotas.change(found.version, set=wanted, removed=removed, reason=reason)
            applied = True
    if screen.json:
        screen.document(screens.changed_document(response, applied=applied))
    elif applied:
        _say_changed(screen, response)
    else:
        screens.show_changes(screen, response.changes)
        screen.print("This would change." if response.changes else f"Nothing differs from version {response.version}.")
        _say_notes(screen, response)


def history(
    team: Annotated[str, typer.Argument(metavar="TEAM", help="Only changes of this team.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="How many changes.")] = 20,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show who changed quotas, when, how and why. The newest change first."""
    from mwfs.cli import words
    from mwfs.client import BlockingClient
    from mwfs_scheduler.team_quotas import screens

    screen = Screen(output)
    with BlockingClient(home) as client:
        revisions = client.quotas.history(team, limit=limit)
    if screen.json:
        screen.document({"revisions": [screens.revision_document(revision) for revision in revisions]})
        return
    if not revisions:
        screen.print("No changes.")
        return
    rows = [
        (
            str(revision.version),
            words.ago(revision.change_time_us),
            revision.principal,
            change.team,
            screens.difference(change),
            revision.reason,
        )
        for revision in revisions
        for change in revision.changes
    ]
    screen.table(["VERSION", "WHEN", "WHO", "TEAM", "CHANGE", "WHY"], rows, right=["VERSION"])


# --- what they share --------------------------------------------------------------------------------------------------


@contextmanager
def as_user_error() -> Iterator[None]:
    """What is wrong with what was typed is shown like any other error of a command."""
    from mwfs_scheduler.quotas import BadQuotas

    try:
        yield
    except BadQuotas as error:
        raise InvalidInput(error.message, error.next_step) from None


def _read(home: str | None, team: str) -> pb.ListTeamsResponse:
    from mwfs.client import BlockingClient

    with BlockingClient(home) as client:
        return client.quotas.teams(team)


def quota_of(found: pb.ListTeamsResponse, team: str) -> pb.TeamQuota:
    from mwfs_api.scheduler.v1 import quotas_pb2 as pb

    for each in found.teams:
        if each.team == team and each.HasField("quota"):
            return each.quota
    return pb.TeamQuota(team=team)


def put_amounts(amounts: pb.Amounts, given: Mapping[str, int | None]) -> None:
    for resource, amount in given.items():
        if amount is None:
            amounts.amounts.pop(resource, None)
        else:
            amounts.amounts[resource] = amount


def _ask(screen: Screen, response: pb.ChangeQuotasResponse) -> None:
    from mwfs_scheduler.team_quotas import screens

    if not sys.stdin.isatty() or screen.json:
        raise InvalidInput(
            f"{len(response.changes)} teams would change, and nobody can be asked.",
            "Look at the changes with --dry-run, then repeat it with --yes.",
        )
    screens.show_changes(screen, response.changes)
    _say_notes(screen, response)
    typer.confirm("Change this?", abort=True, err=True)


def _say_changed(screen: Screen, response: pb.ChangeQuotasResponse) -> None:
    from mwfs_scheduler.team_quotas import screens

    if screen.json:
        screen.document(screens.changed_document(response, applied=bool(response.changes)))
        return
    screens.show_changes(screen, response.changes)
    if response.changes:
        screen.print(f"In force as version {response.version}.")
    else:
        screen.print(f"That is how it is already, as version {response.version}.")
    _say_notes(screen, response)


def _say_notes(screen: Screen, response: pb.ChangeQuotasResponse) -> None:
    for note in response.notes:
        screen.note(note)
