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
from mwfs.client import Submitted
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
        watching = asyncio.create_task(_numbers(client, submitted))
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
        assert await watching == list(range(1, run.last_event_number + 1))


async def _numbers(client: Client, run: Submitted) -> list[int]:
    return [event.number async for event in client.events(run)]


@pytest.mark.parametrize("service", ["orchestrator", "action_service", "postgres"])
async def test_a_run_that_grows_survives_the_kill_of(service: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    import spiral

    async with Client(home=home) as client:
        submitted = await client.submit(spiral.spiral, {"rounds": 12, "size": 20})
        kills = 0
        async for update in client.watch(submitted):
            if kills < 2 and update.run.node_count > 60 * (kills + 1):
                os.kill(pid_of(home, service), signal.SIGKILL)
                kills += 1
        run = await client.wait(submitted)
        assert kills == 2, "the run ended before it was killed twice"
        assert await client.outputs(submitted) == {"result": [12 + x for x in range(20)]}
        # The list, the loop, 13 times its condition without a node, 12 maps of 20.
        assert run.node_count == 2 + 12 * (1 + 20)
        assert {node.state async for node in client.nodes(submitted)} == {events_pb2.NODE_STATE_SUCCEEDED}


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


async def test_a_run_that_waits_survives_kills_before_and_after_its_signal(home: Path, project: Path) -> None:
    text = (Path(__file__).parents[1] / "unit/sdk/structure/waiting_workflows.py").read_text()
    (project / "patient.py").write_text(text)
    command = Mwfs(home=home, folder=project)
    async with Client(home=home) as client:
        run, early = command.submit("patient:waited_in_a_row", n=2), command.submit("patient:waited_below", n=3)
        late, asleep = command.submit("patient:nobody_came", n=1), command.submit("patient:slept", n=4)
        assert await client.signal(early, "later", 9), "before anything waits for it"
        async for update in client.watch(run):
            if any(one.state == events_pb2.NODE_STATE_WAITING for one in update.run.node_counts):
                break
        os.kill(pid_of(home, "orchestrator"), signal.SIGKILL)
        assert await client.signal(run, "count", 5, request_id="one")
        os.kill(pid_of(home, "orchestrator"), signal.SIGKILL)
        assert not await client.signal(run, "count", 5, request_id="one"), "what was acknowledged is there"
        assert await client.signal(run, "settings", {"depth": 3, "note": None})
        ended = await client.wait_all([run, early, late, asleep])
        assert [one.state for one in ended] == [events_pb2.RUN_STATE_SUCCEEDED] * 4
        outputs = [(await client.outputs(one))["result"] for one in (run, early, late, asleep)]
        assert outputs == [10, 12, -1, 8]
