"""Dynamic operators: the Dag that an attempt makes is fetched, believed only after all checks, and grown by; once, whatever restarts."""

import random
from hashlib import sha256

import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.types.v1 import types_pb2

from .conftest import World
from .dags import chain, layered
from .neighbours import fail, succeed


def dynamic(attempts: int = 1) -> dag_pb2.Dag:
    """Node 0 makes more of the graph, and node 1 takes what it gives."""
    dag = layered([], [0], attempts=attempts)
    maker = dag.operators.add()
    maker.CopyFrom(dag.operators[0])
    maker.qualname = "maker"
    maker.control.kind = dag_pb2.CONTROL_KIND_DYNAMIC
    dag.node_operator[0] = 1
    return dag


def made(world: World, data: bytes, *, size: int | None = None, kept: bool = True) -> types_pb2.Value:
    """What a worker gives for a Dag."""
    digest = "sha256:" + sha256(data).hexdigest()
    if kept:
        world.host.artifacts[digest] = data
    return types_pb2.Value(artifact=types_pb2.Artifact(digest=digest, size=size or len(data), encoding="dag"))


def making(world: World, value: types_pb2.Value | None) -> None:
    """The attempts of node 0 succeed with this output, or none; all others with their number."""

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        outcome = succeed(launch)
        if launch.key.node == 0:
            del outcome.outputs[:]
            if value is not None:
                outcome.outputs.append(value.SerializeToString())
        return outcome

    world.host.answer = answer


async def outputs_of(world: World, run_id: str) -> list[int]:
    from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

    response = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run_id), metadata=world.metadata())
    return [output.value.integer for output in response.outputs]


async def test_the_run_grows_by_what_the_attempt_made(world: World) -> None:
    making(world, made(world, chain(3).SerializeToString()))
    run = await world.run(dynamic())
    assert run.state == ev.RUN_STATE_SUCCEEDED, run
    assert run.node_count == 5
    assert [key[1] for key in world.host.launched] == [0, 2, 3, 4, 1]
    arguments = types_pb2.ListValue.FromString(world.host.arguments[run.run_id, 1, 1])
    assert [value.integer for value in arguments.items[0].list.items] == [4]  # the last grown node's own number
    kinds = [kind for batch in await world.events_of(run.run_id) for kind in batch.kind]
    assert kinds.index(ev.EVENT_KIND_RUN_GREW) == kinds.index(ev.EVENT_KIND_NODE_GREW) + 1
    assert kinds.count(ev.EVENT_KIND_NODE_COMPUTED) == 1
    assert not any(world.scheduler.held.values())


async def test_a_restart_while_the_grown_nodes_run_loses_and_doubles_nothing(world: World) -> None:
    making(world, made(world, chain(2).SerializeToString()))
    before = world.host.answer
    world.host.answer = lambda launch: None if launch.key.node == 2 else before(launch)
    (answer,) = await world.submit(dynamic())
    run_id = answer.accepted.run_id
    await world.host.until(lambda: (run_id, 2, 1) in world.host.live)
    await world.stop_orchestrator()
    world.host.finish((run_id, 2, 1), succeed(world.host.live[run_id, 2, 1]))
    world.host.answer = before
    await world.start_orchestrator()
    run = await world.wait(run_id)
    assert (run.state, run.node_count) == (ev.RUN_STATE_SUCCEEDED, 4)
    assert sorted(key[1] for key in world.host.launched) == [0, 1, 2, 3]
    assert await outputs_of(world, run_id) == [1]


async def test_what_fails_in_the_grown_part_fails_the_operator_and_a_retry_makes_it_anew(world: World) -> None:
    making(world, made(world, chain(2).SerializeToString()))
    before = world.host.answer
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 3 else before(launch)
    run = await world.run(dynamic())
    assert (run.state, run.failure.error_type, run.failure.node) == (ev.RUN_STATE_FAILED, "ValueError", 3)
    from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

    world.host.answer = before
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=run.run_id, request_id="again"), metadata=world.metadata())
    run = await world.wait(run.run_id)
    assert (run.state, run.node_count) == (ev.RUN_STATE_SUCCEEDED, 6)
    assert (run.run_id, 0, 2) in world.host.launched


def with_other_outputs() -> bytes:
    dag = chain(1)
    dag.outputs[0].name = "other"
    return dag.SerializeToString()


def with_another_type() -> bytes:
    dag = chain(1)
    dag.outputs[0].type = 1
    return dag.SerializeToString()


