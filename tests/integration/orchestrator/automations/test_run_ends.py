"""An orchestrator with automations, over gRPC: ends of real runs are kept in the commit that ends them, and start real runs."""

import asyncio
from hashlib import sha256
from typing import Any

import asyncpg
import grpc
import pytest
from integration.orchestrator.conftest import World
from integration.orchestrator.dags import WORKFLOW, chain, layered
from integration.orchestrator.neighbours import fail, succeed

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import automations_pb2_grpc, orchestrator_pb2
from mwfs_api.types.v1 import types_pb2

TARGET = "sample:after"
INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)
SUCCEEDED, FAILED = events_pb2.RUN_STATE_SUCCEEDED, events_pb2.RUN_STATE_FAILED


def automations(world: World) -> Any:
    return automations_pb2_grpc.AutomationServiceStub(world.channel)


async def register(world: World, workflow: str, *inputs: str) -> None:
    version = orchestrator_pb2.WorkflowVersion(workflow=workflow)
    for name in inputs:
        version.inputs.add(name=name, type=INT)
    await world.stub.RegisterVersion(
        orchestrator_pb2.RegisterVersionRequest(version=version), metadata=world.metadata()
    )


async def create(world: World, name: str, **content: Any) -> pb.CreateAutomationResponse:
    response: pb.CreateAutomationResponse = await automations(world).CreateAutomation(
        pb.CreateAutomationRequest(name=name, **content), metadata=world.metadata()
    )
    return response


async def occasions(world: World, kind: int, name: str) -> list[pb.Occasion]:
    request = pb.ListOccasionsRequest(kind=kind, name=name)
    return list((await automations(world).ListOccasions(request, metadata=world.metadata())).occasions)


async def runs_of(world: World, workflow: str) -> list[orchestrator_pb2.Run]:
    request = orchestrator_pb2.ListRunsRequest(workflow=workflow)
    return list((await world.stub.ListRuns(request, metadata=world.metadata())).runs)


def dag_of(workflow: str):
    dag = chain(2)
    dag.workflow = workflow
    return dag


def compiling(launch):
    """Compile attempts of the target succeed with an artifact, all others as usual."""
    if launch.key.node != -1:
        return succeed(launch)
    data = dag_of(TARGET).SerializeToString()
    artifact = types_pb2.Artifact(digest="sha256:" + sha256(data).hexdigest(), size=len(data))
    outcome = succeed(launch)
    outcome.outputs[0] = types_pb2.Value(artifact=artifact).SerializeToString()
    return outcome


def host_compiles(world: World) -> None:
    data = dag_of(TARGET).SerializeToString()
    world.host.artifacts["sha256:" + sha256(data).hexdigest()] = data
    world.host.answer = compiling


async def test_the_end_of_a_run_starts_the_run_of_a_trigger(world: World):
    host_compiles(world)
    await register(world, TARGET, "last")
    fills = [pb.Fill(input="last", source=pb.FILL_SOURCE_OUTPUT, output="result")]
    await create(
        world, "after", trigger=pb.Trigger(workflow=WORKFLOW, run=pb.RunTemplate(workflow=TARGET, fills=fills))
    )
    source = await world.run(chain(3), "source")
    await world.host.until(lambda: any(key[1] == -1 for key in world.host.launched))
    (started,) = {key[0] for key in world.host.launched if key[1] == -1}
    run = await world.wait(started)
    assert run.state == SUCCEEDED
    assert run.workflow == TARGET
    assert run.principal == "tester"
    assert dict(run.tags) == {"mwfs.trigger": "after", "mwfs.occasion": f"{source.run_id}/1"}
    (occasion,) = await occasions(world, pb.AUTOMATION_KIND_TRIGGER, "after")
    assert (occasion.occasion, occasion.run_id) == (f"{source.run_id}/1", started)


async def kept(world: World) -> list[tuple[str, int, int]]:
    found = []
    for dsn in world.shards:
        connection = await asyncpg.connect(dsn)
        found += [
            (str(row["run_id"]), row["round"], row["state"]) for row in await connection.fetch("SELECT * FROM run_ends")
        ]
        await connection.close()
    return found


async def watch(world: World, workflow: str, *, with_outputs: bool = False) -> None:
    """As of an automation that nobody knows: its ends stay until somebody looks."""
    for dsn in world.shards:
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "INSERT INTO watched_ends (team, workflow, automation_id, turn, with_outputs) VALUES ('red', $1, gen_random_uuid(), 1, $2)",
            workflow,
            with_outputs,
        )
        await connection.close()


async def test_each_end_of_a_watched_run_is_kept_with_its_round(world: World, monkeypatch: pytest.MonkeyPatch):
    from mwfs_orchestrator.automations.firing import Firing

    monkeypatch.setattr(Firing, "look", _nothing)
    await watch(world, WORKFLOW)
    world.host.answer = fail
    failed = await world.run(chain(2), "one")
    assert await kept(world) == [(failed.run_id, 1, FAILED)]
    world.host.answer = succeed
    await world.stub.RetryRun(
        orchestrator_pb2.RetryRunRequest(run_id=failed.run_id, request_id="again"), metadata=world.metadata()
    )
    await world.wait(failed.run_id)
    assert await kept(world) == [(failed.run_id, 1, FAILED), (failed.run_id, 2, SUCCEEDED)]


