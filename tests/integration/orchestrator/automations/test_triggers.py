"""Triggers on a real catalogue and real shards: each end of a run fires once, whatever is killed."""

import asyncio
from itertools import count
from uuid import UUID, uuid4

import pytest

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.errors import InvalidArgument
from mwfs_orchestrator.automations import ends as ends_module
from mwfs_orchestrator.automations.model import MAX_CHAIN, TRIGGER
from mwfs_orchestrator.model import run_id_of

from .conftest import CANCELLED, FAILED, INT, SUCCEEDED, TEAM, TEXT, Fuse, Killed, Stage, template

SOURCE, TARGET = "flows:train", "flows:evaluate"
MODEL = types_pb2.Type(semantic=types_pb2.SemanticType(name="Model", version=1))
ARTIFACT = types_pb2.Value(artifact=types_pb2.Artifact(digest="sha256:" + "a" * 64, size=3, encoding="joblib"))


def outputs(**values: tuple[types_pb2.Type, types_pb2.Value]) -> bytes:
    response = orchestrator_pb2.GetOutputsResponse()
    for name, (type_, value) in values.items():
        response.outputs.add(name=name, type=type_, value=value)
    return response.SerializeToString()


async def make(stage: Stage, name: str = "after", **content) -> None:
    await stage.create(name, trigger=pb.Trigger(**{"workflow": SOURCE, "run": template(TARGET), **content}))


