"""How long runs stay, and what the catalogue knows of one that is in the archive. (pure)"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from mwfs_chassis.errors import FailedPrecondition, InvalidArgument

MAX_DAYS: Final = 36_500
DAY_US: Final = 24 * 3600 * 1_000_000
_MAX_TEAM: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run that may go to the archive."""

    run_id: UUID
    slot: int
    #: With `end_us`: a run that was revived meanwhile is another one.
    round: int
    end_us: int
    node_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """A row of the catalogue. The run may still be on its shard as well, and then that is what counts."""

    run_id: UUID
    team: str
    workflow: str
    state: int
    create_us: int
    end_us: int
    archive_us: int
    #: Of the Parquet file of runs, and the run's place in it.
    digest: str
    size: int
    row_group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What counts for a team; an empty one: for all others."""

    team: str
    days: int
    own: bool
    archived_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings of teams, and what counts without one: 0 days are for ever."""

    default: int
    of_team: Mapping[str, int]

    def days(self, team: str) -> int:
        return self.of_team.get(team, self.default)

    def cutoff_us(self, team: str, now_us: int) -> int:
        """Runs of the team that ended before go to the archive. Whole days, so that there is one batch a day."""
        days = self.days(team)
        return (now_us // DAY_US - days) * DAY_US if days else 0


def month_of(time_us: int) -> str:
    """Such as 2026-11."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m")


def check_team(team: str) -> None:
    """Raises InvalidArgument."""
    if not 0 < len(team) <= _MAX_TEAM or not team.isprintable():
        raise InvalidArgument(f"{team[:80]!r} is not the name of a team.", "Name one that has runs or workflows.")


def check_days(days: int) -> None:
    """Raises InvalidArgument."""
    if not 0 <= days <= MAX_DAYS:
        raise InvalidArgument(
            f"Runs cannot be kept for {days:,} days: between 1 and {MAX_DAYS:,} are possible.",
            "Give 0 to keep them for ever.",
        )


def is_archived(run_id: UUID) -> FailedPrecondition:
    """What whoever wants more of the run than the archive gives is told."""
    return FailedPrecondition(
        f"The run {run_id} is archived: its nodes and events are in the files of the archive alone, and it cannot go on.",
        f"`mwfs runs show {str(run_id)[:8]}` shows what is known of it; submit a new run to do it again.",
    )
