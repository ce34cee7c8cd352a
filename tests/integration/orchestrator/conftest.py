"""An orchestrator in this process on real PostgreSQL shards, between neighbours that the test controls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest

from mwfs_api.action.v1 import action_pb2_grpc
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_api.scheduler.v1 import scheduler_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.lifecycle import Part
from mwfs_orchestrator.app import build_parts
from mwfs_orchestrator.settings import OrchestratorSettings
from mwfs_orchestrator.states import RUN_ENDED

from .dags import WORKFLOW
from .neighbours import GrantingScheduler, ScriptedHost

TOKEN = "token-of-the-tests"


@dataclass(kw_only=True)
class Replica:
    """One orchestrator in this process."""

    parts: Sequence[Part]
    channel: Any
    stub: Any
    address: str

    async def stop(self) -> None:
        await self.channel.close()
        for part in reversed(self.parts):
            await part.stop()


@dataclass
class World:
    """The orchestrator's surroundings outlive it: start it, stop it, start it again."""

    catalogue: str
    shards: list[str]
    home: Path
    max_active_nodes: int = 1_000_000
    replicas: dict[str, Replica] = field(default_factory=dict)
    host: ScriptedHost = field(default_factory=ScriptedHost)
    #: Why the orchestrator would have ended its process.
    gave_up: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)

    async def open(self) -> None:
        self._host_server = GrpcServer(
            listen="127.0.0.1:0",
            token=TOKEN,
            services=[
                Registration(
                    add=action_pb2_grpc.add_ActionServiceServicer_to_server,
                    servicer=self.host,
                    name="mwfs_api.action.v1.ActionService",
                ),
                Registration(
                    add=action_pb2_grpc.add_ArtifactServiceServicer_to_server,
                    servicer=self.host,
                    name="mwfs_api.action.v1.ArtifactService",
                ),
            ],
        )
        await self._host_server.start()
        self.scheduler = GrantingScheduler(lambda: self._host_server.address)
        self._scheduler_server = GrpcServer(
            listen="127.0.0.1:0",
            token=TOKEN,
            services=[
                Registration(
                    add=scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
                    servicer=self.scheduler,
                    name="mwfs_api.scheduler.v1.SchedulerService",
                )
            ],
        )
        await self._scheduler_server.start()
        await self.start_orchestrator()

    async def close(self) -> None:
        for name in list(self.replicas):
            await self.stop_orchestrator(name)
        await self._scheduler_server.stop()
        await self._host_server.stop()

    async def start_orchestrator(self, replica: str = "orchestrator-0") -> None:
        settings = OrchestratorSettings(
            home=self.home,
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            token=TOKEN,
            catalogue_dsn=self.catalogue,
            shard_dsns=tuple(self.shards),
            scheduler_address=self._scheduler_server.address,
            replica=replica,
            # No test waits for a lease to run out, and no slow machine may lose one.
            lease_seconds=60.0,
            max_active_nodes=self.max_active_nodes,
        )
        parts = await build_parts(settings, SystemClock(), give_up=self.gave_up.put_nowait)
        for part in parts:
            await part.start()
        (server,) = (part for part in parts if isinstance(part, GrpcServer))
        channel = open_channel(server.address)
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
        self.replicas[replica] = Replica(parts=parts, channel=channel, stub=stub, address=server.address)

    async def stop_orchestrator(self, replica: str = "orchestrator-0") -> None:
        """As on SIGTERM. Stopped twice is fine."""
        if replica in self.replicas:
            await self.replicas.pop(replica).stop()

    @property
    def parts(self) -> Sequence[Part]:
        """What the first replica is made of."""
        return next(iter(self.replicas.values())).parts

    @property
    def channel(self) -> Any:
        return next(iter(self.replicas.values())).channel

    @property
    def stub(self) -> Any:
        """Any replica that is there."""
        return next(iter(self.replicas.values())).stub

    def metadata(self, team: str = "red") -> tuple[tuple[str, str], ...]:
        return Identity(token=TOKEN, principal="tester", team=team).metadata

    async def submit(
        self, *dags: dag_pb2.Dag, request_ids: Sequence[str] = (), **header: Any
    ) -> list[pb.SubmissionAnswer]:
        """Submits on one stream; answers in the order of the Dags."""
        call = self.stub.SubmitRuns(metadata=self.metadata())
        for number, dag in enumerate(dags):
            request_id = request_ids[number] if request_ids else f"request-{number}"
            for part in parts_of(
                number, dag.SerializeToString(), pb.SubmitHeader(request_id=request_id, workflow=WORKFLOW, **header)
            ):
                await call.write(pb.SubmitRunsRequest(parts=[part]))
        await call.done_writing()
        answers = await answers_of(call)
        return [answers[number] for number in range(len(dags))]

    async def run(self, dag: dag_pb2.Dag, request_id: str = "request") -> pb.Run:
        """Submits and waits for the end."""
        (answer,) = await self.submit(dag, request_ids=[request_id])
        assert answer.HasField("accepted"), answer.refused
        return await self.wait(answer.accepted.run_id)

    async def wait(self, run_id: str) -> pb.Run:
        run = pb.Run()
        while run.state not in RUN_ENDED:
            try:
                call = self.stub.WatchRuns(pb.WatchRunsRequest(run_ids=[run_id]), metadata=self.metadata())
                async for response in call:
                    for update in response.updates:
                        run = update.run
            except grpc.aio.AioRpcError as error:
                # As clients do: its owner has changed.
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
        return run

    async def get(self, run_id: str) -> pb.Run:
        response: pb.GetRunResponse = await self.stub.GetRun(pb.GetRunRequest(run_id=run_id), metadata=self.metadata())
        return response.run

    async def events_of(self, run_id: str) -> list[events_pb2.RunEvents]:
        """All events of an ended run, in order. Those that a slot brought to another shard are told again there."""
        found: dict[int, events_pb2.RunEvents] = {}
        last = (await self.get(run_id)).last_event_number
        call = self.stub.FollowEvents(pb.FollowEventsRequest(), metadata=self.metadata())
        async for response in call:
            for batch in (batch for commit in response.commits for batch in commit.runs if batch.run_id == run_id):
                assert found.setdefault(batch.first_number, batch) == batch
            if sum(len(batch.kind) for batch in found.values()) >= last:
                call.cancel()
                break
        return [found[number] for number in sorted(found)]


async def answers_of(call: AsyncIterator[pb.SubmitRunsResponse]) -> dict[int, pb.SubmissionAnswer]:
    """All answers of a stream, by submission."""
    return {answer.submission: answer async for response in call for answer in response.answers}


def parts_of(number: int, data: bytes, header: pb.SubmitHeader, chunk: int = 1024 * 1024) -> list[pb.SubmissionPart]:
    """A submission as it travels."""
    end = pb.SubmitEnd(dag_size=len(data), dag_digest="sha256:" + sha256(data).hexdigest())
    return [
        pb.SubmissionPart(submission=number, header=header),
        *(pb.SubmissionPart(submission=number, dag_chunk=data[i : i + chunk]) for i in range(0, len(data), chunk)),
        pb.SubmissionPart(submission=number, end=end),
    ]


@pytest.fixture
async def world(databases: Callable[..., list[str]], tmp_path: Path) -> AsyncIterator[World]:
    (catalogue,) = databases(1, package="mwfs_orchestrator.catalogue")
    made = World(catalogue=catalogue, shards=databases(2, package="mwfs_orchestrator.shard"), home=tmp_path)
    await made.open()
    async with asyncio.timeout(250):
        yield made
    await made.close()
    assert made.gave_up.empty()
