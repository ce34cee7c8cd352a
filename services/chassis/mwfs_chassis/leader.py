"""Finds the scheduler that leads among several, and follows it when another takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mwfs_api.scheduler.v1 import leader_pb2, leader_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_chassis.streams import keep_open


def addresses_of(target: str) -> list[str]:
    """The addresses of a target of gRPC: `host:port`, or `ipv4:host:port,host:port`."""
    return target.removeprefix("ipv4:").split(",") if target.startswith("ipv4:") else [target]


class LeaderFinder:
    """Every scheduler says who leads, also those that stand by; the highest epoch is right. With one scheduler nobody is asked."""

    def __init__(self, target: str, identity: Identity) -> None:
        self._addresses = addresses_of(target)
        self._identity = identity
        self._epoch = 0
        self._leader = self._addresses[0] if len(self._addresses) == 1 else ""
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if len(self._addresses) > 1:
            self._tasks = [
                asyncio.create_task(keep_open(f"leader-{address}", lambda at=address: self._watch(at)))  # type: ignore[misc]
                for address in self._addresses
            ]

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def follow(self, talk: Callable[[str], Awaitable[None]]) -> None:
        """Calls `talk` with the leader's address, cancels it and calls it again when another leads, until it ends by itself."""
        if len(self._addresses) == 1:
            await talk(self._leader)
            return None
        while True:
            leader = await self._other_than("")
            talking = asyncio.ensure_future(talk(leader))
            moved = asyncio.ensure_future(self._other_than(leader))
            try:
                await asyncio.wait({talking, moved}, return_when=asyncio.FIRST_COMPLETED)
                if talking.done():
                    return talking.result()
            finally:
                for task in (talking, moved):
                    task.cancel()
                await asyncio.gather(talking, moved, return_exceptions=True)

    async def _other_than(self, leader: str) -> str:
        while self._leader in ("", leader):
            await self._changed.wait()
        return self._leader

    async def _watch(self, address: str) -> None:
        async with open_channel(address) as channel:
            stub = leader_pb2_grpc.LeaderServiceStub(channel)
            async for said in stub.WatchLeader(leader_pb2.WatchLeaderRequest(), metadata=self._identity.metadata):
                if said.epoch > self._epoch:
                    self._epoch, self._leader = said.epoch, said.address
                    self._changed.set()
                    self._changed = asyncio.Event()
