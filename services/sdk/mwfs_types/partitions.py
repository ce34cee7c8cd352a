"""Partitions of time: an hour, a day, an ISO week or a month, named as people name them: "2026-11-23", "2026-W48", "2026-11"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import total_ordering

_FORMS = re.compile(
    r"(?P<year>\d{4})-(?:W(?P<week>\d\d)|(?P<month>\d\d)(?:-(?P<day>\d\d)(?:T(?P<hour>\d\d))?)?)", re.ASCII
)
#: Longest range that is listed.
MAX_PARTITIONS = 1_000_000


class Grain(Enum):
    """How long a partition is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@total_ordering
@dataclass(frozen=True, slots=True)
class DatePartition:
    """One hour, day, week or month in UTC. Write it as text: `DatePartition.parse("2026-11-23")`."""

    grain: Grain
    #: Its first moment, in UTC.
    start: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC or _floor(self.start, self.grain) != self.start:
            raise ValueError(f"{self.start} does not begin a partition of one {self.grain.value} in UTC")

    @classmethod
    def parse(cls, text: str) -> DatePartition:
        """From "2026-11-23T05" (an hour), "2026-11-23" (a day), "2026-W48" (an ISO week) or "2026-11" (a month). Raises ValueError."""
        found = _FORMS.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:40]!r} is not a partition such as 2026-11-23, 2026-11-23T05, 2026-W48 or 2026-11")
        year = int(found["year"])
        if found["week"] is not None:
            first = date.fromisocalendar(year, int(found["week"]), 1)
            return cls(Grain.WEEK, datetime(first.year, first.month, first.day, tzinfo=UTC))
        if found["day"] is None:
            return cls(Grain.MONTH, datetime(year, int(found["month"]), 1, tzinfo=UTC))
        day = datetime(year, int(found["month"]), int(found["day"]), tzinfo=UTC)
        if found["hour"] is None:
            return cls(Grain.DAY, day)
        return cls(Grain.HOUR, day.replace(hour=int(found["hour"])))

    @classmethod
    def at(cls, moment: date | datetime, grain: Grain = Grain.DAY) -> DatePartition:
        """The partition that holds this moment; a datetime without a time zone is refused."""
        if not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone; write moment.replace(tzinfo=datetime.UTC)")
        return cls(grain, _floor(moment.astimezone(UTC), grain))

    @classmethod
    def range(cls, first: str | DatePartition, last: str | DatePartition) -> list[DatePartition]:
        """All from the first to the last, both included; they have one grain."""
        low = cls.parse(first) if isinstance(first, str) else first
        high = cls.parse(last) if isinstance(last, str) else last
        if low.grain is not high.grain:
            raise ValueError(f"{low} is one {low.grain.value} and {high} one {high.grain.value}")
        return list(_between(low, high))

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return _shift(self.start, self.grain, 1)

    @property
    def day(self) -> date:
        """The day that it begins with."""
        return self.start.date()

    def next(self) -> DatePartition:
        return DatePartition(self.grain, self.end)

    def previous(self) -> DatePartition:
        return DatePartition(self.grain, _shift(self.start, self.grain, -1))

    def __str__(self) -> str:
        match self.grain:
            case Grain.HOUR:
                return f"{self.start:%Y-%m-%dT%H}".zfill(13)
            case Grain.DAY:
                return self.start.date().isoformat()
            case Grain.WEEK:
                year, week, _ = self.start.isocalendar()
                return f"{year:04}-W{week:02}"
            case Grain.MONTH:
                return self.start.date().isoformat()[:7]

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, DatePartition):
            return NotImplemented
        return (self.start, self.end) < (other.start, other.end)


def _between(low: DatePartition, high: DatePartition) -> Iterator[DatePartition]:
    count = 0
    while low <= high:
        count += 1
        if count > MAX_PARTITIONS:
            raise ValueError(f"there are more than {MAX_PARTITIONS:,} partitions between them")
        yield low
        low = low.next()


def _floor(moment: datetime, grain: Grain) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if grain is Grain.HOUR:
        return hour
    day = hour.replace(hour=0)
    if grain is Grain.DAY:
        return day
    if grain is Grain.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1)


def _shift(start: datetime, grain: Grain, by: int) -> datetime:
    try:
        if grain is Grain.MONTH:
            months = start.year * 12 + start.month - 1 + by
            return start.replace(year=months // 12, month=months % 12 + 1)
        step = {Grain.HOUR: timedelta(hours=1), Grain.DAY: timedelta(days=1), Grain.WEEK: timedelta(weeks=1)}[grain]
        return start + step * by
    except (OverflowError, ValueError):
        raise ValueError("there is no partition before the year 1 or after the year 9999") from None
