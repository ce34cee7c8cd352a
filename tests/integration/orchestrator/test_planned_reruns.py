"""A rerun that the platform compiles: what is taken is said by a worker, which is not believed, and why each node runs is kept."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2

from .conftest import World, answers_of
from .dags import WORKFLOW, layered
from .neighbours import fail, succeed

TAKEN, ASKED_FOR, NEEDS = ev.RERUN_REASON_TAKEN, ev.RERUN_REASON_ASKED_FOR, ev.RERUN_REASON_NEEDS_NODE
DAG = layered([], [0], [1])


def worker(world: World, dag: dag_pb2.Dag, facts: Callable[[str], ev.RerunFacts | bytes]) -> list[action_pb2.RerunBase]:
    """Compile attempts give this Dag and these facts; what they were given is noted."""
    seen: list[action_pb2.RerunBase] = []

    def artifact(data: bytes) -> bytes:
        digest = "sha256:" + sha256(data).hexdigest()
        world.host.artifacts[digest] = data
        return types_pb2.Value(artifact=types_pb2.Artifact(digest=digest, size=len(data))).SerializeToString()

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        outcome = succeed(launch)
        if launch.key.node == -1:
            job = launch.compile.rerun
            seen.append(action_pb2.RerunBase.FromString(world.host.artifacts[job.base.digest]))
            found = facts(job.base_run_id)
            data = found if isinstance(found, bytes) else found.SerializeToString()
            outcome.outputs[:] = [artifact(dag.SerializeToString()), artifact(data)]
        return outcome

    world.host.answer = answer
    return seen


def plan(base: str, *rows: tuple[int, int]) -> ev.RerunFacts:
    return ev.RerunFacts(
        base_run_id=base,
        reason=[reason for reason, _ in rows],  # type: ignore[misc]
        about=[about for _, about in rows],
    )


async def first_run(world: World) -> pb.Run:
    """A run of a registered version; its last node fails."""
    version = pb.WorkflowVersion(workflow=WORKFLOW)
    registered = await world.stub.RegisterVersion(pb.RegisterVersionRequest(version=version), metadata=world.metadata())
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 2 else succeed(launch)
    (answer,) = await world.submit(DAG, request_ids=["first"], version_digest=registered.version.digest)
    return await world.wait(answer.accepted.run_id)


async def rerun(world: World, base: pb.BaseRun, *, team: str = "red", **header: Any) -> pb.SubmissionAnswer:
    given = {"request_id": "again", "workflow": WORKFLOW, "compile": True, "base": base, **header}
    call = world.stub.SubmitRuns(metadata=world.metadata(team))
    parts = [pb.SubmissionPart(header=pb.SubmitHeader(**given)), pb.SubmissionPart(end=pb.SubmitEnd())]
    await call.write(pb.SubmitRunsRequest(parts=parts))
    await call.done_writing()
    (answer,) = (await answers_of(call)).values()
    return answer


async def facts_of(world: World, run_id: str) -> ev.RerunFacts:
    details = [detail for batch in await world.events_of(run_id) for detail in batch.details]
    (started,) = [detail.started for detail in details if detail.HasField("started")]
    return started.rerun


async def test_a_worker_plans_and_the_reasons_are_kept_as_those_of_a_client(world: World) -> None:
    first = await first_run(world)
    rows = (TAKEN, 0), (ASKED_FOR, 0), (NEEDS, 1)
    seen = worker(world, DAG, lambda base: plan(base, *rows))
    answer = await rerun(world, pb.BaseRun(run_id=first.run_id, start=["1", "total"]))
    again = await rerun(world, pb.BaseRun(run_id=first.run_id, start=["1", "total"]))
    assert (again.accepted.run_id, again.accepted.created) == (answer.accepted.run_id, False)
    run = await world.wait(answer.accepted.run_id)
    assert (run.state, run.version_digest) == (ev.RUN_STATE_SUCCEEDED, first.version_digest)
    assert [key[1] for key in world.host.launched if key[0] == run.run_id] == [-1, 1, 2]
    assert seen[0].dag == DAG
    assert list(seen[0].node_state) == [ev.NODE_STATE_SUCCEEDED, ev.NODE_STATE_SUCCEEDED, ev.NODE_STATE_FAILED]
    assert await facts_of(world, run.run_id) == plan(first.run_id, *rows)
    # A client that has planned the same by itself.
    base = pb.BaseRun(run_id=first.run_id, node=[0], base_node=[0], why=plan(first.run_id, *rows))
    (answer,) = await world.submit(DAG, request_ids=["client"], base=base)
    await world.wait(answer.accepted.run_id)
    assert await facts_of(world, answer.accepted.run_id) == plan(first.run_id, *rows)


async def test_the_plan_is_made_after_a_restart(world: World) -> None:
    first = await first_run(world)
    world.host.answer = lambda launch: None
    answer = await rerun(world, pb.BaseRun(run_id=first.run_id))
    run_id = answer.accepted.run_id
    await world.host.until(lambda: bool(world.host.live))
    await world.stop_orchestrator()
    await world.start_orchestrator()
    worker(world, DAG, lambda base: plan(base, (TAKEN, 0), (TAKEN, 1), (ev.RERUN_REASON_NOT_SUCCEEDED, 6)))
    outcome = world.host.answer(world.host.live[run_id, -1, 1])
    assert outcome is not None
    world.host.finish((run_id, -1, 1), outcome)
    assert (await world.wait(run_id)).state == ev.RUN_STATE_SUCCEEDED
    assert [key[1] for key in world.host.launched if key[0] == run_id] == [-1, 2]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (lambda base: b"\xff\xff", "not valid"),
        (lambda base: plan("11111111-1111-1111-1111-111111111111", *[(ASKED_FOR, 0)] * 3), "another run"),
        (lambda base: plan(base, (ASKED_FOR, 0)), "1 reasons for 3 nodes"),
        (lambda base: plan(base, *[(ASKED_FOR, 0)] * 2, (99, 0)), "reason 99"),
        (lambda base: plan(base, *[(ASKED_FOR, 0)] * 2, (NEEDS, 3)), "about 3"),
        (lambda base: plan(base, (TAKEN, 7), *[(ASKED_FOR, 0)] * 2), "no node 7"),
        (lambda base: plan(base, (TAKEN, 0), (TAKEN, 1), (TAKEN, 2)), "has not succeeded"),
        (lambda base: plan(base, (ASKED_FOR, 0), (TAKEN, 1), (ASKED_FOR, 2)), "needs node 0"),
    ],
)
async def test_what_a_worker_says_is_not_believed(
    world: World, facts: Callable[[str], ev.RerunFacts | bytes], says: str
) -> None:
    first = await first_run(world)
    worker(world, DAG, facts)
    answer = await rerun(world, pb.BaseRun(run_id=first.run_id))
    run = await world.wait(answer.accepted.run_id)
    assert (run.state, run.failure.kind) == (ev.RUN_STATE_FAILED, ev.FAILURE_KIND_COMPILE)
    assert says in run.failure.message
    assert [key[1] for key in world.host.launched if key[0] == run.run_id] == [-1]


async def test_what_cannot_be_repeated_is_refused(world: World) -> None:
    first = await first_run(world)
    base = pb.BaseRun(run_id=first.run_id)
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(DAG, request_ids=["going-on"], version_digest=first.version_digest)
    assert answer.HasField("accepted"), answer
    going_on = pb.BaseRun(run_id=answer.accepted.run_id)
    why = plan(first.run_id, *[(ASKED_FOR, 0)] * 3)
    refusals: list[tuple[pb.BaseRun, dict[str, Any], str, str]] = [
        (base, {"team": "blue"}, "NOT_FOUND", "Team blue has no run"),
        (pb.BaseRun(run_id="11111111-1111-1111-1111-111111111111"), {}, "NOT_FOUND", "has no run"),
        (pb.BaseRun(run_id=first.run_id[:8]), {}, "INVALID_ARGUMENT", "whole id"),
        (going_on, {}, "FAILED_PRECONDITION", "is RUNNING"),
        (base, {"workflow": "other:run"}, "INVALID_ARGUMENT", f"of the workflow {WORKFLOW}"),
        (base, {"version_digest": "sha256:" + "7" * 64}, "NOT_FOUND", "no version"),
        (pb.BaseRun(run_id=first.run_id, start=["3"]), {}, "INVALID_ARGUMENT", "no node 3 to start from"),
        (pb.BaseRun(run_id=first.run_id, start=[""]), {}, "INVALID_ARGUMENT", "printable"),
        (pb.BaseRun(run_id=first.run_id, start=["x"] * 1001), {}, "INVALID_ARGUMENT", "1,000"),
        (pb.BaseRun(run_id=first.run_id, node=[0], base_node=[0]), {}, "INVALID_ARGUMENT", "has none"),
        (pb.BaseRun(run_id=first.run_id, why=why), {}, "INVALID_ARGUMENT", "has none"),
    ]
    for number, (wanted, header, code, says) in enumerate(refusals):
        answer = await rerun(world, wanted, request_id=f"r{number}", **header)
        assert (answer.refused.code, says in answer.refused.message) == (code, True), answer
    for number, (wanted, says) in enumerate(
        [
            (pb.BaseRun(run_id=first.run_id, start=["0"]), "with its Dag"),
            (pb.BaseRun(run_id=first.run_id, node=[0], base_node=[0], why=why), "other nodes"),
            (pb.BaseRun(run_id=first.run_id, why=plan(first.run_id, (ASKED_FOR, 0))), "a row for each"),
        ]
    ):
        (answer,) = await world.submit(DAG, request_ids=[f"d{number}"], base=wanted)
        assert (answer.refused.code, says in answer.refused.message) == ("INVALID_ARGUMENT", True), answer
