"""Ended runs go to the archive and leave their shard, whatever is killed meanwhile; those that go on stay."""

import asyncio
import io
import json
from typing import Any

import asyncpg
import grpc
import pyarrow.parquet
import pytest

from mwfs.cli.app import run_cli
from mwfs.home import ENDPOINTS_FILE, TOKEN_FILE
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import retention_pb2 as rpb
from mwfs_api.orchestrator.v1 import retention_pb2_grpc
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.errors import FailedPrecondition
from mwfs_orchestrator.model import run_id_of, slot_of
from mwfs_orchestrator.retention import archiver as archiver_module
from mwfs_orchestrator.retention.archiving import NOT_ARCHIVED
from mwfs_orchestrator.retention.model import DAY_US
from mwfs_orchestrator.shard.tables import RUN_TABLES

from .conftest import TOKEN, World
from .dags import chain, fanout
from .inside import archiver_of, engine_of, fold_all, history_of
from .neighbours import fail, succeed
from .test_moves import drain, moved


class Killed(Exception):
    """Nothing of the process goes on from here."""


async def look(world: World, days: float) -> int:
    """The archiver as it looks so many days from now; how many runs went."""
    archiver = archiver_of(world)
    archiver._pause_s = 0
    return await archiver.look(archiver._clock.now_us() + int(days * DAY_US))


async def kill_at(world: World, step: str) -> None:
    """Archives until this step, and starts another process."""

    async def reached(name: str) -> None:
        if name == step:
            raise Killed

    archiver_of(world).reached = reached
    with pytest.raises(Killed):
        await look(world, 100)
    await world.stop_orchestrator()
    await world.start_orchestrator()


async def rows_left(world: World, run_id: str = "") -> dict[str, int]:
    """Rows of runs on all shards, by table, without those that say that a run was removed."""
    found: dict[str, int] = {}
    for dsn in world.shards:
        connection = await asyncpg.connect(dsn)
        for row in await connection.fetch(
            "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'run_id'"
        ):
            name = row["table_name"]
            only = f"WHERE run_id = '{run_id}'" if run_id else ""
            found[name] = found.get(name, 0) + await connection.fetchval(f"SELECT count(*) FROM {name} {only}")
        await connection.close()
    found.pop("removed_runs")
    return {name: count for name, count in found.items() if count}


async def in_catalogue(world: World) -> list[Any]:
    connection = await asyncpg.connect(world.catalogue)
    rows = await connection.fetch("SELECT * FROM archived_runs ORDER BY run_id")
    await connection.close()
    return list(rows)


def retention(world: World) -> Any:
    return retention_pb2_grpc.RetentionServiceStub(world.channel)


async def set_days(world: World, team: str, days: int | None) -> rpb.Retention:
    request = rpb.SetRetentionRequest(team=team, days=days)
    response: rpb.SetRetentionResponse = await retention(world).SetRetention(request, metadata=world.metadata())
    return response.retention


async def archived_runs(world: World, **wanted: Any) -> list[pb.Run]:
    """All pages of two runs each."""
    found: list[pb.Run] = []
    request = pb.ListRunsRequest(archived=True, page_size=2, **wanted)
    while True:
        response = await world.stub.ListRuns(request, metadata=world.metadata())
        found += response.runs
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        if hasattr(call, "__aiter__"):
            _ = [each async for each in call]
        else:
            await call
    except grpc.aio.AioRpcError as refused:
        return refused.code(), refused.details() or ""
    raise AssertionError("it was not refused")


