"""What each team is promised, and what it may use at most: the tree of teams as the catalogue has it. Pure."""

# Amounts are whole numbers in the units of the engine. A tree that passes `check` can be given to the engine as it is.

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mwfs_chassis.errors import InvalidArgument
from mwfs_scheduler.resources import MAX_CUSTOM_NAMES
from mwfs_types import resource_names

MAX_TEAMS: Final = 10_000
MAX_DEPTH: Final = 32
#: Resources of one team, `gpu:TYPE` counted each.
MAX_RESOURCES: Final = 64
#: The most that is believed, per resource: a billion cores, an EiB, a million GPUs.
MAX_AMOUNT: Final[Mapping[str, int]] = {
    "cpu": 10**12,
    "memory": 1 << 60,
    "gpu": 10**6,
    "custom": resource_names.MAX_AMOUNT,
}
MAX_WEIGHT: Final = 10**6
#: Weights are decimals with at most six places.
WEIGHT_PARTS: Final = 10**6
#: As for the team that a call is made for.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+\\-]{0,127}")
_GPU_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class BadQuotas(InvalidArgument):
    """A team or an amount that cannot be: which, and what would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamQuota:
    """A team's place in the tree, and its amounts by resource: `cpu` in thousandths of a core, `memory` in bytes, `gpu`, `gpu:TYPE`, custom ones in whole units."""

    team: str
    parent: str | None = None
    weight: Fraction = Fraction(1)
    #: None: not governed, which is 0 for a team without teams below it and their sum for others. A resource that is absent: 0.
    guaranteed: Mapping[str, int] | None = None
    #: None, or a resource that is absent: no limit but the cluster.
    burst: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The tree of teams. A team that is not in it has no parent, weight 1, no guarantee and no limit."""

    #: Each change makes the next one; 0 is the empty tree that all begins with.
    version: int = 0
    #: By name.
    teams: tuple[TeamQuota, ...] = ()


def check(quotas: Quotas) -> None:
    """Raises BadQuotas when a team is wrong by itself, or the teams do not make a tree.

    Guarantees of children above that of their parent are allowed, as in snapshot files: work of others is asked to leave only by a
    branch that is itself within its guarantee, so a child is promised no more than its parent. So are guarantees above the burst
    limit, which count up to it, and guarantees above the cluster, which are scaled.
    """
    if len(quotas.teams) > MAX_TEAMS:
        raise BadQuotas(
            f"There can be {MAX_TEAMS:,} teams with quotas; found {len(quotas.teams):,}.",
            "Leave out those without a quota of their own: they need no entry.",
        )
    by_name: dict[str, TeamQuota] = {}
    custom: set[str] = set()
    for quota in quotas.teams:
        check_team(quota)
        if quota.team in by_name:
            raise BadQuotas(f"Team {quota.team!r} is there twice.", "Name each team once.")
        by_name[quota.team] = quota
        custom.update(filter(resource_names.is_name, (*(quota.guaranteed or ()), *(quota.burst or ()))))
    if len(custom) > MAX_CUSTOM_NAMES:
        raise BadQuotas(
            f"Quotas can name {MAX_CUSTOM_NAMES} custom resources in all; found {len(custom)}.",
            "Leave out those that no host offers.",
        )
    _check_tree(by_name)


def check_team(quota: TeamQuota) -> None:
    """Raises BadQuotas when something is wrong with the team whatever the others are."""
    check_name(quota.team)
    where = f"Team {quota.team!r}"
    if quota.parent is not None:
        check_name(quota.parent)
        if quota.parent == quota.team:
            raise BadQuotas(f"{where} is its own parent.", "Name another team, or none.")
    weight = quota.weight
    if not 0 < weight <= MAX_WEIGHT or WEIGHT_PARTS % weight.denominator:
        raise BadQuotas(
            f"{where}: a weight is above 0, at most {MAX_WEIGHT:,}, and has at most six decimal places; found {shown_weight(weight)}.",
            "A weight of 2 gives twice the share of a weight of 1.",
        )
    for what, amounts in (("guarantee", quota.guaranteed), ("burst limit", quota.burst)):
        if amounts is not None:
            _check_amounts(amounts, f"{where}, {what}")


def check_name(team: str) -> None:
    """Raises BadQuotas when no team can have this name."""
    if not _NAME.fullmatch(team):
        raise BadQuotas(
            f"{team[:80]!r} cannot be the name of a team.",
            "A name is made of letters, digits and . _ - @ + (at most 128, a letter or digit first).",
        )


def check_resource(resource: str) -> str:
    """The kind of the resource: cpu, memory, gpu or custom. Raises BadQuotas when there can be no such resource."""
    if resource_names.is_name(resource):
        return "custom"
    kind, colon, gpu_type = resource.partition(":")
    if kind not in ("cpu", "memory", "gpu") or (colon and (kind != "gpu" or not _GPU_TYPE.fullmatch(gpu_type))):
        raise BadQuotas(
            f"There is no resource {resource[:80]!r}.",
            "Resources are cpu, memory, gpu, gpu:TYPE such as gpu:h100, and what hosts offer under a name of its own: "
            f"{resource_names.NAME_RULE}.",
        )
    return kind


def _check_amounts(amounts: Mapping[str, int], where: str) -> None:
    if len(amounts) > MAX_RESOURCES:
        raise BadQuotas(
            f"{where}: at most {MAX_RESOURCES} resources; found {len(amounts)}.", "Leave out those that nobody uses."
        )
    for resource, amount in amounts.items():
        most = MAX_AMOUNT[check_resource(resource)]
        if type(amount) is not int:
            raise BadQuotas(
                f"{where}: the amount of {resource} must be a whole number of its unit; found {amount!r}.",
                "Units are thousandths of a core, bytes, GPUs, and whole ones of all else.",
            )
        if not 0 <= amount <= most:
            raise BadQuotas(
                f"{where}: the amount of {resource} must be between 0 and {most:,}; found {amount:,}.",
                "Leave the resource out of a burst limit to have none.",
            )


def _check_tree(by_name: Mapping[str, TeamQuota]) -> None:
    depths: dict[str, int] = {}
    for name in by_name:
        chain: dict[str, None] = {}
        at: str | None = name
        while at is not None and at not in depths:
            if at in chain:
                names = list(chain)
                circle = " → ".join([*names[names.index(at) :], at])
                raise BadQuotas(f"The teams form a circle: {circle}.", "Give one of them another parent, or none.")
            if at not in by_name:
                raise BadQuotas(
                    f"Team {next(reversed(chain))!r} has the parent {at!r}, which is not there.", "Add that team first."
                )
            chain[at] = None
            at = by_name[at].parent
        depth = 0 if at is None else depths[at]
        for each in reversed(chain):
            depth += 1
            depths[each] = depth
        if depth > MAX_DEPTH:
            raise BadQuotas(f"Team {name!r} stands more than {MAX_DEPTH} levels deep.", "Use fewer levels.")


def parents_first(teams: Iterable[TeamQuota]) -> list[TeamQuota]:
    """In an order in which no team comes before its parent; the teams must make a tree."""
    below: dict[str | None, list[TeamQuota]] = {}
    for quota in sorted(teams, key=lambda quota: quota.team):
        below.setdefault(quota.parent, []).append(quota)
    ordered = list(below.get(None, ()))
    for quota in ordered:  # grows while it is walked
        ordered.extend(below.get(quota.team, ()))
    return ordered


def shown_weight(weight: Fraction) -> str:
    """`2`, or `0.5`."""
    return str(weight.numerator) if weight.denominator == 1 else f"{float(weight):.12g}"
