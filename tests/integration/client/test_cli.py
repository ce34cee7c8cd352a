"""The commands against a fake platform: documents on stdout, words on stderr, exit codes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mwfs.cli.app import run_cli
from mwfs.local_files import LocalFiles
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.observability.v1 import observability_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_api.types.v1 import types_pb2

from .fake_platform import sample_events

SMALL = "mwfs.bench.workflows:small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def mwfs(platform, capsys, monkeypatch):
    """Runs a command in this process, in the home of the fake platform."""
    monkeypatch.setenv("MWFS_HOME", str(platform.home))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: object) -> Answer:
        code = run_cli([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Answer(code=code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def result(platform):
    """The runs of this platform return 7 and a file."""
    artifact = LocalFiles().put_bytes(b"a,b\n1,2\n", "csv", "predictions.csv")
    platform.store[artifact.digest] = b"a,b\n1,2\n"
    platform.result = [
        pb.RunOutput(
            name="result", value=types_pb2.Value(integer=7), type=types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)
        ),
        pb.RunOutput(
            name="predictions",
            value=types_pb2.Value(artifact=artifact),
            type=types_pb2.Type(semantic=types_pb2.SemanticType(name="Dataset", version=1)),
        ),
    ]


def test_a_run_prints_one_document(mwfs, result):
    answer = mwfs("run", SMALL, "--input", "seed=5", "--output", "json")
    assert answer.code == 0
    assert answer.document["state"] == "SUCCEEDED"
    assert answer.document["outputs"]["result"] == 7
    assert answer.document["outputs"]["predictions"]["file_name"] == "predictions.csv"
    assert answer.document["seconds"] == 1.5


def test_a_run_shows_its_outputs_as_a_table(mwfs, result):
    answer = mwfs("run", SMALL, "--input", "seed=5")
    assert answer.code == 0
    assert "result        7" in answer.out
    assert "Dataset predictions.csv" in answer.out
    assert "--save FOLDER" in answer.err


def test_a_watched_run_reports_progress_on_stderr(mwfs, result):
    answer = mwfs("run", SMALL, "--input", "seed=5", "--watch", "--output", "json")
    assert answer.document["state"] == "SUCCEEDED"
    assert "Submitted run" in answer.err
    assert "SUCCEEDED" in answer.err


def test_a_detached_run_prints_its_id(mwfs, platform):
    platform.ends_as = None
    answer = mwfs("run", SMALL, "--input", "seed=5", "--detach", "--request-id", "a", "--tag", "stage=test")
    (run_id,) = platform.runs
    assert answer.out.strip() == run_id
    assert dict(platform.headers[0].tags) == {"stage": "test"}
    again = mwfs("run", SMALL, "--input", "seed=5", "--detach", "--request-id", "a", "--output", "json")
    assert again.document == {"run_id": run_id, "created": False, "request_id": "a"}


def test_a_failed_run_shows_operator_line_traceback_and_next_commands(mwfs, platform):
    platform.ends_as = ev.RUN_STATE_FAILED
    platform.failure = ev.Failure(
        kind=ev.FAILURE_KIND_RAISED,
        error_type="ValueError",
        message="the sky fell",
        traceback="".join(f"  line {number}\n" for number in range(40)),
        file="flows.py",
        line=12,
        node=0,
    )
    answer = mwfs("run", SMALL, "--input", "seed=5")
    assert answer.code == 1
    assert answer.out == ""
    for said in ("ValueError: the sky fell", "flows.py:12", "line 39", "mwfs logs", "mwfs runs retry"):
        assert said in answer.err
    assert "line 3\n" not in answer.err
    document = mwfs("run", SMALL, "--input", "seed=5", "--output", "json")
    assert document.code == 1
    assert document.document["failure"]["error_type"] == "ValueError"


def test_why_a_run_waits_is_said(platform, mwfs, monkeypatch):
    monkeypatch.setattr("mwfs.cli.progress._QUIET_S", 0.01)
    monkeypatch.setattr("mwfs.cli.progress._ASK_AGAIN_S", 0.01)
    asked = []

    def end_when_asked_again() -> None:
        asked.append(1)
        if len(asked) == 2:
            platform.change(next(iter(platform.runs)), ev.RUN_STATE_CANCELLED)

    platform.ends_as = None
    platform.waiting = [scheduler_pb2.WaitingGroup(waiting=3, message="No host has 8 GPUs.", permanent=True)]
    platform.when_explained = end_when_asked_again
    answer = mwfs("run", SMALL, "--input", "seed=5")
    assert answer.code == 1
    assert "Waiting: 3 nodes: No host has 8 GPUs. As things are it can never start." in answer.err


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["run", SMALL, "--input", "seed=x"], "Input `seed`: expected int, found 'x'", 2),
        (["run", SMALL, "--input", "sed=1"], "Did you mean `seed`?", 2),
        (["run", SMALL, "--input", "seed"], "is not NAME=VALUE", 2),
        (["run", SMALL], "needs `seed: int`", 2),
        (["run", SMALL, "--inputs", "missing.json"], "missing.json cannot be read", 2),
        (["run", "no_such_module:train"], "no module `no_such_module`", 2),
        (["run", "mwfs.bench.workflows:nothing"], "Its workflows are", 2),
        (["runs", "list", "--state", "DONE"], "The states are ACCEPTED", 2),
        (["runs", "show", "abcd"], "no run abcd", 2),
        (["runs", "bogus"], "No such command", 2),
        (["nodes", "abcd", "--home", "/nowhere"], "Start it with `mwfs up --home /nowhere`", 3),
    ],
)
def test_bad_input_is_one_paragraph_with_the_next_step(mwfs, arguments, said, code):
    answer = mwfs(*arguments)
    assert answer.code == code
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_errors_are_documents_too(mwfs):
    answer = mwfs("runs", "show", "abcd", "--output", "json")
    assert answer.code == 2
    assert answer.document["error"]["type"] == "NotFound"


def test_a_stopped_platform_says_how_to_start_it(mwfs, platform):
    platform.stop()
    answer = mwfs("runs", "list")
    assert answer.code == 3
    assert "Start it with `mwfs up`" in answer.err


def test_runs_are_listed_shown_paused_cancelled_and_retried(mwfs, platform):
    platform.ends_as = None
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--detach").out.strip()
    assert mwfs("runs", "list", "--output", "json").document["runs"][0]["run_id"] == run_id
    assert run_id[:8] in mwfs("runs", "list").out
    assert "RUNNING" in mwfs("runs", "show", run_id[:6]).out
    assert mwfs("runs", "pause", run_id[:6]).out.split() == [run_id, "PAUSED"]
    assert mwfs("runs", "resume", run_id[:6], "--output", "json").document["state"] == "RUNNING"
    assert mwfs("runs", "cancel", run_id[:6], "--output", "json").document["state"] == "CANCELLED"
    retried = mwfs("runs", "retry", run_id[:6], "--output", "json").document
    assert (retried["state"], retried["round"]) == ("RUNNING", 2)
    assert mwfs("runs", "list", "--state", "failed").out.strip() == "No runs."


def test_cancelling_again_skips_the_cleanups(mwfs, platform):
    platform.ends_as = None
    platform.cleans_up = True
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--detach").out.strip()
    assert mwfs("runs", "cancel", run_id[:6]).out.split() == [run_id, "CANCELLING"]
    assert mwfs("runs", "cancel", run_id[:6]).out.split() == [run_id, "CANCELLED"]
    assert "cancel again to skip them" in " ".join(mwfs("runs", "cancel", "--help").out.split())


def test_lists_of_runs_are_narrowed(mwfs, platform):
    mwfs("runs", "list", "--workflow", SMALL, "--tag", "env=prod", "--tag", "a=b=c", "--text", "out of memory",
         "--since", "2026-11-20T10:00+00:00", "--until", "2026-11-21T00:00:00.000001+00:00")  # fmt: skip
    request = platform.list_calls[-1]
    assert (request.workflow, request.text, dict(request.tags)) == (SMALL, "out of memory", {"env": "prod", "a": "b=c"})
    assert (request.created_after_us, request.created_before_us) == (1_795_168_800_000_000, 1_795_219_200_000_001)
    for wrong in (
        ["--tag", "env"],
        ["--tag", "=x"],
        ["--since", "yesterday"],
        ["--until", "999999w"],
        ["--state", "x"],
    ):
        assert mwfs("runs", "list", *wrong).code == 2, wrong


def test_outputs_are_saved_as_files(mwfs, result, tmp_path):
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--output", "json").document["run_id"]
    answer = mwfs("runs", "outputs", run_id, "--save", tmp_path / "saved", "--output", "json")
    saved = Path(answer.document["saved"]["predictions"])
    assert saved.name == "predictions.csv"
    assert saved.read_text() == "a,b\n1,2\n"


def test_nodes_and_logs_are_shown(mwfs, platform):
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--output", "json").document["run_id"]
    failure = ev.Failure(error_type="ValueError", message="the sky fell")
    platform.nodes[run_id] = [
        pb.Node(node=0, operator="flows:a", state=ev.NODE_STATE_SUCCEEDED, attempt=1),
        pb.Node(node=1, operator="flows:b", state=ev.NODE_STATE_FAILED, attempt=1, depends_on=[0], failure=failure),
    ]
    platform.logs[run_id, 1, 1] = b"\xff bytes as they came\n"
    assert [node["state"] for node in mwfs("nodes", run_id, "--output", "json").document["nodes"]] == [
        "SUCCEEDED",
        "FAILED",
    ]
    listed = mwfs("nodes", run_id[:8], "--state", "failed")
    assert "ValueError: the sky fell" in listed.out
    assert "flows:a" not in listed.out
    assert "bytes as they came" in mwfs("logs", run_id, "1", "--output", "json").document["text"]
    assert mwfs("logs", run_id, "0").code == 2


def test_of_nodes_it_is_shown_what_they_kept_how_often_they_were_preempted_and_why_they_wait(mwfs, platform):
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--output", "json").document["run_id"]
    told = ev.PreemptionFacts(reason="Room is needed for work of blue.", deadline_us=2_000_000)
    interruptions = ev.Interruptions(
        preemptions=2,
        told_attempt=3,
        told=told,
        checkpoints=12,
        checkpoint_step=30,
        checkpoint_time_us=1_000_000,
        lost_us=2_500_000,
    )
    platform.nodes[run_id] = [
        pb.Node(node=0, operator="flows:train", state=ev.NODE_STATE_RUNNING, attempt=3, interruptions=interruptions),
        pb.Node(node=1, operator="flows:test", state=ev.NODE_STATE_READY, waiting_group="g7"),
        pb.Node(node=2, operator="flows:tell", state=ev.NODE_STATE_PENDING, depends_on=[1]),
    ]
    reason = scheduler_pb2.WAITING_REASON_FRAGMENTED
    platform.waiting = [
        scheduler_pb2.WaitingGroup(group_id="g6", message="Of others."),
        scheduler_pb2.WaitingGroup(group_id="g7", waiting=1, reason=reason, message="Free in pieces."),
    ]
    first, second, third = mwfs("nodes", run_id, "--output", "json").document["nodes"]
    assert first["checkpoints"] == 12
    assert first["last_checkpoint"] == {"step": 30, "time": "1970-01-01T00:00:01.000000Z"}
    assert (first["preemptions"], first["lost_seconds"]) == (2, 2.5)
    assert first["preempting"] == {
        "reason": "Room is needed for work of blue.",
        "deadline": "1970-01-01T00:00:02.000000Z",
    }
    assert first["waiting"] is third["waiting"] is None
    assert second["waiting"] == {"reason": "fragmented", "message": "Free in pieces.", "permanent": False}
    assert (second["checkpoints"], second["last_checkpoint"], second["preempting"]) == (0, None, None)
    listed = mwfs("nodes", run_id).out
    assert "12 checkpoints, the last at step 30" in listed
    assert "2 times, 2.5 s of work lost, making room now" in listed
    assert "fragmented" in listed
    alone = mwfs("nodes", run_id, "1").out
    assert "fragmented: Free in pieces." in alone
    assert "flows:train" not in alone
    assert "no node 3" in mwfs("nodes", run_id, "3").err
    platform.nodes[run_id] = platform.nodes[run_id][2:]
    assert "WAITS" not in mwfs("nodes", run_id).out, "there is nothing to say"


def test_a_timeline_shows_a_bar_for_each_attempt(mwfs, platform):
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--output", "json").document["run_id"]
    second = 1_000_000
    platform.timelines[run_id] = observability_pb2.GetTimelineResponse(
        state=ev.RUN_STATE_SUCCEEDED,
        accept_time_us=1,
        end_time_us=10 * second,
        last_event_number=99,
        attempts=[
            observability_pb2.AttemptSpan(
                node=node,
                attempt=1,
                operator=f"flows:op{node}",
                state=ev.ATTEMPT_STATE_SUCCEEDED,
                ready_time_us=node * second,
                commit_time_us=node * second,
                body_start_time_us=(node + 1) * second,
                body_end_time_us=(node + 3) * second,
                end_time_us=(node + 3) * second,
                place="local/worker-1",
            )
            for node in range(5)
        ],
    )
    answer = mwfs("timeline", run_id)
    assert [f"op{node}" in answer.out for node in range(5)] == [True] * 5
    assert "█" in answer.out
    document = mwfs("timeline", run_id, "--output", "json").document
    assert len(document["attempts"]) == 5
    assert document["attempts"][0]["body_start_time"] == "1970-01-01T00:00:01.000000Z"


def test_events_are_printed_one_a_line(mwfs, platform):
    run_id = mwfs("run", SMALL, "--input", "seed=5", "--detach").out.strip()
    platform.events[run_id] = sample_events()
    lines = mwfs("events", run_id[:6]).out.splitlines()
    assert [line.split()[0] for line in lines] == list("1234567")
    assert "NODE_SUCCEEDED  node 0 count  0.0 ms  on h/w1" in lines[4]
    assert "ValueError" in lines[5]
    documents = [
        json.loads(line) for line in mwfs("events", run_id, "--from", "5", "--output", "json").out.splitlines()
    ]
    assert [one["number"] for one in documents] == [5, 6, 7]
    assert documents[0]["place"] == "h/w1"
    assert documents[1]["failure"]["error_type"] == "ValueError"
    assert documents[2] == {"number": 7, "time": "1970-01-01T00:00:04.000000Z", "kind": "RUN_FAILED"}
    assert mwfs("events", run_id, "--from", "0").code == 2
    assert "has no event 9" in mwfs("events", run_id, "--from", "9").err


def test_workflows_are_registered_and_listed(mwfs, platform):
    registered = mwfs("register", SMALL, "--output", "json").document
    assert registered["inputs"] == [{"name": "seed", "type": "int", "required": True, "doc": ""}]
    assert mwfs("workflows", "--output", "json").document["workflows"] == [registered]
    assert SMALL in mwfs("workflows").out


def test_ctrl_c_leaves_the_run_going_and_says_how_to_look_again(platform):
    platform.ends_as = None
    command = [sys.executable, "-m", "mwfs.cli", "run", SMALL, "--input", "seed=5"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "MWFS_HOME": str(platform.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert platform.watched.wait(60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    (run_id,) = platform.runs
    assert process.returncode == 130
    assert f"mwfs runs show {run_id[:8]} --watch" in err
    assert "Traceback" not in err
    assert out == ""
    assert platform.runs[run_id].state == ev.RUN_STATE_RUNNING


def test_options_of_a_run_are_submitted(mwfs, platform):
    mwfs("run", SMALL, "--input", "seed=5", "--detach", "--max-parallel", "4", "--on-failure", "continue")
    (header,) = platform.headers
    assert (header.options.max_parallel, header.options.failure_policy) == (4, 3)
    assert mwfs("run", SMALL, "--input", "seed=5", "--max-parallel", "0").code == 2
    refused = mwfs("run", SMALL, "--input", "seed=5", "--on-failure", "explode")
    assert refused.code == 2
    assert "cancel_dependents" in refused.err
