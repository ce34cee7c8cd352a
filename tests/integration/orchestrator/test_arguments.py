"""What nodes are called with: computed on the way, waited for without data, asked for afterwards, and what the platform does not run yet."""

from hashlib import sha256

import grpc
import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2

from .conftest import World
from .dags import chain, layered
from .neighbours import fail, succeed


def computed(function: int, *operands: int) -> dag_pb2.Dag:
    """Nodes 0 to 2 give their number; node 3 takes a list of one: `function` of the results of `operands`."""
    dag = layered([], [], [], [0])
    first = len(dag.items.kind)
    for node in operands:
        _item(dag, dag_pb2.BINDING_KIND_OUTPUT, node, 0)
    _item(dag, dag_pb2.BINDING_KIND_APPLY, first, function)
    dag.arguments.a[3] = len(dag.items.kind) - 1
    return dag


def _item(dag: dag_pb2.Dag, kind: "dag_pb2.BindingKind.ValueType", a: int, b: int) -> None:
    dag.items.kind.append(kind)
    dag.items.a.append(a)
    dag.items.b.append(b)


async def inputs_of(world: World, run_id: str, node: int) -> pb.GetNodeInputsResponse:
    request = pb.GetNodeInputsRequest(run_id=run_id, node=node)
    answer: pb.GetNodeInputsResponse = await world.stub.GetNodeInputs(request, metadata=world.metadata())
    return answer


async def test_a_function_of_results_is_computed_on_the_way(world: World) -> None:
    run = await world.run(computed(dag_pb2.FUNCTION_ADD, 1, 2))
    assert run.state == ev.RUN_STATE_SUCCEEDED
    (argument,) = types_pb2.ListValue.FromString(world.host.arguments[run.run_id, 3, 1]).items
    assert [item.integer for item in argument.list.items] == [3]


async def test_a_function_that_fails_fails_the_node_once_at_its_line(world: World) -> None:
    dag = computed(dag_pb2.FUNCTION_FLOOR_DIVIDE, 2, 0)
    dag.operators[0].retry.attempts = 5
    run = await world.run(dag)
    assert run.state == ev.RUN_STATE_FAILED
    failure = run.failure
    assert (failure.error_type, failure.node) == ("ZeroDivisionError", 3)
    assert (failure.file, failure.line) == ("sample.py", 7)
    assert sorted(key[1] for key in world.host.launched) == [0, 1, 2]
    await world.host.until(lambda: not world.host.unacknowledged)
    assert sum(world.scheduler.held.values()) == 0


async def test_what_reads_the_object_store_travels_to_the_worker_as_an_expression(world: World) -> None:
    spilled = types_pb2.Value(artifact=types_pb2.Artifact(digest="sha256:" + "0" * 64, size=9, encoding="value"))
    launches: dict[int, action_pb2.Launch] = {}

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        launches[launch.key.node] = launch
        if launch.key.node > 0:
            return succeed(launch)
        return action_pb2.Outcome(
            key=launch.key, state=ev.ATTEMPT_STATE_SUCCEEDED, outputs=[spilled.SerializeToString()], worker="w1"
        )

    world.host.answer = answer
    run = await world.run(computed(dag_pb2.FUNCTION_ADD, 0, 1))
    (pending,) = launches[3].pending
    assert list(pending.items.kind) == [1, 1, 8, 3]
    assert pending.values[0] == spilled
    answer_to_client = await inputs_of(world, run.run_id, 3)
    assert list(answer_to_client.pending) == [pending]


def computed_output(function: int) -> dag_pb2.Dag:
    """One node; the output of the run is a function of what it gives."""
    dag = layered([])
    dag.outputs[0].item = len(dag.items.kind)
    _item(dag, dag_pb2.BINDING_KIND_APPLY, len(dag.items.kind) - 1, function)
    dag.operators[0].outputs[0].type = 1
    return dag


def numbers_in_the_store(world: World, *numbers: int):  # type: ignore[no-untyped-def]
    """A host whose operators give a list that does not travel inline."""
    items = [types_pb2.Value(integer=number) for number in numbers]
    data = types_pb2.Value(list=types_pb2.ListValue(items=items)).SerializeToString()
    digest = "sha256:" + sha256(data).hexdigest()
    world.host.artifacts[digest] = data
    value = types_pb2.Value(artifact=types_pb2.Artifact(digest=digest, size=len(data), encoding="value"))
    return lambda launch: action_pb2.Outcome(
        key=launch.key, state=ev.ATTEMPT_STATE_SUCCEEDED, outputs=[value.SerializeToString()], worker="w1"
    )


