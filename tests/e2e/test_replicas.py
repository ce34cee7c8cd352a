"""Three orchestrators over four shards, killed in turn under work while a shard is drained: callers do not notice, and nothing is lost or doubled."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwfs.bench.workflows import fanout
from mwfs.client.async_client import Client
from mwfs.client.watching import watch_runs
from mwfs_api.events.v1 import events_pb2

from .conftest import Mwfs
from .histories import pid_of, violations_of

REPLICAS = ["orchestrator", "orchestrator-1", "orchestrator-2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("replicas")
    command = Mwfs(home=folder / "home", folder=folder)
    command("up", "--detach", "--cpus", "2", "--orchestrators", "3", check=True)
    yield command.home
    command("down", "--purge", check=True)


@pytest.mark.parametrize(
    ("width", "runs"), [(2_000, 3), pytest.param(12_500, 8, marks=pytest.mark.heavy)], ids=["6,000", "100,000"]
)
async def test_runs_go_on_while_replicas_are_killed_and_a_shard_is_drained(home: Path, width: int, runs: int) -> None:
    command = Mwfs(home=home, folder=home.parent)
    for name in ("third", "fourth"):
        command("shards", "add", f"{name}_{width}", check=True)
    before = [shard for shard in command.json("shards", "list")["shards"] if shard["state"] == "ACTIVE"]
    assert len(before) >= 4
    kept = command.json("shards", "drain", before[0]["shard"], "--cancel")  # it is not being drained
    assert (kept["state"], kept["shard"]) == ("ACTIVE", before[0]["shard"])
    async with Client(home=home, patience_s=170) as client:
        submitted = [
            await client.submit(fanout, {"n": width}, request_id=f"drained-{width}-{number}") for number in range(runs)
        ]
        draining = command.start("shards", "drain", str(before[0]["shard"]))
        left = list(REPLICAS)
        done: dict[str, int] = {}
        async for update in watch_runs(client.connection.orchestrator, map(str, submitted)):
            done[update.run.run_id] = next(
                (one.count for one in update.run.node_counts if one.state == events_pb2.NODE_STATE_SUCCEEDED), 0
            )
            if left and sum(done.values()) > width * runs // 8 * (len(REPLICAS) - len(left) + 1):
                os.kill(pid_of(home, left.pop(0)), signal.SIGKILL)
        assert not left, "the runs ended before all were killed"
        out, err = await asyncio.to_thread(draining.communicate, timeout=170)
        assert draining.returncode == 0, out + err
        for one in submitted:
            run = await client.wait(one)
            assert run.state == events_pb2.RUN_STATE_SUCCEEDED
            assert await violations_of(home, client, run) == []
    after = {shard["shard"]: shard for shard in command.json("shards", "list")["shards"]}
    assert (after[before[0]["shard"]]["state"], after[before[0]["shard"]]["slots"]) == ("DRAINED", 0)


def test_status_shows_each_replica(home: Path) -> None:
    command = Mwfs(home=home, folder=home.parent)
    names = [service["name"] for service in command.json("status")["services"]]
    assert [name for name in names if name.startswith("orchestrator")] == REPLICAS


def test_a_number_of_replicas_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    answer = Mwfs(home=tmp_path / "home", folder=tmp_path)("up", "--orchestrators", "0")
    assert answer.code == 2
    assert "between 1 and 16" in answer.err
