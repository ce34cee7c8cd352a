"""What the scheduler is told through its environment, beside what every service is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.settings import optional
from mwfs_scheduler.fair_share.model import Knobs

#: What holds for a running service that is told nothing.
RUNNING: Final = Knobs(backfill="easy", half_life_s=3600, grace_s=30, rank=True)
#: Longer than anything sensible, and short enough for every sum of times.
_MAX_S: Final = 10**9

_T = TypeVar("_T")


def knobs_from_env() -> Knobs:
    """Reads MWFS_SCHEDULER_ and the name of a knob, such as MWFS_SCHEDULER_GRACE_S; `none` where a knob can be off."""
    return Knobs(
        reclaim_priority=_knob("reclaim_priority", _one_of("any", "lower_or_equal", "lower")),
        fair_preemption=_knob("fair_preemption", _flag),
        share_basis=_knob("share_basis", _one_of("borrowed", "total")),
        grace_s=_knob("grace_s", _whole(0)),
        min_runtime_s=_knob("min_runtime_s", _whole(0)),
        max_preemptions_per_job=_knob("max_preemptions_per_job", _or_none(_whole(0))),
        rank=_knob("rank", _flag),
        backfill=_knob("backfill", _one_of("none", "easy")),
        aging_bound_s=_knob("aging_bound_s", _or_none(_whole(0))),
        half_life_s=_knob("half_life_s", _or_none(_whole(1))),
    )


def _knob(name: str, read: Callable[[str], _T]) -> _T:
    variable = f"MWFS_SCHEDULER_{name.upper()}"
    text = optional(variable, "")
    if not text:
        default: _T = getattr(RUNNING, name)
        return default
    try:
        return read(text)
    except ValueError as error:
        raise FailedPrecondition(
            f"{variable} must be {error}; found {text!r}.", "Correct it, or leave it out."
        ) from None


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def _flag(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("on or off")
    return text == "on"


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 10 or not least <= int(text) <= _MAX_S:
            raise ValueError(f"a whole number from {least} to {_MAX_S:,}")
        return int(text)

    return read


def _or_none(read: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: None if text == "none" else read(text)
