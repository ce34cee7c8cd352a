"""Schedules on a real catalogue: each occasion starts one run, whatever is killed, and whoever else looks."""

import asyncio
from datetime import UTC, datetime
from itertools import count

import grpc
import pytest

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from mwfs_orchestrator.automations import upkeep as upkeep_module
from mwfs_orchestrator.automations.commands import Refused
from mwfs_orchestrator.automations.model import ACTIVE, PAUSED, SCHEDULE

from .conftest import CALLER, DATE_PARTITION, INT, TEAM, TEXT, Fuse, Killed, Stage, template

HOUR = 3_600_000_000
WORKFLOW = "flows:nightly"


def hourly(catch_up: pb.CatchUp.ValueType = pb.CATCH_UP_ALL, *fills: pb.Fill, **inputs: types_pb2.Value) -> pb.Schedule:
    return pb.Schedule(cron="0 * * * *", catch_up=catch_up, run=template(WORKFLOW, *fills, **inputs))


def hours(stage: Stage, count: int) -> list[str]:
    """The names of the next whole hours."""
    first = stage.clock.us // HOUR + 1
    return [datetime.fromtimestamp((first + n) * 3600, UTC).isoformat().replace("+00:00", "Z") for n in range(count)]


async def test_an_occasion_starts_a_run_when_it_comes_and_not_before(stage: Stage):
    await stage.register(WORKFLOW)
    await stage.create("nightly", schedule=hourly())
    (first,) = hours(stage, 1)
    stage.clock.us += HOUR - 1
    await stage.go_on()
    assert stage.runs.of("nightly") == {}
    stage.clock.us += 1
    await stage.go_on()
    assert list(stage.runs.of("nightly")) == [first]
    header = stage.runs.of("nightly")[first]
    assert header.compile
    assert header.workflow == WORKFLOW
    assert header.version_digest.startswith("sha256:aaa")


async def test_every_occasion_starts_one_run_wherever_the_orchestrator_is_killed(stage: Stage):
    await stage.register(WORKFLOW)
    for at in count(1):
        schedule = await stage.create(f"s{at}", schedule=hourly())
        expected = hours(stage, 3)
        stage.clock.us += 3 * HOUR
        fuse = Fuse(at)
        try:
            await stage.go_on(stage.firing(fuse))
        except Killed:
            await stage.go_on()
        assert sorted(stage.runs.of(schedule.name)) == expected, f"killed at step {at}"
        assert set((await stage.occasions(schedule)).values()) == {pb.OCCASION_STATE_STARTED}
        await stage.upkeep().delete(TEAM, SCHEDULE, schedule.name)
        if fuse.steps < at:
            break
    assert at > 10, "there were steps to be killed between"


async def test_replicas_that_look_at_once_start_one_run(stage: Stage):
    await stage.register(WORKFLOW)
    await stage.create("nightly", schedule=hourly())
    expected = hours(stage, 5)
    stage.clock.us += 5 * HOUR
    await asyncio.gather(*(stage.go_on(stage.firing(replica=f"orchestrator-{n}")) for n in range(4)))
    assert sorted(stage.runs.of("nightly")) == expected


async def test_one_replica_at_a_time_holds_the_lease(stage: Stage):
    first = await stage.firing(replica="orchestrator-0").look()
    second = await stage.firing(replica="orchestrator-1").look()
    again = await stage.firing(replica="orchestrator-0").look()
    assert (first.held, second.held, again.held) == (True, False, True)
    await stage.catalogue.execute("UPDATE automation_lease SET expires_at = now() - interval '1 second'")
    assert (await stage.firing(replica="orchestrator-1").look()).held
    assert not (await stage.firing(replica="orchestrator-0").look()).held


async def test_a_replica_that_stops_gives_the_lease_back(stage: Stage):
    first = stage.firing(replica="orchestrator-0")
    await first.start()
    assert (await first.look()).held
    await first.stop()
    assert (await stage.firing(replica="orchestrator-1").look()).held


