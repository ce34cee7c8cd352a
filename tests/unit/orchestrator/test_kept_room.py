"""Nodes of one group follow each other in the same room: under one grant, on one host."""

import pytest
from builders.lives import Life
from integration.orchestrator.dags import chain, fanout

from mwfs_api.dags.v1 import dag_pb2
from mwfs_orchestrator.attempts import ROOM_HELD_US
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.states import RunState


def grouped(dag: dag_pb2.Dag, *groups: int) -> dag_pb2.Dag:
    dag.node_group.extend(groups)
    return dag


def test_a_chain_asks_for_room_once_and_gives_it_back_once() -> None:
    life = Life(grouped(chain(3), 1, 1, 1))
    for node in (0, 1):
        changes = life.succeed(node)
        assert not changes.demands
        assert not changes.releases
        (launch,) = changes.launches
        assert (launch.node, launch.in_flight.host, launch.in_flight.grant_id) == (node + 1, "h", "g")
    assert life.succeed(2).releases == {"g": 1}
    assert life.run.state is RunState.SUCCEEDED


def test_without_a_group_each_node_asks_for_itself() -> None:
    changes = Life(grouped(chain(3), 1, 0, 0)).succeed(0)
    assert changes.releases == {"g": 1}
    assert sum(changes.demands.values()) == 1


def test_one_of_several_dependents_takes_over_the_room() -> None:
    changes = Life(grouped(fanout(3), 1, 1, 1, 1, 1)).succeed(0)
    assert [launch.node for launch in changes.launches] == [1]
    assert sum(changes.demands.values()) == 2
    assert not changes.releases


@pytest.mark.parametrize("unlike", ["resources", "priority", "cached"])
def test_a_node_that_asks_for_something_else_waits_for_it(unlike: str) -> None:
    dag = grouped(chain(2), 1, 1)
    dag.operators.add().CopyFrom(dag.operators[0])
    dag.node_operator[1] = 1
    if unlike == "resources":
        dag.operators[1].resources.cpu_millis = 2000
    elif unlike == "priority":
        dag.operators[1].priority = 5
    else:
        dag.operators[1].pure = dag.operators[1].cached = True  # an earlier result is looked for first
        dag.operators[1].code_digest = "sha256:" + "0" * 64
    changes = Life(dag).succeed(0)
    assert changes.releases == {"g": 1}
    assert not changes.launches


def test_the_room_is_given_up_for_others_in_the_end() -> None:
    life = Life(grouped(chain(3), 1, 1, 1))
    assert not life.succeed(0, now=ROOM_HELD_US).releases
    assert life.succeed(1, now=ROOM_HELD_US + 2).releases == {"g": 1}


def test_room_that_the_scheduler_wants_back_is_given_up() -> None:
    life = Life(grouped(chain(2), 1, 1))
    life.run.attempts.revoked.add("g")
    assert life.succeed(0).releases == {"g": 1}


def test_nothing_follows_in_a_paused_run() -> None:
    life = Life(grouped(chain(2), 1, 1))
    life.run.stopping.pause(Changes(), 2)
    changes = life.succeed(0)
    assert changes.releases == {"g": 1}
    assert not changes.launches
