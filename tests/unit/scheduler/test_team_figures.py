"""What Prometheus is told of each team."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from unit.scheduler.ledgers import decided, demand, host, ledger_with, need, quota

from mwfs_scheduler import team_figures
from mwfs_scheduler.ledger import Ledger, Outcome
from mwfs_scheduler.team_figures import TeamMetrics

GPU = need(0.001, 0, 1)


class Page:
    def __init__(self, ledger: Ledger, *outcomes: Outcome) -> None:
        self.registry = CollectorRegistry()
        figures = TeamMetrics(self.registry)
        for outcome in outcomes:
            figures.told(outcome.notices)
            for notice in outcome.notices:
                figures.lost(notice.holding, notice.count * 3.5, ledger)
        figures.look(ledger)

    def of(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"mwfs_scheduler_{name}", labels)


def test_usage_guarantee_and_what_is_borrowed_and_lent() -> None:
    ledger = ledger_with(
        host(gpus=8), given=[quota("ads", guaranteed={"gpu": 4}), quota("feed", guaranteed={"gpu": 2}), quota("idle")]
    )
    demand(ledger, "a", 1, team="ads", need=GPU)
    demand(ledger, "f", 9, team="feed", need=GPU)
    decided(ledger)
    page = Page(ledger)
    assert page.of("team_usage", team="feed", resource="gpu") == 7
    assert page.of("team_guaranteed", team="feed", resource="gpu") == 2
    assert page.of("team_borrowed", team="feed", resource="gpu") == 5
    assert page.of("team_lent", team="ads", resource="gpu") == 3, "2 of the 5 were promised to nobody"
    assert page.of("team_waiting_nodes", team="feed") == 2
    assert page.of("team_waiting_nodes", team="idle") == 0
    assert page.of("team_usage", team="idle", resource="gpu") is None


def test_those_below_count_for_those_above() -> None:
    ledger = ledger_with(host(gpus=2), given=[quota("org", guaranteed={"gpu": 2}), quota("ads", "org")])
    demand(ledger, "a", 5, team="ads", need=GPU)
    decided(ledger)
    page = Page(ledger)
    assert page.of("team_waiting_nodes", team="org") == 3
    assert page.of("team_usage", team="org", resource="gpu") == 2


def test_what_preemption_took() -> None:
    ledger = ledger_with(host(gpus=2), given=[quota("ads", guaranteed={"cpu": 10, "gpu": 2})])
    demand(ledger, "f", 2, team="feed", need=GPU)
    decided(ledger)
    ledger.pass_time(50)
    demand(ledger, "a", 2, team="ads", need=GPU)
    outcome = decided(ledger)
    page = Page(ledger, outcome)
    assert page.of("team_preempted_nodes_total", team="feed") == 2
    assert page.of("team_lost_resource_seconds_total", team="feed", resource="gpu") == 7
    assert page.of("team_preempted_nodes_total", team="ads") is None


def test_the_number_of_teams_shown_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_figures, "MAX_TEAMS", 2)
    ledger = ledger_with(host(cpu=10))
    for number, nodes in enumerate((3, 1, 2, 1)):
        demand(ledger, f"g{number}", nodes, team=f"t{number}")
    decided(ledger)
    page = Page(ledger)
    shown = [page.of("team_usage", team=f"t{number}", resource="cpu") for number in range(4)]
    assert shown == [3000, None, 2000, None]
    assert page.of("teams_left_out") == 2


def test_waiting_is_counted_as_groups_come_and_go() -> None:
    ledger = ledger_with(host(cpu=2))
    demand(ledger, "g", 5)
    demand(ledger, "h", 4)
    decided(ledger)
    ledger.withdraw("r", "h")
    assert ledger.waiting_by_team["ads"] == ledger.nodes_waiting
    ledger.forget_groups("r")
    assert ledger.waiting_by_team["ads"] == 0
