"""Two schedulers, of which one leads: it is killed, or stands still and goes on, while runs go on; nobody gets the same room twice."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs.client.async_client import Client
from mwfs.client.watching import watch_runs
from mwfs_api.events.v1 import events_pb2
from mwfs_api.scheduler.v1 import leader_pb2
from mwfs_api.scheduler.v1.leader_pb2_grpc import LeaderServiceStub
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity

from .conftest import WORKFLOWS, Mwfs
from .histories import pid_of, violations_of

CPUS = 2
RUNS, NODES = 2, 400
SCHEDULERS = ("scheduler", "scheduler-1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("schedulers")
    command = Mwfs(home=folder / "home", folder=folder)
    command("up", "--detach", "--cpus", str(CPUS), "--orchestrators", "2", "--schedulers", "2", check=True)
    yield command.home
    command("down", "--purge", check=True)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> "mwfs.Workflow[..., int]":
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    sys.modules.pop("crowded", None)
    import crowded

    return crowded.crowd


async def leader_of(home: Path, *, asked: tuple[str, ...] = SCHEDULERS, beyond: int = 0) -> tuple[str, int]:
    """Name and epoch of the scheduler that leads, by what these say, once the epoch is above `beyond`."""
    services = json.loads((home / "endpoints.json").read_text())["services"]
    identity = Identity(token=(home / "token").read_text().strip(), principal="test", team="default")

    async def ask(name: str) -> leader_pb2.WatchLeaderResponse:
        async with open_channel(services[name]["address"]) as channel:
            call: Any = LeaderServiceStub(channel).WatchLeader(
                leader_pb2.WatchLeaderRequest(), metadata=identity.metadata, wait_for_ready=True
            )
            async for said in call:
                if said.epoch > beyond:
                    call.cancel()
                    answer: leader_pb2.WatchLeaderResponse = said
                    return answer
        raise AssertionError(f"{name} ended the call")

    said = max(await asyncio.gather(*map(ask, asked)), key=lambda answer: answer.epoch)
    [name] = [name for name in SCHEDULERS if services[name]["address"] == said.address]
    return name, said.epoch


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stands still"])
async def test_runs_go_on_when_the_leader_is(
    harm: signal.Signals, home: Path, crowd: "mwfs.Workflow[..., int]", tmp_path: Path
) -> None:
    leader, epoch = await leader_of(home)
    before = Mwfs(home=home, folder=tmp_path).json("status")["scheduler"]
    assert (before["leads"], before["epoch"]) == (leader, epoch)
    [other] = [name for name in SCHEDULERS if name != leader]
    pid, new_epoch = pid_of(home, leader), 0
    async with Client(home=home, patience_s=170) as client:
        submitted = [await client.submit(crowd, {"n": NODES, "folder": str(tmp_path)}) for _ in range(RUNS)]
        done: dict[str, int] = {}
        steps = iter((RUNS * NODES // 4, RUNS * NODES * 5 // 8))
        step = next(steps)
        async for update in watch_runs(client.connection.orchestrator, map(str, submitted)):
            done[update.run.run_id] = next(
                (one.count for one in update.run.node_counts if one.state == events_pb2.NODE_STATE_SUCCEEDED), 0
            )
            if sum(done.values()) <= step:
                continue
            if not new_epoch:
                os.kill(pid, harm)
                _, new_epoch = await leader_of(home, asked=(other,), beyond=epoch)
            elif harm is signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
            step = next(steps, RUNS * NODES * 2)
        assert new_epoch > epoch, "the runs ended before anything was done"
        for one in submitted:
            run = await client.wait(one)
            assert run.state == events_pb2.RUN_STATE_SUCCEEDED
            assert await violations_of(home, client, run) == []
            # As many at a time as there are cores, whoever granted them.
            assert 1 <= (await client.outputs(one))["result"] <= CPUS
    # Who was killed is started again, and may have been first; who stood still stands by now.
    now_leads, now_epoch = await leader_of(home)
    assert now_epoch == new_epoch
    command = Mwfs(home=home, folder=tmp_path)
    said = command.json("status")["scheduler"]
    assert (said["leads"], said["epoch"]) == (now_leads, now_epoch)
    assert before["since"] < said["since"], "it leads since it took over"
    assert f"{now_leads} leads since {said['since']}" in command("status", check=True).out
    assert harm is signal.SIGKILL or now_leads == other
