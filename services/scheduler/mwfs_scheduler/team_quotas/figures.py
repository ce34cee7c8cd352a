"""What quotas come to on the cluster as it is: what guarantees count, and what teams use with all below them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mwfs_scheduler.quotas import Quotas, TeamQuota, parents_first
from mwfs_scheduler.team_quotas.amounts import listed, shown
from mwfs_scheduler.team_quotas.changes import Change
from mwfs_types.resource_names import is_name

MAX_NOTES: Final = 20

#: By resource, in the units of the engine.
Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the engine knows at one moment."""

    #: Of all connected hosts together; a resource that is absent: none.
    capacity: Amounts = field(default_factory=dict)
    #: By team: what its own work holds, and how many of its nodes wait, without the teams below it.
    held: Mapping[str, Amounts] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)


class Figures:
    """Quotas and load taken together."""

    def __init__(self, quotas: Quotas, load: Load) -> None:
        self.quotas = {quota.team: quota for quota in quotas.teams}
        self._load = load
        self._above_first = parents_first(quotas.teams)
        #: What is guaranteed, by team, as it is written; of a parent that is not governed the sum of those below.
        self.promised = self._promised()
        self._promised_below: dict[str | None, dict[str, int]] = {}
        for quota in quotas.teams:
            _add(self._promised_below.setdefault(quota.parent, {}), self.promised[quota.team])
        #: By resource: (what the teams without a parent are promised together, what there is), where that is less.
        self.scaled = self._scaled()
        self.in_use = self._with_those_below(load.held)
        self.waiting = {
            team: amounts["nodes"]
            for team, amounts in self._with_those_below(
                {team: {"nodes": nodes} for team, nodes in load.waiting.items()}
            ).items()
        }

    @property
    def teams(self) -> list[str]:
        """All that have a quota, hold something or wait for something."""
        return sorted({*self.quotas, *self.in_use, *self.waiting})

    def counted(self, team: str) -> dict[str, int]:
        """What the guarantee of the team counts now."""
        counted = dict(self.promised.get(team, {}))
        for resource, (promised, pool) in self.scaled.items():
            if resource in counted:
                counted[resource] = counted[resource] * pool // promised
        return counted

    def notes(self) -> list[str]:
        """What in the quotas does not count as it is written."""
        if not self._load.capacity:
            return ["No host is connected: no guarantee counts at present."] if self.scaled else []
        return [
            f"Guarantees of {resource} add up to {shown(resource, promised)} and the cluster has {shown(resource, pool)}: "
            f"each counts {100 * pool / promised:.3g} % of what is written."
            for resource, (promised, pool) in sorted(self.scaled.items())
        ]

    def notes_on(self, changes: Iterable[Change]) -> list[str]:
        """What of these changes is below what runs, or says less than it seems to."""
        notes = []
        for change in changes:
            notes += self._note_on_removal(change) if change.new is None else self._notes_on_quota(change.new)
        notes = list(dict.fromkeys(notes))
        more = len(notes) - MAX_NOTES
        return notes if more <= 0 else [*notes[:MAX_NOTES], f"There are {more:,} further notes like these."]

    def _notes_on_quota(self, quota: TeamQuota) -> list[str]:
        team, notes = quota.team, []
        in_use, burst, guaranteed = self.in_use.get(team, {}), quota.burst or {}, self.promised.get(team, {})
        over = {name: in_use[name] for name in burst if in_use.get(name, 0) > burst[name]}
        if over:
            limits = {name: burst[name] for name in over}
            notes.append(
                f"Team {team} uses {listed(over)}, above its burst limit of {listed(limits)}: what runs goes on, and nothing "
                "more of it starts until enough has ended."
            )
        counted = self.counted(team)
        borrowed = {name: used for name, used in in_use.items() if used > counted.get(name, 0)} if guaranteed else {}
        if borrowed:
            counts = {name: counted.get(name, 0) for name in borrowed}
            notes.append(
                f"Team {team} uses {listed(borrowed)} and is guaranteed {listed(counts)}: what runs goes on, and what is "
                "above the guarantee makes room when another team within its guarantee waits for it."
            )
        beyond = {name: guaranteed[name] for name in burst if guaranteed.get(name, 0) > burst[name]}
        if beyond:
            notes.append(
                f"The guarantee of team {team} of {listed(beyond)} is above its burst limit, and counts only up to that."
            )
        return notes + _note_on_cores(quota) + self._note_on_names(quota) + self._note_on_parent(quota)

    def _note_on_names(self, quota: TeamQuota) -> list[str]:
        """Of a guarantee that counts nothing there is a note for the whole tree."""
        nowhere = [name for name in sorted(quota.burst or ()) if is_name(name) and not self._load.capacity.get(name)]
        if not nowhere or not self._load.capacity:
            return []
        return [f"No host offers {' or '.join(nowhere)}, which team {quota.team} is limited in: mind the spelling."]

    def _note_on_parent(self, quota: TeamQuota) -> list[str]:
        above = self.quotas.get(quota.parent or "")
        if above is None or above.guaranteed is None or not quota.guaranteed:
            return []
        below = self._promised_below[above.team]
        more = {name: below[name] for name in quota.guaranteed if below[name] > above.guaranteed.get(name, 0)}
        if not more:
            return []
        has = {resource: above.guaranteed.get(resource, 0) for resource in more}
        return [
            f"The teams below {above.team} are guaranteed {listed(more)}, and {above.team} itself {listed(has)}: room of "
            f"teams elsewhere is taken back only up to that."
        ]

    def _note_on_removal(self, change: Change) -> list[str]:
        in_use = {name: used for name, used in self.in_use.get(change.team, {}).items() if used}
        if not in_use:
            return []
        return [
            f"Team {change.team} uses {listed(in_use)}: what runs goes on, and makes room when a team within its guarantee "
            "waits for it."
        ]

    def _promised(self) -> dict[str, dict[str, int]]:
        promised: dict[str, dict[str, int]] = {quota.team: {} for quota in self._above_first}
        for quota in reversed(self._above_first):
            if quota.guaranteed is not None:
                promised[quota.team] = dict(quota.guaranteed)
            if quota.parent is not None:
                above = self.quotas[quota.parent]
                if above.guaranteed is None:
                    _add(promised[above.team], promised[quota.team])
        return promised

    def _scaled(self) -> dict[str, tuple[int, int]]:
        total: dict[str, int] = {}
        for quota in self._above_first:
            if quota.parent is None:
                _add(total, self.promised[quota.team])
        pools = self._load.capacity
        return {name: (all_, pools.get(name, 0)) for name, all_ in total.items() if all_ > pools.get(name, 0)}

    def _with_those_below(self, own: Mapping[str, Amounts]) -> dict[str, dict[str, int]]:
        total = {team: dict(amounts) for team, amounts in own.items()}
        for quota in reversed(self._above_first):
            if quota.parent is not None and quota.team in total:
                _add(total.setdefault(quota.parent, {}), total[quota.team])
        return total


def _note_on_cores(quota: TeamQuota) -> list[str]:
    """A team takes room back only within its guarantee of all that a node asks for, and each node asks for a part of a core."""
    guaranteed = {name: amount for name, amount in (quota.guaranteed or {}).items() if amount}
    if not guaranteed or "cpu" in guaranteed:
        return []
    return [
        f"Team {quota.team} is guaranteed {listed(guaranteed)} and no cores. Every node asks for some, so the team takes "
        "nothing back from others: add cpu=… to the guarantee, and memory=… when its nodes ask for that."
    ]


def _add(total: dict[str, int], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount
