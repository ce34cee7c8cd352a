"""Each violation of a run's invariants is found, and a healthy run has none."""

from __future__ import annotations

import pytest
from fixtures.run_events import BEGIN_US, Story
from invariants.run_invariants import check_run, dependencies_of

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as pb

SUCCEEDED, FAILED, RUNNING = pb.NODE_STATE_SUCCEEDED, pb.NODE_STATE_FAILED, pb.NODE_STATE_RUNNING
RUN_FAILED, RUN_CANCELLED = pb.EVENT_KIND_RUN_FAILED, pb.EVENT_KIND_RUN_CANCELLED


def chain(size: int) -> dag_pb2.Dag:
    """Node i takes the output of node i - 1 inside a list inside a record; node 0 takes a constant."""
    dag = dag_pb2.Dag(operators=[dag_pb2.Operator(parameters=[dag_pb2.Parameter(name="x")])])
    for node in range(size):
        dag.node_operator.append(0)
        if not node:
            binding = (dag_pb2.BINDING_KIND_CONSTANT, 0, 0)
        else:
            row = len(dag.items.kind)
            dag.items.kind.extend([dag_pb2.BINDING_KIND_OUTPUT, dag_pb2.BINDING_KIND_LIST])
            dag.items.a.extend([node - 1, row])
            dag.items.b.extend([0, 1])
            binding = (dag_pb2.BINDING_KIND_RECORD, row + 1, 1)
        dag.arguments.kind.append(binding[0])
        dag.arguments.a.append(binding[1])
        dag.arguments.b.append(binding[2])
    return dag


def healthy() -> Story:
    return Story().accept().start(2).commit().begin(0).commit().succeed(0).begin(1).commit().succeed(1).end()


def test_a_healthy_run_has_no_violation() -> None:
    rows = {0: (SUCCEEDED, 1), 1: (SUCCEEDED, 1)}
    assert check_run(healthy().events(), nodes=rows, dag=chain(2)) == []


def test_retries_failures_and_a_revival_are_healthy() -> None:
    story = Story().accept().compile().begin(-1).succeed(-1).start(3)
    story.begin(0).retry(0, pb.FAILURE_KIND_LOST, (0, 0)).commit().begin(0).succeed(0)
    story.begin(1).fail(1).upstream_failed(2).end(RUN_FAILED).commit()
    story.revive().begin(1).commit().succeed(1).begin(2).succeed(2).end()
    rows = {-1: (SUCCEEDED, 1), 0: (SUCCEEDED, 2), 1: (SUCCEEDED, 2), 2: (SUCCEEDED, 1)}
    assert check_run(story.events(), nodes=rows, dag=chain(3)) == []


def test_a_cancelled_run_is_healthy() -> None:
    story = Story().accept().start(2).begin(0).event(pb.EVENT_KIND_RUN_CANCELLING).cancel_node(1).commit()
    assert check_run(story.cancel_node(0).end(RUN_CANCELLED).events(), dag=chain(2)) == []


def test_a_node_without_a_row_has_not_left_its_initial_state() -> None:
    story = Story().accept().start(2).begin(0).retry(0)
    assert check_run(story.events(), nodes={0: (pb.NODE_STATE_WAITING, 1)}) == []
    assert check_run(story.events(), nodes={}) == []


def test_collections_are_looked_through_for_inputs() -> None:
    assert dependencies_of(chain(3)) == [set(), {0}, {1}]


