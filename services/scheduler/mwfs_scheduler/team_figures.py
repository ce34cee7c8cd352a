"""How each team stands, for Prometheus and for those who watch: what it uses, was promised, borrows and lends, what waits, and what preemption took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Holding, Notice

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamFigures:
    """The figures of a team at one moment. Amounts are by resource, those that are not 0."""

    team: str
    usage: Mapping[str, int]
    guaranteed: Mapping[str, int]
    borrowed: Mapping[str, int]
    lent: Mapping[str, int]
    waiting_nodes: int
    #: Of the team itself, without those below.
    preempted_nodes: int
    #: In seconds of each resource.
    lost: Mapping[str, float]


class TeamMetrics(Collector):
    """`look` is called by the event loop, `collect` by the thread of the metrics page: they share lists that nobody changes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._amounts: dict[str, list[_Row]] = {name: [] for name in _GAUGES}
        self._waiting: list[_Row] = []
        self._left_out = 0
        self._preempted: Counter[str] = Counter()
        self._lost: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._shown_preempted: list[_Row] = []
        self._shown_lost: list[_Row] = []
        registry.register(self)

    def told(self, notices: Iterable[Notice]) -> None:
        """These were told to make room."""
        for notice in notices:
            self._preempted[notice.holding.team] += notice.count

    def lost(self, holding: Holding, seconds: float, ledger: Ledger) -> None:
        """So much of what it did was in vain: it came after the last checkpoint of what made room."""
        of_team = self._lost[holding.team]
        for resource, amount in holding.grant.request.total:
            of_team[ledger.resources.names[resource]] += amount * seconds

    def figures(self, ledger: Ledger, most: int | None = None) -> list[TeamFigures]:
        """How all teams stand now, or so many of them: those first that use most."""
        cluster = ledger.cluster
        waiting = _with_those_below(ledger.waiting_by_team, cluster.teams.values())
        lent = _lent(cluster.tops, cluster.hosts.pools)
        ranked = sorted(
            cluster.teams.values(),
            key=lambda team: (-team.share_of(team.usage, total=True), -waiting[team.id], team.id),
        )

        return [self._figures_of(team, lent[team], waiting[team.id], ledger) for team in ranked[:most]]

    def _figures_of(self, team: Team, lent: Sequence[int], waiting: int, ledger: Ledger) -> TeamFigures:
        names = ledger.resources.names

        def named(amounts: Sequence[int]) -> dict[str, int]:
            return {names[at]: amount for at, amount in enumerate(amounts) if amount}

        usage, guaranteed = named(team.usage), named(team.guaranteed)
        above = ((name, used - guaranteed.get(name, 0)) for name, used in usage.items())
        return TeamFigures(
            team=team.id,
            usage=usage,
            guaranteed=guaranteed,
            borrowed={name: amount for name, amount in above if amount > 0},
            lent=named(lent),
            waiting_nodes=waiting,
            preempted_nodes=self._preempted[team.id],
            lost=dict(self._lost.get(team.id, {})),
        )

    def look(self, ledger: Ledger) -> None:
        """Note for Prometheus how the teams stand now."""
        shown = self.figures(ledger, MAX_TEAMS)
        amounts: dict[str, list[_Row]] = {name: [] for name in _GAUGES}
        for one in shown:
            resources = sorted({*one.usage, *one.guaranteed})
            for figure, rows in amounts.items():
                of_figure: Mapping[str, int] = getattr(one, figure)
                rows += [([one.team, name], of_figure.get(name, 0)) for name in resources]
        self._amounts = amounts
        self._waiting = [([one.team], one.waiting_nodes) for one in shown]
        self._left_out = len(ledger.cluster.teams) - len(shown)
        most = [team for team, _ in self._preempted.most_common(MAX_TEAMS)]
        self._shown_preempted = [([team], self._preempted[team]) for team in most]
        self._shown_lost = [([team, name], lost) for team in most for name, lost in self._lost.get(team, {}).items()]

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
            "What nodes that made room had done since their last checkpoint, in seconds of the resource.",
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
