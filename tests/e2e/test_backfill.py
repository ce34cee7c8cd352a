"""Who needs the whole host is not passed for ever by small work that goes on and on, and is passed by what is short."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mwfs.client import Submitted
from mwfs.client.async_client import Client
from mwfs_api.events.v1 import events_pb2 as ev

from .conftest import WORKFLOWS, Mwfs
from .histories import pid_of, violations_of

#: What the one before takes. What has passed its time is expected to end after a quarter of it more, again and again: so only what
#: is not known at all is sure not to pass, however slow the machine is.
LONG_S = 6.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("backfill")
    command = Mwfs(home=folder / "home", folder=folder)
    command("up", "--detach", "--cpus", "2", check=True)
    yield command.home
    command("down", "--purge", check=True)


@pytest.fixture
async def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    async with Client(home=home, team="red", patience_s=120) as client:
        yield client


async def started(client: Client, run: Submitted) -> None:
    async with aclosing(client.events(run, follow=True)) as events:
        async for one in events:
            if one.kind == ev.EVENT_KIND_NODE_STARTED:
                return
    raise AssertionError("it never started")


def explained(mwfs: Mwfs, run: Submitted, reason: str) -> dict[str, Any]:
    """Why the run waits, once it does for that reason."""
    for _ in range(200):
        waiting: list[dict[str, Any]] = mwfs.json("explain", run.run_id, MWFS_TEAM="red")["waiting"]
        if [each["reason"] for each in waiting] == [reason]:
            return waiting[0]
    raise AssertionError(f"the run never waited because of {reason}")


async def test_a_large_node_has_room_kept_by_what_such_nodes_took_before(
    home: Path, client: Client, project: Path, tmp_path: Path
) -> None:
    import timed

    mwfs = Mwfs(home=home, folder=project)
    learned = [
        await client.submit(timed.holds, {"seconds": LONG_S, "file": ""}),
        await client.submit(timed.short, {"x": 1}),
    ]
    for run in learned:
        assert (await client.wait(run)).state == ev.RUN_STATE_SUCCEEDED

    # It takes longer than the one before: until it is let go.
    holding = await client.submit(timed.holds, {"seconds": 0, "file": str(tmp_path / "go")})
    await started(client, holding)
    wide = await client.submit(timed.wide, {"x": 1})
    explained(mwfs, wide, "waiting_for_capacity")
    long = await client.submit(timed.lasts, {"seconds": 0})
    said = explained(mwfs, long, "reserved_for")
    assert "which needs 2 cores and comes first (probably in " in said["message"]
    assert said["starts_in_s"] >= 0
    assert not said["at_the_latest"]
    owner = explained(mwfs, wide, "waiting_for_capacity")
    assert owner["estimate"].startswith("Room is kept for it on local: by how long such nodes took before")
    assert owner["starts_in_s"] >= 0
    assert "Probably in " in mwfs("explain", wide.run_id, check=True, MWFS_TEAM="red").out

    short = await client.submit(timed.short, {"x": 2})
    assert (await client.wait(short)).state == ev.RUN_STATE_SUCCEEDED
    for run in (holding, wide, long):
        assert (await client.get_run(run)).state == ev.RUN_STATE_RUNNING, "only the short one has passed"

    # A scheduler that knows nothing is told when what runs will end.
    os.kill(pid_of(home, "scheduler"), signal.SIGKILL)
    explained(mwfs, long, "reserved_for")
    assert (await client.wait(await client.submit(timed.short, {"x": 3}))).state == ev.RUN_STATE_SUCCEEDED

    (tmp_path / "go").touch()
    ended = [await client.wait(run) for run in (holding, wide, long)]
    assert [run.state for run in ended] == [ev.RUN_STATE_SUCCEEDED] * 3
    assert ended[1].end_time_us < ended[2].end_time_us, "the long one began after the large one"
    for run in ended:
        assert await violations_of(home, client, run) == []
