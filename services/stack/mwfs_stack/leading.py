"""Which of the schedulers of a home leads."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from mwfs_api.scheduler.v1 import leader_pb2, leader_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_stack.child import SERVING
from mwfs_stack.states import ServiceState

SCHEDULER = "scheduler"
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """The scheduler that leads."""

    service: str
    #: Counts the times that one began to lead.
    epoch: int
    since_us: int


async def leading(states: Iterable[ServiceState], token: str) -> Leading | None:
    """What those that serve say; of several answers that of the highest epoch is right. None when none says it in time."""
    schedulers = [each for each in states if each.name.partition("-")[0] == SCHEDULER and each.state == SERVING]
    said = [each for each in await asyncio.gather(*(_ask(each.address, token) for each in schedulers)) if each]
    if not said:
        return None
    newest = max(said, key=lambda each: each.epoch)
    name = next((each.name for each in schedulers if each.address == newest.address), newest.address)
    return Leading(service=name, epoch=newest.epoch, since_us=newest.since_time_us)


async def _ask(address: str, token: str) -> leader_pb2.WatchLeaderResponse | None:
    async with open_channel(address) as channel:
        call = leader_pb2_grpc.LeaderServiceStub(channel).WatchLeader(
            leader_pb2.WatchLeaderRequest(),
            metadata=Identity(token=token, principal="status", team="default").metadata,
            timeout=_PATIENCE_S,
        )
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for said in call:
                answer: leader_pb2.WatchLeaderResponse = said
                return answer
    return None
