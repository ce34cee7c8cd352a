"""What there is no room for is refused with a time, and finds room later."""

import asyncio

from mwfs_api.events.v1 import events_pb2 as ev

from .conftest import World
from .dags import fanout
from .neighbours import succeed


async def test_a_full_orchestrator_refuses_with_a_time_and_takes_the_run_later(world: World) -> None:
    await world.stop_orchestrator()
    world.max_active_nodes = 100
    await world.start_orchestrator()
    world.host.answer = lambda launch: None
    (first,) = await world.submit(fanout(50), request_ids=["first"])
    assert first.accepted.created
    (second,) = await world.submit(fanout(60), request_ids=["second"])
    assert second.refused.code == "RESOURCE_EXHAUSTED"
    assert second.refused.retry_after_seconds > 0
    (again,) = await world.submit(fanout(50), request_ids=["first"])
    assert again.accepted.run_id == first.accepted.run_id
    assert not again.accepted.created
    await world.host.until(lambda: bool(world.host.live))
    world.host.answer = succeed
    for key, launch in list(world.host.live.items()):
        world.host.finish(key, succeed(launch))
    assert (await world.wait(first.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
    while second.HasField("refused"):
        await asyncio.sleep(second.refused.retry_after_seconds)
        (second,) = await world.submit(fanout(60), request_ids=["second"])
    assert (await world.wait(second.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
