"""Attempts on real worker processes, through real gRPC: every way to succeed and to fail."""

import os
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from mwfs.artifacts import ArtifactStore
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

SOURCE = """\
import os, signal, sys, threading, time
import mwfs

@mwfs.operator
def double(x: int) -> int:
    print(f"doubling {x}")
    return 2 * x

@mwfs.operator
def fail(x: int) -> int:
    print("before")
    return helper(x)

def helper(x):
    raise ValueError(f"cannot use {x}")

@mwfs.operator
def leave(code: int) -> int:
    print("about to leave", flush=True)
    os._exit(code)

@mwfs.operator
def leave_politely(code: int) -> int:
    sys.exit(code)

@mwfs.operator
def crash() -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 1

@mwfs.operator
def wrong() -> int:
    return "text"

@mwfs.operator
def pid() -> int:
    return os.getpid()

@mwfs.operator
def wait(path: str) -> str:
    # Until the file is there; says that it waits.
    open(path + ".waiting", "w").close()
    while not os.path.exists(path):
        time.sleep(0.01)
    return open(path).read()

@mwfs.operator
def stubborn(path: str) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait(path)
    return 1

@mwfs.operator
def beats(seconds: float) -> int:
    # On a thread, as training loops of libraries do.
    def beat():
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            mwfs.heartbeat()
            time.sleep(0.005)
    thread = threading.Thread(target=beat)
    thread.start()
    thread.join()
    return 1

@mwfs.operator
def holds_the_interpreter() -> int:
    return sum(range(10**12))

@mwfs.operator
def spill(n: int) -> list[int]:
    return list(range(n))

@mwfs.operator
def total(numbers: list[int]) -> int:
    return sum(numbers)

@mwfs.operator
def gpus() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]

@mwfs.operator
def gpus_when(path: str) -> str:
    wait(path)
    return os.environ["CUDA_VISIBLE_DEVICES"]

@mwfs.operator
def environment() -> list[str]:
    return sorted(os.environ)

@mwfs.operator
def child() -> int:
    pid = os.fork()
    if pid == 0:
        return 0
    os.waitpid(pid, 0)
    return 1

@mwfs.workflow
def flow(xs: list[int]) -> int:
    last = 0
    for x in xs:
        last = double(x)
    return last

@mwfs.workflow
def bad_flow(x: int) -> int:
    return double("text")

@mwfs.workflow
def big_flow() -> int:
    return total(list(range(100_000)))
"""

S = events_pb2
HAS_FAILED = events_pb2.ATTEMPT_STATE_FAILED
SUCCEEDED = events_pb2.ATTEMPT_STATE_SUCCEEDED


def integer(number: int) -> types_pb2.Value:
    return types_pb2.Value(integer=number)


def text(words: object) -> types_pb2.Value:
    return types_pb2.Value(text=str(words))


def value_of(outcome: Any) -> types_pb2.Value:
    assert outcome.state == SUCCEEDED, outcome
    return types_pb2.Value.FromString(outcome.outputs[0])


class Flow:
    """The project of this module, uploaded, with a replica that launches its operators."""

    def __init__(self, host: Any, replica: Any, bundle: str) -> None:
        self.host, self.replica, self.bundle = host, replica, bundle
        self.name = host.project.name

    async def launch(self, operator: str, *arguments: types_pb2.Value, **options: Any) -> Any:
        return await self.replica.launch(self.bundle, f"{self.name}:{operator}", arguments, **options)

    async def run(self, operator: str, *arguments: types_pb2.Value, **options: Any) -> Any:
        return await self.replica.outcome(await self.launch(operator, *arguments, **options))


@pytest.fixture
async def flow(host: Any) -> Flow:
    host.project.write(SOURCE)
    return Flow(host, await host.attach(), host.project.bundle())


def put(path: Path, words: str) -> None:
    """The file is there with its words, or not at all."""
    whole = path.with_name(path.name + ".new")
    whole.write_text(words)
    whole.rename(path)


