"""What may come over the streams of a running scheduler: a flood, hosts that vanish and return, a clock that jumps."""

from __future__ import annotations

import time
from typing import Any

from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_scheduler.quotas import Quotas, TeamQuota

from .conftest import IDENTITY, Service, Start, demand


class SteppedClock:
    """Its monotonic time is what the test says, also backwards."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now_us(self) -> int:
        return time.time_ns() // 1000


async def granted(stream: Any) -> list[pb.Grant]:
    """The next message that grants something."""
    while not (message := await stream.read()).grants:
        pass
    return list(message.grants)


async def in_use(service: Service) -> dict[str, int]:
    """Thousandths of a core, by host; a round trip, after which what was sent before has been heard."""
    listed = await service.stub.ListHosts(pb.ListHostsRequest(), metadata=IDENTITY.metadata)
    return {host.host: host.in_use.cpu_millis for host in listed.hosts}


async def heard(service: Service, waiting: int) -> None:
    """Until so many nodes wait."""
    while service.metric("mwfs_scheduler_nodes_waiting") != waiting:
        await in_use(service)


async def test_a_flood_of_one_team_is_passed_by_every_other_team(start: Start) -> None:
    service = await start()
    await service.offer()
    flood, others = await service.hello("flood"), await service.hello("others")
    for first in range(0, 2_000, 100):
        some = [demand(f"flood-{number}", 1, team="flood") for number in range(first, first + 100)]
        await flood.write(pb.RequestRequest(demands=some))
    running = []
    while len(running) < 4:
        running += await granted(flood)
    await heard(service, 1_996)
    await others.write(pb.RequestRequest(demands=[demand(f"g{at}", 1, team=f"a{at}") for at in range(4)]))
    await heard(service, 2_000)
    served = []
    for grant in running:
        await flood.write(pb.RequestRequest(releases=[pb.Release(grant_id=grant.grant_id, count=1)]))
        served += [one.group_id for one in await granted(others)]
    assert served == ["g0", "g1", "g2", "g3"], "1,996 requests that came before are passed"
    await heard(service, 1_996)


async def test_a_host_that_vanishes_and_returns_still_counts_what_runs_there(start: Start) -> None:
    service = await start()
    offering = await service.offer()
    stream = await service.hello()
    await stream.write(pb.RequestRequest(demands=[demand("g", 9)]))
    [grant] = await granted(stream)
    assert grant.count == 4
    # It returns as it was, then smaller than what runs on it.
    for capacity, ending in ((400, 1), (200, 3)):
        offering.cancel()
        while await in_use(service):
            pass
        answer = await service.stub.ExplainWaiting(pb.ExplainWaitingRequest(run_id="run"), metadata=IDENTITY.metadata)
        [group] = answer.groups
        assert (group.reason, group.permanent) == (pb.WAITING_REASON_WAITING_FOR_CAPACITY, False)
        assert "no host is connected" in group.message
        offering = await service.offer(cpu_millis=capacity)
        assert await in_use(service) == {"local": 400}, "nothing new is started beside what runs"
        await stream.write(pb.RequestRequest(releases=[pb.Release(grant_id=grant.grant_id, count=ending)]))
        [more] = await granted(stream)
        assert more.count == 1
    assert await in_use(service) == {"local": 200}


async def test_room_that_is_made_on_a_host_that_vanishes_is_not_waited_for(start: Start) -> None:
    service = await start()
    offering = await service.offer()
    borrower, owner = await service.hello("one"), await service.hello("two")
    await borrower.write(pb.RequestRequest(demands=[demand("borrowed", 4, team="feed")]))
    await granted(borrower)
    service.engine.apply(Quotas(version=1, teams=(TeamQuota(team="ads", guaranteed={"cpu": 200}),)))
    await owner.write(pb.RequestRequest(demands=[demand("mine", 1)]))
    while not (await borrower.read()).revocations:
        pass
    offering.cancel()
    await service.offer("other")
    [grant] = await granted(owner)
    assert (grant.group_id, grant.host) == ("mine", "other")


async def test_a_clock_that_jumps_delays_and_loses_nothing(start: Start) -> None:
    clock = SteppedClock()
    service = await start(clock=clock)
    await service.offer()
    stream, owner = await service.hello(), await service.hello("owner")
    for number, jump in enumerate((0.0, 30_000_000.0, -20_000_000.0, 5.0)):
        clock.seconds += jump
        await stream.write(pb.RequestRequest(demands=[demand(f"g{number}", 1, team="feed")]))
        [grant] = await granted(stream)
        assert (grant.group_id, grant.count) == (f"g{number}", 1)
    service.engine.apply(Quotas(version=1, teams=(TeamQuota(team="ads", guaranteed={"cpu": 200}),)))
    clock.seconds -= 1_000.0
    await owner.write(pb.RequestRequest(demands=[demand("mine", 1)]))
    while not (message := await stream.read()).revocations:
        pass
    [told] = message.revocations
    assert (told.count, told.grace_ms) == (1, 30_000)
    clock.seconds += 1e9
    await stream.write(pb.RequestRequest(releases=[pb.Release(grant_id=told.grant_id, count=1)]))
    [grant] = await granted(owner)
    assert grant.group_id == "mine"
    assert await in_use(service) == {"local": 400}
