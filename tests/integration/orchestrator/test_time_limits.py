"""What takes too long ends, also when the orchestrator dies meanwhile."""

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev

from .conftest import World
from .dags import layered


def impatient(seconds: float, attempts: int = 1) -> dag_pb2.Dag:
    """Two nodes, one after the other; the first one waits for room only so long."""
    dag = layered([], [0], attempts=attempts)
    dag.operators[0].queue_timeout_seconds = seconds
    return dag


async def test_a_node_that_finds_no_room_in_time_fails_and_says_so(world: World) -> None:
    world.scheduler.grants = False
    run = await world.run(impatient(0.05))
    assert run.state == ev.RUN_STATE_FAILED
    assert (run.failure.kind, run.failure.error_type) == (ev.FAILURE_KIND_TIMED_OUT, "TimeoutError")
    assert "queue_timeout of 0.05 s" in run.failure.message
    assert (run.failure.node, run.failure.file, run.failure.line) == (0, "sample.py", 7)
    assert {one.state: one.count for one in run.node_counts} == {
        ev.NODE_STATE_FAILED: 1,
        ev.NODE_STATE_UPSTREAM_FAILED: 1,
    }
    assert world.host.launched == []


async def test_what_was_asked_for_is_withdrawn_when_the_run_ends(world: World) -> None:
    world.scheduler.grants = False
    await world.run(impatient(0.05))
    # The next run's demand is sent after all that was sent for the first one.
    world.scheduler.grants = True
    await world.run(layered([]), request_id="next")
    assert world.scheduler.demanded[0][0] in world.scheduler.withdrawn


async def test_another_try_waits_anew_and_may_ask_for_something_else(world: World) -> None:
    world.scheduler.grants = False
    dag = impatient(0.05, attempts=3)
    dag.operators[0].later_resources.add(cpu_millis=500)
    run = await world.run(dag)
    assert run.state == ev.RUN_STATE_FAILED
    kinds = [kind for batch in await world.events_of(run.run_id) for kind in batch.kind]
    assert kinds.count(ev.EVENT_KIND_NODE_RETRIED) == 2
    assert len({group for group, _ in world.scheduler.demanded}) == 2


async def test_time_goes_on_while_the_orchestrator_is_away(world: World) -> None:
    world.scheduler.grants = False
    (answer,) = await world.submit(impatient(0.3))
    await world.stop_orchestrator()
    await world.start_orchestrator()
    run = await world.wait(answer.accepted.run_id)
    assert run.failure.kind == ev.FAILURE_KIND_TIMED_OUT
