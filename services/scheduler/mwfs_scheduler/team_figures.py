"""How each team stands, for Prometheus: what it uses, was promised, borrows and lends, what waits, and what preemption took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mwfs_scheduler.fair_share.teams import Team
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Notice

#: Of more teams only those that have most are shown: each is a set of series for whoever keeps them.
MAX_TEAMS: Final = 200

_Row = tuple[list[str], float]
#: What of what is measured how, per team and resource.
_GAUGES: Final = {
    "usage": "What the team and all below it use",
    "guaranteed": "What the team is promised, as it counts on the cluster as it is",
    "borrowed": "What the team uses above what it is promised",
    "lent": "What the team is promised and does not use, and those beside it do",
}
_UNITS: Final = "(thousandths of a core, bytes, GPUs)."


class TeamFigures(Collector):
    """`look` is called by the event loop, `collect` by the thread of the metrics page: they share lists that nobody changes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._amounts: dict[str, list[_Row]] = {name: [] for name in _GAUGES}
        self._waiting: list[_Row] = []
        self._left_out = 0
        self._preempted: Counter[str] = Counter()
        self._lost: Counter[tuple[str, str]] = Counter()
        self._shown_preempted: list[_Row] = []
        self._shown_lost: list[_Row] = []
        registry.register(self)

    def told(self, notices: Iterable[Notice], ledger: Ledger) -> None:
        """These were told to make room. What they did since they started counts as lost: what they keep is not known here."""
        names, now = ledger.resources.names, ledger.cluster.now
        for notice in notices:
            grant = notice.holding.grant
            self._preempted[notice.holding.team] += notice.count
            for resource, amount in grant.request.total:
                seconds = amount * notice.count * int(now - grant.start)
                self._lost[notice.holding.team, names[resource]] += seconds

    def look(self, ledger: Ledger) -> None:
        """Note how the teams stand now."""
        cluster, names = ledger.cluster, ledger.resources.names
        waiting = _with_those_below(ledger.waiting_by_team, cluster.teams.values())
        ranked = sorted(
            cluster.teams.values(),
            key=lambda team: (-team.share_of(team.usage, total=True), -waiting[team.id], team.id),
        )
        shown = ranked[:MAX_TEAMS]
        amounts: dict[str, list[_Row]] = {name: [] for name in _GAUGES}
        lent = _lent(cluster.tops, cluster.hosts.pools)
        for team in shown:
            for resource, name in enumerate(names):
                used, promised = team.usage[resource], team.guaranteed[resource]
                if used or promised:
                    labels = [team.id, name]
                    amounts["usage"].append((labels, used))
                    amounts["guaranteed"].append((labels, promised))
                    amounts["borrowed"].append((labels, max(0, used - promised)))
                    amounts["lent"].append((labels, lent[team][resource]))
        self._amounts = amounts
        self._waiting = [([team.id], waiting[team.id]) for team in shown]
        self._left_out = len(ranked) - len(shown)
        most = [team for team, _ in self._preempted.most_common(MAX_TEAMS)]
        self._shown_preempted = [([team], self._preempted[team]) for team in most]
        self._shown_lost = [([team, name], lost) for (team, name), lost in self._lost.items() if team in set(most)]

    def collect(self) -> Iterable[Metric]:
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"mwfs_scheduler_team_{name}", f"{text} {_UNITS}", labels=["team", "resource"])
            yield _filled(gauge, self._amounts[name])
        waiting = GaugeMetricFamily(
            "mwfs_scheduler_team_waiting_nodes", "Nodes of the team and all below it that wait.", labels=["team"]
        )
        yield _filled(waiting, self._waiting)
        yield GaugeMetricFamily("mwfs_scheduler_teams_left_out", "Teams that are not shown.", value=self._left_out)
        preempted = CounterMetricFamily(
            "mwfs_scheduler_team_preempted_nodes", "Nodes of the team that were told to make room.", labels=["team"]
        )
        yield _filled(preempted, self._shown_preempted)
        lost = CounterMetricFamily(
            "mwfs_scheduler_team_lost_resource_seconds",
            "What nodes had used when they were told to make room, in seconds of the resource; checkpoints not taken off.",
            labels=["team", "resource"],
        )
        yield _filled(lost, self._shown_lost)


def _filled(metric: GaugeMetricFamily | CounterMetricFamily, rows: Sequence[_Row]) -> Metric:
    for labels, value in rows:
        metric.add_metric(labels, value)
    return metric


def _with_those_below(own: Counter[str], teams: Iterable[Team]) -> Counter[str]:
    total: Counter[str] = Counter()
    for team in teams:
        if nodes := own[team.id]:
            for above in team.path:
                total[above.id] += nodes
    return total


def _lent(beside: Sequence[Team], has: Sequence[int]) -> dict[Team, list[int]]:
    """What is borrowed among teams that stand beside each other, beyond what is promised to none of them, by who lends it."""
    lent = {team: [0] * len(has) for team in beside}
    for resource, all_ in enumerate(has):
        unused = {team: max(0, team.guaranteed[resource] - team.usage[resource]) for team in beside}
        total = sum(unused.values())
        borrowed = sum(max(0, team.usage[resource] - team.guaranteed[resource]) for team in beside)
        spare = max(0, all_ - sum(team.guaranteed[resource] for team in beside))
        if total and borrowed > spare:
            for team, amount in unused.items():
                lent[team][resource] = amount * min(total, borrowed - spare) // total
    for team in beside:
        if team.children:
            lent |= _lent(team.children, team.guaranteed)
    return lent
