"""What users of the client meet: runs that are submitted once, waiting without polling, errors with a next step."""

import asyncio
from pathlib import Path

import pytest

import mwfs
from mwfs.bench import workflows
from mwfs.client import Client, RemoteFile
from mwfs.client.async_client import RunRequest
from mwfs.errors import ArtifactDamaged, InvalidInput, NotFound, Rejected, RunFailed, Unavailable
from mwfs.local_files import LocalFiles
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.observability.v1 import observability_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2

from .fake_platform import sample_events


@mwfs.operator
def count(rows: mwfs.Dataset) -> int:
    return 1


@mwfs.workflow
def counted(rows: mwfs.Dataset) -> int:
    return count(rows)


INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)


def output(name: str, value: types_pb2.Value, kind: types_pb2.Type) -> pb.RunOutput:
    return pb.RunOutput(name=name, value=value, type=kind)


async def test_a_run_is_submitted_waited_for_and_read(platform, client):
    platform.result = [output("result", types_pb2.Value(integer=7), INT)]
    submitted = await client.submit(workflows.small, {"seed": 5}, request_id="monday", tags={"stage": "test"})
    ended = await client.wait(submitted)
    assert ended.state == ev.RUN_STATE_SUCCEEDED
    assert await client.outputs(submitted) == {"result": 7}
    (header,) = platform.headers
    assert (header.workflow, header.request_id, dict(header.tags)) == (
        "mwfs.bench.workflows:small",
        "monday",
        {"stage": "test"},
    )
    assert header.version_digest in platform.versions
    dag = await client.dag(submitted)
    assert len(dag.node_operator) == 3


async def test_submitting_again_under_the_same_id_finds_the_same_run(client):
    first = await client.submit(workflows.small, {"seed": 5}, request_id="monday")
    again = await client.submit(workflows.small, {"seed": 5}, request_id="monday")
    assert (first.created, again.created) == (True, False)
    assert first.run_id == again.run_id


async def test_many_runs_travel_on_one_stream(platform, client):
    runs = await client.submit_many(RunRequest(workflow=workflows.small, inputs={"seed": seed}) for seed in range(700))
    assert platform.submit_streams == 1
    assert len({run.run_id for run in runs}) == 700
    ended = await client.wait_all(runs)
    assert [run.run_id for run in ended] == [run.run_id for run in runs]
    assert len(platform.watch_calls) == 1


async def test_a_large_dag_travels_in_chunks(platform, client):
    dag = mwfs.compile(workflows.fanout, n=80_000)
    submitted = await client.submit(dag)
    assert platform.runs[submitted.run_id].node_count == 80_002
    assert len(platform.dags[submitted.run_id]) > 2**20
    assert platform.largest_chunk == 2**20


async def test_submissions_on_a_broken_stream_are_sent_again_and_run_once(platform, client):
    await client.submit(workflows.small, {"seed": 0})  # the platform is known to run
    platform.breaks = 2
    runs = await client.submit_many(RunRequest(workflow=workflows.small, inputs={"seed": seed}) for seed in range(10))
    assert len(platform.runs) == 11
    assert len({run.run_id for run in runs}) == 10


async def test_waiting_survives_a_restart_of_the_platform(platform, client):
    platform.ends_as = None
    submitted = await client.submit(workflows.small, {"seed": 1})
    waiting = asyncio.create_task(client.wait(submitted))
    await asyncio.to_thread(platform.watched.wait)
    await asyncio.to_thread(platform.stop)
    platform.change(submitted.run_id, ev.RUN_STATE_SUCCEEDED)
    platform.start()
    assert (await waiting).state == ev.RUN_STATE_SUCCEEDED


