"""Paused runs: nothing new starts, what runs goes on, and nobody forgets it."""

import grpc
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

from .conftest import World
from .dags import chain, layered
from .neighbours import fail, succeed


async def pause(world: World, run_id: str) -> pb.Run:
    response: pb.PauseRunResponse = await world.stub.PauseRun(
        pb.PauseRunRequest(run_id=run_id), metadata=world.metadata()
    )
    return response.run


async def resume(world: World, run_id: str) -> pb.Run:
    response: pb.ResumeRunResponse = await world.stub.ResumeRun(
        pb.ResumeRunRequest(run_id=run_id), metadata=world.metadata()
    )
    return response.run


async def paused_in_its_first_node(world: World) -> str:
    """A chain of three whose first node runs on."""
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(chain(3))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    assert (await pause(world, run_id)).state == ev.RUN_STATE_PAUSED
    return run_id


async def finish_first(world: World, run_id: str) -> None:
    world.host.answer = succeed
    world.host.finish((run_id, 0, 1), succeed(world.host.live[run_id, 0, 1]))
    await world.host.until(lambda: not world.host.unacknowledged)


async def test_what_runs_goes_on_and_nothing_new_starts_until_the_run_is_resumed(world: World) -> None:
    run_id = await paused_in_its_first_node(world)
    await finish_first(world, run_id)
    # An acknowledged outcome is committed, so the second node would have been asked for by now.
    run = await world.get(run_id)
    assert run.state == ev.RUN_STATE_PAUSED
    assert {one.state: one.count for one in run.node_counts} == {ev.NODE_STATE_SUCCEEDED: 1, ev.NODE_STATE_PENDING: 2}
    assert world.host.launched == [(run_id, 0, 1)]
    assert (await resume(world, run_id)).state == ev.RUN_STATE_RUNNING
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    kinds = [kind for batch in await world.events_of(run_id) for kind in batch.kind]
    assert kinds.count(ev.EVENT_KIND_RUN_PAUSED) == kinds.count(ev.EVENT_KIND_RUN_RESUMED) == 1


async def test_a_paused_run_is_still_paused_after_a_restart(world: World) -> None:
    run_id = await paused_in_its_first_node(world)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    await finish_first(world, run_id)
    assert (await world.get(run_id)).state == ev.RUN_STATE_PAUSED
    assert len(world.host.launched) == 1
    await resume(world, run_id)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_pausing_and_resuming_twice_changes_nothing(world: World) -> None:
    run_id = await paused_in_its_first_node(world)
    last = (await world.get(run_id)).last_event_number
    assert (await pause(world, run_id)).last_event_number == last
    await resume(world, run_id)
    assert (await resume(world, run_id)).last_event_number == last + 1
    await finish_first(world, run_id)
    await world.wait(run_id)


async def test_a_paused_run_can_be_cancelled(world: World) -> None:
    run_id = await paused_in_its_first_node(world)
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=world.metadata())
    run = await world.wait(run_id)
    assert run.state == ev.RUN_STATE_CANCELLED
    assert {one.state: one.count for one in run.node_counts} == {ev.NODE_STATE_CANCELLED: 3}


async def test_a_failed_attempt_is_tried_again_only_after_the_run_is_resumed(world: World) -> None:
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(layered([], attempts=2))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    await pause(world, run_id)
    world.host.finish((run_id, 0, 1), fail(world.host.live[run_id, 0, 1]))
    await world.host.until(lambda: not world.host.unacknowledged)
    assert (await world.get(run_id)).state == ev.RUN_STATE_PAUSED
    assert len(world.host.launched) == 1
    world.host.answer = succeed
    await resume(world, run_id)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert world.host.launched == [(run_id, 0, 1), (run_id, 0, 2)]


async def test_a_paused_run_ends_when_nothing_is_left_to_start(world: World) -> None:
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(layered([]))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    await pause(world, run_id)
    await finish_first(world, run_id)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_an_ended_run_can_be_neither_paused_nor_resumed(world: World) -> None:
    run = await world.run(chain(1))
    for wish in (pause, resume):
        with pytest.raises(grpc.aio.AioRpcError, match="has ended") as refused:
            await wish(world, run.run_id)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_another_teams_run_is_not_found(world: World) -> None:
    run = await world.run(chain(1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.stub.PauseRun(pb.PauseRunRequest(run_id=run.run_id), metadata=world.metadata("blue"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
