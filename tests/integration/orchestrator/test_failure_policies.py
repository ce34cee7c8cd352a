"""Failure policies, limits of parallel work, and cancelling that always ends."""

import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

from .conftest import World
from .dags import fanout, layered
from .neighbours import Answer, fail, succeed


def failing(*nodes: int) -> Answer:
    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        return fail(launch) if launch.key.node in nodes else succeed(launch)

    return answer


async def states_of(world: World, run_id: str) -> list[str]:
    response = await world.stub.ListNodes(pb.ListNodesRequest(run_id=run_id), metadata=world.metadata())
    return [ev.NodeState.Name(node.state).removeprefix("NODE_STATE_") for node in response.nodes]


def with_follower(policy: "dag_pb2.FailurePolicy.ValueType") -> dag_pb2.Dag:
    """0 fails; 1 takes its result; 2 only follows it; 3, the output, needs nothing of them."""
    dag = layered([], [0], [], [2])
    dag.operators[0].failure_policy = policy
    dag.order_node.append(2)
    dag.order_after.append(0)
    return dag


@pytest.mark.parametrize(
    ("policy", "states", "ends"),
    [
        (dag_pb2.FAILURE_POLICY_BLOCK_DEPENDENTS, ["FAILED"] + 3 * ["UPSTREAM_FAILED"], ev.RUN_STATE_FAILED),
        (dag_pb2.FAILURE_POLICY_CANCEL_DEPENDENTS, ["FAILED"] + 3 * ["CANCELLED"], ev.RUN_STATE_FAILED),
        (dag_pb2.FAILURE_POLICY_CONTINUE, ["FAILED", "SKIPPED", "SUCCEEDED", "SUCCEEDED"], ev.RUN_STATE_SUCCEEDED),
    ],
)
@pytest.mark.parametrize("of_run", [False, True])
async def test_what_becomes_of_others_after_a_failure(
    world: World,
    policy: "dag_pb2.FailurePolicy.ValueType",
    states: list[str],
    ends: "ev.RunState.ValueType",
    of_run: bool,
) -> None:
    world.host.answer = failing(0)
    dag = with_follower(dag_pb2.FAILURE_POLICY_UNSPECIFIED if of_run else policy)
    options = dag_pb2.RunOptions(failure_policy=policy) if of_run else None
    (answer,) = await world.submit(dag, options=options)
    run = await world.wait(answer.accepted.run_id)
    assert run.state == ends
    assert await states_of(world, run.run_id) == states


async def test_a_run_that_continued_can_be_retried_when_an_output_is_missing(world: World) -> None:
    world.host.answer = failing(0)
    (answer,) = await world.submit(
        layered([], [0]), options=dag_pb2.RunOptions(failure_policy=dag_pb2.FAILURE_POLICY_CONTINUE)
    )
    run = await world.wait(answer.accepted.run_id)
    assert (run.state, run.failure.node) == (ev.RUN_STATE_FAILED, 0)
    assert await states_of(world, run.run_id) == ["FAILED", "SKIPPED"]
    world.host.answer = succeed
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=run.run_id), metadata=world.metadata())
    assert (await world.wait(run.run_id)).state == ev.RUN_STATE_SUCCEEDED


async def test_attempts_that_are_only_for_cancelled_nodes_are_stopped(world: World) -> None:
    world.host.answer = lambda launch: None
    dag = layered([], [], [0, 1])
    dag.operators[0].failure_policy = dag_pb2.FAILURE_POLICY_CANCEL_DEPENDENTS
    (answer,) = await world.submit(dag)
    run_id = answer.accepted.run_id
    await world.host.until(lambda: len(world.host.live) == 2)
    world.host.finish((run_id, 0, 1), fail(world.host.live[run_id, 0, 1]))
    assert (await world.wait(run_id)).state == ev.RUN_STATE_FAILED
    assert world.host.stopped == [(run_id, 1, 1)]
    assert await states_of(world, run_id) == ["FAILED", "CANCELLED", "CANCELLED"]


@pytest.mark.parametrize("options", [dag_pb2.RunOptions(failure_policy=9), dag_pb2.RunOptions(max_parallel=1 << 31)])  # type: ignore[arg-type]
async def test_options_that_make_no_sense_are_refused(world: World, options: dag_pb2.RunOptions) -> None:
    (answer,) = await world.submit(layered([]), options=options)
    assert answer.refused.code == "INVALID_ARGUMENT"


async def test_no_more_attempts_run_at_a_time_than_the_run_allows(world: World) -> None:
    most = 0

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome | None:
        nonlocal most
        most = max(most, len(world.host.live))
        return succeed(launch) if launch.key.node in (0, 21) else None

    world.host.answer = answer
    (accepted,) = await world.submit(fanout(20), options=dag_pb2.RunOptions(max_parallel=3))
    run_id = accepted.accepted.run_id
    for done in range(20):
        running = min(3, 20 - done)
        await world.host.until(lambda running=running: len(world.host.live) == running)  # type: ignore[misc]
        if done == 7:
            # The limit is the run's, not the process's.
            await world.stop_orchestrator()
            await world.start_orchestrator()
        key = min(world.host.live)
        world.host.finish(key, succeed(world.host.live[key]))
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert most == 3


async def test_a_cancelled_run_ends_although_its_host_never_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwfs_orchestrator.stopping.STOP_SECONDS", 0.2)
    monkeypatch.setattr(world.host, "stops", False)
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(layered([], [0]))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=world.metadata())
    assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    assert await states_of(world, run_id) == ["CANCELLED", "CANCELLED"]
    # It runs on there: when the host comes back it is told again.
    told = len(world.host.stopped)
    for stream in list(world.host._streams.values()):
        stream.put_nowait(None)
    await world.host.until(lambda: len(world.host.stopped) > told)
    assert world.host.stopped[-1] == (run_id, 0, 1)
