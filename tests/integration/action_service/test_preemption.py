"""Attempts that have to make room: told, given their time, killed; and what they keep for the next one."""

import asyncio
from pathlib import Path

import grpc
import pytest

from mwfs.checkpoints import CheckpointShelf
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

from .conftest import SUCCEEDED, Host, Key, Replica, integer, key_proto, text

SOURCE = """\
import contextlib, os, sys, threading, time
import mwfs
from mwfs import ctx

def until(path):
    while not os.path.exists(path):
        time.sleep(0.005)

@mwfs.operator
def epochs(count: int, gate: str) -> list[str]:
    # One epoch for each gate that is opened: `gate`0, `gate`1 ...
    resumed = ctx.resume_from
    done = [] if resumed is None else list(resumed.value)
    for epoch in range(len(done), count):
        while not os.path.exists(f"{gate}{epoch}") and not ctx.preempted:
            time.sleep(0.005)
        done.append(f"{ctx.attempt}:{epoch}")
        ctx.checkpoint(done, step=epoch + 1)
        open(f"{gate}{epoch}.past", "w").close()
    return done

@mwfs.operator
def finishes_when_told(gate: str) -> int:
    while not ctx.preempted:
        time.sleep(0.005)
    left = ctx.seconds_left
    assert left is not None and left > 100
    return 7

@mwfs.operator
def deaf(gate: str) -> int:
    with contextlib.suppress(mwfs.Preempted):  # it may be told in this moment
        ctx.checkpoint("before", step=4)
    until(gate)
    return 1

@mwfs.operator
def leaves_when_told(how: str) -> int:
    while not ctx.preempted:
        time.sleep(0.005)
    if how == "sys.exit":
        sys.exit(3)
    if how == "os._exit":
        os._exit(3)
    if how == "thread":
        problems = []
        def keep():
            try:
                ctx.checkpoint("from a thread", step=9)
            except mwfs.Preempted:
                problems.append(1)
        thread = threading.Thread(target=keep)
        thread.start()
        thread.join()
        assert problems
        raise mwfs.Preempted
    raise ValueError("of its own")

@mwfs.operator
def forks() -> int:
    pid = os.fork()
    if pid == 0:
        try:
            ctx.checkpoint("of the child", step=99)
        except mwfs.MwfsError:
            os._exit(0)
        os._exit(1)
    ctx.checkpoint("of the operator", step=1)
    return os.waitpid(pid, 0)[1]

@mwfs.operator
def often(count: int, gate: str) -> int:
    for step in range(count):
        ctx.checkpoint(step, step=step)
    until(gate)
    return count

@mwfs.operator
def too_large() -> str:
    try:
        ctx.checkpoint(b"x" * 200_000)
    except mwfs.MwfsError as error:
        return f"{type(error).__name__}: {error}"
    return "kept"
"""

PREEMPTED = events_pb2.ATTEMPT_STATE_PREEMPTED


@pytest.fixture
def bundle(host: Host) -> str:
    host.project.write(SOURCE)
    return host.project.bundle()


@pytest.fixture
def service_environment() -> dict[str, str]:
    return {"MWFS_MAX_CHECKPOINT_BYTES": "100000"}


def stored(host: Host) -> list[str]:
    """Keys of all checkpoints in the object store."""
    root = host.service.artifacts
    return sorted(str(path.relative_to(root)) for path in root.glob("checkpoints/**/*") if path.is_file())


def read(host: Host, kept: events_pb2.Checkpoint) -> object:
    return CheckpointShelf(host.project.store).read(kept)


async def step_kept(replica: Replica, key: Key, step: int) -> events_pb2.Checkpoint:
    await replica.wait_until(lambda: any(one.step == step for one in replica.kept.get(key, ())))
    return replica.kept[key][-1]


