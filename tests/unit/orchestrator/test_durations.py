"""How long nodes hold their room is learned from those before them, and told to the scheduler."""

import itertools

import pytest
from builders.lives import Life
from builders.run_headers import run_header
from integration.orchestrator.dags import fanout

from mwfs_api.dags.v1 import dag_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.durations import MAX_OPERATORS, MAX_S, SAMPLES, Durations, Took
from mwfs_orchestrator.grants import held_grants
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.model import Grant
from mwfs_orchestrator.scheduler_link import demand_of

SECOND = 1_000_000


def took(*seconds: float) -> Took:
    found = Took()
    for each in seconds:
        found.add(round(each * SECOND))
    return found


def known(**seconds: float) -> Durations:
    """What operators of the module `m` took once."""
    durations = Durations()
    for name, each in seconds.items():
        durations.of(("team", "w:w", f"m:{name}")).add(round(each * SECOND))
    return durations


def run_of(durations: Durations, *operators: str) -> ActiveRun:
    """A run with one node of each operator."""
    dag = dag_pb2.Dag(format=1, workflow="w:w", node_operator=range(len(operators)))
    for name in operators:
        dag.operators.add(module="m", qualname=name)
    header = run_header()
    run = ActiveRun(header, (f"g{number}" for number in itertools.count()), durations)
    run.attach(Graph(dag))
    return run


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], 0),
        ([0.0001], 1),
        ([-5.0], 1),
        ([7.2], 8),
        ([*[10.0] * 9, 500.0], 10),
        ([*[10.0] * 8, 500.0, 500.0], 500),
        ([1e12], MAX_S),
    ],
)
def test_nine_of_ten_took_no_longer(seconds: list[float], expected: int) -> None:
    assert took(*seconds).expected_s() == expected


def test_what_was_long_ago_does_not_count() -> None:
    assert took(*[900.0] * 50, *[20.0] * SAMPLES).expected_s() == 20


def test_what_another_replica_has_seen_counts_unless_we_have_seen_more() -> None:
    name = ("team", "w", "m:f")
    durations = Durations()
    durations.hear(name, [30.0])
    assert (durations.expected_s(name), list(durations.fresh())) == (30, [])
    durations.of(name).add(50 * SECOND)
    durations.hear(name, [1.0])
    assert durations.expected_s(name) == 50
    assert list(durations.fresh()) == [(name, [30.0, 50.0])]
    durations.hear(name, [1.0])
    assert durations.expected_s(name) == 1


def test_what_nobody_asked_for_for_longest_is_forgotten() -> None:
    durations = Durations()
    durations.hear(("t", "w", "first"), [5.0])
    for number in range(MAX_OPERATORS - 1):
        durations.hear(("t", "w", str(number)), [5.0])
    assert durations.expected_s(("t", "w", "first")) == 5
    durations.hear(("t", "w", "one more"), [5.0])
    assert len(durations) == MAX_OPERATORS
    assert durations.expected_s(("t", "w", "first")) == 5
    assert durations.expected_s(("t", "w", "0")) == 0


def test_nodes_that_will_take_about_as_long_are_asked_for_together() -> None:
    run = run_of(known(short=4.5, other=6, long=3000), "short", "long", "other", "unknown")
    groups = [run.ready.add(node, since=1) for node in range(4)]
    assert groups[0] is groups[2]
    assert len({group.group_id for group in groups}) == 3
    assert [demand_of(group, 1).expected_s for group in groups] == [6, 3000, 6, 0]
    assert [run.ready.expected_of(node) for node in range(4)] == [5, 3000, 6, 0]


def test_what_the_first_node_took_is_told_of_those_that_wait_already() -> None:
    life = Life(fanout(6))
    changes = life.succeed(0, now=1 + 90 * SECOND)
    (group,) = changes.demands
    assert group.expected_s == 90, "the first node of the fanout is of the same operator"
    before = group.group_id
    grant = Grant(grant_id="g2", group_id=before, count=1, host="h", epoch=1, valid_until=1e9)
    life.run.attempts.start(group, grant, changes, 1)
    (held,) = held_grants([life.run], 31 * SECOND)
    assert (held.grant_id, held.expected_s, held.age_s) == ("g2", 90, 30)


def test_of_nodes_that_wait_together_nothing_is_said_while_one_of_them_is_unknown() -> None:
    durations = Durations()
    run = run_of(durations, "f", "g", "f")
    changes = Changes()
    f, g = run.ready.add(0, since=1), run.ready.add(1, since=1)
    assert f is g
    way = Life(fanout(1)).run.in_flight[0]
    run.ready.took(2, way, changes, 60 * SECOND)
    assert (f.expected_s, dict(changes.demands)) == (0, {})
    run.ready.remove(0)
    assert run.ready.take(g, 2, now=2) == [(1, 1)], "and each is found where it was put"
    run.ready.took(2, way, changes, 60 * SECOND)
    assert run.ready.add(0, since=3).expected_s == 60


def test_a_waiting_group_moves_as_a_whole_when_its_operator_becomes_known() -> None:
    run = run_of(Durations(), "f")
    changes = Changes()
    group = run.ready.add(0, since=1)
    assert group.expected_s == 0
    run.ready.took(0, Life(fanout(1)).run.in_flight[0], changes, 60 * SECOND)
    assert (group.expected_s, dict(changes.demands)) == (60, {group: 0})
    run.ready.remove(0)
    assert run.ready.add(0, since=2) is group


def test_a_run_that_begins_later_knows_what_an_earlier_one_took() -> None:
    durations = Durations()
    run_of(durations, "f").ready.took(0, Life(fanout(1)).run.in_flight[0], Changes(), 60 * SECOND)
    assert run_of(durations, "f").ready.add(0, since=1).expected_s == 60
    assert run_of(Durations(), "f").ready.add(0, since=1).expected_s == 0
