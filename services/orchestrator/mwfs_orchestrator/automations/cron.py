"""Cron expressions in a time zone: which moments they mean. (pure)"""

import re
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from mwfs_chassis.errors import InvalidArgument

_MAX_CRON: Final = 120
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+\-/]{0,63}", re.ASCII)
_SECOND_US: Final = 1_000_000


class Cron:
    """The moments of one expression. Raises InvalidArgument for one that is malformed, or for an unknown time zone."""

    def __init__(self, expression: str, time_zone: str = "") -> None:
        self.zone = zone_of(time_zone)
        self._expression = expression
        if len(expression) > _MAX_CRON or len(expression.split()) != 5 or not expression.isascii():
            raise _bad(expression, "it does not have five fields")
        try:
            CronSim(expression, datetime(2026, 1, 1, tzinfo=self.zone))
        except (CronSimError, ValueError, AssertionError) as error:
            raise _bad(expression, str(error).lower() or "a field is malformed") from None

    def after(self, moment_us: int) -> int | None:
        """The first moment after this one, in microseconds since 1970 UTC; None when there is none within 50 years."""
        start = datetime.fromtimestamp(moment_us // _SECOND_US, self.zone)
        for moment in CronSim(self._expression, start):
            found = int(moment.timestamp()) * _SECOND_US
            # In the hour that clocks repeat, the library begins with the first of the two.
            if found > moment_us:
                return found
        return None


def zone_of(name: str) -> tzinfo:
    """The time zone of this name of the tz database; UTC for an empty one. Raises InvalidArgument."""
    if not name:
        return UTC
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # no such file, a folder of zones, a file that is none
        pass
    near = get_close_matches(name[:64], _zone_names(), n=1)
    raise InvalidArgument(
        f"There is no time zone {name[:64]!r}.",
        f"Did you mean {near[0]}?" if near else "Name one of the tz database, such as Europe/Berlin.",
    )


@lru_cache(maxsize=1)
def _zone_names() -> list[str]:
    return sorted(available_timezones())


def _bad(expression: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{expression[:_MAX_CRON]!r} is not a cron expression: {why}.",
        "Write minute, hour, day of month, month and day of week, such as '0 6 * * MON-FRI'.",
    )
