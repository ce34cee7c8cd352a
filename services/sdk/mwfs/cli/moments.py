"""Times as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mwfs.errors import InvalidInput

_AGO = re.compile(r"([0-9]{1,6})\s*(s|min|h|d|w)")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime | None = None) -> datetime:
    """A date, a date with a time (of this machine's zone unless it names one), or how long ago: 90min, 2h, 7d."""
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{text!r} is not a time.", "Write 2026-11-20, 2026-11-20T14:00, or how long ago: 90min, 2h, 7d."
        ) from None
