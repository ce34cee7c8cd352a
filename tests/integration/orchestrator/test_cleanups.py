"""A cancelled run cleans up what had begun, through a restart; its cleanups have their time, and can be skipped."""

import pytest
from unit.sdk.structure.workflows import double, nothing

import mwfs
from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

from .conftest import World
from .dags import WORKFLOW
from .neighbours import succeed

# Nodes of `cleans` in the order in which the run grows by them.
OUTER, INNER, BODY, _AFTER_BODY, INNER_CLEANUP, OUTER_CLEANUP = range(6)


@mwfs.workflow
def cleans(n: int) -> int:
    return mwfs.with_cleanup(
        lambda: mwfs.with_cleanup(lambda: double(double(n)), lambda: double(n)), lambda: nothing(n)
    )


async def begun(world: World, *held: int) -> str:
    """A run whose body runs. Attempts of the nodes `held` do not end by themselves, and neither does the body."""

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome | None:
        return None if launch.key.node in (BODY, *held) else succeed(launch)

    world.host.answer = answer
    dag = dag_pb2.Dag()
    dag.CopyFrom(cleans.compile(n=1).proto)
    dag.workflow = WORKFLOW
    (submitted,) = await world.submit(dag)
    run_id: str = submitted.accepted.run_id
    await world.host.until(lambda: (run_id, BODY, 1) in world.host.live)
    return run_id


async def cancel(world: World, run_id: str, *, skip: bool = False) -> int:
    request = pb.CancelRunRequest(run_id=run_id, skip_cleanups=skip)
    response: pb.CancelRunResponse = await world.stub.CancelRun(request, metadata=world.metadata())
    return response.run.state


def launched(world: World) -> list[int]:
    return [node for _run, node, _attempt in world.host.launched]


async def test_a_cancelled_run_cleans_up_through_a_restart_inner_before_outer(world: World) -> None:
    run_id = await begun(world, INNER_CLEANUP)
    assert await cancel(world, run_id) == ev.RUN_STATE_CANCELLING
    await world.host.until(lambda: (run_id, INNER_CLEANUP, 1) in world.host.live)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    assert (await world.get(run_id)).state == ev.RUN_STATE_CANCELLING
    assert launched(world) == [BODY, INNER_CLEANUP]
    world.host.finish((run_id, INNER_CLEANUP, 1), succeed(world.host.live[run_id, INNER_CLEANUP, 1]))
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert launched(world) == [BODY, INNER_CLEANUP, OUTER_CLEANUP]
    assert not any(world.scheduler.held.values())


async def test_cancelling_again_changes_nothing_unless_the_cleanups_are_to_be_skipped(world: World) -> None:
    run_id = await begun(world, INNER_CLEANUP)
    await cancel(world, run_id)
    await world.host.until(lambda: (run_id, INNER_CLEANUP, 1) in world.host.live)
    assert await cancel(world, run_id) == ev.RUN_STATE_CANCELLING
    await cancel(world, run_id, skip=True)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert (run_id, INNER_CLEANUP, 1) in world.host.stopped
    assert launched(world) == [BODY, INNER_CLEANUP]
    assert not any(world.scheduler.held.values())


async def test_the_cleanups_of_a_cancelled_run_do_not_take_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await begun(world, INNER_CLEANUP)
    await cancel(world, run_id)
    await world.host.until(lambda: (run_id, INNER_CLEANUP, 1) in world.host.live)
    monkeypatch.setattr("mwfs_orchestrator.cleaning.CLEANUP_SECONDS", 0.0)
    await world.stop_orchestrator()
    await world.start_orchestrator()  # whose clock goes on from the cancel
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert launched(world) == [BODY, INNER_CLEANUP]
