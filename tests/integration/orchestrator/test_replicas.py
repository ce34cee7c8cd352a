"""Several orchestrators on the same shards: an even share of slots for each, runs that go on when their slots move."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

from .conftest import World
from .dags import chain, fanout
from .neighbours import succeed

A, B, C = "orchestrator-0", "orchestrator-1", "orchestrator-2"


async def shares(world: World) -> dict[str, list[int]]:
    """How many slots of each shard each replica owns."""
    found: dict[str, list[int]] = {}
    for number, dsn in enumerate(world.shards):
        connection = await asyncpg.connect(dsn)
        rows = await connection.fetch(
            "SELECT replica, count(*) AS slots FROM slots JOIN leases USING (lease_id) WHERE expires_at > now() GROUP BY replica"
        )
        await connection.close()
        for row in rows:
            found.setdefault(row["replica"], [0] * len(world.shards))[number] = row["slots"]
    return found


async def settled(world: World, *replicas: str) -> None:
    """Until each of these has an even share of each shard."""
    while True:
        found = await shares(world)
        even = -(-2048 // len(replicas))
        whole = [sum(counts) for counts in zip(*found.values(), strict=True)] == [2048, 2048]
        if whole and sorted(found) == sorted(replicas) and max(max(counts) for counts in found.values()) <= even:
            return
        await asyncio.sleep(0.05)


async def test_slots_are_shared_evenly_and_come_back_when_a_replica_stops(world: World) -> None:
    await world.start_orchestrator(B)
    await settled(world, A, B)
    await world.start_orchestrator(C)
    await settled(world, A, B, C)
    await world.stop_orchestrator(B)
    await settled(world, A, C)
    await world.stop_orchestrator(A)
    await settled(world, C)


async def test_runs_go_on_with_their_new_owner_and_nothing_runs_twice(world: World) -> None:
    world.host.answer = lambda launch: None
    answers = await world.submit(*[chain(2)] * 40)
    await world.host.until(lambda: len(world.host.live) == 40)
    await world.start_orchestrator(B)
    await settled(world, A, B)
    await world.host.until(lambda: set(world.host.owners.values()) == {A, B})
    world.host.answer = succeed
    for key, launch in list(world.host.live.items()):
        world.host.finish(key, succeed(launch))
    for answer in answers:
        assert (await world.wait(answer.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == len(set(world.host.launched)) == 80
    assert {attempt for _, _, attempt in world.host.launched} == {1}
    assert +world.scheduler.held == {}, "all grants were given back, by whoever held them in the end"


async def test_outcomes_of_a_replica_that_stopped_reach_its_successor(world: World) -> None:
    world.host.answer = lambda launch: None
    answers = await world.submit(*[fanout(3)] * 10)
    await world.host.until(lambda: len(world.host.live) == 10)
    await world.start_orchestrator(B)
    await world.stop_orchestrator(A)
    for key, launch in list(world.host.live.items()):  # told to nobody, or to who is there
        world.host.finish(key, succeed(launch))
    world.host.answer = succeed
    await settled(world, B)
    for answer in answers:
        assert (await world.wait(answer.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == 50, "nothing ran twice"
    while world.host.unacknowledged:  # the last acknowledgements are on their way
        world.host.changed.clear()
        await world.host.changed.wait()


def events_are_gapless(batches: list[Any], last: int) -> bool:
    return [batch.first_number + i for batch in batches for i in range(len(batch.kind))] == list(range(1, last + 1))


async def test_the_history_of_a_run_is_gapless_across_owners(world: World) -> None:
    world.host.answer = lambda launch: None
    answers = await world.submit(*[chain(3)] * 8)
    for owners in ((A, B), (A, B, C)):
        await world.start_orchestrator(owners[-1])
        await settled(world, *owners)
        waiting = dict(world.host.live)
        await world.host.until(lambda waiting=waiting: len(world.host.live) == len(waiting) == 8)  # type: ignore[misc]
        for key, launch in waiting.items():
            world.host.finish(key, succeed(launch))
        await world.host.until(
            lambda waiting=waiting: not waiting.keys() & world.host.live.keys() and len(world.host.live) == 8
        )  # type: ignore[misc]
    world.host.answer = succeed
    for key, launch in list(world.host.live.items()):
        world.host.finish(key, succeed(launch))
    for answer in answers:
        run = await world.wait(answer.accepted.run_id)
        assert events_are_gapless(await world.events_of(run.run_id), run.last_event_number)


async def test_any_replica_answers_for_every_run(world: World) -> None:
    await world.start_orchestrator(B)
    await settled(world, A, B)
    first, second = (world.replicas[name].stub for name in (A, B))
    world.host.answer = lambda launch: None
    answers = await world.submit(*[chain(1)] * 20)
    run_ids = [answer.accepted.run_id for answer in answers]
    await world.host.until(lambda: len(world.host.live) == 20)
    assert set(world.host.owners.values()) == {A, B}
    for stub in (first, second):
        runs = [
            (await stub.GetRun(pb.GetRunRequest(run_id=run_id[:10]), metadata=world.metadata())).run
            for run_id in run_ids
        ]
        assert [run.run_id for run in runs] == run_ids
        # Only the owner knows how many nodes run.
        assert all(
            [(count.state, count.count) for count in run.node_counts] == [(ev.NODE_STATE_RUNNING, 1)] for run in runs
        )
        cancelled = await stub.CancelRun(pb.CancelRunRequest(run_id=run_ids.pop()), metadata=world.metadata())
        assert cancelled.run.state in (ev.RUN_STATE_CANCELLING, ev.RUN_STATE_CANCELLED)
    again = await world.submit(*[chain(1)] * 20)
    assert not any(answer.accepted.created for answer in again), "the same submissions, whoever takes them"
    watching = second.WatchRuns(pb.WatchRunsRequest(run_ids=run_ids), metadata=world.metadata())
    seen: dict[str, int] = {}
    async for response in watching:
        seen.update((update.run.run_id, update.run.state) for update in response.updates)
        if len(seen) == len(run_ids):
            for key, launch in list(world.host.live.items()):
                world.host.finish(key, succeed(launch))
    assert seen == dict.fromkeys(run_ids, ev.RUN_STATE_SUCCEEDED)


async def test_a_refusal_of_the_owner_is_passed_on(world: World) -> None:
    await world.start_orchestrator(B)
    await settled(world, A, B)
    answers = await world.submit(*[chain(1)] * 8)
    for answer in answers:
        await world.wait(answer.accepted.run_id)
    for name in (A, B):
        for answer in answers:
            request = pb.RetryRunRequest(run_id=answer.accepted.run_id, request_id="r")
            with pytest.raises(grpc.aio.AioRpcError, match="there is nothing to try again") as caught:
                await world.replicas[name].stub.RetryRun(request, metadata=world.metadata())
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    refused = await world.submit(*[chain(2)] * 8)
    assert {answer.refused.code for answer in refused} == {"ALREADY_EXISTS"}
