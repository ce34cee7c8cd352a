"""The outbox is emptied into history, and nobody who follows or watches notices."""

import asyncio

import asyncpg
import grpc
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

from .conftest import World
from .dags import chain, fanout
from .inside import empty_outbox, fold_all, history_of
from .neighbours import fail, succeed


async def follow(world: World, events: int, *positions: pb.StreamPosition) -> list[ev.Commit]:
    """The first commits that a follower gets, until they hold so many events."""
    call = world.stub.FollowEvents(pb.FollowEventsRequest(positions=positions), metadata=world.metadata())
    found: list[ev.Commit] = []
    async for response in call:
        found += response.commits
        if sum(len(batch.kind) for commit in found for batch in commit.runs) >= events:
            break
    call.cancel()
    return found


async def test_a_follower_gets_the_same_commits_from_history_as_from_the_outbox(world: World) -> None:
    runs = [await world.run(fanout(5), f"request-{number}") for number in range(4)]
    events = sum(run.last_event_number for run in runs)
    before = await follow(world, events)
    await empty_outbox(world)
    after = await follow(world, events)
    by_position = {(commit.stream, commit.position): commit.SerializeToString(deterministic=True) for commit in before}
    assert {
        (commit.stream, commit.position): commit.SerializeToString(deterministic=True) for commit in after
    } == by_position


async def test_a_follower_goes_on_in_the_middle_of_what_was_emptied(world: World) -> None:
    run = await world.run(chain(30))
    commits = await follow(world, run.last_event_number)
    await empty_outbox(world)
    later = await world.run(chain(3), "later")
    known = commits[len(commits) // 2]
    cursor = pb.StreamPosition(stream=known.stream, position=known.position)
    rest = [commit for commit in commits if commit.position > known.position]
    events = sum(len(batch.kind) for commit in rest for batch in commit.runs) + later.last_event_number
    found = await follow(world, events, cursor)
    positions = [commit.position for commit in found if commit.stream == known.stream]
    assert positions == list(range(known.position + 1, known.position + 1 + len(positions)))
    numbers = sorted(
        batch.first_number + i
        for commit in found
        for batch in commit.runs
        if batch.run_id == later.run_id
        for i in range(len(batch.kind))
    )
    assert numbers == list(range(1, later.last_event_number + 1))


async def test_a_follower_from_before_what_was_removed_is_told_so_and_can_begin_anew(world: World) -> None:
    run = await world.run(chain(30))
    commits = await follow(world, run.last_event_number)
    await empty_outbox(world)
    _, stores = history_of(world)
    for store in stores:
        await store.pool.execute("UPDATE history_cursors SET removed_to = position")
        await store.pool.execute("DELETE FROM run_events")
    later = await world.run(chain(3), "later")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await follow(world, 1, pb.StreamPosition(stream=commits[3].stream, position=commits[3].position))
    assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert "follow from the start" in (refused.value.details() or "")
    anew = await follow(world, later.last_event_number)
    assert {batch.run_id for commit in anew for batch in commit.runs} == {later.run_id}


async def test_a_run_that_goes_on_numbers_its_events_on_after_a_restart(world: World) -> None:
    world.host.answer = lambda launch: None if launch.key.node == 1 else succeed(launch)
    (answer,) = await world.submit(chain(3))
    await world.host.until(lambda: (answer.accepted.run_id, 1, 1) in world.host.live)
    await empty_outbox(world)  # what it has is in history
    await world.stop_orchestrator()
    await world.start_orchestrator()
    ((key, launch),) = world.host.live.items()
    world.host.answer = succeed
    world.host.finish(key, succeed(launch))
    run = await world.wait(answer.accepted.run_id)
    events = await world.events_of(run.run_id)
    numbers = [batch.first_number + i for batch in events for i in range(len(batch.kind))]
    assert numbers == list(range(1, run.last_event_number + 1))
    assert (await world.get(run.run_id)).last_event_number == run.last_event_number


async def test_what_a_replica_left_in_the_outbox_is_moved_by_another(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 2 else succeed(launch)
    run = await world.run(chain(3))
    await world.stop_orchestrator()
    await world.start_orchestrator("another")
    history, stores = history_of(world)
    for store in stores:
        for lease_id in await store.list_unfolded():
            await history.fold(store, lease_id)
        assert not await store.list_unfolded()
    kept = [
        row["last_number"]
        for store in stores
        for row in await store.pool.fetch("SELECT max(last_number) AS last_number FROM run_events GROUP BY run_id")
    ]
    assert kept == [run.last_event_number]


async def test_two_who_move_the_same_stream_keep_each_event_once(world: World) -> None:
    run = await world.run(fanout(50))
    history, stores = history_of(world)
    leases = [
        (store, row["lease_id"])
        for store in stores
        for row in await store.pool.fetch("SELECT DISTINCT lease_id FROM outbox")
    ]
    await asyncio.gather(*(history.fold(store, lease_id) for store, lease_id in leases for _ in range(4)))
    kept = [
        row
        for store in stores
        for row in await store.pool.fetch("SELECT first_number, last_number FROM run_events ORDER BY first_number")
    ]
    numbers = [number for row in kept for number in range(row["first_number"], row["last_number"] + 1)]
    assert numbers == list(range(1, run.last_event_number + 1))


async def test_nothing_is_emptied_before_it_is_in_history_or_while_somebody_reads_it(world: World) -> None:
    run = await world.run(chain(10))
    await fold_all(world)
    history, stores = history_of(world)
    for store in stores:
        reader = await asyncpg.connect(world.shards[store.shard])
        snapshot = reader.transaction(isolation="repeatable_read")
        await snapshot.start()
        await reader.fetch("SELECT 1 FROM outbox")
        assert await history.trim(store) == 0
        await snapshot.rollback()
        # A commit that history does not have yet.
        await store.pool.execute("UPDATE history_cursors SET position = position - 1")
        held = await store.pool.fetchval("SELECT count(*) FROM outbox")
        assert await history.trim(store) == 0
        assert await store.pool.fetchval("SELECT count(*) FROM outbox") == held
        await store.pool.execute("UPDATE history_cursors SET position = position + 1")
        await history.trim(store)
        # A snapshot that has not read the outbox is no hindrance.
        await reader.close()
    assert (await world.events_of(run.run_id))[0].first_number == 1


async def test_a_commit_that_has_left_the_outbox_is_known_to_have_taken_place(world: World) -> None:
    await world.run(chain(3))
    leases = [
        (store, row["lease_id"], row["newest"])
        for store in history_of(world)[1]
        for row in await store.pool.fetch("SELECT lease_id, max(position) AS newest FROM outbox GROUP BY lease_id")
    ]
    await empty_outbox(world)
    for store, lease_id, newest in leases:
        assert await store.commit_exists(lease_id, newest)
        assert not await store.commit_exists(lease_id, newest + 1)
