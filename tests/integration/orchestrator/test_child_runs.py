"""Child runs: submitted once, on whatever shard and replica; their ends count once, whoever dies; cancelled with the run above."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import grpc
import pytest
from unit.sdk.structure.workflows import double, nothing

import mwfs
from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.children import Children
from mwfs_orchestrator.contents import Contents
from mwfs_orchestrator.model import run_id_of, slot_of
from mwfs_orchestrator.routing import Routing
from mwfs_orchestrator.submissions import Intake
from mwfs_types.files import SPILLED

from .conftest import World
from .dags import WORKFLOW
from .neighbours import fail, succeed
from .test_replicas import A, B, settled


@mwfs.workflow
def below(x: int) -> int:
    return double(double(x))


@mwfs.workflow
def above(n: int) -> int:
    return double(mwfs.child(below, n))


@mwfs.workflow
def cleans_below(x: int) -> int:
    return mwfs.with_cleanup(lambda: double(x), lambda: nothing(x))


@mwfs.workflow
def above_cleanup(n: int) -> int:
    return double(mwfs.child(cleans_below, n))


@mwfs.workflow
def without_end(n: int) -> int:
    return mwfs.child(without_end, double(n))


@mwfs.operator
def spelled(x: int) -> str:
    return str(x)


@mwfs.workflow
def text_below(x: int) -> str:
    return spelled(x)


@mwfs.workflow
def above_text(n: int) -> str:
    return mwfs.child(text_below, n)


CHILD, AFTER = 0, 1


def dag_of(workflow: mwfs.Workflow[..., Any]) -> dag_pb2.Dag:
    dag = dag_pb2.Dag()
    dag.CopyFrom(workflow.compile(n=1).proto)
    dag.workflow = WORKFLOW
    return dag


def child_of(run_id: str, node: int = CHILD, round: int = 1) -> str:
    return str(run_id_of("red", f"child:{run_id}:{node}:{round}"))


async def submit(world: World, workflow: mwfs.Workflow[..., Any] = above, request_id: str = "request") -> str:
    (answer,) = await world.submit(dag_of(workflow), request_ids=[request_id])
    assert answer.HasField("accepted"), answer.refused
    run_id: str = answer.accepted.run_id
    return run_id


def hold(world: World, *runs: str) -> None:
    """First nodes of these runs, and of any run when none is named, do not end by themselves."""

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome | None:
        held = launch.key.node == 0 and (not runs or launch.key.run_id in runs)
        return None if held else succeed(launch)

    world.host.answer = answer


async def running(world: World, child: str, node: int = 0, attempt: int = 1) -> None:
    await world.host.until(lambda: (child, node, attempt) in world.host.live)


def finish(world: World, child: str, how: Callable[[action_pb2.Launch], action_pb2.Outcome] = succeed) -> None:
    world.host.finish((child, 0, 1), how(world.host.live[child, 0, 1]))


async def cancel(world: World, run_id: str, *, skip: bool = False) -> None:
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id, skip_cleanups=skip), metadata=world.metadata())


async def node_of(world: World, run_id: str, node: int = CHILD) -> pb.Node:
    response: pb.ListNodesResponse = await world.stub.ListNodes(
        pb.ListNodesRequest(run_id=run_id), metadata=world.metadata()
    )
    return response.nodes[node]


async def runs_there_are(world: World) -> int:
    counts = []
    for dsn in world.shards:
        connection = await asyncpg.connect(dsn)
        counts.append(await connection.fetchval("SELECT count(*) FROM runs"))
        await connection.close()
    return sum(counts)


async def happened(world: World, run_id: str, kind: int) -> None:
    """Until the run has an event of this kind."""
    call = world.stub.WatchEvents(pb.WatchEventsRequest(run_id=run_id), metadata=world.metadata())
    async for response in call:
        if any(kind in batch.kind for batch in response.batches):
            break
    call.cancel()


async def kill(world: World, replica: str) -> None:
    """It does nothing more for its children; another one will."""
    (children,) = (part for part in world.replicas[replica].parts if isinstance(part, Children))
    await children.stop()
    await world.stop_orchestrator(replica)


async def test_a_child_is_a_run_of_its_own_whose_result_is_its_nodes(world: World) -> None:
    hold(world)
    run_id = await submit(world)
    child = child_of(run_id)
    await running(world, child)
    waiting = await node_of(world, run_id)
    assert (waiting.state, waiting.child_run_id, waiting.wait.child_run_id) == (ev.NODE_STATE_WAITING, child, child)
    below_run = await world.get(child)
    assert below_run.workflow == below.ref
    assert dict(below_run.tags) == {"mwfs.parent": run_id}
    assert below_run.principal == "tester"
    finish(world, child)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert (await node_of(world, run_id)).child_run_id == child
    assert sorted(key[:2] for key in world.host.launched) == sorted([(child, 0), (child, 1), (run_id, AFTER)])
    (waited,) = [
        detail.waiting
        for batch in await world.events_of(run_id)
        for detail in batch.details
        if detail.HasField("waiting")
    ]
    assert waited.child_run_id == child


async def test_the_failure_of_a_child_is_its_nodes_and_a_retry_makes_another_child(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 0 else succeed(launch)
    run_id = await submit(world)
    child = child_of(run_id)
    failed = await world.wait(run_id)
    assert failed.state == ev.RUN_STATE_FAILED
    assert (failed.failure.error_type, failed.failure.message) == ("ValueError", f"child run {child}: no")
    assert failed.failure.node == CHILD
    world.host.answer = succeed
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=run_id, request_id="again"), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert (await node_of(world, run_id)).child_run_id == child_of(run_id, round=2)
    assert (await world.get(child)).state == ev.RUN_STATE_FAILED


async def test_a_child_that_somebody_cancels_fails_its_node(world: World) -> None:
    hold(world)
    run_id = await submit(world)
    child = child_of(run_id)
    await running(world, child)
    await cancel(world, child)
    failed = await world.wait(run_id)
    assert failed.state == ev.RUN_STATE_FAILED
    assert failed.failure.message == f"child run {child}: it was cancelled"


async def test_a_cancelled_run_cancels_its_child_and_waits_for_it_through_a_restart(world: World) -> None:
    world.host.answer = lambda launch: None
    run_id = await submit(world, above_cleanup)
    child = child_of(run_id)
    await running(world, child, node=1)  # the body, below the control node
    await cancel(world, run_id)
    await running(world, child, node=2)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    assert (await world.get(run_id)).state == ev.RUN_STATE_CANCELLING
    assert (await world.get(child)).state == ev.RUN_STATE_CANCELLING
    world.host.finish((child, 2, 1), succeed(world.host.live[child, 2, 1]))
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert (await world.get(child)).state == ev.RUN_STATE_CANCELLED
    assert (await node_of(world, run_id)).state == ev.NODE_STATE_CANCELLED


async def test_whoever_does_not_want_to_wait_for_cleanups_need_not_wait_for_those_of_children(world: World) -> None:
    world.host.answer = lambda launch: None
    run_id = await submit(world, above_cleanup)
    child = child_of(run_id)
    await running(world, child, node=1)
    await cancel(world, run_id)
    await running(world, child, node=2)
    await cancel(world, run_id, skip=True)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert (child, 2, 1) in world.host.stopped


async def test_children_go_on_while_the_run_above_is_paused(world: World) -> None:
    hold(world)
    run_id = await submit(world)
    child = child_of(run_id)
    await running(world, child)
    await world.stub.PauseRun(pb.PauseRunRequest(run_id=run_id), metadata=world.metadata())
    finish(world, child)
    assert (await world.wait(child)).state == ev.RUN_STATE_SUCCEEDED
    await happened(world, run_id, ev.EVENT_KIND_NODE_COMPUTED)
    assert (await node_of(world, run_id, AFTER)).state == ev.NODE_STATE_PENDING
    await world.stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_children_that_start_children_without_end_end(world: World) -> None:
    failed = await world.run(dag_of(without_end))
    assert failed.state == ev.RUN_STATE_FAILED
    assert failed.failure.error_type == "mwfs.GrowthLimit"
    assert failed.failure.message.endswith("more than 16 child runs below each other")
    assert failed.failure.message.count("child run ") == 16
    assert await runs_there_are(world) == 17


async def test_nobody_else_says_how_deep_a_run_is(world: World) -> None:
    (answer,) = await world.submit(dag_of(above), options=dag_pb2.RunOptions(child_depth=1))
    assert answer.refused.code == grpc.StatusCode.INVALID_ARGUMENT.name
    assert "child_depth" in answer.refused.message


async def test_a_child_whose_request_id_is_taken_fails_its_node(world: World) -> None:
    run_id = str(run_id_of("red", "request"))
    child = child_of(run_id)
    await world.submit(dag_of(above), request_ids=[f"child:{run_id}:{CHILD}:1"])
    assert await submit(world) == run_id
    failed = await world.wait(run_id)
    assert failed.failure.error_type == "mwfs.ChildRefused"
    assert failed.failure.message.startswith(f"child run {child}: The request id")


async def test_a_large_result_of_a_child_travels_as_an_artifact(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = types_pb2.Artifact(digest="sha256:" + "0" * 64, size=100_000, encoding=SPILLED)

    async def keep(self: Contents, value: types_pb2.Value) -> types_pb2.Artifact:
        assert len(value.text) == 100_000
        return kept

    monkeypatch.setattr(Contents, "keep", keep)

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        outcome = succeed(launch)
        outcome.outputs[0] = types_pb2.Value(text="x" * 100_000).SerializeToString()
        return outcome

    world.host.answer = answer
    run = await world.run(dag_of(above_text))
    assert run.state == ev.RUN_STATE_SUCCEEDED
    request = pb.GetOutputsRequest(run_id=run.run_id)
    found: pb.GetOutputsResponse = await world.stub.GetOutputs(request, metadata=world.metadata())
    assert found.outputs[0].value.artifact == kept


# Two replicas, and kills between any two steps.


async def on_two_replicas(world: World) -> tuple[str, str]:
    """Request id and run id of a run that belongs to A, while its child belongs to B. Both replicas are there."""
    await world.start_orchestrator(B)
    await settled(world, A, B)
    owned = {name: await slots_of(world, name) for name in (A, B)}
    for number in range(10_000):
        run_id = str(run_id_of("red", f"two-{number}"))
        mine, its = slot_of(run_id_of("red", f"two-{number}")), slot_of(run_id_of("red", f"child:{run_id}:{CHILD}:1"))
        if mine in owned[A] and its in owned[B]:
            return f"two-{number}", run_id
    raise AssertionError("no such run")


async def slots_of(world: World, replica: str) -> set[int]:
    found: set[int] = set()
    for dsn in world.shards:
        connection = await asyncpg.connect(dsn)
        rows = await connection.fetch(
            "SELECT slot FROM slots JOIN leases USING (lease_id) WHERE replica = $1 AND expires_at > now()", replica
        )
        await connection.close()
        found |= {row["slot"] for row in rows}
    return found


async def test_parent_and_child_on_two_replicas(world: World) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    hold(world, child)
    await submit(world, above, request_id)
    await running(world, child)
    assert (world.host.owners[child, 0, 1]) == B
    finish(world, child)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert await runs_there_are(world) == 2


async def test_the_one_above_dies_between_its_commit_and_the_submission(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    with monkeypatch.context() as patched:

        async def never(self: Intake, *args: Any) -> None:
            await asyncio.Event().wait()

        patched.setattr(Intake, "submit", never)
        await submit(world, above, request_id)
        await happened(world, run_id, ev.EVENT_KIND_NODE_WAITING)
        await kill(world, A)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert await runs_there_are(world) == 2
    assert len(world.host.launched) == 3
    assert (await world.get(child)).state == ev.RUN_STATE_SUCCEEDED


async def test_the_one_above_dies_before_it_hears_that_the_child_was_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    hold(world, child)
    with monkeypatch.context() as patched:
        submitting = Routing.submit

        async def unanswered(self: Routing, *args: Any) -> Any:
            answer = await submitting(self, *args)
            if args[2] is None:
                await asyncio.Event().wait()
            return answer

        patched.setattr(Routing, "submit", unanswered)
        await submit(world, above, request_id)
        await running(world, child)
        await kill(world, A)
    finish(world, child)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert await runs_there_are(world) == 2
    assert len(world.host.launched) == 3


async def test_the_one_above_dies_between_the_childs_end_and_its_own_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    with monkeypatch.context() as patched:
        heard = asyncio.Event()

        async def never(self: Children, way: Any) -> None:
            heard.set()
            await asyncio.Event().wait()

        patched.setattr(Children, "_read_end", never)
        await submit(world, above, request_id)
        await heard.wait()
        assert (await world.get(child)).state == ev.RUN_STATE_SUCCEEDED
        await kill(world, A)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert await runs_there_are(world) == 2
    assert len(world.host.launched) == 3


async def test_the_one_below_dies_and_the_one_above_follows_its_child_elsewhere(world: World) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    hold(world, child)
    await submit(world, above, request_id)
    await running(world, child)
    await world.stop_orchestrator(B)
    finish(world, child)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert await runs_there_are(world) == 2


async def test_a_cancel_is_passed_on_by_whoever_takes_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    hold(world, child)
    with monkeypatch.context() as patched:

        async def never(self: Children, way: Any) -> None:
            await asyncio.Event().wait()

        patched.setattr(Children, "_cancel", never)
        await submit(world, above, request_id)
        await running(world, child)
        await cancel(world, run_id)
        await kill(world, A)
        assert (await world.get(child)).state == ev.RUN_STATE_RUNNING
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert (await world.get(child)).state == ev.RUN_STATE_CANCELLED
    assert not any(world.scheduler.held.values())


async def test_a_cancel_before_the_submission_leaves_no_child_that_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, run_id = await on_two_replicas(world)
    child = child_of(run_id)
    hold(world, child)
    with monkeypatch.context() as patched:

        async def never(self: Intake, *args: Any) -> None:
            await asyncio.Event().wait()

        patched.setattr(Intake, "submit", never)
        await submit(world, above, request_id)
        await happened(world, run_id, ev.EVENT_KIND_NODE_WAITING)
        await cancel(world, run_id)
        await kill(world, A)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert (await world.get(child)).state == ev.RUN_STATE_CANCELLED
