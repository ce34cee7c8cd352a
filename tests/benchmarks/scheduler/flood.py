"""How long others wait for their start while one team asks for 100,000 nodes, each a request of its own, over real streams. Run it as a script.

Nodes run for up to twice `--seconds`, so that room comes free all the time. Others begin to ask with the flood, and go on for `--least-s`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

import grpc
from scheduler_stream import IDENTITY, serve

from mwfs_api.dags.v1.dag_pb2 import Resources
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from mwfs_chassis.channel import open_channel

CORE = Resources(cpu_millis=1000)
#: In one message, as an orchestrator would put together what becomes ready meanwhile.
TOGETHER = 1_000


class Replica:
    """An orchestrator whose nodes run for so many seconds on average."""

    def __init__(self, stream: Any, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._writing = asyncio.Lock()
        self._dice = random.Random(0)
        #: When each group was asked for, and when it was granted first.
        self.asked: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.came = asyncio.Event()

    @classmethod
    async def connect(cls, stub: SchedulerServiceStub, name: str, seconds: float) -> Replica:
        stream: Any = stub.Request(metadata=IDENTITY.metadata)
        await stream.write(pb.RequestRequest(hello=pb.Hello(replica=name)))
        await stream.read()
        return cls(stream, seconds)

    async def ask(self, groups: list[str], team: str) -> None:
        demands = [pb.Demand(group_id=name, add=1, team=team, run_id=name, resources=CORE) for name in groups]
        now = time.perf_counter()
        self.asked.update(dict.fromkeys(groups, now))
        async with self._writing:
            await self._stream.write(pb.RequestRequest(demands=demands))

    async def work(self) -> None:
        """Until it is cancelled: notes what starts, and ends it when its time is over."""
        async with asyncio.TaskGroup() as releasing:
            while (response := await self._stream.read()) is not grpc.aio.EOF:
                now = time.perf_counter()
                for grant in response.grants:
                    self.started.setdefault(grant.group_id, now)
                self.came.set()
                for grant in response.grants:
                    releasing.create_task(self._release(pb.Release(grant_id=grant.grant_id, count=grant.count)))

    async def _release(self, ended: pb.Release) -> None:
        await asyncio.sleep(self._dice.uniform(0, 2 * self._seconds))
        async with self._writing:
            await self._stream.write(pb.RequestRequest(releases=[ended]))

    @property
    def waited(self) -> list[float]:
        return sorted(self.started[name] - asked for name, asked in self.asked.items() if name in self.started)


async def measure(pipe: Connection, arguments: argparse.Namespace) -> dict[str, float]:
    address = pipe.recv()
    async with open_channel(address) as channel, open_channel(address) as other_channel:
        stub = SchedulerServiceStub(channel)
        offers = []
        for at in range(arguments.hosts):
            offer: Any = stub.Offer(metadata=IDENTITY.metadata)
            offers.append(offer)
            await offer.write(
                pb.OfferRequest(host=f"h{at}", address="h:1", capacity=Resources(cpu_millis=1000 * arguments.cores))
            )
            await offer.read()
        flood = await Replica.connect(stub, "flood", arguments.seconds)
        others = await Replica.connect(SchedulerServiceStub(other_channel), "others", arguments.seconds)
        working = [asyncio.create_task(each.work()) for each in (flood, others)]
        pipe.send("begin")
        cpu, begun = pipe.recv(), time.perf_counter()
        pouring = asyncio.create_task(pour(flood, arguments.requests))
        asked = 0
        while not pouring.done() or time.perf_counter() - begun < arguments.least_s:
            await others.ask([f"other-{asked}"], f"team-{asked % arguments.teams}")
            asked += 1
            await asyncio.sleep(arguments.every)
        poured_s = await pouring
        while len(others.started) < asked:
            others.came.clear()
            await others.came.wait()
        seconds = time.perf_counter() - begun
        pipe.send("end")
        cpu = pipe.recv() - cpu
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    waited = others.waited
    return {
        "flood_requests": arguments.requests,
        "flood_written_s": round(poured_s, 2),
        "flood_started_meanwhile": len(flood.started),
        "others": asked,
        "others_wait_median_s": round(statistics.median(waited), 4),
        "others_wait_99_of_100_s": round(waited[int(len(waited) * 0.99)], 4),
        "others_wait_most_s": round(waited[-1], 4),
        "seconds": round(seconds, 1),
        "scheduler_cpu_s": round(cpu, 1),
    }


async def pour(flood: Replica, requests: int) -> float:
    begun = time.perf_counter()
    for first in range(0, requests, TOGETHER):
        await flood.ask([f"flood-{number}" for number in range(first, min(requests, first + TOGETHER))], "flood")
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--cores", type=int, default=64, help="of each host")
    parser.add_argument("--teams", type=int, default=50, help="others")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between two requests of others")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a node runs on average")
    parser.add_argument("--least-s", type=float, default=20.0, help="others ask for so long at least")
    arguments = parser.parse_args()
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    process.start()
    print(json.dumps(asyncio.run(measure(here, arguments))))
    process.join()


if __name__ == "__main__":
    main()
