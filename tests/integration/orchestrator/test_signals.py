"""Signals from outside and waits for time: accepted once, whenever they come, and never lost by a restart."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2

from .conftest import World
from .dags import INT, chain
from .neighbours import succeed
from .test_dynamic import dynamic

FLOAT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_FLOAT)
NULL = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_NULL)
Value = types_pb2.Value
TEXT = Value(text="no int")


def waiting(name: str = "approved", *, timeout: float = 0.0, after: bool = False) -> dag_pb2.Dag:
    """Node 0 is an operator, node 1 waits for an int (`after`: until node 0 has ended), node 2 takes it as the only element of its list."""
    dag = chain(1)
    signal = dag.operators.add(module="mwfs", qualname=f"signal({name})")
    signal.outputs.add(name="result", type=0)
    signal.control.kind = dag_pb2.CONTROL_KIND_SIGNAL
    signal.control.name, signal.control.timeout_seconds = name, timeout
    if after:
        dag.order_node.append(1)
        dag.order_after.append(0)
    for operator in (1, 0):
        dag.node_operator.append(operator)
        dag.node_location.append(0)
    item = len(dag.items.kind)
    dag.arguments.kind.append(dag_pb2.BINDING_KIND_LIST)
    dag.arguments.a.append(item)
    dag.arguments.b.append(1)
    dag.items.kind.append(dag_pb2.BINDING_KIND_OUTPUT)
    dag.items.a.append(1)
    dag.items.b.append(0)
    dag.outputs[0].item = item  # the payload
    return dag


def sleeping(seconds: float) -> dag_pb2.Dag:
    """Node 0 is an operator, and node 1 sleeps."""
    dag = chain(1)
    dag.types.extend([FLOAT, NULL])
    dag.constants.add(number=seconds)
    sleep = dag.operators.add(module="mwfs", qualname="sleep")
    sleep.parameters.add(name="seconds", type=2)
    sleep.outputs.add(name="result", type=3)
    sleep.control.kind = dag_pb2.CONTROL_KIND_SLEEP
    dag.node_operator.append(1)
    dag.node_location.append(0)
    dag.arguments.kind.append(dag_pb2.BINDING_KIND_CONSTANT)
    dag.arguments.a.append(0)
    dag.arguments.b.append(0)
    return dag


async def send(
    world: World,
    run_id: str,
    payload: Value | None = None,
    *,
    name: str = "approved",
    request_id: str = "r1",
    team: str = "red",
) -> bool:
    request = pb.SignalRunRequest(run_id=run_id, name=name, payload=payload or Value(integer=7), request_id=request_id)
    response: pb.SignalRunResponse = await world.stub.SignalRun(request, metadata=world.metadata(team))
    return response.created


async def refused(world: World, *arguments: Any, **named: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await send(world, *arguments, **named)
    return error.value.code(), error.value.details() or ""


async def start(world: World, dag: dag_pb2.Dag, request_id: str = "request") -> str:
    (answer,) = await world.submit(dag, request_ids=[request_id])
    assert answer.HasField("accepted"), answer.refused
    return answer.accepted.run_id


async def waits_of(world: World, run_id: str) -> dict[int, ev.WaitFacts]:
    """What is waited for, once something is."""
    while True:
        nodes = (await world.stub.ListNodes(pb.ListNodesRequest(run_id=run_id), metadata=world.metadata())).nodes
        found = {node.node: node.wait for node in nodes if node.HasField("wait")}
        if found:
            return found
        await asyncio.sleep(0.01)  # another process would poll as well: nothing tells of a row


async def output_of(world: World, run_id: str) -> Value:
    response = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run_id), metadata=world.metadata())
    return response.outputs[0].value


async def test_a_node_waits_until_the_signal_comes_and_gives_its_payload(world: World) -> None:
    run_id = await start(world, waiting())
    assert (await waits_of(world, run_id))[1].signal == "approved"
    (listed,) = (await world.stub.ListSignals(pb.ListSignalsRequest(run_id=run_id), metadata=world.metadata())).signals
    assert (listed.name, listed.type, listed.waiting_nodes, listed.send_time_us) == ("approved", INT, [1], 0)
    assert await send(world, run_id, Value(integer=41))
    run = await world.wait(run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert (await output_of(world, run_id)).integer == 41
    arguments = types_pb2.ListValue.FromString(world.host.arguments[run_id, 2, 1])
    assert [value.integer for value in arguments.items[0].list.items] == [41]
    (listed,) = (await world.stub.ListSignals(pb.ListSignalsRequest(run_id=run_id), metadata=world.metadata())).signals
    assert (listed.principal, list(listed.waiting_nodes)) == ("tester", [])
    assert listed.send_time_us > 0
    kinds = [kind for batch in await world.events_of(run_id) for kind in batch.kind]
    assert kinds.count(ev.EVENT_KIND_RUN_SIGNALLED) == kinds.count(ev.EVENT_KIND_NODE_WAITING) == 1


async def test_a_signal_may_come_before_the_node_waits_and_before_a_restart(world: World) -> None:
    world.host.answer = lambda launch: None
    run_id = await start(world, waiting(after=True))
    await world.host.until(lambda: bool(world.host.live))
    assert await send(world, run_id, Value(integer=41))
    await world.stop_orchestrator()
    await world.start_orchestrator()
    world.host.answer = succeed
    world.host.finish((run_id, 0, 1), succeed(world.host.live[run_id, 0, 1]))
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert (await output_of(world, run_id)).integer == 41


async def test_a_node_that_waits_goes_on_waiting_after_a_restart(world: World) -> None:
    run_id = await start(world, waiting(timeout=3600))
    before = (await waits_of(world, run_id))[1]
    await world.stop_orchestrator()
    await world.start_orchestrator()
    assert (await waits_of(world, run_id))[1] == before
    assert await send(world, run_id)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_repeating_a_signal_changes_nothing_and_another_one_is_refused(world: World) -> None:
    run_id = await start(world, waiting())
    assert await asyncio.gather(*(send(world, run_id) for _ in range(5))) == [True, False, False, False, False]
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert not await send(world, run_id), "also when the run has ended"
    for payload, name, request_id in (
        (Value(integer=8), "approved", "r1"),
        (Value(integer=7), "other", "r1"),
        (Value(integer=7), "approved", "r2"),
    ):
        code, _ = await refused(world, run_id, payload, name=name, request_id=request_id)
        assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_a_signal_that_does_not_come_in_time_is_a_timeout_error_also_across_a_restart(world: World) -> None:
    run_id = await start(world, waiting(timeout=4))
    await waits_of(world, run_id)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    run = await world.wait(run_id)
    assert (run.state, run.failure.error_type) == (ev.RUN_STATE_FAILED, "TimeoutError")
    assert (run.failure.kind, run.failure.file, run.failure.line) == (ev.FAILURE_KIND_TIMED_OUT, "sample.py", 7)
    assert "did not come within 4 s" in run.failure.message
    assert "mwfs signal" in run.failure.next_step


async def test_a_retried_run_has_the_signals_that_it_had(world: World) -> None:
    failing = waiting()
    failing.operators[0].retry.attempts = 1
    first = world.host.answer
    world.host.answer = lambda launch: None if launch.key.node == 2 else first(launch)
    run_id = await start(world, failing)
    await send(world, run_id)
    await world.host.until(lambda: (run_id, 2, 1) in world.host.live)
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    world.host.answer = first
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=run_id, request_id="again"), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert (await output_of(world, run_id)).integer == 7


async def test_a_run_that_waits_can_be_cancelled(world: World) -> None:
    run_id = await start(world, waiting(timeout=3600))
    await waits_of(world, run_id)
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    code, said = await refused(world, run_id)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "has ended: it is CANCELLED" in said


async def test_a_signal_comes_through_while_the_run_is_paused(world: World) -> None:
    run_id = await start(world, waiting())
    await waits_of(world, run_id)
    await world.stub.PauseRun(pb.PauseRunRequest(run_id=run_id), metadata=world.metadata())
    assert await send(world, run_id)
    assert (await world.get(run_id)).state == ev.RUN_STATE_PAUSED
    await world.stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


@pytest.mark.parametrize(
    ("named", "code", "words"),
    [
        ({"payload": TEXT}, grpc.StatusCode.INVALID_ARGUMENT, "expected int"),
        ({"payload": Value()}, grpc.StatusCode.INVALID_ARGUMENT, "expected int"),
        ({"payload": Value(integer=1), "name": "unknown"}, grpc.StatusCode.INVALID_ARGUMENT, "its signals: approved"),
        ({"name": "not a name"}, grpc.StatusCode.INVALID_ARGUMENT, "does not name a signal"),
        ({"name": "x" * 1000}, grpc.StatusCode.INVALID_ARGUMENT, "does not name a signal"),
        ({"name": ""}, grpc.StatusCode.INVALID_ARGUMENT, "does not name a signal"),
        ({"request_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "request id"),
        ({"request_id": "r" * 1000}, grpc.StatusCode.INVALID_ARGUMENT, "request id"),
        ({"payload": Value(text="x" * 40_000)}, grpc.StatusCode.INVALID_ARGUMENT, "at most 32,768"),
        ({"team": "blue"}, grpc.StatusCode.NOT_FOUND, "has no run"),
    ],
)
async def test_what_is_no_signal_is_refused_and_the_run_goes_on(
    world: World, named: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    run_id = await start(world, waiting())
    found, said = await refused(world, run_id, **named)
    assert found is code
    assert words in said
    await send(world, run_id)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_values_that_nest_without_end_are_refused(world: World) -> None:
    run_id = await start(world, waiting())
    deep = Value(integer=1)
    for _ in range(40):
        deep = Value(list=types_pb2.ListValue(items=[deep]))
    code, _ = await refused(world, run_id, deep)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    await send(world, run_id)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_unknown_runs_and_half_ids(world: World) -> None:
    code, _ = await refused(world, "00000000-0000-0000-0000-000000000000")
    assert code is grpc.StatusCode.NOT_FOUND
    run_id = await start(world, waiting())
    assert await send(world, run_id[:8])


async def test_a_dynamic_operator_may_declare_a_signal_after_it_was_sent(world: World) -> None:
    world.host.answer = lambda launch: None
    run_id = await start(world, dynamic())
    await world.host.until(lambda: bool(world.host.live))
    assert await send(world, run_id, TEXT, name="never_declared", request_id="a")
    assert await send(world, run_id, TEXT, request_id="b")
    from .test_dynamic import made, making

    making(world, made(world, waiting().SerializeToString()))
    launch = world.host.live[run_id, 0, 1]
    outcome = world.host.answer(launch)
    assert outcome is not None
    world.host.finish((run_id, 0, 1), outcome)
    run = await world.wait(run_id)
    # It turns out to be of another type.
    assert (run.state, run.failure.error_type) == (ev.RUN_STATE_FAILED, "ValueError")
    assert "the payload of the signal `approved`: expected int" in run.failure.message


async def test_signals_that_nothing_declares_are_bounded(world: World) -> None:
    world.host.answer = lambda launch: None
    run_id = await start(world, dynamic())
    await world.host.until(lambda: bool(world.host.live))
    for number in range(100):
        await send(world, run_id, name=f"s{number}", request_id=str(number))
    code, _ = await refused(world, run_id, name="one_more", request_id="one_more")
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_sleep_takes_its_time_and_survives_a_restart(world: World) -> None:
    short, long = await start(world, sleeping(1.5)), await start(world, sleeping(3600), "long")
    until = (await waits_of(world, short))[1].until_time_us
    assert (await waits_of(world, long))[1].until_time_us > until
    await world.stop_orchestrator()
    await world.start_orchestrator()
    run = await world.wait(short)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert run.end_time_us >= until
    assert (await world.get(long)).state == ev.RUN_STATE_RUNNING
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=long), metadata=world.metadata())
    assert (await world.wait(long)).state == ev.RUN_STATE_CANCELLED


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan"), 1e12])
async def test_absurd_sleeps_fail_their_node(world: World, seconds: float) -> None:
    (answer,) = await world.submit(sleeping(seconds))
    if answer.HasField("refused"):
        assert answer.refused.code == "INVALID_ARGUMENT"
        return
    run = await world.wait(answer.accepted.run_id)
    assert (run.state, run.failure.error_type, run.failure.line) == (ev.RUN_STATE_FAILED, "ValueError", 7)


async def test_what_is_acknowledged_is_in_the_database(world: World) -> None:
    run_id = await start(world, waiting(after=True))
    await send(world, run_id)
    rows = []
    for dsn in world.shards:
        connection = await asyncpg.connect(dsn)
        rows += await connection.fetch(
            "SELECT name, request_id, principal FROM signals WHERE run_id = $1::uuid", run_id
        )
        await connection.close()
    assert [tuple(row) for row in rows] == [("approved", "r1", "tester")]