async def test_an_operator_succeeds_and_its_output_comes_back(flow: Flow) -> None:
    key = await flow.launch("double", integer(21))
    outcome = await flow.replica.outcome(key)
    assert value_of(outcome).integer == 42
    assert 0 < outcome.body_started_us <= outcome.body_ended_us
    assert outcome.worker.startswith("worker-")
    assert await flow.host.logs(key) == b"doubling 21\n"


async def test_many_attempts_share_warm_workers_and_keep_their_own_logs(flow: Flow) -> None:
    keys = [await flow.launch("double", integer(number)) for number in range(300)]
    for number, key in enumerate(keys):
        assert value_of(await flow.replica.outcome(key)).integer == 2 * number
    assert len({outcome.worker for outcome in flow.replica.outcomes.values()}) <= 3
    assert await flow.host.logs(keys[77]) == b"doubling 77\n"
    assert flow.replica.received == 300


async def test_an_exception_comes_back_typed_with_the_users_line(flow: Flow) -> None:
    key = await flow.launch("fail", integer(3))
    outcome = await flow.replica.outcome(key)
    failure = outcome.failure
    assert outcome.state == HAS_FAILED
    assert failure.kind == S.FAILURE_KIND_RAISED
    assert (failure.error_type, failure.message) == ("ValueError", "cannot use 3")
    assert failure.file.endswith(f"{flow.name}.py")
    assert failure.line == SOURCE.splitlines().index('    raise ValueError(f"cannot use {x}")') + 1
    assert "in helper" in failure.traceback
    assert "mwfs_action_service" not in failure.traceback
    assert await flow.host.logs(key) == b"before\n"


async def test_an_operator_that_exits_the_process_fails_with_its_code_and_last_lines(flow: Flow) -> None:
    key = await flow.launch("leave", integer(7))
    outcome = await flow.replica.outcome(key)
    assert outcome.state == HAS_FAILED
    assert outcome.failure.kind == S.FAILURE_KIND_EXITED
    assert "exit code 7" in outcome.failure.message
    assert "about to leave" in outcome.failure.message
    assert outcome.failure.next_step
    assert outcome.body_started_us > 0
    assert await flow.host.logs(key) == b"about to leave\n"
    assert value_of(await flow.run("double", integer(1))).integer == 2


async def test_sys_exit_fails_and_the_worker_lives(flow: Flow) -> None:
    before = value_of(await flow.run("pid")).integer
    outcome = await flow.run("leave_politely", integer(0))
    assert outcome.state == HAS_FAILED
    assert outcome.failure.kind == S.FAILURE_KIND_EXITED
    assert outcome.failure.line == SOURCE.splitlines().index("    sys.exit(code)") + 1
    assert before in {value_of(await flow.run("pid")).integer for _ in range(4)}


async def test_a_crash_in_native_code_names_the_signal(flow: Flow) -> None:
    outcome = await flow.run("crash")
    assert outcome.failure.kind == S.FAILURE_KIND_EXITED
    assert "SIGSEGV" in outcome.failure.message


async def test_a_killed_worker_fails_what_ran_and_nothing_else(flow: Flow, tmp_path: Path) -> None:
    victim = value_of(await flow.run("pid")).integer
    keys = [await flow.launch("wait", text(tmp_path / f"go{number}")) for number in range(2)]
    queued = [await flow.launch("double", integer(number)) for number in range(20)]
    for key in keys:
        await flow.replica.begun(key)
    os.kill(victim, signal.SIGKILL)
    for number, key in enumerate(queued):
        assert value_of(await flow.replica.outcome(key)).integer == 2 * number
    await flow.replica.wait_until(lambda: any(key in flow.replica.outcomes for key in keys))
    (killed,) = [key for key in keys if key in flow.replica.outcomes]
    outcome = flow.replica.outcomes[killed]
    assert outcome.failure.kind == S.FAILURE_KIND_EXITED
    assert "SIGKILL" in outcome.failure.message
    put(tmp_path / f"go{1 - keys.index(killed)}", "on")
    assert value_of(await flow.replica.outcome(keys[1 - keys.index(killed)])).text == "on"


