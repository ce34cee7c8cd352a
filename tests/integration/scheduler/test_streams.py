"""The scheduler over real gRPC and a real catalogue: streams, restarts, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from mwfs_api.dags.v1.dag_pb2 import Resources
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_scheduler.quotas import Quotas, TeamQuota

from .conftest import AT_ONCE_S, IDENTITY, Start, demand, inventory, refused


async def test_demands_are_granted_and_releases_make_room(start: Start) -> None:
    service = await start()
    await service.offer()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(demands=[demand("g", 6)]))
    [grant] = (await stream.read()).grants
    assert (grant.group_id, grant.count, grant.host, grant.epoch, grant.valid_ms) == ("g", 4, "local", 1, 30_000)
    await stream.write(pb.RequestRequest(releases=[pb.Release(grant_id=grant.grant_id, count=2)]))
    [more] = (await stream.read()).grants
    assert more.count == 2
    hosts = (await service.stub.ListHosts(pb.ListHostsRequest(), metadata=IDENTITY.metadata)).hosts
    assert [(host.host, host.in_use.cpu_millis) for host in hosts] == [("local", 400)]
    assert service.metric("mwfs_scheduler_granted_nodes_total") == 6


async def test_a_later_demand_need_not_describe_its_group(start: Start) -> None:
    service = await start()
    await service.offer()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(demands=[demand("g", 1)]))
    await stream.read()
    await stream.write(pb.RequestRequest(demands=[pb.Demand(group_id="g", add=2)]))
    [grant] = (await stream.read()).grants
    assert grant.count == 2


async def test_the_hello_may_already_carry_demands(start: Start) -> None:
    service = await start()
    await service.offer()
    stream = service.stream()
    await stream.write(pb.RequestRequest(hello=pb.Hello(replica="orchestrator-0"), demands=[demand("g", 1)]))
    greeting = await stream.read()
    assert (greeting.epoch, [host.host for host in greeting.hosts.hosts]) == (1, ["local"])
    assert [grant.count for grant in (await stream.read()).grants] == [1]


async def test_replicas_hear_of_hosts_that_come_and_go(start: Start) -> None:
    service = await start()
    stream = await service.hello()
    host = await service.offer("a")
    assert [known.host for known in (await stream.read()).hosts.hosts] == ["a"]
    await host.write(inventory("a", 9000))
    assert [known.capacity.cpu_millis for known in (await stream.read()).hosts.hosts] == [9000]
    host.cancel()
    gone = await stream.read()
    assert gone.HasField("hosts")
    assert list(gone.hosts.hosts) == []


async def test_grants_of_a_broken_stream_wait_for_the_next_hello(start: Start) -> None:
    service = await start()
    await service.offer()
    first = await service.hello("one")
    await first.write(pb.RequestRequest(demands=[demand("g", 3)]))
    [grant] = (await first.read()).grants
    first.cancel()
    other = await service.hello("two")
    await other.write(pb.RequestRequest(demands=[demand("h", 9)]))
    [rest] = (await other.read()).grants
    assert rest.count == 1
    held = pb.HeldGrant(grant_id=grant.grant_id, host="local", count=1, resources=Resources(cpu_millis=100), team="ads")
    await service.hello("one", [held])
    [freed] = (await other.read()).grants
    assert freed.count == 2


async def test_grants_of_a_replica_that_stays_away_are_freed(start: Start) -> None:
    service = await start(grace_s=AT_ONCE_S)
    await service.offer()
    first = await service.hello("one")
    await first.write(pb.RequestRequest(demands=[demand("g", 4)]))
    await first.read()
    other = await service.hello("two")
    await other.write(pb.RequestRequest(demands=[demand("h", 4)]))
    first.cancel()
    [freed] = (await other.read()).grants
    assert freed.count == 4


async def test_a_restarted_scheduler_rebuilds_from_hellos_and_grants_nothing_twice(start: Start) -> None:
    before = await start()
    await before.offer()
    one, two = await before.hello("one"), await before.hello("two")
    await one.write(pb.RequestRequest(demands=[demand("g", 3)]))
    [held_by_one] = (await one.read()).grants
    await before.stop()

    after = await start()
    assert after.engine.epoch == before.engine.epoch + 1
    await after.offer()
    two = await after.hello("two")
    await two.write(pb.RequestRequest(demands=[demand("h", 4)]))
    question = pb.ExplainWaitingRequest(run_id="run")
    # The answer comes after the demand was read: both are on one connection, but only the loop orders them.
    while not (waiting := (await after.stub.ExplainWaiting(question, metadata=IDENTITY.metadata)).groups):
        pass
    assert "waits for one" in waiting[0].message
    held = pb.HeldGrant(
        grant_id=held_by_one.grant_id, host="local", count=3, resources=Resources(cpu_millis=100), team="ads"
    )
    await after.hello("one", [held])
    [grant] = (await two.read()).grants
    assert (grant.count, grant.epoch) == (1, after.engine.epoch)


async def test_a_restarted_scheduler_does_not_wait_for_ever(start: Start) -> None:
    before = await start()
    await before.hello("gone")
    await before.stop()
    after = await start(grace_s=AT_ONCE_S)
    await after.offer()
    stream = await after.hello("two")
    await stream.write(pb.RequestRequest(demands=[demand("h", 4)]))
    [grant] = (await stream.read()).grants
    assert grant.count == 4


async def test_teams_share_when_both_wait(start: Start) -> None:
    service = await start()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(demands=[demand("a", 100, "ads"), demand("f", 100, "feed")]))
    question = pb.ExplainWaitingRequest(run_id="run")
    while len((await service.stub.ExplainWaiting(question, metadata=IDENTITY.metadata)).groups) < 2:
        pass
    await service.offer(cpu_millis=1000)
    granted: dict[str, int] = {}
    while sum(granted.values()) < 10:
        for grant in (await stream.read()).grants:
            granted[grant.group_id] = granted.get(grant.group_id, 0) + grant.count
    assert granted == {"a": 5, "f": 5}


async def test_waiting_has_a_reason(start: Start) -> None:
    service = await start()
    await service.offer()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(demands=[demand("large", 1, cpu_millis=64_000), demand("small", 1)]))
    await stream.read()
    answer = await service.stub.ExplainWaiting(pb.ExplainWaitingRequest(run_id="run"), metadata=IDENTITY.metadata)
    [group] = answer.groups
    assert (group.group_id, group.waiting, group.permanent) == ("large", 1, True)
    assert group.reason == pb.WAITING_REASON_NO_NODE_LARGE_ENOUGH


async def test_custom_resources_and_labels_from_an_offer_to_a_grant_and_a_list(start: Start) -> None:
    service = await start()
    stream = await service.hello()
    wanted = demand("g", 2)
    wanted.resources.custom.add(name="licenses", amount=1)
    wanted.resources.labels.add(key="zone", values=["a", "b"])
    await stream.write(pb.RequestRequest(demands=[wanted]))
    await service.offer("plain", cpu_millis=1000)
    offered = inventory("licensed", 1000)
    offered.capacity.custom.add(name="licenses", amount=1)
    offered.capacity.labels.add(key="zone", values=["b"])
    host: Any = service.stub.Offer(metadata=IDENTITY.metadata)
    await host.write(offered)
    while not (grants := (await stream.read()).grants):
        pass
    assert [(grant.host, grant.count) for grant in grants] == [("licensed", 1)]
    listed = await service.stub.ListHosts(pb.ListHostsRequest(), metadata=IDENTITY.metadata)
    [mine] = [one for one in listed.hosts if one.host == "licensed"]
    assert mine.capacity == offered.capacity
    assert mine.in_use == Resources(cpu_millis=100, custom=wanted.resources.custom)
    answer = await service.stub.ExplainWaiting(pb.ExplainWaitingRequest(run_id="run"), metadata=IDENTITY.metadata)
    [group] = answer.groups
    assert group.resources == wanted.resources
    assert "1 × licenses on a host with zone=a or b; 1 host could run it and has 0 × licenses free" in group.message


async def test_offers_that_cannot_be_counted_or_read_are_refused_and_the_others_stay(start: Start) -> None:
    service = await start()
    for at in range(4):
        full = inventory(f"h{at}", 1000)
        for one in range(16):
            full.capacity.custom.add(name=f"n{at}.{one:02}", amount=1)
        offering: Any = service.stub.Offer(metadata=IDENTITY.metadata)
        await offering.write(full)
        await offering.read()
    for name, amount, code in (
        ("late", 1, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("gpu", 1, grpc.StatusCode.INVALID_ARGUMENT),
    ):
        wrong = inventory("late", 1000)
        wrong.capacity.custom.add(name=name, amount=amount)
        stream: Any = service.stub.Offer(metadata=IDENTITY.metadata)
        await stream.write(wrong)
        assert (await refused(stream)).code() is code
    listed = await service.stub.ListHosts(pb.ListHostsRequest(), metadata=IDENTITY.metadata)
    assert [one.host for one in listed.hosts] == ["h0", "h1", "h2", "h3"]
    # Nor does a refused offer speak for a host that has another stream: when that ends, the host is gone.
    wrong = inventory("h3", 1000)
    wrong.capacity.custom.add(name="late", amount=1)
    stream = service.stub.Offer(metadata=IDENTITY.metadata)
    await stream.write(wrong)
    assert (await refused(stream)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    offering.cancel()
    while len((await service.stub.ListHosts(pb.ListHostsRequest(), metadata=IDENTITY.metadata)).hosts) > 3:
        pass


async def test_who_borrowed_is_told_to_make_room_and_counts_until_it_has(start: Start) -> None:
    service = await start()
    await service.offer()
    borrower, owner = await service.hello("one"), await service.hello("two")
    await borrower.write(pb.RequestRequest(demands=[demand("borrowed", 4, team="feed")]))
    [grant] = (await borrower.read()).grants
    promised = TeamQuota(team="ads", guaranteed={"cpu": 200})
    service.engine.apply(Quotas(version=1, teams=(promised,)))
    await owner.write(pb.RequestRequest(demands=[demand("mine", 2)]))
    [told] = (await borrower.read()).revocations
    assert (told.grant_id, told.count, told.grace_ms) == (grant.grant_id, 4, 30_000)
    assert "ads" in told.reason
    answer = await service.stub.ExplainWaiting(pb.ExplainWaitingRequest(run_id="run"), metadata=IDENTITY.metadata)
    [waiting] = answer.groups
    assert (waiting.group_id, waiting.reason) == ("mine", pb.WAITING_REASON_WAITING_FOR_PREEMPTED)
    assert "4 nodes of feed have been told to leave" in waiting.message
    await borrower.write(pb.RequestRequest(releases=[pb.Release(grant_id=grant.grant_id, count=2)]))
    [room] = (await owner.read()).grants
    assert (room.group_id, room.count) == ("mine", 2)
    assert service.metric("mwfs_scheduler_revoked_nodes_total") == 4


async def test_a_withdrawn_group_is_gone(start: Start) -> None:
    service = await start()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(demands=[demand("g", 5)], withdrawn_groups=["g"]))
    await stream.write(pb.RequestRequest(demands=[demand("h", 1)]))
    await service.offer()
    granted: list[str] = []
    while not granted:
        granted += [grant.group_id for grant in (await stream.read()).grants]
    assert granted == ["h"]


async def test_unknown_releases_are_counted(start: Start) -> None:
    service = await start()
    await service.offer()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(releases=[pb.Release(grant_id="0.9", count=1)], demands=[demand("g", 1)]))
    await stream.read()
    assert service.metric("mwfs_scheduler_unknown_releases_total") == 1


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (pb.RequestRequest(demands=[pb.Demand(group_id="g", add=1)]), "hello"),
        (
            pb.RequestRequest(hello=pb.Hello(replica="r"), demands=[pb.Demand(group_id="g", team="ads", add=1)]),
            "no run_id",
        ),
        (pb.RequestRequest(hello=pb.Hello(replica="r", held=[pb.HeldGrant(grant_id="1.1")])), "held grant"),
    ],
)
async def test_malformed_openings_are_refused(start: Start, first: pb.RequestRequest, words: str) -> None:
    service = await start()
    stream = service.stream()
    await stream.write(first)
    error = await refused(stream)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in (error.details() or "")


@pytest.mark.parametrize(
    "message",
    [
        pb.RequestRequest(demands=[pb.Demand(group_id="g", add=1)]),
        pb.RequestRequest(hello=pb.Hello(replica="orchestrator-0")),
    ],
)
async def test_a_malformed_message_ends_the_stream(start: Start, message: pb.RequestRequest) -> None:
    service = await start()
    stream = await service.hello()
    await stream.write(message)
    assert (await refused(stream)).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_second_stream_of_a_replica_ends_the_first(start: Start) -> None:
    service = await start()
    await service.offer()
    first = await service.hello()
    second = await service.hello()
    assert (await refused(first)).code() == grpc.StatusCode.ABORTED
    await second.write(pb.RequestRequest(demands=[demand("g", 1)]))
    assert [grant.count for grant in (await second.read()).grants] == [1]


async def test_an_offer_stream_must_begin_with_an_inventory(start: Start) -> None:
    service = await start()
    stream = service.stub.Offer(metadata=IDENTITY.metadata)
    await stream.write(pb.OfferRequest(host="local"))
    assert (await refused(stream)).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stopping_scheduler_ends_its_streams(start: Start) -> None:
    service = await start()
    stream = await service.hello()
    stopping = asyncio.ensure_future(service.engine.stop())
    assert await stream.read() is grpc.aio.EOF
    await stopping
