"""Backfills on a real catalogue and real shards: every partition once, so many at a time, and a join after the last."""

import asyncio
from itertools import count
from uuid import UUID

import pytest

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument
from mwfs_orchestrator.automations.model import (
    ACTIVE,
    BACKFILL,
    CANCELLED,
    CANCELLING,
    FAILED,
    PAUSED,
    SUCCEEDED,
    Automation,
)
from mwfs_orchestrator.model import run_id_of

from . import conftest
from .conftest import DATE_PARTITION, INT, TEAM, TEXT, Fuse, Killed, Stage, template

WORKFLOW, JOIN = "flows:daily", "flows:report"
PARTITION = pb.Fill(input="day", source=pb.FILL_SOURCE_PARTITION)
TEXTS = types_pb2.Type(list=types_pb2.ListType(item=TEXT))
INTS = types_pb2.Type(list=types_pb2.ListType(item=INT))


def by_days(count: int, parallel: int = 2, **more) -> pb.Backfill:
    return pb.Backfill(
        run=template(WORKFLOW, PARTITION),
        range=pb.DateRange(first="2026-01-01", last=f"2026-01-{count:02}"),
        max_parallel=parallel,
        **more,
    )


async def registered(stage: Stage) -> None:
    await stage.register(WORKFLOW, {"day": DATE_PARTITION}, {"rows": INT})
    await stage.register(JOIN, {"days": TEXTS, "runs": TEXTS, "rows": INTS})


def running(stage: Stage, backfill: Automation, ended: set[UUID]) -> dict[str, UUID]:
    """The runs that were started and not ended, by partition."""
    return {
        partition: run_id
        for partition, header in stage.runs.of(backfill.name).items()
        if (run_id := run_id_of(TEAM, header.request_id)) not in ended
    }


async def end_all(stage: Stage, backfill: Automation, ended: set[UUID], state: int = conftest.SUCCEEDED) -> list[str]:
    """Everything that runs ends; which partitions it were."""
    now = running(stage, backfill, ended)
    for run_id in now.values():
        header = stage.runs.submitted[run_id]
        response = orchestrator_pb2.GetOutputsResponse()
        response.outputs.add(name="rows", type=INT, value=types_pb2.Value(integer=len(ended)))
        stage.runs.values[run_id] = response
        await stage.end_run(run_id, header.workflow, state)
        ended.add(run_id)
    return list(now)


async def test_so_many_partitions_run_at_a_time_in_their_order(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(5))
    ended: set[UUID] = set()
    waves = []
    for _ in range(4):
        await stage.go_on()
        waves.append(sorted(await end_all(stage, backfill, ended)))
    assert waves == [["2026-01-01", "2026-01-02"], ["2026-01-03", "2026-01-04"], ["2026-01-05"], []]
    assert await stage.state(backfill) == SUCCEEDED
    header = stage.runs.of("january")["2026-01-03"]
    assert header.inputs["day"].text == "2026-01-03"
    assert header.tags["mwfs.backfill"] == "january"


async def test_every_partition_runs_once_wherever_the_orchestrator_is_killed(stage: Stage):
    await registered(stage)
    join = template(JOIN, *JOIN_FILLS)
    for at in count(1):
        backfill = await stage.create(f"b{at}", backfill=by_days(3, join=join))
        fuse, ended = Fuse(at), set()
        firing = stage.firing(fuse)
        for _ in range(6):
            try:
                await stage.go_on(firing)
            except Killed:
                firing = stage.firing()
                await stage.go_on(firing)
            await end_all(stage, backfill, ended)
        started = stage.runs.of(backfill.name)
        assert sorted(started) == ["2026-01-01", "2026-01-02", "2026-01-03", "join"], f"killed at step {at}"
        assert await stage.state(backfill) == SUCCEEDED, f"killed at step {at}"
        await stage.upkeep().delete(TEAM, BACKFILL, backfill.name)
        if fuse.steps < at:
            break
    assert at > 30


async def test_replicas_together_start_no_more_than_may_run_at_a_time(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(9, 3))
    ended: set[UUID] = set()
    for _ in range(3):
        await asyncio.gather(*(stage.go_on(stage.firing(replica=f"orchestrator-{n}")) for n in range(4)))
        assert len(running(stage, backfill, ended)) == 3
        await end_all(stage, backfill, ended)
    await asyncio.gather(*(stage.go_on(stage.firing(replica=f"orchestrator-{n}")) for n in range(4)))
    assert await stage.state(backfill) == SUCCEEDED
    assert len(stage.runs.of("january")) == 9


JOIN_FILLS = (
    pb.Fill(input="days", source=pb.FILL_SOURCE_PARTITION),
    pb.Fill(input="runs", source=pb.FILL_SOURCE_RUN),
    pb.Fill(input="rows", source=pb.FILL_SOURCE_OUTPUT, output="rows"),
)