async def test_a_result_of_another_type_is_refused(flow: Flow) -> None:
    outcome = await flow.run("wrong")
    assert outcome.failure.kind == S.FAILURE_KIND_BAD_RESULT


@pytest.mark.parametrize("operator", ["no_such_operator", "flow"])
async def test_an_operator_that_is_not_there_says_so(flow: Flow, operator: str) -> None:
    outcome = await flow.run(operator)
    assert outcome.failure.kind == S.FAILURE_KIND_NOT_LOADABLE
    assert operator in outcome.failure.message


async def test_a_bundle_that_is_missing_says_so(flow: Flow) -> None:
    outcome = await flow.replica.run(f"sha256:{'0' * 64}", f"{flow.name}:double", integer(1))
    assert outcome.failure.kind == S.FAILURE_KIND_NOT_LOADABLE
    assert outcome.failure.next_step


async def test_a_timeout_ends_the_attempt_and_its_worker(flow: Flow, tmp_path: Path) -> None:
    outcome = await flow.run("wait", text(tmp_path / "never"), timeout=0.2)
    assert outcome.state == S.ATTEMPT_STATE_TIMED_OUT
    assert outcome.failure.kind == S.FAILURE_KIND_TIMED_OUT
    assert outcome.failure.error_type == "TimeoutError"  # so `mwfs.catch(…, TimeoutError)` takes it
    assert "builtins.TimeoutError" in outcome.failure.error_classes
    assert "0.2 s" in outcome.failure.message
    assert value_of(await flow.run("double", integer(1))).integer == 2


async def test_an_attempt_that_gives_no_sign_of_life_is_ended(flow: Flow, tmp_path: Path) -> None:
    outcome = await flow.run("wait", text(tmp_path / "never"), heartbeat_timeout=0.2)
    assert outcome.state == S.ATTEMPT_STATE_TIMED_OUT
    assert outcome.failure.error_type == "TimeoutError"
    assert "no sign of life" in outcome.failure.message
    assert "mwfs.heartbeat()" in outcome.failure.next_step


async def test_an_attempt_that_says_it_is_getting_on_goes_on(flow: Flow) -> None:
    beats = types_pb2.Value(number=5.0)
    assert value_of(await flow.run("beats", beats, heartbeat_timeout=4.0)).integer == 1


async def test_a_timeout_ends_code_that_never_lets_go_of_the_interpreter(flow: Flow) -> None:
    outcome = await flow.run("holds_the_interpreter", timeout=0.2)
    assert outcome.state == S.ATTEMPT_STATE_TIMED_OUT


async def test_a_stopped_attempt_is_cancelled_whether_it_runs_or_waits(flow: Flow, tmp_path: Path) -> None:
    running = await flow.launch("wait", text(tmp_path / "never"))
    await flow.replica.begun(running)
    await flow.replica.stop(running)
    outcome = await flow.replica.outcome(running)
    assert outcome.state == S.ATTEMPT_STATE_CANCELLED
    assert outcome.failure.kind == S.FAILURE_KIND_CANCELLED
    keys = [await flow.launch("wait", text(tmp_path / "never")) for _ in range(100)]
    await flow.replica.stop(*keys)
    for key in keys:
        assert (await flow.replica.outcome(key)).state == S.ATTEMPT_STATE_CANCELLED


async def test_stopping_is_firm_with_code_that_ignores_sigterm(flow: Flow, tmp_path: Path) -> None:
    key = await flow.launch("stubborn", text(tmp_path / "never"))
    await flow.replica.begun(key)
    await flow.replica.stop(key)
    assert (await flow.replica.outcome(key)).state == S.ATTEMPT_STATE_CANCELLED


async def test_stopping_an_unknown_attempt_answers_lost(flow: Flow) -> None:
    key = ("33333333-3333-3333-3333-333333333333", 5, 1)
    await flow.replica.stop(key)
    assert (await flow.replica.outcome(key)).state == S.ATTEMPT_STATE_LOST


