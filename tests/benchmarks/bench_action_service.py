"""How many no-op attempts a second go through Attach, and how long a single one takes on a warm worker.

Starts an action service of its own: `python tests/benchmarks/bench_action_service.py [--n 20000] [--window 400] [--profile]`.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil

from mwfs.artifacts import ArtifactStore
from mwfs.bundle import build_bundle
from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity

SOURCE = "import mwfs\n\n@mwfs.operator\ndef same(x: int) -> int:\n    return x\n"
IDENTITY = Identity(token="bench", principal="bench", team="bench")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path, address: str, profile: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else []), "-m", "mwfs_action_service"]
    environment = {
        **os.environ,
        "MWFS_HOME": str(home),
        "MWFS_TOKEN": "bench",
        "MWFS_LISTEN": address,
        "MWFS_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "MWFS_SCHEDULER_ADDRESS": "127.0.0.1:1",
        "MWFS_ARTIFACTS": str(home / "artifacts"),
        "MWFS_DIE_WITH_PARENT": "1",
    }
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def measure(address: str, bundle: str, n: int, window: int, service: psutil.Process) -> dict[str, float]:
    async with open_channel(address) as channel:
        stub = action_pb2_grpc.ActionServiceStub(channel)
        call = stub.Attach(metadata=IDENTITY.metadata, wait_for_ready=True)
        operator = dag_pb2.Operator(module="bench_flow", qualname="same")
        await call.write(
            action_pb2.AttachRequest(
                hello=action_pb2.AttachHello(replica="bench"),
                operators=[action_pb2.OperatorSpec(id=1, bundle_digest=bundle, operator=operator)],
            )
        )
        await call.read()
        run, arguments = str(uuid.uuid4()), types_pb2.ListValue(items=[types_pb2.Value(integer=1)]).SerializeToString()
        nodes = iter(range(1_000_000))

        async def send(count: int, acknowledged: list[action_pb2.AttemptKey]) -> None:
            launches = [
                action_pb2.Launch(
                    key=action_pb2.AttemptKey(run_id=run, node=node, attempt=1),
                    operator=1,
                    arguments=arguments,
                    grant_epoch=1,
                )
                for _, node in zip(range(count), nodes, strict=False)
            ]
            await call.write(action_pb2.AttachRequest(launches=launches, acknowledged=acknowledged))

        async def receive() -> list[action_pb2.AttemptKey]:
            response = await call.read()
            for outcome in response.outcomes:
                assert outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED, outcome
            return [outcome.key for outcome in response.outcomes]

        async def many(total: int) -> None:
            sent = min(window, total)
            await send(sent, [])
            done = 0
            while done < total:
                keys = await receive()
                done += len(keys)
                more = min(len(keys), total - sent)
                sent += more
                await send(more, keys)

        await many(2 * window)
        single = []
        for _ in range(300):
            begun = time.perf_counter()
            await send(1, [])
            keys = await receive()
            single.append(time.perf_counter() - begun)
            await send(0, keys)
        workers = service.children()
        before, before_workers = cpu_seconds(service), sum(map(cpu_seconds, workers))
        own, begun = time.process_time(), time.perf_counter()
        await many(n)
        seconds = time.perf_counter() - begun
        return {
            "attempts_per_s": round(n / seconds),
            "single_ms_median": round(statistics.median(single) * 1000, 3),
            "single_ms_p99": round(sorted(single)[int(len(single) * 0.99)] * 1000, 3),
            "service_cpu_us": round((cpu_seconds(service) - before) / n * 1e6, 1),
            "workers_cpu_us": round((sum(map(cpu_seconds, workers)) - before_workers) / n * 1e6, 1),
            "client_cpu_us": round((time.process_time() - own) / n * 1e6, 1),
            "workers": len(workers),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=400)
    parser.add_argument("--profile", default="", help="where to write a cProfile of the service")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, project = Path(folder, "home"), Path(folder, "project")
        project.mkdir()
        (project / "bench_flow.py").write_text(SOURCE)
        sys.path.insert(0, str(project))
        bundle = build_bundle("bench_flow")
        assert bundle is not None
        digest = ArtifactStore(home / "artifacts").put_bytes(bundle.data, "bundle").digest
        address = f"127.0.0.1:{free_port()}"
        process = start(home, address, options.profile)
        try:
            result = asyncio.run(measure(address, digest, options.n, options.window, psutil.Process(process.pid)))
        finally:
            process.terminate()
            process.wait()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
