"""For how long a run stands still while its slot moves to another shard: `python tests/benchmarks/orchestrator/slot_pause.py [--nodes 300000]`.

A shard is drained while a large run that lives on it, some chains and a load of small ones go on. JSON on stdout.
"""

import argparse
import asyncio
import json
import re
import time
import uuid
from itertools import pairwise
from typing import Any

from soak_load import Load
from soak_platform import MemoryLog, Platform, platform_up, say

from mwfs.bench import workflows
from mwfs.client.async_client import Client
from mwfs.compiler import compile as compile_workflow
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_orchestrator.model import run_id_of, slot_of
from mwfs_orchestrator.sharding.mover import BATCH


def request_id_within(slots: int) -> str:
    """Of a run that lives in one of the first slots: those that move first."""
    return next(one for one in iter(lambda: str(uuid.uuid4()), "") if slot_of(run_id_of("default", one)) < slots)


async def times_of(platform: Platform, run_id: str) -> list[int]:
    """When the run's events were committed, in microseconds, through all changes of its owner."""
    identity = Identity(token=platform.token, principal="soak", team="default")
    times: list[int] = []
    address = platform.services["orchestrator"]["address"]
    async with open_channel(address) as channel:
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
        request = pb.WatchEventsRequest(run_id=run_id)
        async for response in stub.WatchEvents(request, metadata=identity.metadata, wait_for_ready=True):
            for batch in response.batches:
                times += batch.time_us
    return sorted(times)


def gaps(times: list[int], first_us: int, last_us: int) -> list[tuple[float, float]]:
    """The longest times without an event that begin in a span, in seconds, each with when it began, from its begin."""
    found = [((b - a) / 1e6, (a - first_us) / 1e6) for a, b in pairwise(times) if first_us <= a <= last_us]
    return [(round(gap, 3), round(at, 1)) for gap, at in sorted(found, reverse=True)[:3]]


async def main(nodes: int, chains: int, rate: float, head_start: float) -> dict[str, Any]:
    async with platform_up() as platform, Client(home=platform.home, patience_s=120) as client:
        load = await Load.prepare(client, platform.services["orchestrator"]["address"], platform.token)
        await platform.mwfs("shards", "add", "third", "--no-balance")
        others = [
            str(await client.submit(workflows.chain, {"n": 6_000}, request_id=request_id_within(4 * BATCH)))
            for _ in range(chains)
        ]
        dag = compile_workflow(workflows.fanout, n=nodes)
        big = str(await client.submit(dag, request_id=request_id_within(BATCH)))
        offering = asyncio.create_task(load.offer(rate, 3_600, clients=4))
        await asyncio.sleep(head_start)
        (found,) = await platform.ask("SELECT current_database() AS name FROM runs WHERE run_id = $1::text::uuid", big)
        say(f"the large run {big} lives on {found['name']}")
        begun_us = time.time_ns() // 1000
        async with MemoryLog(platform, every_s=10):
            try:
                await platform.mwfs("shards", "drain", found["name"])
                drained_us = time.time_ns() // 1000
            finally:
                offering.cancel()
                await asyncio.gather(offering, return_exceptions=True)
            (row,) = await platform.ask(
                "SELECT state FROM runs WHERE run_id = $1::text::uuid",
                big,
                shards=[one for one in ("shard_0", "shard_1", "third") if one != found["name"]],
            )
            going = row["state"] < 6
            ended = await client.wait(big)
            await client.wait_all(others)
        spans = {run_id: await times_of(platform, run_id) for run_id in (big, *others)}
        log = (platform.home / "logs" / "orchestrator.log").read_text(errors="replace")
    seconds = (drained_us - begun_us) / 1e6
    return {
        "nodes": nodes,
        "drain_s": round(seconds, 1),
        "events_when_it_began": sum(at < begun_us for at in spans[big]),
        "still_going_when_drained": going,
        "rate_of_the_large_run": round(nodes / ((ended.end_time_us - ended.start_time_us) / 1e6), 1),
        # Seconds, and how many seconds after the drain began.
        "pauses_of_the_large_run": gaps(spans[big], begun_us, drained_us),
        "pauses_before": gaps(spans[big], begun_us - 10_000_000, begun_us),
        "pauses_of_chains": [gaps(spans[run_id], begun_us, drained_us)[:1] for run_id in others],
        # As the mover counts it, for each batch of slots.
        "batches_stood_still_s": [float(one) for one in re.findall(r"stood_still_s=([0-9.]+)", log)],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=300_000, help="of the large run")
    parser.add_argument("--chains", type=int, default=4, help="runs of six thousand nodes in a row")
    parser.add_argument("--rate", type=float, default=20, help="small runs a second")
    parser.add_argument("--head-start", type=float, default=60, help="seconds before the drain begins")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(main(given.nodes, given.chains, given.rate, given.head_start)), indent=1))