async def test_the_end_of_a_run_starts_another(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    run_id = uuid4()
    await stage.end_run(run_id, SOURCE)
    await stage.go_on()
    assert list(stage.runs.of("after")) == [f"{run_id}/1"]
    assert await stage.shards[run_id.int % 2].read(10) == []


async def test_every_end_fires_once_wherever_the_orchestrator_is_killed(stage: Stage):
    await stage.register(TARGET)
    for at in count(1):
        await make(stage, f"t{at}")
        ended = [uuid4() for _ in range(3)]
        for run_id in ended:
            await stage.end_run(run_id, SOURCE)
        fuse = Fuse(at)
        try:
            await stage.go_on(stage.firing(fuse))
        except Killed:
            await stage.go_on()
        assert sorted(stage.runs.of(f"t{at}")) == sorted(f"{run_id}/1" for run_id in ended), f"killed at step {at}"
        assert [await shard.read(10) for shard in stage.shards] == [[], []]
        await stage.upkeep().delete(TEAM, TRIGGER, f"t{at}")
        if fuse.steps < at:
            break
    assert at > 10


async def test_replicas_that_look_at_once_fire_once(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    ended = [uuid4() for _ in range(20)]
    for run_id in ended:
        await stage.end_run(run_id, SOURCE)
    await asyncio.gather(*(stage.go_on(stage.firing(replica=f"orchestrator-{n}")) for n in range(4)))
    assert len(stage.runs.of("after")) == 20


async def test_each_round_of_a_run_is_an_occasion(stage: Stage):
    await stage.register(TARGET)
    await make(stage, states=[SUCCEEDED, FAILED])
    run_id = uuid4()
    await stage.end_run(run_id, SOURCE, FAILED, round=1)
    await stage.go_on()
    await stage.end_run(run_id, SOURCE, SUCCEEDED, round=2)
    await stage.go_on()
    assert sorted(stage.runs.of("after")) == [f"{run_id}/1", f"{run_id}/2"]


async def test_only_the_ends_that_it_names_fire(stage: Stage):
    await stage.register(TARGET)
    await make(stage, "succeeded")
    await make(stage, "not", states=[FAILED, CANCELLED])
    await make(stage, "tagged", tags={"stage": "live"})
    await make(stage, "any", workflow="")
    good, bad, tagged, other = (uuid4() for _ in range(4))
    await stage.end_run(good, SOURCE)
    await stage.end_run(bad, SOURCE, FAILED)
    await stage.end_run(tagged, SOURCE, tags='{"stage": "live", "owner": "ada"}')
    await stage.end_run(other, "flows:other")
    await stage.go_on()
    assert set(stage.runs.of("succeeded")) == {f"{good}/1", f"{tagged}/1"}
    assert set(stage.runs.of("not")) == {f"{bad}/1"}
    assert set(stage.runs.of("tagged")) == {f"{tagged}/1"}
    assert set(stage.runs.of("any")) == {f"{good}/1", f"{tagged}/1", f"{other}/1"}


async def test_an_artifact_that_appears_fires_and_is_the_input_of_the_run(stage: Stage):
    await stage.register(TARGET, {"model": MODEL, "why": TEXT, "of": TEXT})
    run = template(
        TARGET,
        pb.Fill(input="model", source=pb.FILL_SOURCE_OUTPUT, output="model"),
        pb.Fill(input="why", source=pb.FILL_SOURCE_STATE),
        pb.Fill(input="of", source=pb.FILL_SOURCE_RUN),
    )
    await make(stage, "model", workflow="", output_type="Model", run=run)
    trained, other = uuid4(), uuid4()
    await stage.end_run(trained, SOURCE, outputs=outputs(model=(MODEL, ARTIFACT)))
    await stage.end_run(other, "flows:other", outputs=outputs(model=(INT, types_pb2.Value(integer=3))))
    await stage.go_on()
    ((occasion, header),) = stage.runs.of("model").items()
    assert occasion == f"{trained}/1"
    assert header.inputs["model"] == ARTIFACT
    assert header.inputs["why"].text == "SUCCEEDED"
    assert header.inputs["of"].text == str(trained)
    assert dict(header.input_sources) == {"model": f"run:{trained}/model"}


async def test_an_output_that_does_not_fit_is_refused_with_the_reason(stage: Stage):
    await stage.register(TARGET, {"model": MODEL})
    run = template(TARGET, pb.Fill(input="model", source=pb.FILL_SOURCE_OUTPUT, output="model"))
    trigger = await stage.create("model", trigger=pb.Trigger(workflow="", run=run))
    await stage.end_run(uuid4(), SOURCE, outputs=outputs(model=(INT, types_pb2.Value(integer=3))))
    await stage.end_run(uuid4(), SOURCE, outputs=outputs())
    await stage.go_on()
    found = await stage.store.newest_occasions(trigger.automation_id, [], ((1 << 63) - 1, ""), 10)
    assert [occasion.state for occasion in found] == [pb.OCCASION_STATE_REFUSED] * 2
    assert {occasion.message.partition(":")[0] for occasion in found} == {
        "Input `model` is Model, but is to be int",
        "Input `model` is to be the output 'model', but the outputs are none. Name one of them.",
    }


async def test_what_ends_while_a_trigger_is_paused_is_no_occasion(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    upkeep = stage.upkeep()
    await upkeep.pause(TEAM, TRIGGER, "after")
    await stage.end_run(uuid4(), SOURCE)
    await stage.go_on()
    await upkeep.resume(TEAM, TRIGGER, "after")
    last = uuid4()
    await stage.end_run(last, SOURCE)
    await stage.go_on()
    assert list(stage.runs.of("after")) == [f"{last}/1"]


async def test_a_trigger_that_is_deleted_leaves_nothing_behind(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    await stage.end_run(uuid4(), SOURCE)
    await stage.upkeep().delete(TEAM, TRIGGER, "after")
    await stage.go_on()
    assert stage.runs.of("after") == {}
    for pool in stage.shard_pools:
        assert await pool.fetchval("SELECT (SELECT count(*) FROM run_ends) + (SELECT count(*) FROM watched_ends)") == 0


async def test_what_a_killed_orchestrator_left_watched_is_forgotten_in_time(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    found = await stage.upkeep().find(TEAM, TRIGGER, "after")
    await stage.store.delete(found.automation_id)  # and killed before the shards were told
    fresh, old = uuid4(), uuid4()
    await stage.end_run(fresh, SOURCE)
    await stage.go_on()
    counts = [await pool.fetchval("SELECT count(*) FROM watched_ends") for pool in stage.shard_pools]
    assert counts == [1, 1], "one that is new may be about to begin"
    for pool in stage.shard_pools:
        await pool.execute("UPDATE watched_ends SET create_time = now() - interval '2 hours'")
    await stage.end_run(old, SOURCE)
    await stage.go_on()
    counts = [await pool.fetchval("SELECT count(*) FROM watched_ends") for pool in stage.shard_pools]
    assert counts[old.int % 2] == 0
    assert [await shard.read(10) for shard in stage.shards] == [[], []]


async def test_a_shard_that_is_away_holds_up_only_its_own(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    near, away = UUID(int=1 << 120 | 1), UUID(int=1 << 120)
    await stage.end_run(near, SOURCE)
    await stage.end_run(away, SOURCE)
    firing = stage.firing()
    read = stage.shards[0].read

    async def refuse(limit: int):
        raise ConnectionError("away")

    stage.shards[0].read = refuse  # type: ignore[method-assign]
    await stage.go_on(firing)
    assert list(stage.runs.of("after")) == [f"{near}/1"]
    stage.shards[0].read = read  # type: ignore[method-assign]
    await stage.go_on(firing)
    assert set(stage.runs.of("after")) == {f"{near}/1", f"{away}/1"}


async def test_a_shard_that_is_new_learns_what_is_waited_for(stage: Stage):
    await stage.register(TARGET)
    await make(stage)
    await stage.shard_pools[1].execute("DELETE FROM watched_ends")
    firing = stage.firing()
    await firing.start()
    await firing.stop()
    assert await stage.shard_pools[1].fetchval("SELECT count(*) FROM watched_ends") == 1


async def test_a_workflow_that_triggers_itself_comes_to_an_end(stage: Stage):
    await stage.register(SOURCE)
    trigger = await stage.create("loop", trigger=pb.Trigger(workflow=SOURCE, run=template(SOURCE)))
    first = run_id = uuid4()
    started = 0
    for _ in range(MAX_CHAIN + 5):
        await stage.end_run(run_id, SOURCE)
        await stage.go_on()
        if len(stage.runs.submitted) == started:
            break
        started = len(stage.runs.submitted)
        run_id = list(stage.runs.submitted)[-1]
    assert started == MAX_CHAIN
    refused = [
        occasion
        for occasion in await stage.store.newest_occasions(trigger.automation_id, [], ((1 << 63) - 1, ""), 50)
        if occasion.state == pb.OCCASION_STATE_REFUSED
    ]
    assert [occasion.message.partition(":")[0] for occasion in refused] == ["TriggerLoop"]
    assert str(first) in refused[0].message


async def test_triggers_that_multiply_come_to_an_end(stage: Stage, monkeypatch):
    monkeypatch.setattr(ends_module, "MAX_CHAIN_RUNS", 20)
    await stage.register(SOURCE)
    for name in ("one", "two", "three"):
        await stage.create(name, trigger=pb.Trigger(workflow=SOURCE, run=template(SOURCE)))
    await stage.end_run(uuid4(), SOURCE)
    ended: set[UUID] = set()
    for _ in range(10):
        await stage.go_on()
        new = set(stage.runs.submitted) - ended
        if not new:
            break
        for run_id in new:
            await stage.end_run(run_id, SOURCE)
        ended |= new
    assert len(stage.runs.submitted) == 20


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"workflow": "no name"}, "not the name of a workflow"),
        ({"states": [3]}, "does not end in state RUNNING"),
        ({"states": [77]}, "does not end in state 77"),
        ({"states": [FAILED], "output": "model"}, "Only a run that has SUCCEEDED has outputs"),
        ({"output": "modell"}, "has no output 'modell'; it has model"),
        ({"tags": {"": "x"}}, "must be printable"),
        ({"run": template(TARGET, pb.Fill(input="model", source=pb.FILL_SOURCE_TIME))}, "cannot be filled with time"),
        (
            {"run": template(TARGET, pb.Fill(input="model", source=pb.FILL_SOURCE_OUTPUT, output="score"))},
            "the outputs are model",
        ),
        ({"run": template(TARGET, pb.Fill(input="model", source=pb.FILL_SOURCE_STATE))}, "Input `model`: expected"),
    ],
)
async def test_what_cannot_work_is_refused_when_it_is_made(stage: Stage, change, says):
    await stage.register(SOURCE, outputs={"model": MODEL})
    await stage.register(TARGET, {"model": MODEL})
    good = {
        "run": template(TARGET, pb.Fill(input="model", source=pb.FILL_SOURCE_OUTPUT, output="model")),
    }
    with pytest.raises(InvalidArgument, match=says):
        await make(stage, **{**good, **change})
    assert await stage.store.count(TEAM, TRIGGER) == 0


def test_the_run_of_an_occasion_is_known_before_it_is_started():
    from mwfs_orchestrator.automations.model import request_id_of

    one = UUID(int=1)
    assert run_id_of(TEAM, request_id_of(one, "a")) == run_id_of(TEAM, request_id_of(one, "a"))
    assert request_id_of(one, "a") != request_id_of(one, "a", 2) != request_id_of(UUID(int=2), "a", 2)
    assert len(request_id_of(one, "x" * 500)) <= 128