async def test_watching_shows_each_change_in_order_and_ends_with_the_run(platform, client):
    platform.ends_as = None
    submitted = await client.submit(workflows.small, {"seed": 1})
    states = []
    async for update in client.watch(submitted):
        states.append(update.run.state)
        if update.run.state == ev.RUN_STATE_RUNNING:
            platform.change(submitted.run_id, ev.RUN_STATE_CANCELLING)
        if update.run.state == ev.RUN_STATE_CANCELLING:
            platform.change(submitted.run_id, ev.RUN_STATE_CANCELLED)
    assert states == [ev.RUN_STATE_RUNNING, ev.RUN_STATE_CANCELLING, ev.RUN_STATE_CANCELLED]


async def test_events_come_once_and_in_order_although_the_stream_breaks(platform, client):
    submitted = await client.submit(workflows.small, {"seed": 1})
    platform.events[submitted.run_id] = sample_events()
    platform.event_breaks = 2
    events = [event async for event in client.events(submitted)]
    assert [event.number for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert [call.first_number for call in platform.event_calls] == [1, 3, 5]
    assert [event.ready_us for event in events] == [0, 0, 5, 6, 0, 0, 0]
    assert [(event.body_ended_us, event.place) for event in events[4:]] == [(11, "h/w1"), (22, "h/w2"), (0, "")]
    assert isinstance(events[5].fact, ev.Failure)


async def test_events_begin_with_the_number_that_is_asked_for(platform, client):
    submitted = await client.submit(workflows.small, {"seed": 1})
    platform.events[submitted.run_id] = sample_events()
    # In the middle of a batch: what belongs to the events before it is passed over too.
    events = [event async for event in client.events(submitted, first=6)]
    assert [(event.number, event.place) for event in events] == [(6, "h/w2"), (7, "")]


async def test_a_failed_run_raises_with_the_line_and_the_next_step(platform, client):
    platform.ends_as = ev.RUN_STATE_FAILED
    platform.failure = ev.Failure(
        kind=ev.FAILURE_KIND_RAISED, error_type="ValueError", message="no such column", file="flows.py", line=12, node=3
    )
    submitted = await client.submit(workflows.small, {"seed": 1})
    with pytest.raises(
        RunFailed, match=r"ValueError: no such column \(flows\.py:12\)\. See `mwfs logs \w+ 3`"
    ) as found:
        await client.wait(submitted)
    assert found.value.failure.node == 3
    assert (await client.wait(submitted, check=False)).state == ev.RUN_STATE_FAILED


async def test_waiting_has_a_time_limit(platform, client):
    platform.ends_as = None
    submitted = await client.submit(workflows.small, {"seed": 1})
    with pytest.raises(TimeoutError, match=r"1 of 1 runs have not ended within 0\.01 s; they go on"):
        await client.wait(submitted, timeout=0.01)


@pytest.mark.parametrize(
    ("code", "error"), [("INVALID_ARGUMENT", Rejected), ("ALREADY_EXISTS", Rejected), ("NOT_FOUND", NotFound)]
)
async def test_a_refused_submission_says_why(platform, client, code, error):
    platform.refusal = pb.SubmitRefused(code=code, message="The request id is taken. Choose another.")
    with pytest.raises(error, match="The request id is taken"):
        await client.submit(workflows.small, {"seed": 1})


async def test_a_submission_for_which_there_is_no_room_is_sent_again(platform, client):
    platform.refusals = [pb.SubmitRefused(code="RESOURCE_EXHAUSTED", message="Full.", retry_after_seconds=0.01)] * 3
    await client.submit(workflows.small, {"seed": 1})
    assert len(platform.headers) == 4
    assert len({header.request_id for header in platform.headers}) == 1


async def test_a_platform_that_stays_full_is_said_to_be_full(platform, monkeypatch):
    monkeypatch.setattr("mwfs.client.submissions.OVERLOAD_PATIENCE_S", 0.05)
    platform.refusal = pb.SubmitRefused(code="RESOURCE_EXHAUSTED", message="Full. Later.", retry_after_seconds=0.02)
    async with Client(platform.home, patience_s=0.05) as client:
        with pytest.raises(Rejected, match="Full"):
            await client.submit(workflows.small, {"seed": 1})
    assert len(platform.headers) > 1


async def test_one_refusal_among_many_does_not_end_the_others(platform, client):
    taken = RunRequest(workflow=workflows.small, inputs={"seed": 1}, request_id="a")
    with pytest.raises(InvalidInput):
        await client.submit_many([RunRequest(workflow=workflows.small, inputs={"sed": 1}), taken])
    assert len(platform.runs) == 1


async def test_files_are_uploaded_once(platform, client, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")

    dag = mwfs.compile(counted, rows=str(tmp_path / "a.csv"))
    dag.workflow = workflows.small  # its code needs no bundle, so the file is all there is to upload
    await client.submit(dag)
    await client.submit(dag)
    assert platform.uploads == list(dag.local_files)


async def test_the_platform_compiles_when_asked(platform, client):
    await client.submit(workflows.small, {"seed": 5}, compile_on_platform=True)
    (header,) = platform.headers
    assert header.compile
    assert header.inputs["seed"].integer == 5
    assert list(platform.dags.values()) == [b""]


async def test_files_are_downloaded_whole_or_not_at_all(platform, client, tmp_path):
    artifact = await client.upload(_file(tmp_path, "in.csv", "a,b\n" * 100), encoding="csv")
    saved = await client.download(artifact, tmp_path / "out" / "result.csv")
    assert saved.read_text() == "a,b\n" * 100
    platform.store[artifact.digest] = b"something else"
    with pytest.raises(ArtifactDamaged):
        await client.download(artifact, tmp_path / "out" / "damaged.csv")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.csv"]


async def test_outputs_are_plain_python(platform, client):
    dataset = types_pb2.Type(semantic=types_pb2.SemanticType(name="Dataset", version=1))
    point = types_pb2.Type(
        record=types_pb2.RecordType(
            name="flows.Point",
            fields=[types_pb2.Field(name="x", type=INT), types_pb2.Field(name="files", type=dataset)],
        )
    )
    large = types_pb2.Value(list=types_pb2.ListValue(items=[types_pb2.Value(integer=each) for each in range(100)]))
    files = LocalFiles()
    spilled = files.put_bytes(large.SerializeToString(), "value")
    platform.store[spilled.digest] = large.SerializeToString()
    artifact = types_pb2.Artifact(digest="sha256:" + "0" * 64, size=3, encoding="csv", file_name="a.csv")
    platform.result = [
        output("none", types_pb2.Value(null=True), types_pb2.Type(optional=types_pb2.OptionalType(item=INT))),
        output("large", types_pb2.Value(artifact=spilled), types_pb2.Type(list=types_pb2.ListType(item=INT))),
        output(
            "point",
            types_pb2.Value(
                record=types_pb2.RecordValue(fields=[types_pb2.Value(integer=1), types_pb2.Value(artifact=artifact)])
            ),
            point,
        ),
    ]
    found = await client.outputs(await client.submit(workflows.small, {"seed": 1}))
    assert found["none"] is None
    assert found["large"] == list(range(100))
    assert found["point"]["x"] == 1
    assert isinstance(found["point"]["files"], RemoteFile)
    assert found["point"]["files"].type == "Dataset"


async def test_lists_are_read_page_by_page(platform, client, monkeypatch):
    monkeypatch.setattr("mwfs.client.pages._RUNS_PER_PAGE", 3)
    await client.submit_many(RunRequest(workflow=workflows.small, inputs={"seed": seed}) for seed in range(8))
    assert len([run async for run in client.runs()]) == 8
    assert len([run async for run in client.runs(limit=5)]) == 5
    assert [run async for run in client.runs(states=[ev.RUN_STATE_FAILED])] == []


async def test_a_timeline_is_waited_for_and_put_together_from_its_pages(platform, client):
    submitted = await client.submit(workflows.small, {"seed": 1})
    asking = asyncio.create_task(client.timeline(submitted, complete_to=9))
    spans = [observability_pb2.AttemptSpan(node=node) for node in range(5)]
    platform.timelines[submitted.run_id] = observability_pb2.GetTimelineResponse(attempts=spans, last_event_number=9)
    assert [span.node for span in (await asking).attempts] == [0, 1, 2, 3, 4]


async def test_logs_come_from_the_host_that_has_them(platform, client):
    submitted = await client.submit(workflows.small, {"seed": 1})
    platform.nodes[submitted.run_id] = [
        pb.Node(node=0, attempt=2, host_address=f"127.0.0.1:{platform.port}"),
        pb.Node(node=1, state=ev.NODE_STATE_PENDING),
    ]
    platform.logs[submitted.run_id, 0, 2] = b"hello\n"
    platform.logs[submitted.run_id, 0, 1] = b"first\n"
    platform.logs[submitted.run_id, -1, 1] = b"compiling\n"
    assert [piece async for piece in client.logs(submitted, 0)] == [b"hello\n"]
    assert [piece async for piece in client.logs(submitted, 0, attempt=1)] == [b"first\n"]
    assert [piece async for piece in client.logs(submitted, -1)] == [b"compiling\n"]
    with pytest.raises(NotFound, match="has not started"):
        [piece async for piece in client.logs(submitted, 1)]
    with pytest.raises(NotFound, match="has no node 7"):
        [piece async for piece in client.logs(submitted, 7)]


async def test_a_platform_that_is_not_there_is_said_at_once(platform, tmp_path):
    await asyncio.to_thread(platform.stop)
    async with Client(platform.home) as client:
        for call in (client.get_run("abcd"), client.submit(workflows.small, {"seed": 1}), client.wait("abcd")):
            with pytest.raises(Unavailable, match=r"not running at 127\.0\.0\.1:\d+ .*`mwfs up --home"):
                await call


async def test_a_platform_that_is_still_starting_is_waited_for(platform, client):
    platform.not_ready = 2
    submitted = await client.submit(workflows.small, {"seed": 1})
    assert submitted.created
    assert platform.not_ready == 0


async def test_a_wrong_token_is_refused_with_a_next_step(platform):
    (platform.home / "token").write_text("another")
    async with Client(platform.home) as client:
        with pytest.raises(Rejected, match="not this home's token"):
            await client.get_run("abcd")


async def test_missing_and_finished_runs_are_named(platform, client):
    with pytest.raises(NotFound, match="no run abcd"):
        await client.get_run("abcd")
    submitted = await client.submit(workflows.small, {"seed": 1})
    with pytest.raises(Rejected, match="has succeeded"):
        await client.retry(submitted)


async def test_a_cancelled_submission_leaves_the_stream_usable(platform, client):
    await client.submit(workflows.small, {"seed": 0})
    doomed = asyncio.create_task(client.submit(workflows.small, {"seed": 1}))
    await asyncio.sleep(0)
    doomed.cancel()
    assert (await client.submit(workflows.small, {"seed": 2})).created


def test_the_blocking_client_does_the_same(platform):
    platform.result = [output("result", types_pb2.Value(integer=7), INT)]
    with mwfs.BlockingClient(platform.home) as client:
        submitted = client.submit(workflows.small, {"seed": 5})
        assert [update.run.state for update in client.watch(submitted)] == [ev.RUN_STATE_SUCCEEDED]
        assert client.wait(submitted).state == ev.RUN_STATE_SUCCEEDED
        assert client.outputs(submitted) == {"result": 7}
        assert [run.run_id for run in client.runs()] == [submitted.run_id]
        assert [version.workflow for version in client.workflows()] == ["mwfs.bench.workflows:small"]
        with pytest.raises(NotFound):
            client.get_run("abcd")
    client.close()


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path
