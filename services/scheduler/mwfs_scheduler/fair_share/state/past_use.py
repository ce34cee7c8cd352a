"""The decaying memory of what teams have used, which counts in whose turn it is (C4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mwfs_scheduler.fair_share.model import Time
from mwfs_scheduler.fair_share.state.teams import Team

#: The memory is kept in units smaller by so much: what is forgotten in a moment is little.
MEMORY_BITS: Final = 32


def remember(team: Team, used: Sequence[int]) -> None:
    """The team itself has used this much, by the decayed memory."""
    for each in team.path:
        each.past = [kept + more for kept, more in zip(each.past or [0] * len(used), used, strict=True)]
        each.memory = [amount << MEMORY_BITS for amount in each.past]
        each.state += 1


def decay(teams: Iterable[Team], seconds: Time, half_life: Time) -> None:
    """In so much time the memory has moved towards what is used now."""
    kept, whole = (0.5 ** float(seconds / half_life)).as_integer_ratio()
    for team in teams:
        if team.past is None and not any(team.usage):
            continue
        usage = [used << MEMORY_BITS for used in team.usage]
        memory = team.memory or [0] * len(usage)
        if memory != usage:
            memory = [used + (each - used) * kept // whole for each, used in zip(memory, usage, strict=True)]
        team.state += 1
        team.memory = memory if any(memory) else None
        team.past = None if team.memory is None else [amount >> MEMORY_BITS for amount in memory]
