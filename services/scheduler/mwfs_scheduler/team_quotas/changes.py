"""What a change makes of the tree of teams, and what is different then. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mwfs_scheduler.quotas import BadQuotas, Quotas, TeamQuota, check, check_name

MAX_REASON: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Of one team: what it had, and what it has then; None is no quota."""

    team: str
    old: TeamQuota | None
    new: TeamQuota | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One change as the history has it."""

    version: int
    time: datetime
    principal: str
    reason: str
    changes: tuple[Change, ...]


def changed(quotas: Quotas, set_: Iterable[TeamQuota], removed: Iterable[str]) -> Quotas:
    """The tree after a change, as the next version. Raises BadQuotas when that would be no tree."""
    teams = {quota.team: quota for quota in quotas.teams}
    named: set[str] = set()
    for name in removed:
        check_name(name)
        if name not in teams:
            raise BadQuotas(f"Team {name!r} has no quota that could be removed.", "Read the quotas again.")
        _once(name, named)
        del teams[name]
    for quota in set_:
        _once(quota.team, named)
        teams[quota.team] = quota
    result = Quotas(version=quotas.version + 1, teams=tuple(teams[name] for name in sorted(teams)))
    check(result)
    return result


def _once(team: str, named: set[str]) -> None:
    if team in named:
        raise BadQuotas(f"Team {team!r} is there twice.", "Name each team once.")
    named.add(team)


def differences(old: Quotas, new: Quotas) -> tuple[Change, ...]:
    """What is different, by team. An amount that is written in another way is no difference."""
    before = {quota.team: quota for quota in old.teams}
    after = {quota.team: quota for quota in new.teams}
    return tuple(
        Change(team=team, old=before.get(team), new=after.get(team))
        for team in sorted(before.keys() | after.keys())
        if _meaning(before.get(team)) != _meaning(after.get(team))
    )


def _meaning(quota: TeamQuota | None) -> object:
    if quota is None:
        return None
    return quota.parent, quota.weight, _amounts(quota.guaranteed), quota.burst or {}


def _amounts(guaranteed: Mapping[str, int] | None) -> object:
    """Of a guarantee, where 0 says no more than nothing; None says something else."""
    return None if guaranteed is None else {name: amount for name, amount in guaranteed.items() if amount}
