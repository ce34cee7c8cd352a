"""Observability over real gRPC and PostgreSQL, following an orchestrator that the test controls."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from fixtures.run_events import BEGIN_US, RUN_ID, Story
from integration.observability.conftest import IDENTITY, FakeOrchestrator, Observability, Start

from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1 import observability_pb2 as pb
from mwfs_chassis.identity import Identity

OTHER_RUN = "00000000-0000-4000-8000-000000000001"
Orchestrator = tuple[FakeOrchestrator, str]


async def timeline(service: Observability, run_id: str = RUN_ID, **about: Any) -> pb.GetTimelineResponse:
    request = pb.GetTimelineRequest(run_id=run_id, **about)
    return await service.stub.GetTimeline(request, metadata=IDENTITY.metadata)


async def events(service: Observability, run_id: str = RUN_ID) -> list[events_pb2.RunEvents]:
    request = pb.ListEventsRequest(run_id=run_id)
    call = service.stub.ListEvents(request, metadata=IDENTITY.metadata)
    return [batch async for response in call for batch in response.events]


async def tell(fake: FakeOrchestrator, story: Story, stream: str = "0/1") -> int:
    """Each batch as a commit; the last position."""
    position = 0
    for batch in story.events():
        position = await fake.commit(batch, stream=stream)
    return position


def whole_story(run_id: str = RUN_ID) -> Story:
    story = Story(run_id).accept().start(2).commit().begin(0).commit().retry(0).begin(0).commit().succeed(0)
    return story.begin(1).commit().succeed(1).end()


async def test_a_run_becomes_a_timeline(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    await service.follower.wait_stored("0/1", await tell(orchestrator[0], whole_story()))
    answer = await timeline(service)
    assert answer.state == events_pb2.RUN_STATE_SUCCEEDED
    assert (answer.facts.team, answer.facts.workflow) == ("ads", "shop:train")
    assert (answer.accept_time_us, answer.last_event_number) == (BEGIN_US, 9)
    assert [(span.node, span.attempt, span.operator, span.place) for span in answer.attempts] == [
        (0, 1, "shop:even", "local/worker-0"),
        (0, 2, "shop:even", "local/worker-0"),
        (1, 1, "shop:odd", "local/worker-1"),
    ]
    assert answer.attempts[0].failure.error_type == "ValueError"
    assert not answer.attempts[1].HasField("failure")
    assert answer.attempts[2].ready_time_us < answer.attempts[2].commit_time_us < answer.attempts[2].end_time_us
    assert await events(service) == whole_story().events()


async def test_progress_names_each_stream(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    await service.follower.wait_stored("0/1", await tell(orchestrator[0], whole_story()))
    await service.follower.wait_stored("1/7", await tell(orchestrator[0], whole_story(OTHER_RUN), stream="1/7"))
    answer = await service.stub.GetProgress(pb.GetProgressRequest(), metadata=IDENTITY.metadata)
    assert [(one.stream, one.position) for one in answer.streams] == [("0/1", 5), ("1/7", 5)]
    assert service.metric("mwfs_observability_events_stored_total") == 18


async def test_a_broken_stream_goes_on_where_it_stood(start: Start, orchestrator: Orchestrator) -> None:
    fake = orchestrator[0]
    service = await start()
    told = whole_story().events()
    await service.follower.wait_stored("0/1", await fake.commit(told[0]))
    await fake.break_streams()
    for batch in told[1:]:
        await fake.commit(batch)
    await service.follower.wait_stored("0/1", 5)
    assert fake.cursors_seen == [{}, {"0/1": 1}]
    assert await events(service) == told


async def test_a_restarted_service_stores_nothing_twice_even_when_told_twice(
    start: Start, orchestrator: Orchestrator
) -> None:
    fake = orchestrator[0]
    first = await start()
    told = whole_story().events()
    for batch in told[:3]:
        await fake.commit(batch)
    await first.follower.wait_stored("0/1", 3)
    await first.follower.stop()
    fake.repeat = 2
    second = await start()
    for batch in told[3:]:
        await fake.commit(batch)
    await second.follower.wait_stored("0/1", 5)
    assert await events(second) == told
    assert second.metric("mwfs_observability_duplicate_commits_total") == 2
    assert second.metric("mwfs_observability_events_stored_total") == sum(len(batch.kind) for batch in told[3:])


async def test_the_same_events_in_another_stream_are_ignored(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    await service.follower.wait_stored("0/1", await tell(orchestrator[0], whole_story()))
    await service.follower.wait_stored("0/2", await tell(orchestrator[0], whole_story(), stream="0/2"))
    assert await events(service) == whole_story().events()


async def test_a_full_batch_is_stored_before_more_is_read(start: Start, orchestrator: Orchestrator) -> None:
    service = await start(full_bytes=1)
    told = whole_story().events()
    for batch in told:
        position = await orchestrator[0].commit(batch)
        await service.follower.wait_stored("0/1", position)
    assert service.metric("mwfs_observability_batches_stored_total") == 5
    assert await events(service) == told


async def test_events_out_of_order_show_up_to_the_gap(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    told = whole_story().events()
    await orchestrator[0].commit(told[0])
    await orchestrator[0].commit(told[2], stream="0/2")
    await service.follower.wait_stored("0/1", 1)
    await service.follower.wait_stored("0/2", 1)
    assert (await timeline(service)).last_event_number == 2
    assert await events(service) == told[:1]


async def test_pages_are_of_one_picture(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    story = Story().accept().start(5)
    for node in range(3):
        story.begin(node)
    await service.follower.wait_stored("0/1", await tell(orchestrator[0], story))
    first = await timeline(service, page_size=2)
    story.begin(3).succeed(0)
    await service.follower.wait_stored("0/1", await orchestrator[0].commit(story.events()[-1]))
    second = await timeline(service, page_size=2, page_token=first.next_page_token)
    assert [span.node for span in [*first.attempts, *second.attempts]] == [0, 1, 2]
    assert (second.next_page_token, second.last_event_number) == ("", first.last_event_number)
    assert [span.node for span in (await timeline(service)).attempts] == [0, 1, 2, 3]


async def test_a_page_survives_a_restart(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    await service.follower.wait_stored("0/1", await tell(orchestrator[0], whole_story()))
    token = (await timeline(service, page_size=2)).next_page_token
    other = await start()
    assert [span.node for span in (await timeline(other, page_size=2, page_token=token)).attempts] == [1]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.GetTimelineRequest(run_id=OTHER_RUN), grpc.StatusCode.NOT_FOUND),
        (pb.GetTimelineRequest(run_id="x"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.GetTimelineRequest(run_id=OTHER_RUN, page_size=100_001), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.GetTimelineRequest(run_id=OTHER_RUN, page_token="3"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    start: Start, request_: pb.GetTimelineRequest, code: grpc.StatusCode
) -> None:
    service = await start()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stub.GetTimeline(request_, metadata=IDENTITY.metadata)
    assert refused.value.code() == code


async def test_runs_of_other_teams_are_not_found(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    await service.follower.wait_stored("0/1", await tell(orchestrator[0], whole_story()))
    stranger = Identity(token="secret", principal="bob", team="feed").metadata
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stub.GetTimeline(pb.GetTimelineRequest(run_id=RUN_ID), metadata=stranger)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stub.ListEvents(pb.ListEventsRequest(run_id=RUN_ID), metadata=stranger).read()
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_events_that_do_not_fold_are_data_loss_and_still_listed(start: Start, orchestrator: Orchestrator) -> None:
    service = await start()
    told = whole_story().events()[0]
    del told.node[:]
    await service.follower.wait_stored("0/1", await orchestrator[0].commit(told))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await timeline(service)
    assert refused.value.code() == grpc.StatusCode.DATA_LOSS
    assert await events(service) == [told]


async def test_lost_database_connections_lose_no_event(start: Start, orchestrator: Orchestrator) -> None:
    fake = orchestrator[0]
    service = await start()
    told = whole_story().events()
    await service.follower.wait_stored("0/1", await fake.commit(told[0]))
    other = await asyncpg.connect(service.dsn)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()
    for batch in told[1:]:
        await fake.commit(batch)
    async with asyncio.timeout(250):
        await service.follower.wait_stored("0/1", 5)
    assert await events(service) == told


async def test_who_was_away_for_too_long_forgets_everything_and_begins_anew(
    start: Start, orchestrator: Orchestrator
) -> None:
    fake = orchestrator[0]
    service = await start()
    await service.follower.wait_stored("0/1", await tell(fake, whole_story()))
    await service.follower.stop()
    await tell(fake, whole_story(OTHER_RUN))
    kept = "00000000-0000-4000-8000-000000000002"
    position = await tell(fake, whole_story(kept))
    fake.removed_to["0/1"] = position - len(whole_story(kept).events())
    again = await start()
    await again.follower.wait_stored("0/1", position)
    assert (await timeline(again, kept)).state == events_pb2.RUN_STATE_SUCCEEDED
    for gone in (RUN_ID, OTHER_RUN):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await timeline(again, gone)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
