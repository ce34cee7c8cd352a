"""Protos to quotas and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from mwfs_api.scheduler.v1 import quotas_pb2 as pb
from mwfs_scheduler.quotas import BadQuotas, TeamQuota
from mwfs_scheduler.team_figures import TeamFigures
from mwfs_scheduler.team_quotas.changes import Change, Revision


def quota_from(message: pb.TeamQuota) -> TeamQuota:
    """Raises BadQuotas when the weight is not a number; what else may be wrong `check` knows."""
    weight = Fraction(1)
    if message.HasField("weight"):
        if not math.isfinite(message.weight):
            raise BadQuotas(
                f"Team {message.team[:80]!r}: the weight {message.weight} is not a number.", "Give a number above 0."
            )
        weight = Fraction(Decimal(repr(message.weight)))
    return TeamQuota(
        team=message.team,
        parent=message.parent or None,
        weight=weight,
        guaranteed=dict(message.guaranteed.amounts) if message.HasField("guaranteed") else None,
        burst=dict(message.burst.amounts) if message.HasField("burst") else None,
    )


def quota_to(quota: TeamQuota) -> pb.TeamQuota:
    return pb.TeamQuota(
        team=quota.team,
        parent=quota.parent or "",
        weight=float(quota.weight),
        guaranteed=None if quota.guaranteed is None else amounts_to(quota.guaranteed),
        burst=None if quota.burst is None else amounts_to(quota.burst),
    )


def amounts_to(amounts: Mapping[str, int]) -> pb.Amounts:
    return pb.Amounts(amounts=amounts)


def team_changed_to(figures: TeamFigures) -> pb.TeamChanged:
    return pb.TeamChanged(
        team=figures.team,
        usage=amounts_to(figures.usage),
        guaranteed=amounts_to(figures.guaranteed),
        borrowed=amounts_to(figures.borrowed),
        lent=amounts_to(figures.lent),
        waiting_nodes=figures.waiting_nodes,
        preempted_nodes=figures.preempted_nodes,
        lost_resource_seconds=figures.lost,
    )


def change_to(change: Change) -> pb.QuotaChange:
    return pb.QuotaChange(
        team=change.team,
        old=None if change.old is None else quota_to(change.old),
        new=None if change.new is None else quota_to(change.new),
    )


def revision_to(revision: Revision) -> pb.QuotaRevision:
    return pb.QuotaRevision(
        version=revision.version,
        change_time_us=round(revision.time.timestamp() * 1_000_000),
        principal=revision.principal,
        reason=revision.reason,
        changes=[change_to(change) for change in revision.changes],
    )