async def test_old_runs_leave_no_row_behind_and_those_that_go_on_stay(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 2 and failing else succeed(launch)
    failing = False
    good = await world.run(fanout(5), "good")
    (tagged,) = await world.submit(chain(4), request_ids=["tagged"], tags={"env": "prod"})
    await world.wait(tagged.accepted.run_id)
    failing = True
    bad = await world.run(chain(4), "bad")
    world.host.answer = lambda launch: None
    (going,) = await world.submit(fanout(3), request_ids=["going"])
    await world.host.until(lambda: bool(world.host.live))
    await fold_all(world)
    outputs = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=good.run_id), metadata=world.metadata())

    assert await look(world, 90) == 0, "the day on which they ended is not over then"
    assert await look(world, 91.5) == 3
    going_id = going.accepted.run_id
    assert await rows_left(world) == await rows_left(world, going_id) != {}
    assert (await world.get(going_id)).state == ev.RUN_STATE_RUNNING

    # What they were is still known.
    found = await world.get(good.run_id[:8])
    assert found.archive.archive_time_us > found.end_time_us
    found.ClearField("archive")
    assert found == good
    assert (await world.get(bad.run_id)).failure == bad.failure
    assert outputs == await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=good.run_id), metadata=world.metadata())
    listed = await archived_runs(world)
    assert {run.run_id for run in listed} == {good.run_id, tagged.accepted.run_id, bad.run_id}
    assert [run.create_time_us for run in listed] == sorted((run.create_time_us for run in listed), reverse=True)
    assert [run.run_id for run in await archived_runs(world, states=[ev.RUN_STATE_FAILED])] == [bad.run_id]
    assert len(await archived_runs(world, workflow="sample:run")) == 3
    assert await archived_runs(world, workflow="sample:other") == []
    assert await archived_runs(world, created_before_us=1) == []
    code, words = await refusal(
        world.stub.ListRuns(pb.ListRunsRequest(archived=True, text="x"), metadata=world.metadata())
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "text" in words


async def test_the_archive_has_all_rows_of_a_run(world: World) -> None:
    run = await world.run(fanout(5))
    await fold_all(world)
    before = await rows_left(world, run.run_id)
    await look(world, 100)
    (row,) = await in_catalogue(world)
    runs = pyarrow.parquet.ParquetFile(io.BytesIO(world.host.artifacts[row["digest"]]))
    assert runs.read_row_group(row["row_group"]).column("run_id").to_pylist() == [run.run_id]
    about = {key.decode(): value.decode() for key, value in runs.schema_arrow.metadata.items()}
    assert about["mwfs.team"] == "red"
    files = json.loads(about["mwfs.files"])
    counts = {
        name: pyarrow.parquet.read_table(io.BytesIO(world.host.artifacts[digest])).num_rows
        for name, digest in files.items()
    }
    assert counts | {"runs": 1} == {name: count for name, count in before.items() if name not in NOT_ARCHIVED}
    events = pyarrow.parquet.read_table(io.BytesIO(world.host.artifacts[files["run_events"]])).to_pylist()
    batches = [batch for event in events for batch in ev.RunHistory.FromString(event["payload"]).batches]
    assert sum(len(batch.kind) for batch in batches) == run.last_event_number


async def test_every_table_with_rows_of_runs_is_emptied(world: World) -> None:
    connection = await asyncpg.connect(world.shards[0])
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relkind IN ('r', 'p') AND a.attname = 'run_id' AND c.relnamespace = 'public'::regnamespace"
    )
    await connection.close()
    assert sorted(row["relname"] for row in rows) == sorted(table.name for table in RUN_TABLES)


async def test_a_kill_between_two_steps_loses_nothing(world: World) -> None:
    for step in ("artifact", "catalogue", "removed", "run_events", "nodes", "run_tags"):
        run = await world.run(fanout(5), step)
        await fold_all(world)
        outputs = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id), metadata=world.metadata())
        await kill_at(world, step)
        there = step in ("artifact", "catalogue")
        found = await world.get(run.run_id)
        assert found.HasField("archive") is not there
        assert (run.run_id in {each.run_id for each in await archived_runs(world)}) is not there
        found.ClearField("archive")
        assert found == run
        await look(world, 100)
        assert await rows_left(world) == {}
        assert (await world.get(run.run_id)).HasField("archive")
        again = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run.run_id), metadata=world.metadata())
        assert again == outputs
    assert len(await in_catalogue(world)) == 6