async def test_a_run_that_nobody_waits_for_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    from mwfs_orchestrator.automations.firing import Firing

    monkeypatch.setattr(Firing, "look", _nothing)
    await watch(world, "other:workflow")
    await world.run(chain(2), "one")
    assert await kept(world) == []
    await watch(world, "")
    await world.run(layered([]), "two")
    assert len(await kept(world)) == 1


async def _nothing(self, *, woken: bool = False):
    from mwfs_orchestrator.automations.store import Look

    return Look(held=False, next_us=None, retry_us=None, watching=True)


async def test_a_backfill_runs_to_its_end_on_its_own(world: World):
    host_compiles(world)
    await register(world, TARGET, "shop")
    run = pb.RunTemplate(workflow=TARGET, fills=[pb.Fill(input="shop", source=pb.FILL_SOURCE_PARTITION)])
    created = await create(
        world, "shops", backfill=pb.Backfill(run=run, keys=pb.Keys(keys=["1", "2", "3", "4", "5"]), max_parallel=2)
    )
    assert created.automation.state == pb.AUTOMATION_STATE_ACTIVE
    request = pb.GetAutomationRequest(kind=pb.AUTOMATION_KIND_BACKFILL, name="shops")
    found = created.automation
    while found.state == pb.AUTOMATION_STATE_ACTIVE:
        await asyncio.sleep(0.02)  # there is no stream of automations to wait on
        found = (await automations(world).GetAutomation(request, metadata=world.metadata())).automation
    assert found.state == pb.AUTOMATION_STATE_SUCCEEDED
    assert {count.state: count.count for count in found.counts} == {pb.OCCASION_STATE_SUCCEEDED: 5}
    assert len(await runs_of(world, TARGET)) == 5


async def test_a_restart_goes_on_with_what_was_due(world: World):
    host_compiles(world)
    await register(world, TARGET)
    await create(world, "after", trigger=pb.Trigger(workflow=WORKFLOW, run=pb.RunTemplate(workflow=TARGET)))
    held: list = []
    world.host.answer = held.append
    call = asyncio.create_task(world.submit(chain(1), request_ids=["source"]))
    await world.host.until(lambda: bool(held))
    await call
    await world.stop_orchestrator()
    world.host.finish((held[0].key.run_id, 0, 1), succeed(held[0]))
    world.host.answer = compiling
    await world.start_orchestrator()
    await world.host.until(lambda: any(key[1] == -1 for key in world.host.launched))
    (started,) = {key[0] for key in world.host.launched if key[1] == -1}
    assert (await world.wait(started)).state == SUCCEEDED


@pytest.mark.parametrize("method", ["Get", "Pause", "Resume", "Cancel", "Delete"])
async def test_what_is_not_there_is_not_found(world: World, method: str):
    request = getattr(pb, f"{method}AutomationRequest")(kind=pb.AUTOMATION_KIND_TRIGGER, name="nothing")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(automations(world), f"{method}Automation")(request, metadata=world.metadata())
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "mwfs triggers list" in (refused.value.details() or "")


async def test_lists_come_in_pages(world: World):
    await register(world, TARGET)
    for number in range(5):
        await create(world, f"s{number}", schedule=pb.Schedule(cron="0 0 1 1 *", run=pb.RunTemplate(workflow=TARGET)))
    names: list[str] = []
    request = pb.ListAutomationsRequest(kind=pb.AUTOMATION_KIND_SCHEDULE, page_size=2)
    while True:
        page = await automations(world).ListAutomations(request, metadata=world.metadata())
        names += [each.name for each in page.automations]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert names == ["s0", "s1", "s2", "s3", "s4"]
    other = await automations(world).ListAutomations(
        pb.ListAutomationsRequest(kind=pb.AUTOMATION_KIND_SCHEDULE), metadata=world.metadata("blue")
    )
    assert list(other.automations) == []


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListAutomationsRequest(),
        pb.ListAutomationsRequest(kind=1, page_size=1_001),
        pb.CreateAutomationRequest(name="x"),
        pb.GetAutomationRequest(name="x"),
        pb.GetAutomationRequest(kind=9, name="x"),
    ],
)
async def test_malformed_requests_are_refused(world: World, request_: Any):
    method = type(request_).__name__.removesuffix("Request")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(automations(world), method)(request_, metadata=world.metadata())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("token", ["x", "/", "-1/x", "1" * 300 + "/", "²/x"])
async def test_a_malformed_page_token_is_refused(world: World, token: str):
    await register(world, TARGET)
    await create(world, "s", schedule=pb.Schedule(cron="0 0 1 1 *", run=pb.RunTemplate(workflow=TARGET)))
    request = pb.ListOccasionsRequest(kind=1, name="s", page_token=token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await automations(world).ListOccasions(request, metadata=world.metadata())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
