"""A run from its submission to its end, and through everything that may stop it on the way."""

import asyncio
from hashlib import sha256

import grpc
import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2

from .conftest import World, answers_of, parts_of
from .dags import WORKFLOW, chain, fanout, layered
from .neighbours import fail, succeed


async def test_a_run_succeeds_with_its_outputs_and_gap_free_events(world: World) -> None:
    run = await world.run(fanout(300))
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert {count.state: count.count for count in run.node_counts} == {ev.NODE_STATE_SUCCEEDED: 302}
    outputs = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id), metadata=world.metadata())
    assert [(output.name, output.value.integer) for output in outputs.outputs] == [("result", 301)]
    numbers = [batch.first_number + i for batch in await world.events_of(run.run_id) for i in range(len(batch.kind))]
    assert numbers == list(range(1, run.last_event_number + 1))


async def test_a_node_gets_what_the_nodes_before_it_gave(world: World) -> None:
    run = await world.run(layered([], [], [0, 1]))
    arguments = types_pb2.ListValue.FromString(world.host.arguments[run.run_id, 2, 1])
    assert [value.integer for value in arguments.items[0].list.items] == [0, 1]


async def test_outcomes_are_acknowledged_and_grants_released(world: World) -> None:
    await world.run(chain(20))
    await world.host.until(lambda: not world.host.unacknowledged)
    assert sum(world.scheduler.held.values()) == 0