BROKEN = {
    "event numbers: expected 3, found 4: events are missing": lambda: without_batch(1),
    "event numbers: expected 3, found 1: events are repeated": lambda: twice_first_batch(),
    "batch 1: node has 1 entries, expected 2": lambda: short_column(),
    "event 1 (RUN_STARTED): a run cannot go from UNSPECIFIED to RUNNING": lambda: Story().start(1),
    "event 8 (RUN_FAILED): a run cannot go from SUCCEEDED to FAILED": lambda: healthy().end(RUN_FAILED),
    "event 3 (RUN_REVIVED): the run was RUNNING; only FAILED and CANCELLED are revived": lambda: (
        Story().accept().start(1).revive()
    ),
    "event 8 (NODE_STARTED of node 1): the run was SUCCEEDED": lambda: healthy().begin(1),
    "event 4 (NODE_STARTED of node 0): the node was already RUNNING": lambda: (
        Story().accept().start(1).begin(0).begin(0)
    ),
    "event 5 (NODE_STARTED of node 0): the node was already SUCCEEDED in this round": lambda: (
        Story().accept().start(1).begin(0).succeed(0).begin(0)
    ),
    "event 5 (NODE_FAILED of node 0): the node was already SUCCEEDED in this round": lambda: (
        Story().accept().start(1).begin(0).succeed(0).fail(0)
    ),
    "event 3 (NODE_SUCCEEDED of node 0): the node was already PENDING": lambda: Story().accept().start(1).succeed(0),
    "event 5 (NODE_UPSTREAM_FAILED of node 0): the node was already FAILED in this round": lambda: (
        Story().accept().start(1).begin(0).fail(0).upstream_failed(0)
    ),
    "event 3 (NODE_STARTED of node 0): attempt 2 follows attempt 0": lambda: Story().accept().start(1).begin(0, 2),
    "event 4 (NODE_SUCCEEDED of node 0): it is of attempt 2, but attempt 1 was running": lambda: (
        Story().accept().start(1).begin(0).succeed(0, attempt=2)
    ),
    "node 0 succeeded in attempts [1, 2], not in exactly one": lambda: (
        Story().accept().start(1).begin(0).succeed(0).begin(0).succeed(0)
    ),
    "node 0: the bodies of attempts 1 and 2 overlap": lambda: (
        Story()
        .accept()
        .start(1)
        .begin(0)
        .retry(0, body=(BEGIN_US, BEGIN_US + 50))
        .begin(0)
        .succeed(0, body=(BEGIN_US + 40, BEGIN_US + 90))
    ),
    "node 0: the body of attempt 1 ended before it began": lambda: (
        Story().accept().start(1).begin(0).succeed(0, body=(BEGIN_US + 9, BEGIN_US))
    ),
    "event 3 (NODE_STARTED of node 1): it started before its input from node 0 existed": lambda: (
        Story().accept().start(2).begin(1)
    ),
    "event 3 (NODE_STARTED of node 5): the Dag has only 2 nodes": lambda: Story().accept().start(2).begin(5),
    "event 3 (NODE_STARTED of node 0): nothing starts while the run is COMPILING": lambda: (
        Story().accept().compile().begin(0)
    ),
    "event 4 (NODE_STARTED of node 0): nothing starts while the run is CANCELLING": lambda: (
        Story().accept().start(2).event(pb.EVENT_KIND_RUN_CANCELLING).begin(0)
    ),
    "event 4 (RUN_FAILED): node 0 was still RUNNING": lambda: Story().accept().start(1).begin(0).end(RUN_FAILED),
    "event 5 (RUN_SUCCEEDED): node 0 was still FAILED": lambda: Story().accept().start(1).begin(0).fail(0).end(),
    "event 3 (RUN_SUCCEEDED): node 1 never ran": lambda: Story().accept().start(2).end(),
}


def without_batch(index: int) -> Story:
    story = healthy()
    del story.events()[index]
    return story


def twice_first_batch() -> Story:
    story = healthy()
    story.batches.insert(0, story.events()[0])
    return story


def short_column() -> Story:
    story = healthy()
    del story.events()[0].node[1:]
    return story


@pytest.mark.parametrize("violation", BROKEN)
def test_each_violation_is_found(violation: str) -> None:
    assert violation in check_run(BROKEN[violation]().events(), dag=chain(2))


@pytest.mark.parametrize(
    ("rows", "violation"),
    [
        (
            {0: (RUNNING, 1), 1: (SUCCEEDED, 1)},
            "node 0: the events say SUCCEEDED in attempt 1, the row says RUNNING in attempt 1",
        ),
        (
            {0: (SUCCEEDED, 2), 1: (SUCCEEDED, 1)},
            "node 0: the events say SUCCEEDED in attempt 1, the row says SUCCEEDED in attempt 2",
        ),
        ({1: (SUCCEEDED, 1)}, "node 0: the events say SUCCEEDED in attempt 1, the row says PENDING in attempt 1"),
        (
            {0: (SUCCEEDED, 1), 1: (SUCCEEDED, 1), 2: (FAILED, 1)},
            "node 2: the events say PENDING in attempt 0, the row says FAILED in attempt 1",
        ),
    ],
)
def test_rows_that_the_events_do_not_tell_are_found(rows: dict[int, tuple[int, int]], violation: str) -> None:
    assert check_run(healthy().events(), nodes=rows) == [violation]


def test_batches_of_two_runs_are_found() -> None:
    story = healthy()
    story.events()[1].run_id = "another"
    assert check_run(story.batches) == ["the batches are of several runs"]
