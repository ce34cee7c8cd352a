"""Workflows that grow while they run: the same on the platform as in this process, for every construct."""

import importlib
import json
import sys
import time
from pathlib import Path

import pytest

import mwfs as sdk
from mwfs.client.async_client import RunRequest
from mwfs_types.moments import MOMENTS_BY_CLASS


@pytest.fixture
def imported(project, monkeypatch):
    """Workflows that run_local is tested with, as a project of a user."""
    monkeypatch.syspath_prepend(project)

    def take(module, name):
        text = (Path(__file__).parents[1] / f"unit/sdk/structure/{module}.py").read_text()
        (project / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return take


@pytest.fixture
def structure(imported):
    return imported("workflows", "structured")


@pytest.fixture
def waiting(imported):
    return imported("waiting_workflows", "waiting")


def cases(structure):
    for name, found in vars(structure).items():
        if isinstance(found, sdk.Workflow) and [one.name for one in found.parameters] in (["n"], ["x"]):
            for n in (0, 1, 3):
                yield name, n, found, {found.parameters[0].name: n}


def here(workflow, inputs):
    """Outputs as the client shows them, or the class of the error."""
    from mwfs.cli.documents import output_document

    try:
        result = workflow.run_local(**inputs)
    except sdk.RunFailed as error:
        return error.failure.error_type
    record = workflow.signature.record
    values = {one.name: getattr(result, one.name) if record else result for one in workflow.outputs}
    return json.loads(json.dumps(output_document(values), default=lambda one: MOMENTS_BY_CLASS[type(one)].write(one)))


def test_every_construct_gives_the_same_there_as_here(mwfs, structure):
    every = list(cases(structure))
    assert len(every) > 100
    expected = {(name, n): here(workflow, inputs) for name, n, workflow, inputs in every}
    found = {}
    with sdk.BlockingClient(mwfs.home) as client:
        runs = client.submit_many([RunRequest(workflow=workflow, inputs=inputs) for _, _, workflow, inputs in every])
        for (name, n, _, _), run in zip(every, client.wait_all(runs, timeout=280), strict=True):
            if run.HasField("failure"):
                found[name, n] = run.failure.error_type
            else:
                found[name, n] = json.loads(json.dumps(client.outputs(run.run_id)))
    raced = {case for case in expected if case[0].startswith("raced")}
    assert raced
    assert {case: type(found.pop(case)) for case in raced} == {case: type(expected.pop(case)) for case in raced}
    assert found == expected


def test_what_waits_for_signals_and_time_gives_the_same_there_as_here(mwfs, waiting):
    with sdk.BlockingClient(mwfs.home) as client:
        runs = {}
        for workflow in waiting.EXPECTED:
            for n in (1, 3):
                runs[workflow, n] = client.submit(workflow, {"n": n})
                declared = {signal.name for signal in client.signals(runs[workflow, n])}
                # Before anything can wait for them; what a dynamic operator will ask for, too.
                if workflow is waiting.waited_below:
                    declared.add("later")
                for name in declared & waiting.SIGNALS.keys():
                    assert client.signal(runs[workflow, n], name, waiting.SIGNALS[name])
        ended = client.wait_all(runs.values(), timeout=280)
        for ((workflow, n), run), end in zip(runs.items(), ended, strict=True):
            wanted = workflow_result = waiting.EXPECTED[workflow](n)
            if end.HasField("failure"):
                workflow_result = end.failure.error_type
            else:
                (workflow_result,) = client.outputs(run).values()
            assert workflow_result == wanted, (workflow.__name__, n)


def test_a_run_says_what_it_waits_for_and_is_told_by_the_command_line(mwfs, waiting, assert_one_paragraph):
    run = mwfs.json("run", "waiting:configured", "--input", "n=4", "--detach")["run_id"]
    while not mwfs.json("signal", run)["signals"][0]["waiting_nodes"]:
        time.sleep(0.05)  # as a user would look again
    assert "WAITING for signal settings" in mwfs("nodes", run, check=True).out
    assert f"mwfs signal {run[:8]} settings JSON" in mwfs("runs", "show", run, check=True).text
    for payload, words in (
        ("7", "expected Settings"),
        ('{"depth": "deep"}', "expected int"),
        ('{"depth": 1, "width": 2}', "width"),
    ):
        said = assert_one_paragraph(mwfs("signal", run, "settings", payload))
        assert words in said
    said = assert_one_paragraph(mwfs("signal", run, "setting", "{}"))
    assert "its signals: settings" in said
    assert "payload" in assert_one_paragraph(mwfs("signal", run, "settings"))
    first = mwfs("signal", run[:8], "settings", '{"depth": 3, "note": " notes"}', "--request-id", "one", check=True)
    assert first.out.strip() == f"{run} settings sent"
    again = mwfs("signal", run, "settings", '{"depth": 3, "note": " notes"}', "--request-id", "one", check=True)
    assert "was sent before" in again.out
    assert mwfs.json("runs", "show", run, "--watch")["outputs"] == {"result": "7 notes"}
    said = assert_one_paragraph(mwfs("signal", run, "settings", '{"depth": 4}'))
    assert "sent before" in said


def test_a_run_says_which_child_it_waits_for(mwfs, waiting):
    run = mwfs.json("run", "waiting:approved_below", "--input", "n=4", "--detach")["run_id"]
    while not (child := mwfs.json("nodes", run)["nodes"][0]["child_run_id"]):
        time.sleep(0.05)  # as a user would look again
    assert f"WAITING for child run {child[:8]}" in mwfs("nodes", run, check=True).out
    assert f"mwfs runs show {child}" in mwfs("runs", "show", run, check=True).text
    assert mwfs.json("runs", "show", child)["tags"] == {"mwfs.parent": run}
    mwfs("signal", child, "approved", "true", check=True)
    assert mwfs.json("runs", "show", run, "--watch")["outputs"] == {"result": "8"}
    assert f"for child run {child[:8]}" in mwfs("events", run, check=True).out


def test_a_run_that_sleeps_says_until_when(mwfs, waiting):
    run = mwfs.json("run", "waiting:slept_as_told", "--input", "n=100000", "--detach")["run_id"]
    while "sleeps until" not in (shown := mwfs("runs", "show", run, check=True).text):
        time.sleep(0.05)
    assert "node 1 sleeps until" in shown
    mwfs("runs", "cancel", run, check=True)
    mwfs("runs", "show", run, "--watch")
