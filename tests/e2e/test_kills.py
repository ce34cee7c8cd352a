"""kill -9 of each service in the middle of a run of a thousand nodes: it ends as if nothing had happened, and its history proves it."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants.run_invariants import check_run

import mwfs
from mwfs.client.async_client import AsyncClient
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity

from .conftest import WORKFLOWS, Mwfs

NODES = 1_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A platform of its own: what is killed here must not disturb the other journeys."""
    folder = tmp_path_factory.mktemp("killed")
    command = Mwfs(home=folder / "home", folder=folder)
    command("up", "--detach", "--cpus", "2", check=True)
    yield command.home
    command("down", "--purge", check=True)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> "mwfs.Workflow[..., int]":
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    sys.modules.pop("steady", None)
    import steady

    return steady.thousand


@pytest.mark.parametrize("service", ["orchestrator", "scheduler", "action_service", "observability", "postgres"])
async def test_a_run_survives_the_kill_of(service: str, home: Path, steady: "mwfs.Workflow[..., int]") -> None:
    async with AsyncClient(home=home) as client:
        submitted = await client.submit(steady)
        killed = False
        async for update in client.watch(submitted):
            succeeded = next((c.count for c in update.run.node_counts if c.state == events_pb2.NODE_STATE_SUCCEEDED), 0)
            if not killed and succeeded > NODES // 4:
                os.kill(pid_of(home, service), signal.SIGKILL)
                killed = True
        run = await client.wait(submitted)
        assert killed, "the run ended before anything was killed"
        assert run.state == events_pb2.RUN_STATE_SUCCEEDED
        assert await client.outputs(submitted) == {"result": 998 + sum(range(998))}
        rows = {node.node: (int(node.state), node.attempt) async for node in client.nodes(submitted)}
        dag = await client.dag(submitted)
    assert len(rows) == NODES
    assert check_run(await events_of(home, run), nodes=rows, dag=dag) == []


def pid_of(home: Path, service: str) -> int:
    return int(json.loads((home / "endpoints.json").read_text())["services"][service]["pid"])


async def events_of(home: Path, run: pb.Run) -> list[events_pb2.RunEvents]:
    """The run's events as the outbox has them, through all changes of its owner."""
    address = json.loads((home / "endpoints.json").read_text())["services"]["orchestrator"]["address"]
    identity = Identity(token=(home / "token").read_text().strip(), principal="test", team="default")
    found: list[events_pb2.RunEvents] = []
    async with open_channel(address) as channel:
        call = orchestrator_pb2_grpc.OrchestratorServiceStub(channel).FollowEvents(
            pb.FollowEventsRequest(), metadata=identity.metadata, wait_for_ready=True
        )
        async for response in call:
            found += [batch for commit in response.commits for batch in commit.runs if batch.run_id == run.run_id]
            if sum(len(batch.kind) for batch in found) >= run.last_event_number:
                call.cancel()
                break
    return found