async def test_the_join_gets_what_all_partitions_gave_in_their_order(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(3, 1, join=template(JOIN, *JOIN_FILLS)))
    ended: set[UUID] = set()
    for _ in range(4):
        assert await stage.state(backfill) == ACTIVE
        await stage.go_on()
        await end_all(stage, backfill, ended)
    await stage.go_on()
    assert await stage.state(backfill) == SUCCEEDED
    header = stage.runs.of("january")["join"]
    assert [value.text for value in header.inputs["days"].list.items] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [value.integer for value in header.inputs["rows"].list.items] == [0, 1, 2]
    assert [UUID(value.text) for value in header.inputs["runs"].list.items] == [
        run_id_of(TEAM, stage.runs.of("january")[f"2026-01-0{day}"].request_id) for day in (1, 2, 3)
    ]


async def test_a_failed_partition_keeps_the_join_from_running_until_it_has_succeeded(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(3, 3, join=template(JOIN, *JOIN_FILLS)))
    ended: set[UUID] = set()
    await stage.go_on()
    second = running(stage, backfill, ended)["2026-01-02"]
    await stage.end_run(second, WORKFLOW, conftest.FAILED)
    ended.add(second)
    await end_all(stage, backfill, ended)
    await stage.go_on()
    found = await stage.upkeep().find(TEAM, BACKFILL, "january")
    assert (found.state, found.message) == (FAILED, "Of 3 partitions, 1 failed.")
    assert "join" not in stage.runs.of("january")

    resumed = await stage.upkeep().resume(TEAM, BACKFILL, "january")
    assert (resumed.state, resumed.turn) == (ACTIVE, 2)
    before = set(stage.runs.submitted)
    await stage.go_on()
    (again,) = set(stage.runs.submitted) - before
    assert stage.runs.submitted[again].inputs["day"].text == "2026-01-02", "only this one runs again"
    await stage.end_run(again, WORKFLOW)
    stage.runs.values[again] = orchestrator_pb2.GetOutputsResponse()
    stage.runs.values[again].outputs.add(name="rows", type=INT, value=types_pb2.Value(integer=7))
    await stage.go_on()
    (join,) = set(stage.runs.submitted) - before - {again}
    assert stage.runs.submitted[join].workflow == JOIN
    await stage.end_run(join, JOIN)
    await stage.go_on()
    assert await stage.state(backfill) == SUCCEEDED
    for pool in stage.shard_pools:
        assert await pool.fetchval("SELECT (SELECT count(*) FROM run_ends) + (SELECT count(*) FROM watched_ends)") == 0


async def test_a_join_that_fails_fails_the_backfill_and_is_tried_again_on_resume(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(1, join=template(JOIN, *JOIN_FILLS)))
    ended: set[UUID] = set()
    await stage.go_on()
    await end_all(stage, backfill, ended)
    await stage.go_on()
    await end_all(stage, backfill, ended, conftest.FAILED)
    await stage.go_on()
    found = await stage.upkeep().find(TEAM, BACKFILL, "january")
    assert (found.state, found.message) == (FAILED, "All partitions succeeded; their join was failed.")
    await stage.upkeep().resume(TEAM, BACKFILL, "january")
    before = set(stage.runs.submitted)
    await stage.go_on()
    (join,) = set(stage.runs.submitted) - before
    assert stage.runs.submitted[join].workflow == JOIN


async def test_a_join_whose_inputs_cannot_be_read_says_why(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(1, join=template(JOIN, *JOIN_FILLS)))
    ended: set[UUID] = set()
    await stage.go_on()
    await end_all(stage, backfill, ended)
    stage.runs.values.clear()
    await stage.go_on()
    found = await stage.upkeep().find(TEAM, BACKFILL, "january")
    assert found.state == FAILED
    assert "their join was refused. The outputs of a partition cannot be read." in found.message


async def test_a_paused_backfill_starts_nothing_new(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(4))
    ended: set[UUID] = set()
    await stage.go_on()
    assert (await stage.upkeep().pause(TEAM, BACKFILL, "january")).state == PAUSED
    await end_all(stage, backfill, ended)
    await stage.go_on()
    assert len(stage.runs.of("january")) == 2
    assert sorted((await stage.occasions(backfill)).values()) == [1, 1, 5, 5]
    await stage.upkeep().resume(TEAM, BACKFILL, "january")
    await stage.go_on()
    assert len(stage.runs.of("january")) == 4


