"""How long nothing is granted when the scheduler that leads is killed, or stands still. Run it as a script, with a DSN of an empty database."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fixtures.service_process import ServiceProcess

from mwfs_api.dags.v1.dag_pb2 import Resources
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_chassis.leader import LeaderFinder
from mwfs_chassis.streams import keep_open

IDENTITY = Identity(token="secret", principal="bench", team="ads")


class Callers:
    """A host and an orchestrator replica that asks for room again and again."""

    def __init__(self, addresses: list[str]) -> None:
        self._finder = LeaderFinder("ipv4:" + ",".join(addresses), IDENTITY)
        self.leader = ""
        self.granted_at = 0.0
        self.epoch = 0
        self.granted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._finder.start()
        self._tasks = [
            asyncio.create_task(keep_open("offer", lambda: self._finder.follow(self._offer))),
            asyncio.create_task(keep_open("requests", lambda: self._finder.follow(self._ask))),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._finder.stop()

    async def _offer(self, address: str) -> None:
        async with open_channel(address) as channel:
            stream: Any = SchedulerServiceStub(channel).Offer(metadata=IDENTITY.metadata)
            capacity = Resources(cpu_millis=64_000, memory_bytes=1 << 36)
            await stream.write(pb.OfferRequest(host="local", address="127.0.0.1:1", capacity=capacity))
            async for _ in stream:
                pass

    async def _ask(self, address: str) -> None:
        async with open_channel(address) as channel:
            stream: Any = SchedulerServiceStub(channel).Request(metadata=IDENTITY.metadata)
            await stream.write(pb.RequestRequest(hello=pb.Hello(replica="orchestrator-0")))
            await stream.write(pb.RequestRequest(demands=[demand()]))
            async for message in stream:
                for grant in message.grants:
                    self.granted_at, self.epoch, self.leader = time.monotonic(), grant.epoch, address
                    self.granted.set()
                    release = pb.Release(grant_id=grant.grant_id, count=grant.count)
                    await asyncio.sleep(0.002)
                    await stream.write(pb.RequestRequest(releases=[release], demands=[demand()]))

    async def grant_beyond(self, epoch: int) -> None:
        while self.epoch <= epoch:
            self.granted.clear()
            await self.granted.wait()


def demand() -> pb.Demand:
    return pb.Demand(group_id="g", add=1, team="ads", run_id="run", resources=Resources(cpu_millis=1000))


async def measure(dsn: str, rounds: int, harm: signal.Signals) -> list[float]:
    """Seconds from the harm to the next grant. Each round starts two processes anew, as nothing restarts them."""
    taken = []
    for number in range(rounds):
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            processes = {}
            for name in (f"{harm.name}-{number}-a", f"{harm.name}-{number}-b"):
                environment = {"MWFS_CATALOGUE_DSN": dsn, "MWFS_SCHEDULER": name}
                process = await stack.enter_async_context(ServiceProcess("mwfs_scheduler", folder, environment))
                processes[process.address] = process
            callers = Callers(list(processes))
            await callers.start()
            await callers.grant_beyond(callers.epoch)
            epoch, leader = callers.epoch, processes[callers.leader]
            # At any moment of the lease.
            await asyncio.sleep(0.3 + 0.03 * number)
            harmed_at = time.monotonic()
            leader.process.send_signal(harm)
            await callers.grant_beyond(epoch)
            taken.append(callers.granted_at - harmed_at)
            await callers.stop()
            if leader.process.returncode is None:
                leader.process.kill()
    return taken


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn", help="of an empty PostgreSQL database")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for harm in (signal.SIGKILL, signal.SIGSTOP):
        taken = await measure(arguments.dsn, arguments.rounds, harm)
        figures = {"median_s": statistics.median(taken), "max_s": max(taken), "rounds": len(taken)}
        print(json.dumps({"harm": harm.name, **{name: round(value, 3) for name, value in figures.items()}}))


if __name__ == "__main__":
    asyncio.run(main())
