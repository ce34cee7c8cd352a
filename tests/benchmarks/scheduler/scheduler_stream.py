"""How much the scheduler costs: CPU per message and granted nodes per second, over one real stream. Run it as a script."""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any, cast

from prometheus_client import CollectorRegistry

from mwfs_api.dags.v1.dag_pb2 import Resources
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub, add_SchedulerServiceServicer_to_server
from mwfs_chassis.channel import open_channel
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_scheduler.api import SchedulerServicer
from mwfs_scheduler.app import SERVICE
from mwfs_scheduler.engine import Engine
from mwfs_scheduler.metrics import Metrics
from mwfs_scheduler.store import Store

IDENTITY = Identity(token="secret", principal="bench", team="ads")


class NoStore:
    """The catalogue is not on the path of a message."""

    async def known_replicas(self) -> frozenset[str]:
        return frozenset()

    async def note_replica(self, replica: str) -> None: ...

    async def forget_replica(self, replica: str) -> None: ...

    async def close(self) -> None: ...


def serve(pipe: Connection) -> None:
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    engine = Engine(cast(Store, NoStore()), Metrics(CollectorRegistry()))
    registration = Registration(
        add=add_SchedulerServiceServicer_to_server, servicer=SchedulerServicer(engine), name=SERVICE
    )
    server = GrpcServer(listen="127.0.0.1:0", token="secret", services=[registration], stop_grace_s=0)
    await engine.lead(1)
    await server.start()
    pipe.send(server.address)
    while True:
        question = await asyncio.to_thread(pipe.recv)
        pipe.send(time.process_time())
        if question == "end":
            break
    await engine.stop()
    await server.stop()


async def measure(pipe: Connection, nodes: int, groups: int, window: int) -> dict[str, float]:
    channel = open_channel(pipe.recv())
    stub = SchedulerServiceStub(channel)
    offer: Any = stub.Offer(metadata=IDENTITY.metadata)
    await offer.write(pb.OfferRequest(host="local", address="h:1", capacity=Resources(cpu_millis=10 * window)))
    await offer.read()
    stream: Any = stub.Request(metadata=IDENTITY.metadata)
    await stream.write(pb.RequestRequest(hello=pb.Hello(replica="r")))
    await stream.read()
    pipe.send("begin")
    cpu = pipe.recv()
    begun = time.perf_counter()
    each = nodes // groups
    messages = answers = done = 0
    for start in range(0, groups, 100):
        wanted = [
            pb.Demand(group_id=f"g{i}", add=each, team="ads", run_id=f"run{i}", resources=Resources(cpu_millis=10))
            for i in range(start, min(groups, start + 100))
        ]
        await stream.write(pb.RequestRequest(demands=wanted))
        messages += 1
    while done < each * groups:
        grants = (await stream.read()).grants
        answers += 1
        done += sum(grant.count for grant in grants)
        # The outcomes of a grant come back in pieces, as workers end.
        for grant in grants:
            left = grant.count
            while left:
                ended = min(left, 20)
                left -= ended
                await stream.write(pb.RequestRequest(releases=[pb.Release(grant_id=grant.grant_id, count=ended)]))
                messages += 1
    seconds = time.perf_counter() - begun
    pipe.send("end")
    cpu = pipe.recv() - cpu
    await channel.close()
    return {
        "nodes": done,
        "messages_in": messages,
        "messages_out": answers,
        "nodes_per_s": round(done / seconds),
        "nodes_per_cpu_s": round(done / cpu),
        "cpu_ms_per_message_in": round(1000 * cpu / messages, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--window", type=int, default=200, help="places on the one host")
    arguments = parser.parse_args()
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    process.start()
    print(json.dumps(asyncio.run(measure(here, arguments.nodes, arguments.groups, arguments.window))))
    process.join()


if __name__ == "__main__":
    main()