async def test_a_cancelled_backfill_takes_its_runs_with_it_and_can_be_resumed(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(4))
    await stage.go_on()
    first_two = set(running(stage, backfill, set()).values())
    assert (await stage.upkeep().cancel(TEAM, BACKFILL, "january")).state == CANCELLING
    with pytest.raises(FailedPrecondition, match="CANCELLING and cannot be resumed"):
        await stage.upkeep().resume(TEAM, BACKFILL, "january")
    with pytest.raises(FailedPrecondition, match="has not ended"):
        await stage.upkeep().delete(TEAM, BACKFILL, "january")
    await stage.go_on()
    assert stage.runs.cancelled == first_two
    assert await stage.state(backfill) == CANCELLING, "its runs have not ended yet"
    for run_id in first_two:
        await stage.end_run(run_id, WORKFLOW, conftest.CANCELLED)
    await stage.go_on()
    assert await stage.state(backfill) == CANCELLED
    assert set(stage.runs.submitted) == first_two
    await stage.upkeep().cancel(TEAM, BACKFILL, "january")
    assert await stage.state(backfill) == CANCELLED

    await stage.upkeep().resume(TEAM, BACKFILL, "january")
    for _ in range(3):
        await stage.go_on()
        for run_id in set(stage.runs.submitted) - first_two:
            await stage.end_run(run_id, WORKFLOW)
    await stage.go_on()
    assert await stage.state(backfill) == SUCCEEDED
    assert len(stage.runs.submitted) == 2 + 4


async def test_a_run_that_a_user_revives_counts_for_its_partition(stage: Stage):
    await registered(stage)
    backfill = await stage.create("january", backfill=by_days(2))
    await stage.go_on()
    first, second = (running(stage, backfill, set())[f"2026-01-0{day}"] for day in (1, 2))
    await stage.end_run(first, WORKFLOW, conftest.FAILED, round=1)
    await stage.go_on()
    await stage.end_run(first, WORKFLOW, conftest.SUCCEEDED, round=2)
    await stage.end_run(second, WORKFLOW)
    await stage.go_on()
    assert await stage.state(backfill) == SUCCEEDED


async def test_keys_are_partitions_of_any_kind(stage: Stage):
    await stage.register("flows:by_key", {"shop": INT})
    shops = pb.Backfill(
        run=template("flows:by_key", pb.Fill(input="shop", source=pb.FILL_SOURCE_PARTITION)),
        keys=pb.Keys(keys=["3", "1", "2"]),
    )
    backfill = await stage.create("shops", backfill=shops)
    await stage.go_on()
    assert [header.inputs["shop"].integer for header in stage.runs.of("shops").values()] == [3, 1, 2]
    assert [each.occasion for each in await stage.store.partitions_page(backfill.automation_id, [], -1, 10)] == [
        "3",
        "1",
        "2",
    ]


async def test_a_backfill_stays_with_the_version_that_it_began_with(stage: Stage):
    await registered(stage)
    await stage.create("january", backfill=by_days(2))
    await stage.register(WORKFLOW, {"other": INT}, digest="b")
    await stage.go_on()
    assert {header.version_digest for header in stage.runs.of("january").values()} == {"sha256:" + "a" * 64}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"range": None}, "no partitions"),
        ({"range": pb.DateRange(first="2026-01-01", last="2026-13-01")}, "range is malformed"),
        ({"range": pb.DateRange(first="2026-01-01", last="2026-01")}, "must be of one length"),
        ({"range": pb.DateRange(first="2026-01-02", last="2026-01-01")}, "is before"),
        ({"range": pb.DateRange(first="0001-01-01T00", last="9999-12-31T23")}, "more than 100,000 partitions"),
        ({"keys": pb.Keys(keys=[])}, "no partitions"),
        ({"keys": pb.Keys(keys=["a", "a"])}, "there twice"),
        ({"keys": pb.Keys(keys=["a\n"])}, "must be printable"),
        ({"keys": pb.Keys(keys=[""])}, "must be printable"),
        ({"keys": pb.Keys(keys=["2026-01-01", "x"])}, "Input `day`: expected"),
        ({"keys": pb.Keys(keys=[str(n) for n in range(100_001)])}, "more than 100,000 partitions"),
        ({"max_parallel": 1_001}, "At most 1,000 runs"),
        ({"run": template(WORKFLOW)}, "No input takes the partition"),
        ({"join": template(JOIN)}, "needs the input `days`"),
        ({"join": template(JOIN, *JOIN_FILLS[:2], pb.Fill(input="rows", source=2, output="row"))}, "outputs are rows"),
        ({"join": template(JOIN, *JOIN_FILLS[1:], pb.Fill(input="days", source=2, output="rows"))}, "Input `days` is"),
    ],
)
async def test_what_cannot_work_is_refused_when_it_is_made(stage: Stage, change, says):
    await registered(stage)
    content = by_days(3)
    for name, value in change.items():
        content.ClearField(name)
        if isinstance(value, int):
            setattr(content, name, value)
        elif value is not None:
            getattr(content, name).CopyFrom(value)
            getattr(content, name).SetInParent()
    with pytest.raises(InvalidArgument, match=says):
        await stage.create("january", backfill=content)
    assert await stage.store.count(TEAM, BACKFILL) == 0
