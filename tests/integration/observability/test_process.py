"""Observability as a process: it serves without an orchestrator, finds it later, and goes on after kill -9."""

from __future__ import annotations

from pathlib import Path

from fixtures.run_events import RUN_ID, Story
from fixtures.service_process import ServiceProcess
from integration.observability.conftest import IDENTITY, FakeOrchestrator

from mwfs_api.observability.v1 import observability_pb2 as pb
from mwfs_api.observability.v1.observability_pb2_grpc import ObservabilityServiceStub
from mwfs_chassis.channel import open_channel


async def stored(address: str, position: int) -> None:
    """Until the service says that it is there: every question is a round trip, and the follower needs no more."""
    async with open_channel(address) as channel:
        stub = ObservabilityServiceStub(channel)
        while True:
            answer = await stub.GetProgress(pb.GetProgressRequest(), metadata=IDENTITY.metadata, timeout=200)
            if [one.position for one in answer.streams] == [position]:
                return


async def test_a_killed_service_goes_on_from_its_cursor(
    orchestrator: tuple[FakeOrchestrator, str], database: str, tmp_path: Path
) -> None:
    fake, address = orchestrator
    environment = {"MWFS_OBSERVABILITY_DSN": database, "MWFS_ORCHESTRATOR_ADDRESS": address}
    told = Story().accept().start(1).commit().begin(0).commit().succeed(0).end().events()
    async with ServiceProcess("mwfs_observability", tmp_path, environment) as first:
        await fake.commit(told[0])
        await stored(first.address, 1)
        await first.kill()
    await fake.commit(told[1])
    async with ServiceProcess("mwfs_observability", tmp_path, environment) as second:
        await fake.commit(told[2])
        await stored(second.address, 3)
        assert fake.cursors_seen == [{}, {"0/1": 1}]
        async with open_channel(second.address) as channel:
            request = pb.GetTimelineRequest(run_id=RUN_ID)
            answer = await ObservabilityServiceStub(channel).GetTimeline(request, metadata=IDENTITY.metadata)
        assert (answer.last_event_number, len(answer.attempts)) == (5, 1)
        assert await second.terminate() == 0
    assert not any("ERROR" in line or "Traceback" in line for line in second.lines), second.lines


async def test_it_serves_while_the_orchestrator_is_away(database: str, tmp_path: Path) -> None:
    environment = {"MWFS_OBSERVABILITY_DSN": database, "MWFS_ORCHESTRATOR_ADDRESS": "127.0.0.1:1"}
    async with ServiceProcess("mwfs_observability", tmp_path, environment) as service:
        async with open_channel(service.address) as channel:
            stub = ObservabilityServiceStub(channel)
            answer = await stub.GetProgress(pb.GetProgressRequest(), metadata=IDENTITY.metadata)
        assert list(answer.streams) == []
        assert await service.terminate() == 0
