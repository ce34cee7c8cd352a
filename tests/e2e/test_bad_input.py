"""What users do wrong, and what they are told: one paragraph, the next step, a proper exit code, and nothing hangs."""

import pytest

TRAIN = "mwfs.examples.tabular:train"
BAD_INPUT, RUN_FAILED, UNREACHABLE = 2, 1, 3


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        ("no_such_module:train", "no_such_module"),
        ("journeys:no_such_workflow", "no_such_workflow"),
        ("journeys:sum", "sums"),
        ("journeys:double", "operator"),
        ("journeys", "module:"),
    ],
)
def test_an_unknown_workflow(mwfs, assert_one_paragraph, workflow, said):
    answer = mwfs("run", workflow)
    assert said.lower() in assert_one_paragraph(answer).lower()
    assert answer.code == BAD_INPUT


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("n=three", "int"),
        ("n=2.5", "int"),
        ("n=[1]", "int"),
        ("m=3", "its inputs are n: int"),
        ("n", "name=value"),
    ],
)
def test_an_input_of_the_wrong_type_or_name(mwfs, assert_one_paragraph, given, said):
    answer = mwfs("run", "journeys:sums", "--input", given)
    assert said.lower() in assert_one_paragraph(answer).lower()
    assert answer.code == BAD_INPUT


def test_an_input_that_is_missing(mwfs, assert_one_paragraph):
    answer = mwfs("run", TRAIN, "--input", "label=x")
    assert "labeled" in assert_one_paragraph(answer)
    assert answer.code == BAD_INPUT


def test_an_input_out_of_its_range(mwfs, assert_one_paragraph, tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    given = [f"labeled={tmp_path / 'a.csv'}", "label=b", "test_fraction=0.9"]
    answer = mwfs("run", TRAIN, *[part for pair in given for part in ("--input", pair)])
    assert "test_fraction" in assert_one_paragraph(answer)
    assert answer.code == BAD_INPUT


@pytest.mark.parametrize("path", ["missing.csv", "."])
def test_a_file_that_is_not_there(mwfs, assert_one_paragraph, path):
    answer = mwfs("run", TRAIN, "--input", f"labeled={path}", "--input", "label=x")
    assert "labeled" in assert_one_paragraph(answer)
    assert answer.code == BAD_INPUT


def test_a_wrong_edge_names_the_line(mwfs):
    answer = mwfs("run", "journeys:wrong_edge")
    assert answer.code == BAD_INPUT
    assert "journeys.py" in answer.err
    assert "double(promise_text())" in answer.err


def test_an_operator_that_raises(mwfs):
    answer = mwfs("run", "journeys:raises", "--input", "message=the sky fell")
    assert answer.code == RUN_FAILED
    assert "ValueError: the sky fell" in answer.err
    assert "journeys.py" in answer.err
    assert "mwfs_action_service" not in answer.err, "no traceback of ours"
    assert "mwfs logs" in answer.err


@pytest.mark.parametrize("workflow", ["exits", "sys_exits", "killed"])
def test_an_operator_that_ends_its_process(mwfs, workflow):
    answer = mwfs("run", f"journeys:{workflow}")
    assert answer.code == RUN_FAILED
    assert "mwfs_action_service" not in answer.err, "no traceback of ours"
    assert mwfs.json("run", "journeys:sums")["state"] == "SUCCEEDED", "the platform goes on"


def test_an_operator_that_breaks_its_promise(mwfs):
    answer = mwfs("run", "journeys:breaks_its_promise")
    assert answer.code == RUN_FAILED
    assert "str" in answer.err


def test_an_operator_that_prints_a_hundred_megabytes(mwfs):
    run = mwfs.json("run", "journeys:prints")
    assert run["state"] == "SUCCEEDED"
    logs = mwfs("logs", run["run_id"], "0", check=True).out
    assert "the last line" in logs[-2000:]
    assert len(logs) < 110 * 2**20


def test_an_operator_that_asks_for_more_than_there_is_says_so(mwfs):
    run_id = mwfs.submit("greedy:train")
    shown = mwfs("runs", "show", run_id, check=True)
    mwfs("runs", "cancel", run_id, check=True)
    assert run_id[:8] in shown.text


def test_a_run_that_does_not_exist(mwfs, assert_one_paragraph):
    for command in (["runs", "show"], ["runs", "cancel"], ["runs", "retry"], ["nodes"], ["timeline"]):
        answer = mwfs(*command, "00000000")
        assert_one_paragraph(answer)
        assert answer.code == BAD_INPUT


@pytest.mark.parametrize(
    "command",
    [["run", "journeys:sums"], ["runs", "list"], ["status"], ["nodes", "abcd"], ["bench", "chain", "--n", "2"]],
)
def test_nothing_is_running(mwfs_alone, assert_one_paragraph, command):
    answer = mwfs_alone(*command)
    assert "mwfs up" in assert_one_paragraph(answer)
    assert answer.code == UNREACHABLE


def test_an_unknown_command_or_option(mwfs_alone):
    assert mwfs_alone("rnu").code == BAD_INPUT
    assert mwfs_alone("run", "journeys:sums", "--frobnicate").code == BAD_INPUT
