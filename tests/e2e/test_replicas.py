"""Three orchestrators, killed in turn under work: callers do not notice, and nothing is lost or doubled."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mwfs
from mwfs.client.async_client import Client
from mwfs.client.watching import watch_runs
from mwfs_api.events.v1 import events_pb2

from .conftest import WORKFLOWS, Mwfs
from .histories import pid_of, violations_of

REPLICAS = ["orchestrator", "orchestrator-1", "orchestrator-2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("replicas")
    command = Mwfs(home=folder / "home", folder=folder)
    command("up", "--detach", "--cpus", "2", "--orchestrators", "3", check=True)
    yield command.home
    command("down", "--purge", check=True)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> "mwfs.Workflow[..., int]":
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    sys.modules.pop("steady", None)
    import steady

    return steady.thousand


async def test_runs_survive_the_kill_of_each_replica_in_turn(home: Path, steady: "mwfs.Workflow[..., int]") -> None:
    async with Client(home=home) as client:
        submitted = [await client.submit(steady, request_id=f"turn-{number}") for number in range(3)]
        left = list(REPLICAS)
        done: dict[str, int] = {}
        async for update in watch_runs(client.connection.orchestrator, map(str, submitted)):
            done[update.run.run_id] = next(
                (one.count for one in update.run.node_counts if one.state == events_pb2.NODE_STATE_SUCCEEDED), 0
            )
            if left and sum(done.values()) > 500 * (len(REPLICAS) - len(left) + 1):
                os.kill(pid_of(home, left.pop(0)), signal.SIGKILL)
        assert not left, "the runs ended before all were killed"
        for one in submitted:
            run = await client.wait(one)
            assert run.state == events_pb2.RUN_STATE_SUCCEEDED
            assert await client.outputs(one) == {"result": 998 + sum(range(998))}
            assert await violations_of(home, client, run) == []


def test_status_shows_each_replica(home: Path) -> None:
    command = Mwfs(home=home, folder=home.parent)
    names = [service["name"] for service in command.json("status")["services"]]
    assert [name for name in names if name.startswith("orchestrator")] == REPLICAS


def test_a_number_of_replicas_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    answer = Mwfs(home=tmp_path / "home", folder=tmp_path)("up", "--orchestrators", "0")
    assert answer.code == 2
    assert "between 1 and 16" in answer.err
