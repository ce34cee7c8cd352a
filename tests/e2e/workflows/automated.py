"""What schedules, triggers and backfills of the journeys run."""

import mwfs
from mwfs import DatePartition


@mwfs.operator
def rows_of(day: DatePartition) -> int:
    return day.day.day


@mwfs.workflow
def daily(day: DatePartition) -> int:
    return rows_of(day)


@mwfs.operator
def words_for(days: list[str], rows: list[int], runs: list[str]) -> str:
    return f"{days[0]} to {days[-1]}: {sum(rows)} rows in {len(set(runs))} runs"


@mwfs.workflow
def report(days: list[str], rows: list[int], runs: list[str]) -> str:
    return words_for(days, rows, runs)


@mwfs.operator
def check(rows: int, run: str) -> bool:
    return rows > 0 and len(run) == 36


@mwfs.workflow
def checked(rows: int, run: str) -> bool:
    return check(rows, run)
