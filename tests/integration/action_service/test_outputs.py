"""What attempts print: kept in order, bounded, readable while it is written."""

from pathlib import Path
from typing import Any

import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

SOURCE = """\
import os, sys, time
import mwfs

@mwfs.operator
def talk(lines: int) -> int:
    for number in range(lines):
        print("out", number)
        print("err", number, file=sys.stderr)
        os.write(1, b"raw\\\\n")
    os.system("echo child")
    return lines

@mwfs.operator
def flood(megabytes: int) -> int:
    line = "x" * 1023
    print("first line")
    for _ in range(megabytes * 1024):
        print(line)
    print("last line")
    return megabytes

@mwfs.operator
def flood_and_leave(megabytes: int) -> int:
    flood(megabytes)
    sys.stdout.flush()
    os._exit(1)

@mwfs.operator
def endless() -> int:
    while True:
        os.write(1, b"y" * 65536)

@mwfs.operator
def steps(folder: str) -> int:
    for number in range(3):
        print("step", number)
        while not os.path.exists(f"{folder}/step{number}"):
            time.sleep(0.01)
    return 3
""".replace("\\\\", "\\")


def integer(number: int) -> types_pb2.Value:
    return types_pb2.Value(integer=number)


async def test_both_streams_children_and_raw_writes_are_kept_in_order(host: Any) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    key = await replica.launch(host.project.bundle(), f"{host.project.name}:talk", [integer(2)])
    await replica.outcome(key)
    assert await host.logs(key) == b"out 0\nerr 0\nraw\nout 1\nerr 1\nraw\nchild\n"
    assert await host.logs(key, tail_bytes=6) == b"child\n"


@pytest.mark.parametrize(("operator", "state"), [("flood", "SUCCEEDED"), ("flood_and_leave", "FAILED")])
async def test_of_100_megabytes_the_beginning_and_the_end_are_kept(host: Any, operator: str, state: str) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    key = await replica.launch(host.project.bundle(), f"{host.project.name}:{operator}", [integer(100)])
    outcome = await replica.outcome(key)
    assert outcome.state == events_pb2.AttemptState.Value(f"ATTEMPT_STATE_{state}")
    data = await host.logs(key)
    assert data.startswith(b"first line\n")
    assert data.endswith(b"last line\n")
    assert b"bytes of output were dropped here" in data
    assert 16 * 2**20 < len(data) < 17 * 2**20
    after = await replica.launch(host.project.bundle(), f"{host.project.name}:talk", [integer(1)])
    await replica.outcome(after)
    assert await host.logs(after) == b"out 0\nerr 0\nraw\nchild\n"


@pytest.mark.parametrize("service_environment", [{"MWFS_MAX_LOG_BYTES": str(32 * 2**20)}])
async def test_an_attempt_that_never_stops_writing_is_stopped(host: Any) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    key = await replica.launch(host.project.bundle(), f"{host.project.name}:endless")
    outcome = await replica.outcome(key)
    assert outcome.state == events_pb2.ATTEMPT_STATE_FAILED
    assert outcome.failure.kind == events_pb2.FAILURE_KIND_LIMIT
    assert len(await host.logs(key)) < 17 * 2**20


async def test_a_log_is_followed_until_the_attempt_ends(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    folder = types_pb2.Value(text=str(tmp_path))
    key = await replica.launch(host.project.bundle(), f"{host.project.name}:steps", [folder])
    await replica.begun(key)
    proto = action_pb2.AttemptKey(run_id=key[0], node=key[1], attempt=key[2])
    request = action_pb2.ReadLogsRequest(key=proto, follow=True)
    call = host.actions.ReadLogs(request, metadata=host.metadata, timeout=200)
    for number in range(3):
        response = await call.read()
        assert response.data == f"step {number}\n".encode()
        assert key not in replica.outcomes
        (tmp_path / f"step{number}").write_text("")
    assert await call.read() is not None
    assert (await replica.outcome(key)).state == events_pb2.ATTEMPT_STATE_SUCCEEDED