async def test_what_was_missed_follows_the_policy(stage: Stage):
    await stage.register(WORKFLOW)
    for policy in (pb.CATCH_UP_ALL, pb.CATCH_UP_LATEST, pb.CATCH_UP_NONE):
        await stage.create(f"p{policy}", schedule=hourly(policy))
    missed = hours(stage, 3)
    stage.clock.us += 3 * HOUR + HOUR // 2
    await stage.go_on()
    assert sorted(stage.runs.of("p1")) == missed
    assert sorted(stage.runs.of("p2")) == missed[-1:]
    assert sorted(stage.runs.of("p3")) == []
    skipped = [(await stage.upkeep().find(TEAM, SCHEDULE, f"p{policy}")).skipped for policy in (1, 2, 3)]
    assert skipped == [0, 2, 3]


async def test_what_falls_into_a_pause_is_no_occasion(stage: Stage):
    await stage.register(WORKFLOW)
    await stage.create("nightly", schedule=hourly())
    upkeep = stage.upkeep()
    assert (await upkeep.pause(TEAM, SCHEDULE, "nightly")).state == PAUSED
    assert (await upkeep.pause(TEAM, SCHEDULE, "nightly")).state == PAUSED
    stage.clock.us += 2 * HOUR
    await stage.go_on()
    assert (await upkeep.resume(TEAM, SCHEDULE, "nightly")).state == ACTIVE
    expected = hours(stage, 1)
    stage.clock.us += HOUR
    await stage.go_on()
    assert list(stage.runs.of("nightly")) == expected


async def test_inputs_are_taken_from_the_occasion(stage: Stage):
    await stage.register(WORKFLOW, {"day": DATE_PARTITION, "before": DATE_PARTITION, "hour": TEXT, "depth": INT})
    schedule = pb.Schedule(
        cron="30 0 * * *",
        time_zone="Europe/Berlin",
        run=template(
            WORKFLOW,
            pb.Fill(input="day", source=pb.FILL_SOURCE_TIME),
            pb.Fill(input="before", source=pb.FILL_SOURCE_TIME, grain=pb.GRAIN_MONTH, shift=-1),
            pb.Fill(input="hour", source=pb.FILL_SOURCE_TIME),
            depth=types_pb2.Value(integer=3),
        ),
    )
    await stage.create("nightly", schedule=schedule)
    stage.clock.us += 24 * HOUR
    await stage.go_on()
    # Half past midnight of January 16 in Berlin is still January 15 in UTC.
    (header,) = stage.runs.of("nightly").values()
    assert {name: value.text or value.integer for name, value in header.inputs.items()} == {
        "day": "2027-01-16",
        "before": "2026-12",
        "hour": "2027-01-15T23:30:00Z",
        "depth": 3,
    }


async def test_the_newest_version_is_taken_at_each_occasion_unless_one_is_named(stage: Stage):
    old = await stage.register(WORKFLOW, digest="a")
    pinned = hourly()
    pinned.run.version_digest = old
    await stage.create("pinned", schedule=pinned)
    await stage.create("newest", schedule=hourly())
    new = await stage.register(WORKFLOW, digest="b")
    stage.clock.us += HOUR
    await stage.go_on()
    assert [header.version_digest for header in stage.runs.of("pinned").values()] == [old]
    assert [header.version_digest for header in stage.runs.of("newest").values()] == [new]


async def test_an_occasion_that_no_longer_fits_its_workflow_says_so_and_the_next_one_fires(stage: Stage):
    await stage.register(WORKFLOW, digest="a")
    schedule = await stage.create("nightly", schedule=hourly())
    await stage.register(WORKFLOW, {"depth": INT}, digest="b")
    stage.clock.us += HOUR
    await stage.go_on()
    await stage.register(WORKFLOW, digest="c")
    stage.clock.us += HOUR
    await stage.go_on()
    assert sorted((await stage.occasions(schedule)).values()) == [pb.OCCASION_STATE_STARTED, pb.OCCASION_STATE_REFUSED]
    newest, refused = await stage.store.newest_occasions(schedule.automation_id, [], ((1 << 63) - 1, ""), 10)
    assert newest.run_id is not None
    assert (refused.run_id, refused.header) == (None, None)
    assert "needs the input `depth`" in refused.message


