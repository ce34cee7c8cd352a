"""kill -9 of the services while runs go on: they end as if nothing had happened, and their history proves it."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import mwfs
from mwfs.bench.workflows import fanout
from mwfs.client.async_client import Client
from mwfs_api.events.v1 import events_pb2

from .conftest import WORKFLOWS, Mwfs
from .histories import pid_of, violations_of

NODES = 1_000
SERVICES = ["orchestrator", "scheduler", "action_service", "observability", "postgres"]


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


@pytest.mark.parametrize("service", SERVICES)
async def test_a_run_survives_the_kill_of(service: str, home: Path, steady: "mwfs.Workflow[..., int]") -> None:
    async with Client(home=home) as client:
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
        assert run.node_count == NODES
        assert await client.outputs(submitted) == {"result": 998 + sum(range(998))}
        assert await violations_of(home, client, run) == []


@pytest.mark.heavy
async def test_runs_survive_kills_at_random_moments(home: Path) -> None:
    """A soak: services die every second or two under twelve wide runs, 96,000 operators."""
    dice = random.Random(20261122)
    kills: Counter[str] = Counter()

    async def kill_now_and_then() -> None:
        while True:
            await asyncio.sleep(dice.uniform(0.5, 2.5))  # the fault's own rhythm, not a wait for anything
            service = dice.choice(SERVICES)
            try:
                os.kill(pid_of(home, service), signal.SIGKILL)
            except ProcessLookupError:
                continue  # dead already, and not started again yet
            kills[service] += 1

    async with Client(home=home, patience_s=120) as client:
        killer = asyncio.create_task(kill_now_and_then())
        runs = []
        for number in range(12):
            submitted = await client.submit(fanout, {"n": 8_000}, request_id=f"soak-{number}")
            runs.append(await client.wait(submitted))
        killer.cancel()
        for run in runs:
            assert run.state == events_pb2.RUN_STATE_SUCCEEDED
            assert await violations_of(home, client, run) == []
    assert sum(kills.values()) >= 12, kills
