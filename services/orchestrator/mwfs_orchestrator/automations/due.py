"""Which occasions of a schedule are to be started now, and which were missed. (pure)"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mwfs_api.orchestrator.v1 import automations_pb2 as pb

#: An occasion that is later than this was missed: the platform was away.
GRACE_US: Final = 60_000_000
#: Occasions that are started at once; of those that go beyond, with `all`, the rest follows at the next look.
MAX_AT_ONCE: Final = 200
#: Missed occasions that are counted one by one before the count gives up and says "at least".
_MAX_COUNTED: Final = 1_000
_HOUR_US: Final = 3_600_000_000
#: How far back the last missed occasion is looked for, step by step: an hour, a day, a month, a year, the 50 years of `Cron.after`.
_WINDOWS_US: Final = (_HOUR_US, 24 * _HOUR_US, 31 * 24 * _HOUR_US, 366 * 24 * _HOUR_US, 50 * 366 * 24 * _HOUR_US)

#: The first moment after one, or None.
After = Callable[[int], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a look at a schedule gives."""

    #: Moments to start a run for, oldest first.
    fire: list[int]
    #: How many were left out; at least so many when it is large.
    skipped: int
    #: The first moment that is not dealt with; None: there is none any more.
    next_us: int | None


def due(after: After, next_us: int, now_us: int, catch_up: pb.CatchUp.ValueType) -> Due:
    """Deals with the moments from `next_us` (itself one) up to now.

    Those of the last minute fire. Of the missed ones before: all, only the last (unless one of the last minute fires), or none.
    """
    if catch_up == pb.CATCH_UP_ALL:
        fire, rest = _up_to(after, next_us, now_us, MAX_AT_ONCE)
        return Due(fire=fire, skipped=0, next_us=rest)
    # `next_us` itself may be within the last minute.
    on_time_from = next_us if next_us > now_us - GRACE_US else after(max(now_us - GRACE_US, next_us))
    skipped, last = _missed(after, next_us, now_us - GRACE_US)
    if on_time_from is None:
        fire, rest = [], None
    else:
        fire, rest = _up_to(after, on_time_from, now_us, MAX_AT_ONCE)
    if catch_up != pb.CATCH_UP_NONE and last is not None and not fire:
        fire, skipped = [last], skipped - 1
    return Due(fire=fire, skipped=skipped, next_us=rest)


def _up_to(after: After, first: int, now_us: int, limit: int) -> tuple[list[int], int | None]:
    """Moments from the first up to now, and the one after them."""
    found: list[int] = []
    moment: int | None = first
    while moment is not None and moment <= now_us and len(found) < limit:
        found.append(moment)
        moment = after(moment)
    return found, moment


def _missed(after: After, first: int, until_us: int) -> tuple[int, int | None]:
    """How many moments lie between, both ends included, and the last of them."""
    if first > until_us:
        return 0, None
    found, rest = _up_to(after, first, until_us, _MAX_COUNTED)
    if rest is None or rest > until_us:
        return len(found), found[-1]
    for window in _WINDOWS_US:
        moment = after(max(until_us - window, first))
        if moment is not None and moment <= until_us:
            while (later := after(moment)) is not None and later <= until_us:
                moment = later
            return len(found), moment
    return len(found), found[-1]