async def test_a_run_that_is_revived_meanwhile_is_not_lost(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 1 else succeed(launch)
    run = await world.run(chain(3))
    await fold_all(world)

    go_on = archiver_of(world).reached

    async def revive(step: str) -> None:
        if step == "catalogue":
            world.host.answer = lambda launch: None
            await world.stub.RetryRun(pb.RetryRunRequest(run_id=run.run_id), metadata=world.metadata())
            await world.host.until(lambda: bool(world.host.live))

    archiver_of(world).reached = revive
    assert await look(world, 100) == 0
    assert (await world.get(run.run_id)).state == ev.RUN_STATE_RUNNING
    assert await archived_runs(world) == [], "what counts is what its shard has"
    assert len(await in_catalogue(world)) == 1
    ((key, launch),) = world.host.live.items()
    world.host.answer = succeed
    world.host.finish(key, succeed(launch))
    await world.wait(run.run_id)
    # It goes later, as what it is then.
    await fold_all(world)
    archiver_of(world).reached = go_on
    assert await look(world, 100) == 1
    found = await world.get(run.run_id)
    assert (found.state, found.round) == (ev.RUN_STATE_SUCCEEDED, 2)
    assert [each.state for each in await archived_runs(world)] == [ev.RUN_STATE_SUCCEEDED]


async def test_nobody_revives_a_run_while_it_is_removed(world: World) -> None:
    world.host.answer = fail
    run = await world.run(chain(3))
    await fold_all(world)
    row = await history_of(world)[1][0].get_run(run.run_id) or await history_of(world)[1][1].get_run(run.run_id)
    engine = engine_of(world)
    held = engine.hold_ended([row["run_id"]])
    code, words = await refusal(world.stub.RetryRun(pb.RetryRunRequest(run_id=run.run_id), metadata=world.metadata()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "just being archived" in words
    engine.release_ended(held)
    await look(world, 100)
    with pytest.raises(FailedPrecondition, match="is archived"):
        await engine.revive(row, "")  # who had read its row before


async def test_what_is_archived_and_what_is_half_removed_moves_with_its_slot(world: World) -> None:
    holder_of = engine_of(world).shards.holder_of
    names = [name for name in map(str, range(20)) if holder_of(slot_of(run_id_of("red", name))) == 0][:2]
    whole = await world.run(fanout(5), names[0])
    await fold_all(world)
    await look(world, 100)
    half = await world.run(fanout(5), names[1])
    await fold_all(world)
    await kill_at(world, "removed")
    left = await rows_left(world)
    assert left
    await drain(world, 0)
    await moved(world, 0)
    assert await rows_left(world) == left
    await look(world, 100)
    assert await rows_left(world) == {}
    for run, name in zip((whole, half), names, strict=True):
        (again,) = await world.submit(fanout(5), request_ids=[name])
        assert (again.accepted.run_id, again.accepted.created) == (run.run_id, False)
        assert (await world.get(run.run_id)).HasField("archive")


async def test_a_past_owner_removes_nothing(world: World) -> None:
    run = await world.run(chain(3))
    await fold_all(world)
    _, stores = history_of(world)
    (store,) = [store for store in stores if await store.get_run(run.run_id)]

    async def take_over(step: str) -> None:
        if step == "catalogue":
            await store.pool.execute("UPDATE slots SET epoch = epoch + 1")

    archiver_of(world).reached = take_over
    assert await look(world, 100) == 0
    await store.pool.execute("UPDATE slots SET epoch = epoch - 1")
    assert not (await world.get(run.run_id)).HasField("archive")


async def test_what_needs_more_of_a_run_than_the_archive_gives_is_told_that_it_is_archived(world: World) -> None:
    world.host.answer = fail
    run = await world.run(chain(3), "once")
    await fold_all(world)
    await look(world, 100)
    named = {"run_id": run.run_id}
    stub, metadata = world.stub, {"metadata": world.metadata()}
    for call in (
        stub.RetryRun(pb.RetryRunRequest(**named), **metadata),
        stub.CancelRun(pb.CancelRunRequest(**named), **metadata),
        stub.ListNodes(pb.ListNodesRequest(**named), **metadata),
        stub.GetNodeInputs(pb.GetNodeInputsRequest(**named), **metadata),
        stub.GetDag(pb.GetDagRequest(**named), **metadata),
        stub.ListSignals(pb.ListSignalsRequest(**named), **metadata),
        stub.SignalRun(
            pb.SignalRunRequest(name="go", request_id="r", payload=types_pb2.Value(integer=1), **named), **metadata
        ),
        stub.WatchEvents(pb.WatchEventsRequest(**named), **metadata),
        stub.WatchRuns(pb.WatchRunsRequest(run_ids=[run.run_id]), **metadata),
        stub.GetOutputs(pb.GetOutputsRequest(**named), **metadata),
    ):
        code, words = await refusal(call)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "is archived" in words or "has no outputs" in words
    # Its submission is still known, and another one cannot take its place.
    (same,) = await world.submit(chain(3), request_ids=["once"])
    assert (same.accepted.run_id, same.accepted.created) == (run.run_id, False)
    (other,) = await world.submit(chain(4), request_ids=["once"])
    assert other.refused.code == "ALREADY_EXISTS"
    (based,) = await world.submit(chain(3), request_ids=["based"], base=pb.BaseRun(run_id=run.run_id))
    assert (based.refused.code, "is archived" in based.refused.message) == ("FAILED_PRECONDITION", True)
    code, _ = await refusal(world.stub.GetRun(pb.GetRunRequest(**named), metadata=world.metadata("blue")))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_team_keeps_its_runs_for_as_long_as_it_says(world: World) -> None:
    run = await world.run(chain(2))
    await fold_all(world)
    assert await set_days(world, "red", 0) == rpb.Retention(team="red", days=0, own=True)
    assert await look(world, 36_000) == 0, "for ever"
    await set_days(world, "red", 7)
    assert await look(world, 7) == 0
    assert await look(world, 8.5) == 1
    response = await retention(world).ShowRetention(rpb.ShowRetentionRequest(), metadata=world.metadata())
    assert list(response.retentions) == [
        rpb.Retention(days=90),
        rpb.Retention(team="red", days=7, own=True, archived_runs=1),
    ]
    assert await set_days(world, "red", None) == rpb.Retention(team="red", days=90, archived_runs=1)
    assert (await world.get(run.run_id)).HasField("archive")


async def test_settings_that_make_no_sense_are_refused(world: World) -> None:
    await world.run(chain(2))
    for team, days, expected, words in (
        ("rde", 7, grpc.StatusCode.NOT_FOUND, "no team rde"),
        ("", 7, grpc.StatusCode.INVALID_ARGUMENT, "not the name of a team"),
        ("a\nb", 7, grpc.StatusCode.INVALID_ARGUMENT, "not the name of a team"),
        ("red", 36_501, grpc.StatusCode.INVALID_ARGUMENT, "between 1 and 36,500"),
        ("red", 4_294_967_295, grpc.StatusCode.INVALID_ARGUMENT, "between 1 and 36,500"),
    ):
        request = rpb.SetRetentionRequest(team=team, days=days)
        code, said = await refusal(retention(world).SetRetention(request, metadata=world.metadata()))
        assert (code, words in said) == (expected, True), said


async def test_nothing_goes_whose_end_or_events_somebody_still_waits_for(world: World) -> None:
    run = await world.run(chain(2))
    _, stores = history_of(world)
    (store,) = [store for store in stores if await store.get_run(run.run_id)]
    # History is behind: nothing of it was moved yet.
    await fold_all(world)
    await store.pool.execute("UPDATE runs SET last_event = last_event + 1")
    assert await look(world, 100) == 0
    await store.pool.execute("UPDATE runs SET last_event = last_event - 1")
    await store.pool.execute(
        "INSERT INTO run_ends SELECT run_id, round, team, workflow, state, tags, end_us, NULL, '{}' FROM runs"
    )
    assert await look(world, 100) == 0
    await store.pool.execute("DELETE FROM run_ends")
    assert await look(world, 100) == 1


async def test_nothing_is_removed_that_cannot_be_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await world.run(chain(2))
    await fold_all(world)

    world.host.has_room = False
    assert await look(world, 100) == 0
    world.host.has_room = True
    with monkeypatch.context() as patched:
        patched.setattr(archiver_module, "trouble", lambda: "pyarrow is not installed")
        assert await look(world, 100) == 0
    assert not (await world.get(run.run_id)).HasField("archive")
    assert await in_catalogue(world) == []
    assert await look(world, 100) == 1


async def test_a_follower_from_before_what_was_archived_begins_anew_and_gets_the_rest(world: World) -> None:
    await world.run(chain(30), "old")
    await fold_all(world)
    await look(world, 100)
    later = await world.run(chain(3), "later")
    call = world.stub.FollowEvents(pb.FollowEventsRequest(), metadata=world.metadata())
    numbers: dict[str, int] = {}
    async for response in call:
        for commit in response.commits:
            for batch in commit.runs:
                numbers[batch.run_id] = numbers.get(batch.run_id, 0) + len(batch.kind)
        if numbers.get(later.run_id) == later.last_event_number:
            break
    call.cancel()


async def test_the_commands_say_what_is_archived_and_for_how_long_runs_stay(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = next(iter(world.replicas.values())).address
    home = world.home / "client"
    home.mkdir()
    services = {"orchestrator": {"address": address}, "action_service": {"address": world._host_server.address}}
    (home / ENDPOINTS_FILE).write_text(json.dumps({"services": services}))
    (home / TOKEN_FILE).write_text(TOKEN)
    monkeypatch.setenv("MWFS_HOME", str(home))
    monkeypatch.setenv("MWFS_TEAM", "red")

    async def mwfs(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run_cli, list(arguments))
        return code, *capfd.readouterr()

    run = await world.run(chain(3))
    await fold_all(world)
    await mwfs("retention", "set", "red", "--days", "7")
    await look(world, 9)

    code, out, _ = await mwfs("runs", "show", run.run_id[:8])
    assert (code, "SUCCEEDED" in out, "Archived: " in out) == (0, True, True), out
    code, out, _ = await mwfs("runs", "list", "--archived", "--output", "json")
    (listed,) = json.loads(out)["runs"]
    assert (listed["run_id"], listed["archive"]["row_group"]) == (run.run_id, 0)
    code, out, _ = await mwfs("runs", "outputs", run.run_id, "--output", "json")
    assert (code, json.loads(out)["run_id"]) == (0, run.run_id)
    code, out, _ = await mwfs("retention", "show", "--output", "json")
    assert json.loads(out)["retention"][1] == {"team": "red", "days": 7, "own": True, "archived_runs": 1}
    for command in (["runs", "retry"], ["events"], ["nodes"]):
        code, _, said = await mwfs(*command, run.run_id)
        assert (code, "is archived" in said) == (2, True), said
    code, _, said = await mwfs("retention", "set", "reed", "--days", "7")
    assert (code, "no team reed" in said) == (2, True), said
