"""What the service promises across its own death: outcomes are told until acknowledged, workers do not outlive it."""

import asyncio
import os
import select
from pathlib import Path
from typing import Any

import grpc
import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

SOURCE = """\
import os, subprocess, time
import mwfs

@mwfs.operator
def double(x: int) -> int:
    print("doubling", x)
    return 2 * x

@mwfs.operator
def wait(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.01)
    return "waited"

@mwfs.operator
def starts_a_child(path: str) -> int:
    child = subprocess.Popen(["sleep", "1000"])
    with open(path, "w") as file:
        file.write(str(child.pid))
    child.wait()
    return 1
"""


def integer(number: int) -> types_pb2.Value:
    return types_pb2.Value(integer=number)


def text(words: object) -> types_pb2.Value:
    return types_pb2.Value(text=str(words))


async def gone(child: int) -> None:
    """Until the process has ended, whether or not somebody has collected it."""
    try:
        pidfd = os.pidfd_open(child)
    except ProcessLookupError:
        return
    ended, _, _ = await asyncio.to_thread(select.select, [pidfd], [], [], 30)
    os.close(pidfd)
    assert ended


async def test_unacknowledged_outcomes_are_told_again_after_a_kill(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    bundle, name = host.project.bundle(), host.project.name
    replica = await host.attach()
    keys = [await replica.launch(bundle, f"{name}:double", [integer(number)]) for number in range(50)]
    outcomes = {key: await replica.outcome(key) for key in keys}
    running = await replica.launch(bundle, f"{name}:wait", [text(tmp_path / "never")])
    await replica.begun(running)
    await replica.acknowledge(*keys[:20])
    # Answered after the acknowledgements were read; they reach the disk within a moment, or are told once more.
    await replica.stop(("77777777-7777-7777-7777-777777777777", 0, 1))
    await replica.outcome(("77777777-7777-7777-7777-777777777777", 0, 1))
    host.service.kill()
    host.service.start()

    again = await host.attach()
    assert list(again.welcome.live) == []
    assert set(keys[20:]) <= set(again.outcomes) <= set(keys)
    for key in keys[20:]:
        assert again.outcomes[key] == outcomes[key]
    assert await host.logs(keys[33]) == b"doubling 33\n"

    await again.acknowledge(*keys)
    outcome = await again.run(bundle, f"{name}:double", integer(4))
    assert types_pb2.Value.FromString(outcome.outputs[0]).integer == 8
    host.service.stop()
    host.service.start()
    assert set((await host.attach()).outcomes) & set(keys) == set()


async def test_a_clean_stop_reports_what_it_cut_off_as_lost(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    key = await replica.launch(host.project.bundle(), f"{host.project.name}:wait", [text(tmp_path / "never")])
    await replica.begun(key)
    host.service.stop()
    host.service.start()
    again = await host.attach()
    assert again.outcomes[key].state == events_pb2.ATTEMPT_STATE_LOST


async def test_an_epoch_that_was_seen_is_remembered_across_a_kill(host: Any) -> None:
    host.project.write(SOURCE)
    bundle, ref = host.project.bundle(), f"{host.project.name}:double"
    replica = await host.attach()
    await replica.run(bundle, ref, integer(1), epoch=9)
    host.service.kill()
    host.service.start()
    outcome = await (await host.attach()).run(bundle, ref, integer(1), epoch=8)
    assert outcome.state == events_pb2.ATTEMPT_STATE_LOST


async def test_a_new_stream_of_a_replica_replaces_the_old_and_keeps_what_runs(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    old = await host.attach()
    key = await old.launch(host.project.bundle(), f"{host.project.name}:wait", [text(tmp_path / "go")])
    await old.begun(key)
    new = await host.attach()
    assert [(live.run_id, live.node, live.attempt) for live in new.welcome.live] == [key]
    other = await host.attach("replica-2")
    assert list(other.welcome.live) == []
    (tmp_path / "go").write_text("")
    assert (await new.outcome(key)).state == events_pb2.ATTEMPT_STATE_SUCCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await old.wait_until(lambda: False)
    assert caught.value.code() == grpc.StatusCode.ABORTED
    assert key not in other.outcomes


async def test_children_of_an_operator_end_with_it(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    os.mkfifo(tmp_path / "pid")  # reading waits for the writer
    key = await replica.launch(host.project.bundle(), f"{host.project.name}:starts_a_child", [text(tmp_path / "pid")])
    child = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    await replica.stop(key)
    assert (await replica.outcome(key)).state == events_pb2.ATTEMPT_STATE_CANCELLED
    await gone(child)


async def test_children_of_an_operator_do_not_outlive_a_killed_service(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    os.mkfifo(tmp_path / "pid")  # reading waits for the writer
    await replica.launch(host.project.bundle(), f"{host.project.name}:starts_a_child", [text(tmp_path / "pid")])
    child = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    host.service.kill()
    host.service.start()
    await host.attach()
    await gone(child)


async def test_a_stream_must_begin_with_a_hello(host: Any) -> None:
    call = host.actions.Attach(metadata=host.metadata, wait_for_ready=True, timeout=200)
    await call.write(action_pb2.AttachRequest())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