async def test_an_output_is_computed_from_what_is_in_the_object_store(world: World) -> None:
    world.host.answer = numbers_in_the_store(world, 1, 2, 39)
    run = await world.run(computed_output(dag_pb2.FUNCTION_SUM))
    assert run.state == ev.RUN_STATE_SUCCEEDED
    outputs = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id), metadata=world.metadata())
    assert [output.value.integer for output in outputs.outputs] == [42]


async def test_an_output_that_cannot_be_computed_fails_the_run(world: World) -> None:
    world.host.answer = numbers_in_the_store(world)
    run = await world.run(computed_output(dag_pb2.FUNCTION_MAXIMUM))
    assert (run.state, run.failure.error_type, run.failure.node) == (ev.RUN_STATE_FAILED, "ValueError", -1)


async def test_a_run_whose_object_is_gone_fails_and_can_be_revived_once_it_is_back(world: World) -> None:
    world.host.answer = numbers_in_the_store(world, 5)
    kept, world.host.artifacts = world.host.artifacts, {}
    run = await world.run(computed_output(dag_pb2.FUNCTION_SUM))
    assert (run.state, run.failure.error_type) == (ev.RUN_STATE_FAILED, "ArtifactMissing")
    world.host.artifacts = kept
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=run.run_id, request_id="again"), metadata=world.metadata())
    assert (await world.wait(run.run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == 1


async def test_order_without_data_holds_a_node_back(world: World) -> None:
    dag = layered([], [], [])
    dag.order_node.extend([1, 2])
    dag.order_after.extend([0, 1])
    run = await world.run(dag)
    assert [key[1] for key in world.host.launched] == [0, 1, 2]
    assert run.state == ev.RUN_STATE_SUCCEEDED


async def test_what_follows_a_failed_node_does_not_start(world: World) -> None:
    world.host.answer = fail
    dag = layered([], [])
    dag.order_node.append(1)
    dag.order_after.append(0)
    run = await world.run(dag)
    assert {count.state: count.count for count in run.node_counts} == {
        ev.NODE_STATE_FAILED: 1,
        ev.NODE_STATE_UPSTREAM_FAILED: 1,
    }


async def test_a_later_try_has_resources_of_its_own(world: World) -> None:
    asked = []

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        asked.append(launch.resources.memory_bytes)
        return fail(launch) if len(asked) < 4 else succeed(launch)

    world.host.answer = answer
    dag = layered([], attempts=4)
    for size in (200, 300):
        dag.operators[0].later_resources.add(cpu_millis=1000, memory_bytes=size)
    dag.operators[0].resources.memory_bytes = 100
    assert (await world.run(dag)).state == ev.RUN_STATE_SUCCEEDED
    assert asked == [100, 200, 300, 300]


# What a node was called with.


async def test_inputs_and_outcome_of_a_node_of_an_ended_run(world: World) -> None:
    run = await world.run(layered([], [], [0, 1]))
    answer = await inputs_of(world, run.run_id[:8], 2)
    assert (answer.run_id, answer.node, answer.file, answer.line) == (run.run_id, 2, "sample.py", 7)
    assert (answer.operator.module, answer.operator.qualname) == ("sample", "total")
    assert [item.integer for item in answer.arguments[0].list.items] == [0, 1]
    assert len(answer.parameter_types) == len(answer.output_types) == 1
    assert (answer.state, answer.attempt) == (ev.NODE_STATE_SUCCEEDED, 1)
    assert [output.integer for output in answer.outputs] == [2]


async def test_inputs_of_a_node_that_runs_and_of_one_that_failed(world: World) -> None:
    world.host.answer = lambda launch: {0: succeed, 1: fail}.get(launch.key.node, lambda _: None)(launch)
    (answer,) = await world.submit(layered([], [0], [0], [2]))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: len(world.host.live) == 1 and not world.host.unacknowledged)
    failed, running = await inputs_of(world, run_id, 1), await inputs_of(world, run_id, 2)
    assert (failed.state, failed.failure.error_type) == (ev.NODE_STATE_FAILED, "ValueError")
    assert (running.state, len(running.arguments), len(running.outputs)) == (ev.NODE_STATE_RUNNING, 1, 0)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await inputs_of(world, run_id, 3)
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "needs node 2, which has no result: it is RUNNING" in (raised.value.details() or "")


async def test_there_is_no_such_node(world: World) -> None:
    run = await world.run(chain(2))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await inputs_of(world, run.run_id, 2)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
