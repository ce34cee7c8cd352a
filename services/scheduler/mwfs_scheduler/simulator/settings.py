"""`NAME[:setting=value,…]`: one policy of a simulation, and the settings in which it differs from the usual."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from mwfs_scheduler.fair_share.model import Knobs

POLICIES: Final = {
    "fifo": "strict FIFO: who came first starts first, and nobody passes",
    "fifo-skip": "FIFO; who does not fit is passed by",
    "easy": "FIFO with EASY backfill: nobody may delay the first that is blocked",
    "static": "each team has hosts of its own, of the size of its guarantee",
    "drf": "the lowest dominant share goes first; no guarantees, nobody is evicted",
    "ours": "the contract, with the knobs of a running service",
}
DURATIONS: Final = {
    "known": "as the trace has them",
    "limits": "the next of 10 min, 1 h, 6 h, 1 d, 7 d, 60 d, as a time limit would say",
    "unknown": "nothing is known",
}
LIMITS_S: Final = (600, 3600, 21_600, 86_400, 604_800, 5_184_000)

#: What a running service starts with (C11).
RUNNING: Final = Knobs(backfill="easy", half_life_s=3600, grace_s=30, rank=True)
#: Plain DRF in the same engine.
PLAIN: Final = Knobs(share_basis="total")

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "reclaim_priority": ("any", "lower_or_equal", "lower"),
    "share_basis": ("borrowed", "total"),
    "backfill": ("none", "easy"),
    "durations": tuple(DURATIONS),
}
_FLAGS: Final = ("fair_preemption", "rank")
_SECONDS: Final = ("grace_s", "min_runtime_s", "aging_bound_s", "half_life_s", "splitter_s")
_NEEDED: Final = ("grace_s", "min_runtime_s", "splitter_s")
_MOST: Final = 10**9
_KNOBS: Final = {each.name for each in fields(Knobs)}


class BadSetting(ValueError):
    """Which setting, what was expected and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One policy of a simulation."""

    name: str
    policy: str
    knobs: Knobs = field(default=RUNNING)
    durations: str = "limits"
    #: Into so many pools, each with an engine of its own; a splitter shares out the guarantees every so often.
    shards: int = 1
    splitter_s: int = 300


def read(text: str, *, shared: Iterable[str] = (), durations: str = "limits") -> Setting:
    """`ours`, or `ours:grace_s=0,backfill=none`. `shared` settings hold for `ours` unless it has its own."""
    policy, _, own = text.partition(":")
    if policy not in POLICIES:
        raise BadSetting(f"There is no policy {policy!r}; there are {', '.join(POLICIES)}.")
    setting = Setting(name=text, policy=policy, knobs=PLAIN if policy == "drf" else RUNNING, durations=durations)
    given = [*(shared if policy == "ours" else ()), *(own.split(",") if own else ())]
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise BadSetting(f"{each!r} must be a setting and its value, such as grace_s=30.")
        setting = _with(setting, key.strip(), value.strip())
    if setting.shards > 1 and setting.policy not in ("ours", "drf"):
        raise BadSetting(f"{text}: only ours and drf can run in shards.")
    return setting


def _with(setting: Setting, key: str, value: str) -> Setting:
    if key == "durations" or key in ("shards", "splitter_s"):
        return replace(setting, **{key: _value(key, value)})
    if key not in _KNOBS:
        known = ", ".join(sorted(_KNOBS | {"durations", "shards", "splitter_s"}))
        raise BadSetting(f"There is no setting {key!r}; there are {known}.")
    if setting.policy not in ("ours", "drf"):
        raise BadSetting(f"{setting.policy} has no knob {key}; only ours and drf have knobs.")
    return replace(setting, knobs=replace(setting.knobs, **{key: _value(key, value)}))


def _value(key: str, value: str) -> Any:
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise BadSetting(f"{key} must be one of {', '.join(_CHOICES[key])}; found {value!r}.")
        return value
    if key in _FLAGS:
        if value not in ("true", "false", "on", "off"):
            raise BadSetting(f"{key} must be on or off; found {value!r}.")
        return value in ("true", "on")
    if value == "none" and key not in _NEEDED and key != "shards":
        return None
    least = 1 if key in ("half_life_s", "splitter_s", "shards") else 0
    if not value.isascii() or not value.isdecimal() or not least <= int(value[:20]) <= _MOST:
        kind = "whole seconds" if key in _SECONDS else "a whole number"
        raise BadSetting(f"{key} must be {kind} from {least:,} to {_MOST:,}; found {value!r}.")
    return int(value)


def estimate(durations: str, remaining: int) -> int | None:
    """What the policy is told of how long a job will run."""
    if durations == "known":
        return remaining
    if durations == "unknown":
        return None
    return next((limit for limit in LIMITS_S if remaining <= limit), LIMITS_S[-1])
