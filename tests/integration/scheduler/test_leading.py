"""Two scheduler processes: one leads, and when it is killed or stands still the other takes over; a past leader grants nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from fixtures.service_process import ServiceProcess

from mwfs_api.dags.v1.dag_pb2 import Resources
from mwfs_api.scheduler.v1 import leader_pb2, quotas_pb2, quotas_pb2_grpc, what_if_pb2, what_if_pb2_grpc
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.leader_pb2_grpc import LeaderServiceStub
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_chassis.leader import LeaderFinder
from mwfs_chassis.postgres import load_queries, open_pool
from mwfs_scheduler.leading.leadership import Leadership
from mwfs_scheduler.leading.store import LeaderStore

IDENTITY = Identity(token="secret", principal="tester", team="ads")
#: Two of these fill the host of `offer`.
NEED = Resources(cpu_millis=1000)


class World:
    """Scheduler processes on one catalogue."""

    def __init__(self, dsn: str, folder: Path, stack: AsyncExitStack) -> None:
        self.dsn = dsn
        self._folder = folder
        self._stack = stack

    async def scheduler(self, name: str) -> ServiceProcess:
        environment = {"MWFS_CATALOGUE_DSN": self.dsn, "MWFS_SCHEDULER": name}
        return await self._stack.enter_async_context(ServiceProcess("mwfs_scheduler", self._folder, environment))

    async def channel(self, process: ServiceProcess) -> grpc.aio.Channel:
        return await self._stack.enter_async_context(open_channel(process.address))

    async def finder(self, *processes: ServiceProcess) -> LeaderFinder:
        finder = LeaderFinder("ipv4:" + ",".join(each.address for each in processes), IDENTITY)
        await finder.start()
        self._stack.push_async_callback(finder.stop)
        return finder


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(database, tmp_path, stack)


async def leader_said(channel: grpc.aio.Channel, *, beyond: int = 0) -> leader_pb2.WatchLeaderResponse:
    """What the process says of who leads, once the epoch is above `beyond`."""
    call: Any = LeaderServiceStub(channel).WatchLeader(leader_pb2.WatchLeaderRequest(), metadata=IDENTITY.metadata)
    async for said in call:
        if said.epoch > beyond:
            call.cancel()
            answer: leader_pb2.WatchLeaderResponse = said
            return answer
    raise AssertionError("the stream ended")


async def hello(channel: grpc.aio.Channel, *held: pb.HeldGrant, replica: str = "orchestrator-0") -> Any:
    stream: Any = SchedulerServiceStub(channel).Request(metadata=IDENTITY.metadata)
    await stream.write(pb.RequestRequest(hello=pb.Hello(replica=replica, held=held)))
    greeting = await stream.read()
    return stream, greeting.epoch


async def offer(channel: grpc.aio.Channel) -> Any:
    stream: Any = SchedulerServiceStub(channel).Offer(metadata=IDENTITY.metadata)
    await stream.write(
        pb.OfferRequest(host="local", address="127.0.0.1:1", capacity=Resources(cpu_millis=2000, memory_bytes=1 << 30))
    )
    return stream, (await stream.read()).epoch


def demand(group: str, add: int) -> pb.RequestRequest:
    return pb.RequestRequest(demands=[pb.Demand(group_id=group, add=add, team="ads", run_id="run", resources=NEED)])


async def granted(stream: Any) -> list[pb.Grant]:
    """The next message that grants something."""
    while not (message := await stream.read()).grants:
        assert message is not grpc.aio.EOF
    return list(message.grants)


async def refusal(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_one_leads_and_the_other_says_so(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    one, other = await world.channel(first), await world.channel(second)
    for channel in (one, other):
        said = await leader_said(channel)
        assert (said.epoch, said.address) == (1, first.address)
    # Streams are refused with the address, before anything is said on them; unary calls are answered as the leader would.
    stub = SchedulerServiceStub(other)
    for opening in (stub.Request, stub.Offer):
        error = await refusal(opening(metadata=IDENTITY.metadata).read())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert first.address in (error.details() or "")
    _offering, _ = await offer(one)
    listed = await stub.ListHosts(pb.ListHostsRequest(), metadata=IDENTITY.metadata)
    assert [host.host for host in listed.hosts] == ["local"]
    change = quotas_pb2.ChangeQuotasRequest(request_id="x", set=[quotas_pb2.TeamQuota(team="ads")])
    changed = await quotas_pb2_grpc.QuotaServiceStub(other).ChangeQuotas(change, metadata=IDENTITY.metadata)
    assert changed.version == 1
    error = await refusal(
        quotas_pb2_grpc.QuotaServiceStub(other).ListTeams(
            quotas_pb2.ListTeamsRequest(team="nobody"), metadata=IDENTITY.metadata
        )
    )
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_the_lead_is_left_at_a_stop(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    other = await world.channel(second)
    assert (await leader_said(other)).epoch == 1
    assert await first.terminate() == 0
    assert (await leader_said(other, beyond=1)).address == second.address


async def test_another_takes_over_from_a_leader_that_was_killed(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    one, other = await world.channel(first), await world.channel(second)
    _offering, _ = await offer(one)
    stream, _ = await hello(one)
    await stream.write(demand("g", 3))
    grant, second_grant = await granted(stream)
    assert (grant.count, second_grant.count, grant.epoch) == (1, 1, 1)
    await first.kill()
    assert (await leader_said(other, beyond=1)).epoch == 2
    _other_offering, epoch = await offer(other)
    assert epoch == 2
    held = pb.HeldGrant(grant_id=grant.grant_id, host="local", count=1, resources=NEED, team="ads")
    stream, epoch = await hello(other, held)
    await stream.write(demand("g", 3))
    [grant] = await granted(stream)
    assert (epoch, grant.epoch, grant.count) == (2, 2, 1)  # beside the one that is held


async def test_a_leader_that_stood_still_is_past_and_grants_nothing(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    one, other = await world.channel(first), await world.channel(second)
    _offering, _ = await offer(one)
    old, _ = await hello(one)
    first.process.send_signal(signal.SIGSTOP)
    try:
        assert (await leader_said(other, beyond=1)).epoch == 2
        _other_offering, _ = await offer(other)
        new, _ = await hello(other)
        await new.write(demand("g", 2))
        assert [(grant.epoch, grant.count) for grant in await granted(new)] == [(2, 1), (2, 1)]
        await old.write(demand("g", 2))  # is there when it wakes up, with room as far as it knows
    finally:
        first.process.send_signal(signal.SIGCONT)
    ended = await refusal(granted(old))
    assert ended.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert await first.process.wait() == 70  # to be started again, as one that stands by


async def test_callers_follow_the_leader(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    finder = await world.finder(first, second)
    talked: asyncio.Queue[str] = asyncio.Queue()

    async def talk(address: str) -> None:
        await talked.put(address)
        await asyncio.Event().wait()

    following = asyncio.create_task(finder.follow(talk))
    assert await talked.get() == first.address
    first.process.send_signal(signal.SIGSTOP)
    assert await talked.get() == second.address
    first.process.send_signal(signal.SIGCONT)
    await first.process.wait()
    third = await world.scheduler("c")
    assert third.address
    assert talked.empty()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_leader_that_cannot_renew_holds_nothing_until_it_can(
    databases: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    [dsn] = databases(1, package="mwfs_scheduler")
    pool, queries = await open_pool(dsn, max_size=2), load_queries("mwfs_scheduler")
    given_up: list[str] = []
    resumed, gone, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def give_up(why: str) -> None:
        given_up.append(why)
        loop.call_soon_threadsafe(gone.set)

    async def begin(epoch: int) -> None:
        assert epoch == 1

    lead = Leadership(
        LeaderStore(pool, queries),
        dsn=dsn,
        queries=queries,
        instance="a",
        address=lambda: "127.0.0.1:1",
        begin=begin,
        renewed=resumed.set,
        give_up=give_up,
        seconds=2,
    )
    await lead.start()
    assert lead.holds
    # While the row is locked nothing can be renewed, as while the catalogue is away.
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT * FROM scheduler_leader FOR UPDATE")
        while lead.holds:  # noqa: ASYNC110 - nobody tells: that time has passed is all there is
            await asyncio.sleep(0.01)
        resumed.clear()
    await resumed.wait()
    # The answer to a renewal that was asked for long ago may be about to run out: the next one is told again then.
    while not lead.holds:
        await resumed.wait()
        resumed.clear()
    assert given_up == []
    row = await pool.fetchrow("SELECT epoch FROM scheduler_leader")
    assert row["epoch"] == 1  # nobody else wanted it
    # Now somebody else has it.
    await pool.execute("UPDATE scheduler_leader SET epoch = 2, instance = 'b', expires_at = 'infinity'")
    await gone.wait()
    assert not lead.holds
    assert "another scheduler has taken the lead" in given_up[0]
    await lead.stop()
    assert (await pool.fetchval("SELECT expires_at > now() FROM scheduler_leader")) is True  # not left for the other
    await pool.close()


async def explained(channel: grpc.aio.Channel, reason: pb.WaitingReason.ValueType) -> pb.WaitingGroup:
    """Why the one group waits, once it is for this reason."""
    stub = SchedulerServiceStub(channel)
    while True:  # a round trip each
        answer = await stub.ExplainWaiting(pb.ExplainWaitingRequest(run_id="run"), metadata=IDENTITY.metadata)
        if [group.reason for group in answer.groups] == [reason]:
            group: pb.WaitingGroup = answer.groups[0]
            return group


async def test_while_the_catalogue_is_away_nothing_is_granted_and_that_is_said(world: World) -> None:
    channel = await world.channel(await world.scheduler("a"))
    _offering, _ = await offer(channel)
    stream, _ = await hello(channel)
    await stream.write(demand("g", 3))
    first, _second = await granted(stream)
    await explained(channel, pb.WAITING_REASON_WAITING_FOR_CAPACITY)
    connection = await asyncpg.connect(world.dsn)
    try:
        # Nothing can be renewed while the row is locked.
        async with connection.transaction():
            await connection.execute("SELECT * FROM scheduler_leader FOR UPDATE")
            group = await explained(channel, pb.WAITING_REASON_PAUSED)
            assert "cannot reach the catalogue" in group.message
            assert not group.permanent
            assert not group.HasField("starts_in_s")
            assert "when the catalogue will be back" in group.estimate
            await stream.write(pb.RequestRequest(releases=[pb.Release(grant_id=first.grant_id, count=1)]))
            listed = pb.ListHostsRequest()
            stub = SchedulerServiceStub(channel)
            while (await stub.ListHosts(listed, metadata=IDENTITY.metadata)).hosts[0].in_use.cpu_millis > 1000:
                pass  # a round trip: the release has been heard
            assert (await explained(channel, pb.WAITING_REASON_PAUSED)).waiting == 1, (
                "there is room, and it is not given"
            )
    finally:
        await connection.close()
    [after] = await granted(stream)
    assert (after.group_id, after.epoch) == ("g", 1), "by the same leader"


async def test_questions_through_one_that_stands_by_are_answered_as_the_leader_would(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    one, other = await world.channel(first), await world.channel(second)
    said = await leader_said(other)
    assert said.address == first.address
    assert said.since_time_us > 0
    assert said == await leader_said(one)
    _offering, _ = await offer(one)
    stream, _ = await hello(one)
    await stream.write(demand("g", 3))
    await granted(stream)
    assert await explained(other, pb.WAITING_REASON_WAITING_FOR_CAPACITY) == await explained(
        one, pb.WAITING_REASON_WAITING_FOR_CAPACITY
    )
    question = what_if_pb2.WhatIfRequest(run_id="run")
    question.hosts.add(capacity=Resources(cpu_millis=1000, memory_bytes=1 << 30), count=1)
    stub = what_if_pb2_grpc.WhatIfServiceStub(other)
    answer = await stub.WhatIf(question, metadata=IDENTITY.metadata)
    assert [(group.waiting, group.starts) for group in answer.groups] == [(1, 1)]
    unknown = await refusal(stub.WhatIf(what_if_pb2.WhatIfRequest(run_id="nobody's"), metadata=IDENTITY.metadata))
    assert (unknown.code(), "mwfs explain" in (unknown.details() or "")) == (grpc.StatusCode.NOT_FOUND, True)
    bad = await refusal(stub.WhatIf(what_if_pb2.WhatIfRequest(), metadata=IDENTITY.metadata))
    assert bad.code() is grpc.StatusCode.INVALID_ARGUMENT
    watch = quotas_pb2.WatchTeamsRequest(team="ads")
    figures = [
        await quotas_pb2_grpc.QuotaServiceStub(channel).WatchTeams(watch, metadata=IDENTITY.metadata).read()
        for channel in (one, other)
    ]
    assert [(said.epoch, said.changed[0].waiting_nodes) for said in figures] == [(1, 1), (1, 1)]
    # The leader stands still: nobody answers in its place before another leads.
    first.process.send_signal(signal.SIGSTOP)
    try:
        assert (await leader_said(other, beyond=1)).address == second.address
        nothing = await refusal(stub.WhatIf(question, metadata=IDENTITY.metadata))
        assert nothing.code() is grpc.StatusCode.NOT_FOUND, "the new leader has not heard of it so far"
    finally:
        first.process.send_signal(signal.SIGCONT)


async def test_a_leader_that_is_away_is_a_typed_answer(world: World) -> None:
    first, second = await world.scheduler("a"), await world.scheduler("b")
    other = await world.channel(second)
    await leader_said(other)
    connection = await asyncpg.connect(world.dsn)
    try:
        # Nobody can take the lead while the row is locked.
        async with connection.transaction():
            await connection.execute("SELECT * FROM scheduler_leader FOR UPDATE")
            await first.kill()
            calls: list[Awaitable[Any]] = [
                SchedulerServiceStub(other).ExplainWaiting(
                    pb.ExplainWaitingRequest(run_id="run"), metadata=IDENTITY.metadata
                ),
                what_if_pb2_grpc.WhatIfServiceStub(other).WhatIf(
                    what_if_pb2.WhatIfRequest(run_id="run"), metadata=IDENTITY.metadata
                ),
            ]
            for call in calls:
                error = await refusal(call)
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert first.address in (error.details() or "")
                assert "Try again in a moment" in (error.details() or "")
    finally:
        await connection.close()
    assert (await leader_said(other, beyond=1)).address == second.address


async def test_of_many_that_look_at_once_one_leads(databases: Callable[..., list[str]]) -> None:
    [dsn] = databases(1, package="mwfs_scheduler")
    pool = await open_pool(dsn, max_size=8)
    store = LeaderStore(pool, load_queries("mwfs_scheduler"))
    epochs = await asyncio.gather(*(store.take(f"s{at}", "", 60) for at in range(8)))
    assert sorted(epoch for epoch in epochs if epoch is not None) == [1]
    leader = await store.read()
    assert leader is not None
    assert not leader.free
    assert await store.take(leader.instance, "", 60) == 2  # started again
    await store.leave(1)  # of a past one
    assert await store.take("other", "", 60) is None
    await store.leave(2)
    assert await store.take("other", "", 60) == 3
    await pool.close()