def with_a_cycle() -> bytes:
    dag = chain(2)
    dag.items.a[0] = 1
    return dag.SerializeToString()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a dag at all", "not a Dag message"),
        (b"", "format"),
        (with_other_outputs(), "outputs are not those"),
        (with_another_type(), ""),
        (with_a_cycle(), ""),
    ],
)
async def test_a_dag_that_cannot_be_believed_fails_the_node_at_the_users_line(
    world: World, data: bytes, words: str
) -> None:
    making(world, made(world, data))
    run = await world.run(dynamic(attempts=3))
    assert (run.state, run.node_count) == (ev.RUN_STATE_FAILED, 2)
    assert (run.failure.error_type, run.failure.kind) == ("BadDag", ev.FAILURE_KIND_BAD_RESULT)
    assert words in run.failure.message
    assert (run.failure.file, run.failure.line) == ("sample.py", 7)
    assert len(world.host.launched) == 1, "trying again would give the same"


async def test_an_outcome_without_a_dag_is_refused(world: World) -> None:
    for value in (None, types_pb2.Value(integer=7), made(world, b"x", size=1 << 40)):
        world.host.launched.clear()
        making(world, value)
        run = await world.run(dynamic(), request_id=str(value)[:40].replace(" ", "_").replace("\n", "_") or "none")
        assert (run.state, run.failure.error_type) == (ev.RUN_STATE_FAILED, "BadDag"), value


async def test_a_dag_that_is_gone_is_made_again(world: World) -> None:
    lost = made(world, chain(2).SerializeToString() + b"\x5a\x01x", kept=False)
    found = made(world, chain(2).SerializeToString())

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        outcome = succeed(launch)
        if launch.key.node == 0:
            outcome.outputs[0] = (lost if launch.key.attempt == 1 else found).SerializeToString()
        return outcome

    world.host.answer = answer
    run = await world.run(dynamic())
    assert run.state == ev.RUN_STATE_SUCCEEDED, run
    assert [key for key in world.host.launched if key[1] == 0] == [(run.run_id, 0, 1), (run.run_id, 0, 2)]


async def test_growing_over_the_limit_is_a_typed_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from mwfs_types.growth import GrowthLimits

    monkeypatch.setattr("mwfs_orchestrator.growth.LIMITS", GrowthLimits(patch=2))
    making(world, made(world, chain(3).SerializeToString()))
    run = await world.run(dynamic(attempts=3))
    assert (run.state, run.failure.error_type, run.failure.line) == (ev.RUN_STATE_FAILED, "mwfs.GrowthLimit", 7)
    assert len(world.host.launched) == 1


async def test_changed_bytes_of_a_made_dag_never_harm_the_orchestrator(world: World) -> None:
    good = chain(4).SerializeToString()
    dice = random.Random(7)
    for number in range(30):
        data = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        world.host.launched.clear()
        making(world, made(world, bytes(data)))
        run = await world.run(dynamic(), request_id=f"mutated-{number}")
        if run.state == ev.RUN_STATE_FAILED:
            assert run.failure.error_type == "BadDag", run.failure
        else:
            assert run.state == ev.RUN_STATE_SUCCEEDED


def without_nodes() -> dag_pb2.Dag:
    """A Dag that gives a constant."""
    dag = chain(1)
    for column in (dag.node_operator, dag.node_location, dag.arguments.kind, dag.arguments.a, dag.arguments.b):
        del column[:]
    dag.constants.add(integer=5)
    dag.items.kind[0] = dag_pb2.BINDING_KIND_CONSTANT
    dag.items.a[0] = 0
    return dag


async def test_a_run_that_does_one_thing_at_a_time_goes_on_after_a_dynamic_operator(world: World) -> None:
    making(world, made(world, without_nodes().SerializeToString()))
    # Nothing needs what it gives, and the other node is in another group.
    dag = layered([], [])
    maker = dag.operators.add()
    maker.CopyFrom(dag.operators[0])
    maker.qualname = "maker"
    maker.control.kind = dag_pb2.CONTROL_KIND_DYNAMIC
    maker.resources.cpu_millis = 500
    dag.node_operator[0] = 1
    (answer,) = await world.submit(dag, options=dag_pb2.RunOptions(max_parallel=1))
    run = await world.wait(answer.accepted.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert [key[1] for key in world.host.launched] == [0, 1]
