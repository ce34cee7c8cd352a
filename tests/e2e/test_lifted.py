"""What is computed between operators gives the same on the platform as in this process, and fails the same."""

import json
import subprocess
import sys

import pytest

LOCAL = """
import json, sys, mwfs
from mwfs.invoke import load_workflow
try:
    print(json.dumps({"result": load_workflow(sys.argv[1]).run_local()}))
except mwfs.RunFailed as error:
    failure = error.failure
    print(json.dumps({"failure": [failure.error_type, failure.message, failure.line]}))
"""


def run_local(mwfs, workflow: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", LOCAL, workflow], cwd=mwfs.folder, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("workflow", ["lifted:scores", "lifted:large", "lifted:last", "lifted:in_order"])
def test_computed_values_are_the_same_here_and_there(mwfs, workflow):
    assert mwfs.json("run", workflow)["outputs"] == run_local(mwfs, workflow)


@pytest.mark.parametrize("workflow", ["lifted:ratio", "lifted:missing"])
def test_what_cannot_be_computed_fails_the_same_here_and_there(mwfs, workflow):
    answer = mwfs("run", workflow, "--output", "json")
    assert answer.code != 0
    error_type, message, line = run_local(mwfs, workflow)["failure"]
    assert error_type in ("ZeroDivisionError", "IndexError")
    run = mwfs.json("runs", "list")["runs"][0]
    failure = mwfs.json("runs", "show", run["run_id"])["failure"]
    assert (failure["error_type"], failure["message"], failure["line"]) == (error_type, message, line)


def test_order_without_data_is_kept(mwfs):
    run_id = mwfs.json("run", "lifted:in_order")["run_id"]
    assert [node["depends_on"] for node in mwfs.json("nodes", run_id)["nodes"]] == [[], [0], [1]]