@pytest.mark.parametrize(
    "refusal",
    [
        Unavailable("a shard is away"),
        Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "the server is full"),
        Refused(grpc.StatusCode.INTERNAL, "internal error 7"),
        Refused(grpc.StatusCode.CANCELLED, "stopping"),
    ],
    ids=str,
)
async def test_a_platform_that_takes_no_run_is_asked_again(stage: Stage, refusal: Exception):
    await stage.register(WORKFLOW)
    schedule = await stage.create("nightly", schedule=hourly())
    stage.runs.refusal = refusal
    stage.clock.us += HOUR
    await stage.go_on()
    assert list((await stage.occasions(schedule)).values()) == [pb.OCCASION_STATE_DUE]
    stage.runs.refusal = None
    await stage.go_on()
    assert stage.runs.of("nightly") == {}, "not at once"
    stage.clock.us += 5_000_000
    await stage.go_on()
    assert len(stage.runs.of("nightly")) == 1


async def test_a_defect_does_not_lose_the_occasion(stage: Stage):
    await stage.register(WORKFLOW)
    schedule = await stage.create("nightly", schedule=hourly())
    stage.runs.refusal = ZeroDivisionError()
    stage.clock.us += HOUR
    await stage.go_on()
    assert list((await stage.occasions(schedule)).values()) == [pb.OCCASION_STATE_DUE]
    stage.runs.refusal = None
    stage.clock.us += 60_000_000
    await stage.go_on()
    assert len(stage.runs.of("nightly")) == 1


async def test_a_schedule_that_cannot_fire_holds_up_no_other(stage: Stage):
    await stage.register(WORKFLOW)
    broken = await stage.create("broken", schedule=hourly())
    odd = await stage.create("odd", schedule=hourly())
    await stage.create("sound", schedule=hourly())
    content = pb.Automation(schedule=pb.Schedule(cron="0 * * * *", time_zone="Gone/Away", run=template(WORKFLOW)))
    change = "UPDATE automations SET content = $2 WHERE automation_id = $1"
    await stage.catalogue.execute(change, broken.automation_id, content.SerializeToString())
    await stage.catalogue.execute(change, odd.automation_id, b"\xff")
    stage.clock.us += HOUR
    await stage.go_on()
    assert len(stage.runs.of("sound")) == 1
    (found,) = (await stage.store.get_many([broken.automation_id])).values()
    assert (found.state, "Gone/Away" in found.message) == (PAUSED, True)


async def test_a_run_that_is_refused_for_good_is_not_submitted_again(stage: Stage):
    await stage.register(WORKFLOW)
    schedule = await stage.create("nightly", schedule=hourly())
    stage.runs.refusal = Refused(grpc.StatusCode.INVALID_ARGUMENT, "It is too large. Make it smaller.")
    stage.clock.us += HOUR
    await stage.go_on()
    assert list((await stage.occasions(schedule)).values()) == [pb.OCCASION_STATE_REFUSED]
    (refused,) = await stage.store.newest_occasions(schedule.automation_id, [], ((1 << 63) - 1, ""), 10)
    assert refused.message == "It is too large. Make it smaller."


async def test_the_same_name_and_content_is_the_same_schedule(stage: Stage):
    await stage.register(WORKFLOW)
    request = pb.CreateAutomationRequest(name="nightly", schedule=hourly())
    first, created = await stage.upkeep().create(CALLER, request)
    again, created_again = await stage.upkeep().create(CALLER, request)
    assert (first.automation_id, created, created_again) == (again.automation_id, True, False)
    with pytest.raises(AlreadyExists, match="another schedule nightly"):
        await stage.create("nightly", schedule=hourly(pb.CATCH_UP_NONE))


async def test_many_who_create_the_same_schedule_at_once_make_one(stage: Stage):
    await stage.register(WORKFLOW)
    made = await asyncio.gather(*(stage.create("nightly", schedule=hourly()) for _ in range(8)))
    assert len({each.automation_id for each in made}) == 1


async def test_a_schedule_that_is_made_again_has_occasions_of_its_own(stage: Stage):
    await stage.register(WORKFLOW)
    first = await stage.create("nightly", schedule=hourly())
    await stage.upkeep().delete(TEAM, SCHEDULE, "nightly")
    second = await stage.create("nightly", schedule=hourly())
    assert first.automation_id != second.automation_id
    stage.clock.us += HOUR
    await stage.go_on()
    assert len(stage.runs.of("nightly")) == 1


