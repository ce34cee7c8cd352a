"""Watching the events of a run: from any number on, in order, without a gap, through whatever happens meanwhile."""

from uuid import UUID

import grpc
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_orchestrator.event_tails import EventTail
from mwfs_orchestrator.event_watch import watch_events

from .conftest import World
from .dags import chain, fanout
from .inside import empty_outbox, engine_of, history_of
from .neighbours import fail, succeed


def numbers_of(batches: list[ev.RunEvents], first: int = 1) -> list[int]:
    numbers = [batch.first_number + i for batch in batches for i in range(len(batch.kind))]
    return [number for number in numbers if number >= first]


async def watch(world: World, run_id: str, first: int = 0, *, follow: bool = False) -> list[ev.RunEvents]:
    """All batches until the stream ends."""
    request = pb.WatchEventsRequest(run_id=run_id, first_number=first, follow=follow)
    call = world.stub.WatchEvents(request, metadata=world.metadata())
    return [batch async for response in call for batch in response.batches]


async def test_all_events_of_a_run_while_it_goes_on(world: World) -> None:
    (answer,) = await world.submit(fanout(200))
    batches = await watch(world, answer.accepted.run_id)
    run = await world.get(answer.accepted.run_id)
    assert numbers_of(batches) == list(range(1, run.last_event_number + 1))
    assert batches[-1].kind[-1] == ev.EVENT_KIND_RUN_SUCCEEDED


async def test_all_events_of_a_run_that_has_ended_from_any_number(world: World) -> None:
    run = await world.run(chain(8))
    last = run.last_event_number
    for emptied in (False, True):
        if emptied:
            await empty_outbox(world)
        for first in (1, 2, last // 2, last):
            assert numbers_of(await watch(world, run.run_id, first), first) == list(range(first, last + 1))
        assert await watch(world, run.run_id, last + 1) == []
        assert await watch(world, run.run_id, 1 << 62) == []


async def test_a_follower_sees_the_run_revived(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 1 else succeed(launch)
    failed = await world.run(chain(3))
    await empty_outbox(world)
    request = pb.WatchEventsRequest(run_id=failed.run_id, follow=True)
    call = world.stub.WatchEvents(request, metadata=world.metadata())
    world.host.answer = succeed
    batches: list[ev.RunEvents] = []
    async for response in call:
        batches += response.batches
        if batches[-1].kind[-1] == ev.EVENT_KIND_RUN_FAILED:
            await world.stub.RetryRun(pb.RetryRunRequest(run_id=failed.run_id), metadata=world.metadata())
        if batches[-1].kind[-1] == ev.EVENT_KIND_RUN_SUCCEEDED:
            break
    call.cancel()
    run = await world.get(failed.run_id)
    assert run.round == 2
    assert numbers_of(batches) == list(range(1, run.last_event_number + 1))
    # Who does not follow still gets all there is, past the first end.
    assert numbers_of(await watch(world, run.run_id)) == numbers_of(batches)


async def test_a_watcher_goes_on_where_it_was_after_the_owner_has_gone(world: World) -> None:
    world.host.answer = lambda launch: None if launch.key.node == 2 else succeed(launch)
    (answer,) = await world.submit(chain(4))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: (run_id, 2, 1) in world.host.live)
    call = world.stub.WatchEvents(pb.WatchEventsRequest(run_id=run_id), metadata=world.metadata())
    seen: list[ev.RunEvents] = []
    async for response in call:
        seen += response.batches
        if ev.EVENT_KIND_NODE_STARTED in seen[-1].kind and 2 in seen[-1].node:
            break
    await world.stop_orchestrator()
    await world.start_orchestrator("another")
    ((key, launch),) = world.host.live.items()
    world.host.answer = succeed
    world.host.finish(key, succeed(launch))
    first = numbers_of(seen)[-1] + 1
    rest = numbers_of(await watch(world, run_id, first), first)
    run = await world.get(run_id)
    assert numbers_of(seen) + rest == list(range(1, run.last_event_number + 1))


async def test_what_a_past_owner_left_comes_before_what_history_has_of_the_present_one(world: World) -> None:
    await history_of(world)[0].stop()  # what this owner commits stays in the outbox
    world.host.answer = lambda launch: None if launch.key.node in (1, 3) else succeed(launch)
    (answer,) = await world.submit(chain(5))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: (run_id, 1, 1) in world.host.live)
    await world.stop_orchestrator()
    await world.start_orchestrator("another")
    history, stores = history_of(world)
    await history.stop()
    world.host.finish((run_id, 1, 1), succeed(world.host.live[run_id, 1, 1]))
    await world.host.until(lambda: (run_id, 3, 1) in world.host.live)
    for store in stores:
        await history.fold(store, await store.pool.fetchval("SELECT max(lease_id) FROM leases"))
    world.host.finish((run_id, 3, 1), succeed(world.host.live[run_id, 3, 1]))
    run = await world.wait(run_id)
    assert numbers_of(await watch(world, run_id)) == list(range(1, run.last_event_number + 1))


async def test_a_watcher_that_reads_slowly_misses_nothing(world: World) -> None:
    world.host.answer = lambda launch: None if launch.key.node == 0 else succeed(launch)
    (answer,) = await world.submit(fanout(300))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    engine = engine_of(world)
    stream = watch_events(engine, UUID(run_id), 1, follow=False, max_waiting=20)
    batches = list(await anext(stream))
    ((key, launch),) = world.host.live.items()
    world.host.finish(key, succeed(launch))
    run = await world.wait(run_id)  # far more than 20 events, and nobody has read them
    async for more in stream:
        batches += more
    assert numbers_of(batches) == list(range(1, run.last_event_number + 1))


async def test_watchers_leave_nothing_behind(world: World) -> None:
    run = await world.run(chain(3))
    engine = engine_of(world)
    stream = watch_events(engine, UUID(run.run_id), 1, follow=True)
    await anext(stream)
    assert engine.event_tails.watched == 1
    await stream.aclose()
    assert engine.event_tails.watched == 0


async def test_what_waits_for_a_watcher_is_bounded() -> None:
    tail = EventTail(UUID(int=1), max_waiting=10)
    for number in range(1, 100, 3):
        tail.put(ev.RunEvents(run_id=tail.run_id, first_number=number, kind=[20, 20, 20]))
    assert tail.overflowed
    assert tail.take(1) == []
    tail.start_over()
    tail.put(ev.RunEvents(run_id=tail.run_id, first_number=100, kind=[20]))
    assert not tail.overflowed
    assert [batch.first_number for batch in tail.take(1)] == [100]


@pytest.mark.parametrize(
    ("run_id", "code"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("not an id", grpc.StatusCode.INVALID_ARGUMENT),
        ("00000000-0000-0000-0000-000000000000", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_what_cannot_be_watched_is_refused(world: World, run_id: str, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch(world, run_id)
    assert refused.value.code() is code


async def test_another_teams_run_is_not_found(world: World) -> None:
    run = await world.run(chain(2))
    call = world.stub.WatchEvents(pb.WatchEventsRequest(run_id=run.run_id), metadata=world.metadata("blue"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
