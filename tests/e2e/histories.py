"""What a platform says of itself beside its commands: pids, and the events of a run as its outbox has them."""

import json
from pathlib import Path

from invariants.run_invariants import check_run

from mwfs.client.async_client import Client
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity


def pid_of(home: Path, service: str) -> int:
    """The process that a service has now."""
    return int(json.loads((home / "endpoints.json").read_text())["services"][service]["pid"])


async def violations_of(home: Path, client: Client, run: pb.Run) -> list[str]:
    """What is wrong with the history of an ended run, in plain words."""
    rows = {node.node: (int(node.state), node.attempt) async for node in client.nodes(run.run_id)}
    dag = await client.dag(run.run_id)
    found = check_run(await events_of(home, run), nodes=rows, dag=dag)
    if len(rows) != run.node_count:
        found.append(f"{len(rows)} nodes are listed, {run.node_count} were compiled")
    return found


async def events_of(home: Path, run: pb.Run) -> list[events_pb2.RunEvents]:
    """The run's events, through all changes of its owner."""
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