async def test_another_teams_schedule_is_not_found(stage: Stage):
    await stage.register(WORKFLOW)
    await stage.create("nightly", schedule=hourly())
    for call in (stage.upkeep().find, stage.upkeep().pause, stage.upkeep().resume, stage.upkeep().delete):
        with pytest.raises(NotFound, match="Team blue has no schedule nightly"):
            await call("blue", SCHEDULE, "nightly")
    with pytest.raises(NotFound, match="Team blue has no workflow"):
        await stage.create("nightly", Caller(principal="bob", team="blue"), schedule=hourly())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cron": "0 6 * *"}, "not a cron expression"),
        ({"cron": "0 0 */20 * 1L"}, "never due"),
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"catch_up": 17}, "no catch-up policy"),
        ({"run": template("no name at all")}, "not the name of a workflow"),
        ({"run": template(WORKFLOW)}, "needs the input `depth`"),
        ({"run": template(WORKFLOW, depth=types_pb2.Value(text="3"))}, "Input `depth`: expected int"),
        ({"run": template(WORKFLOW, depth=types_pb2.Value(integer=3), dept=types_pb2.Value())}, "no input `dept`"),
        ({"run": template(WORKFLOW, pb.Fill(input="depth", source=pb.FILL_SOURCE_TIME))}, "expected int"),
        ({"run": template(WORKFLOW, pb.Fill(input="depth", source=pb.FILL_SOURCE_OUTPUT))}, "knows only the time"),
        ({"run": template(WORKFLOW, pb.Fill(input="depth", source=99))}, "cannot be filled with 99"),
        (
            {"run": pb.RunTemplate(workflow=WORKFLOW, tags={"mwfs.schedule": "x"})},
            "the platform's own",
        ),
        ({"run": pb.RunTemplate(workflow=WORKFLOW, priority=2_000_000)}, "priority"),
        (
            {"run": template(WORKFLOW, pb.Fill(input="depth", source=1, shift=1 << 30))},
            "shifted by",
        ),
        (
            {"run": template(WORKFLOW, pb.Fill(input="depth", source=1), depth=types_pb2.Value(integer=1))},
            "given twice",
        ),
    ],
)
async def test_what_cannot_work_is_refused_when_it_is_made(stage: Stage, change, says):
    await stage.register(WORKFLOW, {"depth": INT})
    good = {"cron": "0 * * * *", "run": template(WORKFLOW, depth=types_pb2.Value(integer=3))}
    with pytest.raises(InvalidArgument, match=says):
        await stage.create("nightly", schedule=pb.Schedule(**{**good, **change}))
    assert await stage.store.count(TEAM, SCHEDULE) == 0


@pytest.mark.parametrize("name", ["", "-x", "a b", "ä", "a/b", "x" * 129, "a\n"])
async def test_a_malformed_name_is_refused(stage: Stage, name):
    with pytest.raises(InvalidArgument, match="is no name for a schedule"):
        await stage.create(name, schedule=hourly())


async def test_a_team_has_so_many_schedules_and_no_more(stage: Stage, monkeypatch):
    monkeypatch.setattr(upkeep_module, "MAX_AUTOMATIONS", 3)
    await stage.register(WORKFLOW)
    for number in range(3):
        await stage.create(f"s{number}", schedule=hourly())
    with pytest.raises(ResourceExhausted, match="Delete some"):
        await stage.create("s3", schedule=hourly())
    assert await stage.create("s2", schedule=hourly()), "one that is there is found all the same"


async def test_what_a_schedule_did_long_ago_is_forgotten(stage: Stage):
    await stage.register(WORKFLOW)
    schedule = await stage.create("nightly", schedule=hourly(pb.CATCH_UP_LATEST))
    stage.clock.us += HOUR
    await stage.go_on()
    old = list(await stage.occasions(schedule))
    stage.clock.us += 91 * 24 * HOUR
    await stage.go_on()
    kept = await stage.occasions(schedule)
    assert len(old) == len(kept) == 1
    assert old != list(kept)
