"""What would be if something were different: told truly, and nothing of what is has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from mwfs_chassis.errors import InvalidArgument, NotFound, ResourceExhausted
from mwfs_scheduler.explain import explain_run
from mwfs_scheduler.fair_share.model import Reason
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Held, Inventory, Need, NewGroup
from mwfs_scheduler.quotas import BadQuotas, Quotas, TeamQuota
from mwfs_scheduler.what_if import imagine
from mwfs_scheduler.what_if.imagine import Answer, Question, answer, prepare

GIB = 1 << 30
ONE_GPU = Need(1000, GIB, 1, "")
HOST = Need(8000, 64 * GIB, 4, "a100")
ROOM = {"gpu": 2, "cpu": 8000, "memory": 64 * GIB}


def quotas(*teams: TeamQuota) -> Quotas:
    return Quotas(version=1, teams=teams)


def busy(tree: Quotas | None = None, *, need: Need = ONE_GPU, priority: int = 0, waiting: int = 1) -> Ledger:
    """Team ml holds all four GPUs of the one host; a node of team ads waits in run `run`."""
    ledger = Ledger(1, quotas=tree)
    ledger.offer(Inventory(host="h1", address="127.0.0.1:1", capacity=HOST))
    ledger.hello("r", [Held(grant_id=f"g{at}", host="h1", count=1, need=ONE_GPU, team="ml") for at in range(4)])
    ledger.describe("r", NewGroup(group_id="w", team="ads", run_id="run", need=need, priority=priority))
    ledger.demand("r", "w", waiting)
    ledger.decide()
    return ledger


def ask(ledger: Ledger, **question: Any) -> Answer:
    asked = Question(run_id="run", **question)
    now, make = prepare(ledger, asked)
    return answer(now, make, asked)


def facts(ledger: Ledger) -> object:
    """All that a ledger knows, by value."""
    cluster = ledger.cluster
    return (
        ledger.tree.quotas,
        tuple(ledger.resources.names),
        ledger.nodes_waiting,
        ledger.nodes_granted,
        sorted(
            (name, tuple(known.host.free), tuple(known.host.capacity), known.host.open)
            for name, known in ledger.hosts.items()
        ),
        sorted(
            (group.group_id, group.waiting, group.about, group.request.place)
            for groups in ledger.groups.values()
            for group in groups.values()
        ),
        sorted(
            (one.grant_id, one.count, one.grant.leaves_at is None)
            for each in ledger.holdings.values()
            for one in each.values()
        ),
        sorted(
            (team.id, tuple(team.usage), tuple(team.guaranteed), tuple(team.burst), team.weight)
            for team in cluster.teams.values()
        ),
        sorted(cluster.intents),
        sorted(cluster.grants),
        [(each.reason, each.message) for each in explain_run(ledger, "run")],
    )


def test_nothing_different_changes_nothing() -> None:
    [group] = ask(busy()).groups
    assert (group.starts, group.starts_later, group.victims) == (0, 0, [])
    assert group.then is not None
    assert group.then.reason is group.now.reason is Reason.WAITING_FOR_CAPACITY


def test_added_machines_let_it_start_there() -> None:
    [group] = ask(busy(waiting=3), hosts=((replace_gpus(1), 2),)).groups
    assert (group.starts, group.hosts) == (2, {"added-1", "added-2"})
    assert group.then is not None
    assert group.then.reason is Reason.WAITING_FOR_CAPACITY


def replace_gpus(gpus: int) -> Need:
    return HOST._replace(gpus=gpus)


def test_a_guarantee_makes_others_leave() -> None:
    found = ask(busy(), set_quotas=(TeamQuota(team="ads", guaranteed=ROOM),))
    [group] = found.groups
    assert (group.starts, group.starts_later) == (0, 1)
    [victim] = group.victims
    assert (victim.holding.team, victim.count, victim.holding.host) == ("ml", 1, "h1")
    assert group.then is None
    assert found.others_told_to_leave == 0


def test_another_size_or_type_may_fit() -> None:
    no_gpu, other_type = Need(1000, GIB, 0, ""), Need(1000, GIB, 1, "h100")
    [smaller] = ask(busy(), need=no_gpu).groups
    assert (smaller.starts, smaller.hosts) == (1, {"h1"})
    [typed] = ask(busy(), need=other_type).groups
    assert typed.then is not None
    assert (typed.then.reason, typed.then.permanent) == (Reason.NO_SUCH_TYPE, True)
    [large] = ask(busy(need=other_type), need=Need(100_000, 0, 0, "")).groups
    assert large.now.reason is Reason.NO_SUCH_TYPE
    assert large.then is not None
    assert large.then.reason is Reason.NO_NODE_LARGE_ENOUGH


def test_a_higher_priority_makes_lower_work_of_the_team_leave() -> None:
    ledger = Ledger(1)
    ledger.offer(Inventory(host="h1", address="127.0.0.1:1", capacity=HOST))
    ledger.hello("r", [Held(grant_id="g", host="h1", count=4, need=ONE_GPU, team="ads")])
    ledger.describe("r", NewGroup(group_id="w", team="ads", run_id="run", need=ONE_GPU))
    ledger.demand("r", "w", 1)
    ledger.decide()
    [group] = ask(ledger, priority=5).groups
    assert group.starts_later == 1
    assert [victim.holding.team for victim in group.victims] == ["ads"]


def test_a_burst_limit_that_is_raised_lets_it_start() -> None:
    tree = quotas(TeamQuota(team="ads", burst={"gpu": 0}))
    ledger = busy(tree)
    ledger.release("r", "g0", 1)
    ledger.decide()
    [group] = ask(ledger, set_quotas=(TeamQuota(team="ads", burst={"gpu": 1}),)).groups
    assert (group.now.reason, group.starts) == (Reason.EXCEEDS_BURST, 1)


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"hosts": ((HOST, 3),)},
        {"hosts": ((HOST._replace(gpu_type="b200"), 1),)},
        {"set_quotas": (TeamQuota(team="ads", guaranteed=ROOM, weight=Fraction(3)),)},
        {"set_quotas": (TeamQuota(team="org"), TeamQuota(team="ml", parent="org", burst={"gpu": 1, "gpu:h100": 1}))},
        {"removed_quotas": ("ml",)},
        {"priority": 9},
        {"need": Need(1, 1, 2, "h100")},
    ],
    ids=str,
)
def test_what_is_stays_as_it_is(question: dict[str, Any]) -> None:
    ledger = busy(quotas(TeamQuota(team="ml", guaranteed={"gpu": 1})), waiting=5)
    ledger.pass_time(100)
    before = facts(ledger)
    ask(ledger, **question)
    assert facts(ledger) == before
    outcome = ledger.decide()
    assert (outcome.granted, outcome.notices) == ([], [])


Remedy = Callable[[Ledger], None]


@pytest.mark.parametrize(
    ("question", "remedy"),
    [
        (
            {"set_quotas": (TeamQuota(team="ads", guaranteed=ROOM),)},
            lambda ledger: ledger.apply(quotas(TeamQuota(team="ads", guaranteed=ROOM))),
        ),
        (
            {"hosts": ((HOST, 1),)},
            lambda ledger: ledger.offer(Inventory(host="added-1", address="127.0.0.1:2", capacity=HOST)),
        ),
    ],
    ids=["guarantee", "machines"],
)
def test_what_was_said_comes_true(question: dict[str, Any], remedy: Remedy) -> None:
    ledger = busy(waiting=3)
    [said] = ask(ledger, **question).groups
    remedy(ledger)
    outcome = ledger.decide()
    assert sum(holding.count for holding in outcome.granted) == said.starts
    assert {holding.host for holding in outcome.granted} == said.hosts
    told = sorted((notice.holding.team, notice.holding.host, notice.count) for notice in outcome.notices)
    assert told == sorted((victim.holding.team, victim.holding.host, victim.count) for victim in said.victims)
    assert said.starts + said.starts_later > 0
    # And on: those who were told leave, and it starts.
    for notice in outcome.notices:
        ledger.release("r", notice.holding.grant_id, notice.count)
    started = ledger.decide().granted
    assert sum(holding.count for holding in started) == said.starts_later


def test_questions_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = busy()
    before = facts(ledger)
    for wrong, error in (
        ({"group_id": "other"}, NotFound),
        ({"set_quotas": (TeamQuota(team="ads", parent="nobody"),)}, BadQuotas),
        ({"set_quotas": (TeamQuota(team="ads", guaranteed={"gpu": -1}),)}, BadQuotas),
        ({"removed_quotas": ("nobody",)}, BadQuotas),
        ({"hosts": ((HOST, 1_001),)}, InvalidArgument),
        ({"hosts": ((Need(0, 0, 0, ""), 1),)}, InvalidArgument),
    ):
        with pytest.raises(error):
            ask(ledger, **wrong)
    with pytest.raises(NotFound):
        prepare(ledger, replace(Question(run_id="run"), run_id="nothing"))
    monkeypatch.setattr(imagine, "MAX_KNOWN", 4)
    with pytest.raises(ResourceExhausted, match="5 groups and grants"):
        ask(ledger)
    assert facts(ledger) == before
