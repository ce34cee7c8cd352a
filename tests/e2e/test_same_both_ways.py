"""A workflow ends the same in this process and on the platform: the same results, the same errors at the same lines."""

import importlib
import json
import re
import subprocess
import sys

import pytest

from mwfs.cli.documents import failure_document, output_document
from mwfs.client import BlockingClient
from mwfs.client.async_client import RunRequest
from mwfs_api.events.v1.events_pb2 import NodeState

SUCCEED = [
    *["records", "named", "tuples", "optionals", "maps", "files", "shared", "nested", "ordered"],
    *["grows_by_map", "grows_by_when", "grows_by_itself", "grows_and_names", "caught", "tolerated"],
    *["loses_and_cleans_up", "starts_a_child"],
]
GROW_AND_FAIL = ["grows_and_raises", "grows_and_raises_below", "grows_and_lies", "grows_and_misuses", "grows_for_ever"]
CONSTRUCTS_FAIL = [
    *[
        "fails_in_map",
        "fails_too_often",
        "fails_at_its_limit",
        "fails_in_a_branch",
        "fails_by_index",
        "fails_by_division",
    ],
    *["fails_to_reduce", "fails_after_cleanup", "fails_past_the_fallback", "stops_and_cleans_up"],
]
#: Of these the states of all nodes are compared, too.
CLEAN_UP = ["loses_and_cleans_up", "stops_and_cleans_up"]
FAIL = [
    *["raises", "lies", "divides", "independent", "raises_its_own", "exits"],
    *GROW_AND_FAIL,
    *CONSTRUCTS_FAIL,
    "starts_a_child_that_raises",
]

HERE = """
import json, sys
import mwfs
from mwfs.cli.documents import failure_document, output_document
from mwfs.invoke import load_workflow
from mwfs.local_run import LocalRun

answers = {}
for name in sys.argv[1:]:
    workflow = load_workflow(f"both_ways:{name}")
    local = LocalRun()
    try:
        result = local.run(workflow)
        record = workflow.signature.record
        outputs = {one.name: getattr(result, one.name) if record else result for one in workflow.outputs}
        answers[name] = {"outputs": output_document(outputs)}
    except mwfs.RunFailed as error:
        failure = failure_document(error.failure)
        answers[name] = {"failure": [failure[key] for key in ("kind", "error_type", "message", "file", "line")]}
    answers[name]["states"] = sorted([node.operator, node.state] for node in local.nodes)
print(json.dumps(answers))
"""


@pytest.fixture
def here(mwfs):
    """What each workflow gives in this process."""
    names = [*SUCCEED, *FAIL]
    done = subprocess.run(
        [sys.executable, "-c", HERE, *names], cwd=mwfs.folder, capture_output=True, text=True, check=True
    )
    answers = json.loads(done.stdout.splitlines()[-1])
    for name in set(names) - set(CLEAN_UP):
        del answers[name]["states"]
    return answers


@pytest.fixture
def there(mwfs, project, monkeypatch):
    """What each workflow gives on the platform."""
    monkeypatch.syspath_prepend(project)
    monkeypatch.chdir(project)
    monkeypatch.delitem(sys.modules, "both_ways", raising=False)
    module = importlib.import_module("both_ways")
    names = [*SUCCEED, *FAIL]
    answers = {}
    with BlockingClient(mwfs.home) as client:
        runs = client.submit_many([RunRequest(workflow=getattr(module, name)) for name in names])
        for name, run in zip(names, client.wait_all(runs, timeout=280), strict=True):
            if run.HasField("failure"):
                failure = failure_document(run.failure)
                failure["message"] = re.sub("^child run [0-9a-f-]{36}: ", "", failure["message"])
                answers[name] = {"failure": [failure[key] for key in ("kind", "error_type", "message", "file", "line")]}
            else:
                answers[name] = {"outputs": json.loads(json.dumps(output_document(client.outputs(run.run_id))))}
            if name in CLEAN_UP:
                answers[name]["states"] = sorted(
                    [node.operator, NodeState.Name(node.state).removeprefix("NODE_STATE_")]
                    for node in client.nodes(run.run_id)
                )
    return answers


def test_results_and_errors_are_the_same(here, there):
    assert there == here
    assert [name for name in SUCCEED if "outputs" not in here[name]] == []
    assert [name for name in FAIL if "failure" not in here[name]] == []
    assert [name for name in FAIL if not here[name]["failure"][-1]] == [], "all name a line of the user"
    for name in CLEAN_UP:
        assert ["both_ways:halves", "SUCCEEDED"] in here[name]["states"]
        assert ["both_ways:patient", "CANCELLED"] in here[name]["states"]