async def test_an_attempt_keeps_a_checkpoint_ends_and_the_next_one_goes_on(
    host: Host, bundle: str, tmp_path: Path
) -> None:
    replica, gate = await host.attach(), tmp_path / "gate"
    arguments = [integer(4), text(str(gate))]
    (tmp_path / "gate0").touch()
    key = await replica.launch(bundle, f"{host.project.name}:epochs", arguments)
    await step_kept(replica, key, 1)
    while not (tmp_path / "gate0.past").exists():  # noqa: ASYNC110 - else it is told while it keeps the first, and leaves with that
        await asyncio.sleep(0.005)
    await replica.notify(key, grace_s=600, reason="team blue is below its guarantee")
    outcome = await replica.outcome(key)
    assert outcome.state == PREEMPTED
    assert outcome.failure.kind == events_pb2.FAILURE_KIND_PREEMPTED
    assert "team blue is below its guarantee. It had kept a checkpoint at step 2" in outcome.failure.message
    assert (outcome.checkpoint.step, read(host, outcome.checkpoint)) == (2, ["1:0", "1:1"])
    for epoch in (2, 3):
        (tmp_path / f"gate{epoch}").touch()
    again = (key[0], key[1], 2)
    await replica.launch(bundle, f"{host.project.name}:epochs", arguments, key=again, resume_from=outcome.checkpoint)
    second = await replica.outcome(again)
    assert second.state == SUCCEEDED
    assert b"1:1" in second.outputs[0]
    assert b"2:2" in second.outputs[0]
    assert b"2:0" not in second.outputs[0]


async def test_one_that_goes_on_is_killed_at_its_time_and_what_it_kept_counts(
    host: Host, bundle: str, tmp_path: Path
) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "never"))])
    await step_kept(replica, key, 4)
    await replica.notify(key, grace_s=0.2)
    outcome = await replica.outcome(key)
    assert (outcome.state, outcome.checkpoint.step) == (PREEMPTED, 4)
    assert outcome.body_ended_us - outcome.body_started_us > 0


async def test_one_that_ends_in_time_has_succeeded(host: Host, bundle: str) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:finishes_when_told", [text("")])
    await replica.begun(key)
    await replica.notify(key, grace_s=600)
    outcome = await replica.outcome(key)
    assert (outcome.state, outcome.outputs[0]) == (SUCCEEDED, integer(7).SerializeToString())


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("sys.exit", PREEMPTED),
        ("os._exit", PREEMPTED),
        ("thread", PREEMPTED),
        ("raise", events_pb2.ATTEMPT_STATE_FAILED),
    ],
)
async def test_ways_to_leave_when_told(host: Host, bundle: str, how: str, state: int) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:leaves_when_told", [text(how)])
    await replica.begun(key)
    await replica.notify(key, grace_s=600)
    outcome = await replica.outcome(key)
    assert outcome.state == state
    assert outcome.checkpoint.step == (9 if how == "thread" else 0)


async def test_the_first_notice_counts(host: Host, bundle: str, tmp_path: Path) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "gate"))])
    await step_kept(replica, key, 4)
    await replica.notify(key, grace_s=600)
    await replica.notify(key, grace_s=0)
    # Answered in order: both notices are there when the unknown one is answered.
    await replica.notify(("00000000-0000-0000-0000-000000000000", 0, 1), grace_s=0)
    unknown = await replica.outcome(("00000000-0000-0000-0000-000000000000", 0, 1))
    assert unknown.state == events_pb2.ATTEMPT_STATE_LOST
    (tmp_path / "gate").touch()
    assert (await replica.outcome(key)).state == SUCCEEDED


async def test_one_that_has_not_begun_goes_at_once(host: Host, bundle: str, tmp_path: Path) -> None:
    replica = await host.attach()
    # Nobody has a GPU for it while the first one runs: there is none here, so both workers are kept busy instead.
    gate = text(str(tmp_path / "gate"))
    busy = [await replica.launch(bundle, f"{host.project.name}:deaf", [gate]) for _ in range(2)]
    for key in busy:
        await replica.begun(key)
    waiting = [await replica.launch(bundle, f"{host.project.name}:deaf", [gate]) for _ in range(40)]
    await replica.notify(waiting[-1], grace_s=600, reason="others")
    outcome = await replica.outcome(waiting[-1])
    assert outcome.state == PREEMPTED
    (tmp_path / "gate").touch()
    for key in [*busy, *waiting[:-1]]:
        assert (await replica.outcome(key)).state == SUCCEEDED


async def test_a_cancelled_attempt_is_cancelled_also_in_its_time(host: Host, bundle: str, tmp_path: Path) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "never"))])
    await step_kept(replica, key, 4)
    await replica.notify(key, grace_s=600)
    await replica.stop(key)
    assert (await replica.outcome(key)).state == events_pb2.ATTEMPT_STATE_CANCELLED


