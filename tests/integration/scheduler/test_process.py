"""The scheduler as a process: it migrates its tables, survives kill -9 with a higher epoch, and stops when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fixtures.service_process import ServiceProcess
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_scheduler.app import SERVICE

IDENTITY = Identity(token="secret", principal="tester", team="ads")


async def epoch_of(address: str) -> int:
    async with open_channel(address) as channel:
        stream: Any = SchedulerServiceStub(channel).Request(metadata=IDENTITY.metadata)
        await stream.write(pb.RequestRequest(hello=pb.Hello(replica="orchestrator-0")))
        greeting: pb.RequestResponse = await stream.read()
        stream.cancel()
        return greeting.epoch


async def test_each_start_has_a_higher_epoch(database: str, tmp_path: Path) -> None:
    environment = {"MWFS_CATALOGUE_DSN": database, "MWFS_SCHEDULER": "scheduler-0"}
    async with ServiceProcess("mwfs_scheduler", tmp_path, environment) as first:
        assert await epoch_of(first.address) == 1
        await first.kill()
    async with ServiceProcess("mwfs_scheduler", tmp_path, environment) as second:
        assert await epoch_of(second.address) == 2
        async with open_channel(second.address) as channel:
            question = health_pb2.HealthCheckRequest(service=SERVICE)
            answer = await health_pb2_grpc.HealthStub(channel).Check(question, metadata=IDENTITY.metadata)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await second.terminate() == 0
    assert not any("ERROR" in line or "Traceback" in line for line in second.lines), second.lines
