"""Custom resources and labels as users have them: what fits runs where it should, and what does not is told why it waits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mwfs.home import read_endpoints, read_token
from mwfs_api.scheduler.v1 import scheduler_pb2 as pb
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity

from .conftest import Mwfs


async def _why(home: Path, run_id: str) -> pb.WaitingGroup:
    """Why the only group of a run waits, once the scheduler knows of it."""
    identity = Identity(token=read_token(home), principal="test", team="default")
    async with asyncio.timeout(120), open_channel(read_endpoints(home).address_of("scheduler")) as channel:
        stub = SchedulerServiceStub(channel)
        question = pb.ExplainWaitingRequest(run_id=run_id)
        while not (groups := (await stub.ExplainWaiting(question, metadata=identity.metadata)).groups):
            pass  # asked again
        (group,) = groups
        return group


def why(mwfs: Mwfs, run_id: str) -> tuple[str, bool, str]:
    group = asyncio.run(_why(mwfs.home, run_id))
    return pb.WaitingReason.Name(group.reason), group.permanent, group.message


def test_one_license_is_never_used_twice_and_what_can_never_fit_says_so(mwfs: Mwfs) -> None:
    (local,) = mwfs.json("hosts")["hosts"]
    assert (local["host"], local["labels"]) == ("local", {"zone": "a"})
    assert (local["capacity"]["custom"], local["in_use"]["custom"]) == ({"licenses": 1}, {})

    # Nodes that fail when another one has the license: none does, though there are cores for all of them.
    folder = mwfs.folder.parent / "shared"
    folder.mkdir()
    ended = mwfs.json("run", "placed:one_by_one", "--input", f"folder={folder}", "--input", "n=8")
    assert (ended["state"], ended["outputs"]) == ("SUCCEEDED", {"result": 28})

    # While one holds it, another waits for it and is told so.
    flags = [mwfs.folder.parent / "first", mwfs.folder.parent / "second"]
    first = mwfs.submit("placed:holds", path=flags[0])
    mwfs.read_logs(first, 0, until="holding")
    second = mwfs.submit("placed:holds", path=flags[1])
    reason, permanent, message = why(mwfs, second)
    assert (reason, permanent) == ("WAITING_REASON_WAITING_FOR_CAPACITY", False)
    assert message.startswith(
        "A node needs 0.01 cores and 1 × licenses; 1 host could run it and has 0 × licenses free;"
    )
    shown = mwfs("hosts", check=True).out
    assert "licenses 1 of 1" in shown
    assert "zone=a" in shown
    for flag in flags:
        flag.touch()
    assert [mwfs.json("runs", "show", run, "--watch")["state"] for run in (first, second)] == ["SUCCEEDED", "SUCCEEDED"]

    # What no host will ever have waits for ever, and says what is lacking.
    for workflow, expected, says in (
        (
            "placed:too_many",
            "NO_NODE_LARGE_ENOUGH",
            "1 core and 2 × licenses on one host, and the only host, local, has",
        ),
        ("placed:unheard_of", "NO_SUCH_TYPE", "1 core and 1 × moons, and no host has moons."),
    ):
        run = mwfs.submit(workflow, n=1)
        reason, permanent, message = why(mwfs, run)
        assert (reason, permanent) == (f"WAITING_REASON_{expected}", True)
        assert says in message
        mwfs("runs", "cancel", run, check=True)


@contextmanager
def another_host(mwfs: Mwfs, name: str, **offered: str) -> Iterator[None]:
    """A second action service beside the running platform."""
    home = mwfs.folder.parent / name
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MWFS_")}
    with (home / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-P", "-m", "mwfs_action_service"],
            env={
                **environment,
                "MWFS_HOME": str(home),
                "MWFS_TOKEN": read_token(mwfs.home),
                "MWFS_LISTEN": "127.0.0.1:0",
                "MWFS_METRICS_LISTEN": "127.0.0.1:0",
                "MWFS_SCHEDULER_ADDRESS": read_endpoints(mwfs.home).address_of("scheduler"),
                "MWFS_ARTIFACTS": str(mwfs.home / "artifacts"),
                "MWFS_HOST": name,
                "MWFS_CPUS": "1",
                **offered,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        service.terminate()
        assert service.wait(timeout=120) == 0, (home / "service.log").read_text()
        while name in [host["host"] for host in mwfs.json("hosts")["hosts"]]:
            pass  # until the scheduler has heard of it as well


def test_nodes_go_to_the_host_with_their_labels_and_wait_until_there_is_one(mwfs: Mwfs) -> None:
    run = mwfs.submit("placed:elsewhere", n=3)
    deadline = time.monotonic() + 120
    while [node["state"] for node in mwfs.json("nodes", run)["nodes"]] != ["SUCCEEDED", "READY"]:
        assert time.monotonic() < deadline
    reason, permanent, message = why(mwfs, run)
    assert (reason, permanent) == ("WAITING_REASON_NO_SUCH_TYPE", True)
    assert message == (
        "A node needs 0.01 cores on a host with disk=nvme or ssd and zone=b, and no host has disk=nvme or ssd: "
        "none has a label disk."
    )
    with another_host(mwfs, "far", MWFS_LABELS="zone=b,disk=ssd"):
        ended = mwfs.json("runs", "show", run, "--watch")
        assert (ended["state"], ended["outputs"]) == ("SUCCEEDED", {"result": 3})
        assert [node["host"] for node in mwfs.json("nodes", run)["nodes"]] == ["local", "far"]
        listed = {host["host"]: host["labels"] for host in mwfs.json("hosts")["hosts"]}
        assert listed == {"local": {"zone": "a"}, "far": {"disk": "ssd", "zone": "b"}}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('custom={"licenses": -1}', "is not an amount of licenses. Give a whole number"),
        ('labels={"zone": "a b"}', "'a b' cannot be the key or a value of a label"),
    ],
)
def test_what_makes_no_sense_names_the_line(mwfs: Mwfs, written: str, says: str) -> None:
    operator = f"@mwfs.operator(resources=mwfs.Resources({written}))\ndef bad(n: int) -> int:\n    return n\n"
    text = f"import mwfs\n\n{operator}\n@mwfs.workflow\ndef flow(n: int) -> int:\n    return bad(n)\n"
    (mwfs.folder / "badly_placed.py").write_text(text)
    answer = mwfs("compile", "badly_placed:flow", "--input", "n=1")
    assert answer.code == 2
    assert says in answer.text
    assert "badly_placed.py:3: BadOption" in answer.text