async def test_after_a_kill_of_the_service_what_was_kept_is_told_with_the_loss(
    host: Host, bundle: str, tmp_path: Path
) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "never"))])
    await step_kept(replica, key, 4)
    await replica.notify(key, grace_s=600)
    host.service.kill()
    host.service.start()
    again = await host.attach()
    outcome = await again.outcome(key)
    assert outcome.state == events_pb2.ATTEMPT_STATE_LOST
    assert (outcome.checkpoint.step, read(host, outcome.checkpoint)) == (4, "before")
    # Acknowledged, it is forgotten with what it kept.
    await again.acknowledge(key)
    host.service.stop()
    host.service.start()
    assert key not in (await host.attach()).outcomes


async def test_a_killed_worker_loses_nothing_of_what_it_kept(host: Host, bundle: str, tmp_path: Path) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "never"))])
    await step_kept(replica, key, 4)
    for worker in host.service.workers():
        worker.kill()
    outcome = await replica.outcome(key)
    assert outcome.state == events_pb2.ATTEMPT_STATE_FAILED
    assert outcome.checkpoint.step == 4


async def test_a_new_stream_hears_what_live_attempts_have_kept(host: Host, bundle: str, tmp_path: Path) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "gate"))])
    await step_kept(replica, key, 4)
    again = await host.attach()
    assert (await step_kept(again, key, 4)).number == 1
    (tmp_path / "gate").touch()
    assert (await again.outcome(key)).state == SUCCEEDED


async def test_a_new_owner_hears_what_its_attempts_have_kept(host: Host, bundle: str, tmp_path: Path) -> None:
    replica = await host.attach()
    key = await replica.launch(bundle, f"{host.project.name}:deaf", [text(str(tmp_path / "gate"))])
    await step_kept(replica, key, 4)
    other = await host.attach("replica-2")
    adoption = action_pb2.Adoption(key=key_proto(key), epoch=9)
    await other.call.write(action_pb2.AttachRequest(adoptions=[adoption]))
    assert (await step_kept(other, key, 4)).number == 1
    (tmp_path / "gate").touch()
    assert (await other.outcome(key)).state == SUCCEEDED


async def test_many_checkpoints_are_told_of_now_and_then_and_the_others_are_removed(
    host: Host, bundle: str, tmp_path: Path
) -> None:
    replica = await host.attach()
    gate = tmp_path / "gate"
    key = await replica.launch(bundle, f"{host.project.name}:often", [integer(50), text(str(gate))])
    last = await step_kept(replica, key, 49)
    told = replica.kept[key]
    assert len(told) < 25
    assert last.number == 50
    gate.touch()
    outcome = await replica.outcome(key)
    assert outcome.checkpoint.number == 50
    known = {one.key for one in told}
    while len(stored(host)) > len(known):  # removed in the background; the test's own time limit is the bound
        await host.logs(key)
    assert set(stored(host)) == known
    request = action_pb2.DropCheckpointsRequest(keys=[told[0].key, told[0].key], run_ids=[key[0]])
    await host.artifacts.DropCheckpoints(request, metadata=host.metadata)
    assert stored(host) == []


async def test_a_process_that_the_operator_forks_keeps_nothing(host: Host, bundle: str) -> None:
    replica = await host.attach()
    outcome = await replica.run(bundle, f"{host.project.name}:forks")
    assert (outcome.state, outcome.outputs[0]) == (SUCCEEDED, integer(0).SerializeToString())
    assert outcome.checkpoint.step == 1


async def test_a_checkpoint_has_a_bound(host: Host, bundle: str) -> None:
    replica = await host.attach()
    outcome = await replica.run(bundle, f"{host.project.name}:too_large")
    assert b"CheckpointTooLarge: The checkpoint has more than the 100,000 bytes" in outcome.outputs[0]
    assert stored(host) == []


@pytest.mark.parametrize(
    "request_", [{"keys": ["sha256/aa/bb"]}, {"keys": ["checkpoints/../x"]}, {"run_ids": ["../.."]}, {"run_ids": [""]}]
)
async def test_nothing_but_checkpoints_is_removed(host: Host, request_: dict[str, list[str]]) -> None:
    request = action_pb2.DropCheckpointsRequest(**request_)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await host.artifacts.DropCheckpoints(request, metadata=host.metadata, wait_for_ready=True)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
