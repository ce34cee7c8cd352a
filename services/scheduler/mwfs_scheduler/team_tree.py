"""The teams of the decision engine: those that have quotas, and those that turn up without."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.quotas import Quotas, parents_first
from mwfs_scheduler.resources import GPU, Resources

#: A team without a quota is forgotten when it has nothing, and its past use is less than this part of the cluster.
_FORGOTTEN = 1000


class TeamTree:
    """Keeps the teams of a cluster as the quotas say. A team without a quota stands alone, has weight 1, and neither guarantee nor limit."""

    def __init__(self, quotas: Quotas, cluster: Cluster, resources: Resources) -> None:
        self._cluster = cluster
        self._resources = resources
        self.quotas = quotas
        self._ordered = parents_first(quotas.teams)
        for quota in self._ordered:
            parent = cluster.teams[quota.parent] if quota.parent is not None else None
            cluster.add_team(Team(quota.team, parent, quota.weight, len(resources.names)))
        self._governed = frozenset(quota.team for quota in quotas.teams)
        #: Teams that stand alone and may have nothing any more.
        self._alone: dict[str, Team] = {}

    def governs(self, team: str) -> bool:
        """Whether the team has a quota."""
        return team in self._governed

    def same_shape(self, quotas: Quotas) -> bool:
        """Whether these quotas differ in amounts only."""
        return {(each.team, each.parent) for each in quotas.teams} == {
            (each.team, each.parent) for each in self._ordered
        }

    def write(self, quotas: Quotas) -> None:
        """Give each team its amounts. The shape must be the same; the cluster must be settled next, which scales what exceeds it."""
        self.quotas = quotas
        self._ordered = parents_first(quotas.teams)
        for quota in reversed(self._ordered):
            team = self._cluster.teams[quota.team]
            team.weight = quota.weight
            team.burst = self._resources.amounts(quota.burst or {})
            if quota.guaranteed is not None:
                team.guaranteed = [amount or 0 for amount in self._resources.amounts(quota.guaranteed)]
                # A GPU of a type is a GPU.
                team.guaranteed[GPU] = max(
                    team.guaranteed[GPU], sum(team.guaranteed[at] for at in self._resources.types)
                )
            else:
                team.guaranteed = [
                    sum(child.guaranteed[at] for child in team.children) for at in range(len(self._resources.names))
                ]

    def team(self, name: str) -> Team:
        """The team of that name; made when it is new."""
        team = self._cluster.teams.get(name)
        if team is None:
            team = self._alone[name] = Team(name, None, Fraction(1), len(self._resources.names))
            self._cluster.add_team(team)
        return team

    def forget_idle(self) -> None:
        """Let go of teams without a quota that have nothing, and had little."""
        pools = self._cluster.hosts.pools
        for name, team in list(self._alone.items()):
            if not (team.lines or team.promised or any(team.usage) or _much(team.past or (), pools)):
                del self._alone[name]
                self._cluster.remove_team(team)


def _much(past: Sequence[int], pools: Sequence[int]) -> bool:
    return any(used * _FORGOTTEN > pool for used, pool in zip(past, pools, strict=False) if used)