async def test_room_that_a_past_scheduler_grants_is_given_back_unused(world: World) -> None:
    scheduler = world.scheduler
    scheduler.epoch, scheduler.granted_epoch = 7, 6
    scheduler.hang_up()
    await scheduler.until(lambda: len(scheduler.hellos) == 2)
    (answer,) = await world.submit(chain(2))
    await scheduler.until(lambda: bool(scheduler.demanded) and sum(scheduler.held.values()) == 0)
    assert not world.host.launched
    scheduler.granted_epoch = None
    scheduler.hang_up()  # the next one is told again what waits
    run = await world.wait(answer.accepted.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED


async def test_many_submissions_on_one_stream(world: World) -> None:
    answers = await world.submit(*[chain(3)] * 50)
    runs = await asyncio.gather(*(world.wait(answer.accepted.run_id) for answer in answers))
    assert {run.state for run in runs} == {ev.RUN_STATE_SUCCEEDED}
    assert len({run.run_id for run in runs}) == 50


async def test_a_repeated_submission_finds_its_run(world: World) -> None:
    first, second = await world.submit(chain(2), chain(2), request_ids=["same", "same"])
    assert first.accepted.run_id == second.accepted.run_id
    assert sorted([first.accepted.created, second.accepted.created]) == [False, True]
    await world.wait(first.accepted.run_id)
    (third,) = await world.submit(chain(2), request_ids=["same"])
    assert third.accepted.run_id == first.accepted.run_id
    assert len(world.host.launched) == 2


async def test_the_same_request_id_with_another_dag_is_refused(world: World) -> None:
    await world.submit(chain(2), request_ids=["same"])
    (answer,) = await world.submit(chain(3), request_ids=["same"])
    assert answer.refused.code == "ALREADY_EXISTS"
    assert "Use a new request id" in answer.refused.message


async def test_a_changed_chunk_is_refused_and_its_neighbours_are_not(world: World) -> None:
    call = world.stub.SubmitRuns(metadata=world.metadata())
    good = parts_of(1, chain(2).SerializeToString(), pb.SubmitHeader(request_id="good", workflow=WORKFLOW))
    bad = parts_of(2, chain(2).SerializeToString(), pb.SubmitHeader(request_id="bad", workflow=WORKFLOW))
    bad[1].dag_chunk = bad[1].dag_chunk[:-1] + b"\0"
    for part in [*bad[:2], *good, *bad[2:]]:
        await call.write(pb.SubmitRunsRequest(parts=[part]))
    await call.done_writing()
    answers = await answers_of(call)
    assert answers[1].HasField("accepted")
    assert answers[2].refused.code == "INVALID_ARGUMENT"
    assert "arrived incomplete or changed" in answers[2].refused.message


async def test_a_malformed_header_is_refused(world: World) -> None:
    malformed: list[dict[str, object]] = [
        {"request_id": "", "workflow": WORKFLOW},
        {"request_id": "a\0b", "workflow": WORKFLOW},
        {"request_id": "x", "workflow": "no colon"},
        {"request_id": "x", "workflow": WORKFLOW, "version_digest": "sha256:1"},
        {"request_id": "x", "workflow": WORKFLOW, "tags": {"a": "\0"}},
        {"request_id": "x", "workflow": WORKFLOW, "compile": True},
        {"request_id": "x", "workflow": "other:run"},
    ]
    for header in malformed:
        call = world.stub.SubmitRuns(metadata=world.metadata())
        for part in parts_of(0, chain(2).SerializeToString(), pb.SubmitHeader(**header)):  # type: ignore[arg-type]
            await call.write(pb.SubmitRunsRequest(parts=[part]))
        await call.done_writing()
        (answer,) = (await answers_of(call)).values()
        assert answer.refused.code == "INVALID_ARGUMENT", header


async def test_a_failed_node_fails_what_needs_it_and_nothing_else(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 1 else succeed(launch)
    run = await world.run(layered([], [0], [0], [1], [2]))
    assert run.state == ev.RUN_STATE_FAILED
    assert run.failure.error_type == "ValueError"
    assert run.failure.node == 1
    states = {count.state: count.count for count in run.node_counts}
    assert states == {ev.NODE_STATE_SUCCEEDED: 3, ev.NODE_STATE_FAILED: 1, ev.NODE_STATE_UPSTREAM_FAILED: 1}


async def test_a_revived_run_does_only_what_had_not_succeeded(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 1 else succeed(launch)
    failed = await world.run(layered([], [0], [0], [1], [2]))
    world.host.answer = succeed
    before = len(world.host.launched)
    for _ in range(2):  # repeating the call revives once
        await world.stub.RetryRun(
            pb.RetryRunRequest(run_id=failed.run_id, request_id="again"), metadata=world.metadata()
        )
    run = await world.wait(failed.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert run.round == 2
    assert world.host.launched[before:] == [(run.run_id, 1, 2), (run.run_id, 3, 1)]


async def test_retries_are_used_up_before_a_node_fails(world: World) -> None:
    world.host.answer = fail
    run = await world.run(layered([], attempts=3))
    assert run.state == ev.RUN_STATE_FAILED
    assert [attempt for _, _, attempt in world.host.launched] == [1, 2, 3]


async def test_cancelling_stops_what_runs_and_starts_nothing(world: World) -> None:
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(layered([], [0], [1]))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=world.metadata())
    run = await world.wait(run_id)
    assert run.state == ev.RUN_STATE_CANCELLED
    assert world.host.stopped == [(run_id, 0, 1)]
    assert {count.state: count.count for count in run.node_counts} == {ev.NODE_STATE_CANCELLED: 3}


async def test_an_orchestrator_that_is_started_again_goes_on(world: World) -> None:
    world.host.answer = lambda launch: succeed(launch) if launch.key.node < 10 else None
    (answer,) = await world.submit(fanout(30))
    await world.host.until(lambda: len(world.host.live) == 21)
    await world.stop_orchestrator()
    late = dict(world.host.live)
    for key, launch in late.items():  # their outcomes wait on the host's disk
        world.host.finish(key, succeed(launch))
    world.host.answer = succeed
    await world.start_orchestrator()
    run = await world.wait(answer.accepted.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == 32, "nothing ran twice"
    assert len(world.scheduler.hellos[-1].held) >= 1


async def test_attempts_of_a_restarted_host_are_lost_and_tried_again(world: World) -> None:
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(fanout(5))
    await world.host.until(lambda: len(world.host.live) == 1)
    world.host.answer = succeed
    world.host.restart()
    run = await world.wait(answer.accepted.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert world.host.launched[:2] == [(run.run_id, 0, 1), (run.run_id, 0, 2)]


async def test_nodes_are_listed_with_their_state_and_the_users_line(world: World) -> None:
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(chain(2))
    await world.host.until(lambda: len(world.host.live) == 1)
    nodes = await world.stub.ListNodes(pb.ListNodesRequest(run_id=answer.accepted.run_id), metadata=world.metadata())
    assert [(node.node, node.state, node.depends_on) for node in nodes.nodes] == [
        (0, ev.NODE_STATE_RUNNING, []),
        (1, ev.NODE_STATE_PENDING, [0]),
    ]
    assert (nodes.nodes[0].file, nodes.nodes[0].line, nodes.nodes[0].attempt) == ("sample.py", 7, 1)


async def test_runs_are_listed_newest_first_in_pages_and_only_to_their_team(world: World) -> None:
    await world.submit(*[chain(1)] * 5)
    seen: list[str] = []
    token = ""
    while True:
        page = await world.stub.ListRuns(pb.ListRunsRequest(page_size=2, page_token=token), metadata=world.metadata())
        seen += [run.request_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert sorted(seen) == [f"request-{number}" for number in range(5)]
    other = await world.stub.ListRuns(pb.ListRunsRequest(), metadata=world.metadata("blue"))
    assert not other.runs


async def test_a_run_is_found_by_the_first_characters_of_its_id(world: World) -> None:
    run = await world.run(chain(1))
    assert (await world.get(run.run_id[:8])).run_id == run.run_id
    with pytest.raises(grpc.aio.AioRpcError, match="has no run"):
        await world.get("00000000")
    with pytest.raises(grpc.aio.AioRpcError, match="is not a run id"):
        await world.get("not-an-id")


def compiling_host(world: World, data: bytes) -> None:
    """Answers compile attempts with `data` as their artifact."""
    digest = "sha256:" + sha256(data).hexdigest()
    world.host.artifacts[digest] = data

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        outcome = succeed(launch)
        if launch.key.node == -1:
            artifact = types_pb2.Artifact(digest=digest, size=len(data), encoding="dag")
            outcome.outputs[0] = types_pb2.Value(artifact=artifact).SerializeToString()
        return outcome

    world.host.answer = answer


async def submit_to_compile(world: World) -> str:
    version = pb.WorkflowVersion(workflow=WORKFLOW)
    registered = await world.stub.RegisterVersion(pb.RegisterVersionRequest(version=version), metadata=world.metadata())
    header = pb.SubmitHeader(
        request_id="compile", workflow=WORKFLOW, version_digest=registered.version.digest, compile=True
    )
    call = world.stub.SubmitRuns(metadata=world.metadata())
    parts = [pb.SubmissionPart(submission=1, header=header), pb.SubmissionPart(submission=1, end=pb.SubmitEnd())]
    await call.write(pb.SubmitRunsRequest(parts=parts))
    await call.done_writing()
    (answer,) = (await answers_of(call)).values()
    run_id: str = answer.accepted.run_id
    return run_id


async def test_the_platform_compiles_on_a_worker_and_runs_what_comes_out(world: World) -> None:
    compiling_host(world, fanout(3).SerializeToString())
    run = await world.wait(await submit_to_compile(world))
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert run.node_count == 5
    assert world.host.launched[0] == (run.run_id, -1, 1)


async def test_a_compiled_dag_that_cannot_be_believed_fails_the_run(world: World) -> None:
    compiling_host(world, b"not a dag at all")
    run = await world.wait(await submit_to_compile(world))
    assert run.state == ev.RUN_STATE_FAILED
    assert run.failure.kind == ev.FAILURE_KIND_COMPILE
    assert "not a valid Dag" in run.failure.message


async def test_a_version_is_registered_once_and_listed(world: World) -> None:
    version = pb.WorkflowVersion(workflow=WORKFLOW, doc="Adds things up.")
    first = await world.stub.RegisterVersion(pb.RegisterVersionRequest(version=version), metadata=world.metadata())
    again = await world.stub.RegisterVersion(pb.RegisterVersionRequest(version=version), metadata=world.metadata())
    assert (first.created, again.created) == (True, False)
    assert first.version == again.version
    listed = await world.stub.ListWorkflows(pb.ListWorkflowsRequest(), metadata=world.metadata())
    assert [found.doc for found in listed.versions] == ["Adds things up."]
    version.bundle_digest = "sha256:" + "0" * 64
    with pytest.raises(grpc.aio.AioRpcError, match="is not in the object store"):
        await world.stub.RegisterVersion(pb.RegisterVersionRequest(version=version), metadata=world.metadata())
