"""A new run takes results of an earlier one, and only those that fit."""

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2

from .conftest import World
from .dags import layered
from .neighbours import fail, succeed


async def test_what_is_taken_does_not_run_and_says_where_it_comes_from(world: World) -> None:
    dag = layered([], [0], [1])
    first = await world.run(dag, request_id="first")
    base = pb.BaseRun(run_id=first.run_id, node=[0, 1], base_node=[0, 1])
    (answer,) = await world.submit(dag, request_ids=["second"], base=base)
    second = await world.wait(answer.accepted.run_id)
    assert second.state == ev.RUN_STATE_SUCCEEDED
    assert [key for key in world.host.launched if key[0] == second.run_id] == [(second.run_id, 2, 1)]
    arguments = types_pb2.ListValue.FromString(world.host.arguments[second.run_id, 2, 1])
    assert arguments.items[0].list.items[0].integer == 1
    nodes = await world.stub.ListNodes(pb.ListNodesRequest(run_id=second.run_id), metadata=world.metadata())
    assert [(node.origin.run_id, node.origin.node) for node in nodes.nodes] == [
        (first.run_id, 0),
        (first.run_id, 1),
        ("", 0),
    ]
    # Once more: the origin is the run that computed it.
    base = pb.BaseRun(run_id=second.run_id, node=[0, 1, 2], base_node=[0, 1, 2])
    (answer,) = await world.submit(dag, request_ids=["third"], base=base)
    third = await world.wait(answer.accepted.run_id)
    nodes = await world.stub.ListNodes(pb.ListNodesRequest(run_id=third.run_id), metadata=world.metadata())
    assert [node.origin.run_id for node in nodes.nodes] == [first.run_id, first.run_id, second.run_id]


async def test_a_failed_run_can_be_repeated_in_part_and_the_new_one_goes_on_after_a_restart(world: World) -> None:
    dag = layered([], [0])
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 1 else succeed(launch)
    first = await world.run(dag, request_id="first")
    assert first.state == ev.RUN_STATE_FAILED
    world.host.answer = lambda launch: None
    base = pb.BaseRun(run_id=first.run_id, node=[0], base_node=[0])
    (answer,) = await world.submit(dag, request_ids=["second"], base=base)
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    await world.stop_orchestrator()
    await world.start_orchestrator()
    world.host.finish((run_id, 1, 1), succeed(world.host.live[run_id, 1, 1]))
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_what_does_not_fit_is_refused(world: World) -> None:
    dag = layered([], [0], [1])
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 2 else succeed(launch)
    first = await world.run(dag, request_id="first")
    for node, base_node, code, says in [
        ([1], [1], "INVALID_ARGUMENT", "needs node 0"),
        ([0, 1], [0], "INVALID_ARGUMENT", "names 2 nodes and 1"),
        ([1, 0], [1, 0], "INVALID_ARGUMENT", "ascending"),
        ([0, 0], [0, 0], "INVALID_ARGUMENT", "ascending"),
        ([7], [0], "INVALID_ARGUMENT", "below 3"),
        ([0], [7], "INVALID_ARGUMENT", "no node 7"),
        ([0, 1, 2], [0, 1, 2], "FAILED_PRECONDITION", "has not succeeded"),
    ]:
        base = pb.BaseRun(run_id=first.run_id, node=node, base_node=base_node)
        (answer,) = await world.submit(dag, request_ids=["second"], base=base)
        assert answer.refused.code == code, (node, base_node)
        assert says in answer.refused.message


async def test_a_base_that_is_not_there_or_has_other_types_is_refused(world: World) -> None:
    dag = layered([])
    first = await world.run(dag, request_id="first")
    unknown = pb.BaseRun(run_id="11111111-1111-1111-1111-111111111111", node=[0], base_node=[0])
    other = layered([])
    other.operators[0].outputs[0].type = 1
    other.outputs[0].type = 1
    typed = pb.BaseRun(run_id=first.run_id, node=[0], base_node=[0])
    prefix = pb.BaseRun(run_id=first.run_id[:8], node=[0], base_node=[0])
    for number, (submitted, base, code) in enumerate(
        [(dag, unknown, "NOT_FOUND"), (other, typed, "INVALID_ARGUMENT"), (dag, prefix, "INVALID_ARGUMENT")]
    ):
        (answer,) = await world.submit(submitted, request_ids=[f"r{number}"], base=base)
        assert answer.refused.code == code
