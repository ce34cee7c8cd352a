"""Outputs of earlier runs as inputs: named runs, the latest successful one, here and on the platform."""

import json

import pytest

import mwfs as sdk
from mwfs.errors import InvalidInput


@pytest.fixture
def made(mwfs):
    return mwfs.json("run", "earlier:make", "--input", "n=30000")["run_id"]


def sources(mwfs, run_id):
    with sdk.BlockingClient(mwfs.home) as client:
        return {one.name: one.source for one in client.dag(run_id).inputs if one.source}


def given(run, *names):
    return [word for name in names for word in ("--input", f"{name}={run}#{name}")]


def test_outputs_of_a_named_run(mwfs, made):
    run = mwfs.json("run", "earlier:use", *given(f"run:{made[:8]}", "note", "score", "numbers"))
    assert run["outputs"]["result"] == "note 30000: 14999.5 of 30000"
    assert sources(mwfs, run["run_id"]) == {name: f"run:{made}/{name}" for name in ("note", "score", "numbers")}
    described = mwfs("compile", "earlier:use", *given(f"run:{made}", "note", "score"), check=True).out
    assert f"from run:{made}/score" in described


def test_the_latest_successful_run_also_when_a_worker_compiles(mwfs, made):
    failed = mwfs("run", "earlier:make", "--input", "n=0", "--output", "json")
    assert json.loads(failed.out)["state"] == "FAILED"
    run = mwfs.json("run", "earlier:use", "--compile-on-platform", *given("latest:earlier:make", "note", "score"))
    assert run["outputs"]["result"] == "note 30000: 14999.5 of 1"
    assert sources(mwfs, run["run_id"]) == {name: f"run:{made}/{name}" for name in ("note", "score")}


def test_from_python_on_the_platform_and_in_this_process(mwfs, made, project, monkeypatch):
    other = mwfs.json("run", "earlier:make", "--input", "n=3")["run_id"]
    monkeypatch.syspath_prepend(project)
    import earlier

    notes = [sdk.output_of(made, "note"), sdk.output_of(sdk.latest(earlier.make), "note")]
    with sdk.BlockingClient(mwfs.home) as client:
        run = client.submit(earlier.use_all, {"notes": notes})
        client.wait(run)
        assert client.outputs(run)["result"] == "note 30000 + note 3: 0.0 of 0"
        assert client.dag(run).inputs[0].source == f"run:{made}/note, run:{other}/note"
    numbers = sdk.output_of(made, "numbers", home=str(mwfs.home))
    note = sdk.output_of(other, "note", home=str(mwfs.home))
    assert earlier.use.run_local(note=note, numbers=numbers) == "note 3: 0.5 of 30000"


def test_outputs_that_do_not_fit_or_are_not_there(mwfs, made):
    def refused(*arguments):
        answer = mwfs("run", *arguments)
        assert answer.code == 2, answer
        return answer.err

    text = refused("earlier:use", "--input", f"note=run:{made}#score")
    assert "Input `note` expects File, found float from output `score` of run" in text
    assert "its outputs are `note`, `score`, `numbers`" in refused("earlier:use", "--input", f"note=run:{made}#nothing")
    assert "run:RUN_ID#OUTPUT" in refused("earlier:use", "--input", f"note=run:{made}")
    assert "No run of earlier:nothing has succeeded yet" in refused(
        "earlier:use", "--input", "note=latest:earlier:nothing#note"
    )
    assert "ffffffff" in mwfs("run", "earlier:use", "--input", "note=run:ffffffff#note").err
    with pytest.raises(InvalidInput, match="is not a run"):
        sdk.output_of("", "note")