async def test_a_duplicate_launch_runs_once(flow: Flow, tmp_path: Path) -> None:
    key = await flow.launch("wait", text(tmp_path / "go"))
    await flow.launch("wait", text(tmp_path / "go"), key=key)
    put(tmp_path / "go", "once")
    assert value_of(await flow.replica.outcome(key)).text == "once"
    await flow.launch("wait", text(tmp_path / "go"), key=key)
    assert value_of(await flow.run("double", integer(2))).integer == 4
    assert flow.replica.received == 2


async def test_a_launch_of_a_stale_scheduler_is_lost(flow: Flow) -> None:
    assert value_of(await flow.run("double", integer(1), epoch=5)).integer == 2
    outcome = await flow.run("double", integer(1), epoch=4)
    assert outcome.state == S.ATTEMPT_STATE_LOST
    assert outcome.failure.kind == S.FAILURE_KIND_LOST
    assert value_of(await flow.run("double", integer(1), epoch=5)).integer == 2


async def test_a_launch_of_an_undescribed_operator_fails(flow: Flow) -> None:
    from mwfs_api.action.v1 import action_pb2

    key = ("44444444-4444-4444-4444-444444444444", 0, 1)
    launch = action_pb2.Launch(key=action_pb2.AttemptKey(run_id=key[0], node=0, attempt=1), operator=99, grant_epoch=1)
    await flow.replica.call.write(action_pb2.AttachRequest(launches=[launch]))
    outcome = await flow.replica.outcome(key)
    assert outcome.failure.kind == S.FAILURE_KIND_NOT_LOADABLE


async def test_sleeping_attempts_run_at_once_and_do_not_block_quick_ones(flow: Flow, tmp_path: Path) -> None:
    waiting = [await flow.launch("wait", text(tmp_path / "go")) for _ in range(8)]
    for key in waiting:
        await flow.replica.begun(key)
    assert value_of(await flow.run("double", integer(4))).integer == 8
    put(tmp_path / "go", "all")
    for key in waiting:
        assert value_of(await flow.replica.outcome(key)).text == "all"


async def test_an_attempt_that_turns_out_long_gives_its_queue_away(flow: Flow, tmp_path: Path) -> None:
    # Known as quick, so many are queued on one worker; then it waits.
    (tmp_path / "quick").write_text("quick")
    for _ in range(20):
        await flow.run("wait", text(tmp_path / "quick"))
    slow = await flow.launch("wait", text(tmp_path / "slow"))
    quick = [await flow.launch("wait", text(tmp_path / "quick")) for _ in range(60)]
    for key in quick:
        assert value_of(await flow.replica.outcome(key)).text == "quick"
    assert slow not in flow.replica.outcomes
    put(tmp_path / "slow", "done")
    assert value_of(await flow.replica.outcome(slow)).text == "done"


async def test_large_values_travel_as_artifacts_both_ways(flow: Flow) -> None:
    value = value_of(await flow.run("spill", integer(100_000)))
    assert value.WhichOneof("kind") == "artifact"
    assert value.artifact.size > 32 * 1024
    assert value_of(await flow.run("total", value)).integer == sum(range(100_000))


async def test_a_launch_larger_than_a_packet_arrives(flow: Flow) -> None:
    numbers = types_pb2.Value(list=types_pb2.ListValue(items=map(integer, range(200_000))))
    assert value_of(await flow.run("total", numbers)).integer == sum(range(200_000))


async def test_an_edited_folder_is_another_version_and_never_shares_a_worker(flow: Flow) -> None:
    old = {value_of(await flow.run("pid")).integer for _ in range(3)}
    flow.host.project.write(SOURCE.replace("return 2 * x", "return 3 * x"))
    edited = flow.host.project.bundle()
    assert edited != flow.bundle
    replica, ref = flow.replica, flow.name
    assert value_of(await replica.run(edited, f"{ref}:double", integer(5))).integer == 15
    assert value_of(await flow.run("double", integer(5))).integer == 10
    assert value_of(await replica.run(edited, f"{ref}:pid")).integer not in old


async def test_operators_see_no_token_and_no_address_of_the_platform(flow: Flow) -> None:
    names = [item.text for item in value_of(await flow.run("environment")).list.items]
    assert not [name for name in names if name.startswith("MWFS_")]


