"""What ready nodes ask the scheduler for."""

import itertools

import pytest
from builders.run_headers import run_header

from mwfs_api.dags.v1 import dag_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.states import FAILED, RUNNING, WAITING, RunState

GIB = 1 << 30


def run_of(dag: dag_pb2.Dag) -> ActiveRun:
    header = run_header()
    run = ActiveRun(header, (f"g{number}" for number in itertools.count()))
    run.attach(Graph(dag))
    return run


@pytest.fixture
def growing() -> ActiveRun:
    """Two nodes that ask for more memory each time that they are tried."""
    dag = dag_pb2.Dag(format=1, workflow="w:w", node_operator=[0, 0])
    operator = dag.operators.add(module="m", qualname="f")
    operator.resources.memory_bytes = GIB
    operator.later_resources.add(memory_bytes=2 * GIB)
    operator.later_resources.add(memory_bytes=4 * GIB)
    return run_of(dag)


def test_later_tries_ask_for_their_own_resources(growing: ActiveRun) -> None:
    asked = []
    for tries in range(5):
        growing.tries[0] = tries
        group = growing.ready.add(0, since=1)
        asked.append(group.resources.memory_bytes // GIB)
        assert growing.ready.resources_of(0) == group.resources
        growing.ready.take(group, 1, now=1)
    assert asked == [1, 2, 4, 4, 4]


def test_custom_resources_and_labels_make_groups_of_their_own() -> None:
    dag = dag_pb2.Dag(format=1, workflow="w:w", node_operator=range(5))
    for _ in range(5):
        dag.operators.add(module="m", qualname="f").resources.cpu_millis = 1000
    for one in (dag.operators[1], dag.operators[2]):
        one.resources.custom.add(name="fpga", amount=1)
        one.resources.custom.add(name="licenses", amount=2)
    dag.operators[3].resources.labels.add(key="zone", values=["a", "b"])
    dag.operators[4].resources.labels.add(key="zone", values=["a"])
    run = run_of(dag)
    groups = [run.ready.add(node, since=1) for node in range(5)]
    assert groups[1] is groups[2]
    assert len({group.group_id for group in groups}) == 4
    assert [group.resources for group in groups] == [operator.resources for operator in dag.operators]
    assert run.ready.may_take_over(1, 2)
    assert not run.ready.may_take_over(3, 4)


def test_another_try_does_not_change_what_others_ask_for(growing: ActiveRun) -> None:
    growing.tries[0] = 1
    assert growing.ready.add(0, since=1) is not growing.ready.add(1, since=1)
    assert growing.ready.resources_of(1).memory_bytes == GIB


def test_an_attempt_that_the_platform_lost_asks_for_the_same_again(growing: ActiveRun) -> None:
    growing.lost[0] = 3
    assert growing.ready.add(0, since=1).resources.memory_bytes == GIB


def test_a_rank_of_any_size_orders_nodes() -> None:
    dag = dag_pb2.Dag(format=1, workflow="w:w", node_operator=[0, 0, 0], node_rank=[0, 2**32 - 1, 2**31])
    dag.operators.add(module="m", qualname="f")
    run = run_of(dag)
    first = run.ready.add(2, since=1)
    assert [node for node, _ in run.ready.take(first, 5, now=1)] == [2]
    assert [group.rank_band for group in (run.ready.add(0, since=1), run.ready.add(1, since=1))] == [0, 32]


def test_a_node_that_waits_for_room_no_more_is_not_taken(growing: ActiveRun) -> None:
    ready = growing.ready
    group = ready.add(0, since=1)
    assert ready.add(1, since=2) is group
    assert ready.more_of(group) == 2
    ready.remove(0)
    assert (ready.since(0), ready.since(1)) == (None, 2)
    assert ready.take(group, 2, now=3) == [(1, 2)]


def test_a_node_that_waits_again_is_asked_for_once(growing: ActiveRun) -> None:
    ready = growing.ready
    group = ready.add(0, since=1)
    assert ready.more_of(group) == 1
    ready.remove(0)
    assert ready.add(0, since=5) is group
    assert ready.more_of(group) == 0
    assert ready.take(group, 5, now=6) == [(0, 5)]


def test_a_node_that_asks_for_more_is_not_started_by_a_grant_of_before(growing: ActiveRun) -> None:
    ready = growing.ready
    before = ready.add(0, since=1)
    ready.remove(0)
    growing.tries[0] = 1
    after = ready.add(0, since=2)
    assert ready.take(before, 1, now=3) == []
    assert ready.take(after, 1, now=3) == [(0, 2)]


def test_groups_that_were_withdrawn_are_asked_for_anew_under_other_names(growing: ActiveRun) -> None:
    ready = growing.ready
    group = ready.add(0, since=1)
    ready.add(1, since=1)
    assert (ready.more_of(group), ready.more_of(group)) == (2, 0)
    before, changes = group.group_id, Changes()
    ready.ask_anew(changes)
    assert (changes.demands[group], group.asked) == (2, 2)
    assert group.group_id != before, "grants for the old name do not count"


def test_a_run_stands_still_well_that_waits_for_room_and_outcomes_alone(growing: ActiveRun) -> None:
    growing.move(RunState.RUNNING, 1)
    growing.set_state(0, RUNNING)
    assert growing.restoring.can_stand_still()
    for state in (WAITING, FAILED):
        growing.set_state(1, state)
        assert not growing.restoring.can_stand_still()
    growing.set_state(1, RUNNING)
    growing.move(RunState.CANCELLING, 2)
    assert not growing.restoring.can_stand_still()