async def test_a_child_that_an_operator_forked_does_not_serve_launches(flow: Flow) -> None:
    assert value_of(await flow.run("child")).integer == 1
    assert value_of(await flow.run("double", integer(1))).integer == 2


async def test_compiling_gives_a_dag_in_the_store(flow: Flow) -> None:
    inputs = {"xs": types_pb2.Value(list=types_pb2.ListValue(items=map(integer, range(3))))}
    key = await flow.replica.compile(flow.bundle, f"{flow.name}:flow", inputs)
    artifact = value_of(await flow.replica.outcome(key)).artifact
    assert artifact.encoding == "dag"
    store: ArtifactStore = flow.host.project.store
    dag = dag_pb2.Dag.FromString(store.get_bytes(artifact))
    assert dag.bundle_digest == flow.bundle
    assert len(dag.node_operator) == 3


async def test_a_compile_error_names_the_users_line(flow: Flow) -> None:
    key = await flow.replica.compile(flow.bundle, f"{flow.name}:bad_flow", {"x": integer(1)})
    failure = (await flow.replica.outcome(key)).failure
    assert failure.kind == S.FAILURE_KIND_COMPILE
    assert failure.line == SOURCE.splitlines().index('    return double("text")') + 1


@pytest.mark.parametrize("workflow", ["no_such_flow", "double"])
async def test_compiling_what_is_no_workflow_fails(flow: Flow, workflow: str) -> None:
    key = await flow.replica.compile(flow.bundle, f"{flow.name}:{workflow}", {})
    assert (await flow.replica.outcome(key)).failure.kind == S.FAILURE_KIND_COMPILE


async def test_the_logs_of_an_unknown_attempt_are_not_found(flow: Flow) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await flow.host.logs(("55555555-5555-5555-5555-555555555555", 0, 1))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("service_environment", [{"MWFS_GPUS": "3"}])
async def test_gpus_are_assigned_to_one_attempt_at_a_time(flow: Flow, tmp_path: Path) -> None:
    assert value_of(await flow.run("gpus")).text == ""
    one = await flow.launch("gpus_when", text(tmp_path / "one"), gpus=1)
    two = await flow.launch("gpus_when", text(tmp_path / "two"), gpus=2)
    late = await flow.launch("gpus", gpus=1)
    await flow.replica.begun(one)
    await flow.replica.begun(two)
    assert late not in flow.replica.outcomes
    (tmp_path / "one").write_text("")
    (tmp_path / "two").write_text("")
    assert value_of(await flow.replica.outcome(one)).text == "0"
    assert value_of(await flow.replica.outcome(two)).text == "1,2"
    assert value_of(await flow.replica.outcome(late)).text in {"0", "1"}
    assert value_of(await flow.run("gpus", gpus=3)).text == "0,1,2"
    too_many = await flow.run("gpus", gpus=4)
    assert too_many.failure.kind == S.FAILURE_KIND_LIMIT


@pytest.mark.parametrize("service_environment", [{"MWFS_GPUS": "1"}])
async def test_an_attempt_that_does_not_begin_in_time_is_ended_and_what_runs_is_not(flow: Flow, tmp_path: Path) -> None:
    busy = await flow.launch("gpus_when", text(tmp_path / "done"), gpus=1, start_timeout=60)
    await flow.replica.begun(busy)
    late = await flow.run("gpus", gpus=1, start_timeout=0.2)
    assert late.state == S.ATTEMPT_STATE_TIMED_OUT
    assert "had not begun 0.2 s after" in late.failure.message
    (tmp_path / "done").write_text("")
    assert value_of(await flow.replica.outcome(busy)).text == "0"


async def test_code_that_does_not_load_in_time_is_ended(flow: Flow) -> None:
    flow.host.project.write("import time\nwhile True: time.sleep(0.01)", "endless")
    outcome = await flow.replica.run(flow.host.project.bundle(), "endless:anything", start_timeout=0.3)
    assert outcome.state == S.ATTEMPT_STATE_TIMED_OUT
    assert "start_timeout" in outcome.failure.next_step
