"""Starting runs, looking at them, stopping them, and going on with them."""

import json


def test_a_run_gives_its_outputs(mwfs):
    run = mwfs.json("run", "journeys:sums", "--input", "n=5")
    assert run["state"] == "SUCCEEDED"
    assert run["outputs"] == {"result": 20}
    assert run["node_counts"] == {"SUCCEEDED": 6}


def test_text_output_shows_the_result(mwfs):
    answer = mwfs("run", "journeys:sums", "--watch", check=True)
    assert "6" in answer.out.split()


def test_submitting_again_finds_the_same_run(mwfs):
    first = mwfs.json("run", "journeys:sums", "--request-id", "monday", "--detach")
    again = mwfs.json("run", "journeys:sums", "--request-id", "monday", "--detach")
    assert again["run_id"] == first["run_id"]
    assert (first["created"], again["created"]) == (True, False)


def test_the_same_request_id_with_other_inputs_is_refused(mwfs, assert_one_paragraph):
    mwfs.json("run", "journeys:sums", "--request-id", "tuesday", "--detach")
    refused = mwfs("run", "journeys:sums", "--input", "n=4", "--request-id", "tuesday")
    assert "request" in assert_one_paragraph(refused).lower()
    assert refused.code == 2


def test_runs_nodes_and_logs_are_listed(mwfs):
    run_id = mwfs.json("run", "journeys:sums")["run_id"]

    listed = mwfs.json("runs", "list")["runs"]
    assert run_id in [run["run_id"] for run in listed]
    assert mwfs.json("runs", "show", run_id[:8])["state"] == "SUCCEEDED"

    nodes = mwfs.json("nodes", run_id)["nodes"]
    assert [node["operator"].rpartition(":")[2] for node in nodes] == ["double"] * 3 + ["add"]
    assert nodes[3]["depends_on"] == [0, 1, 2]
    assert all(node["file"].endswith("journeys.py") for node in nodes)

    assert "doubling 2" in mwfs("logs", run_id, "2", check=True).out


def test_every_list_is_shown_to_people_too(mwfs):
    run_id = mwfs.json("run", "journeys:sums")["run_id"]
    for command in (["runs", "list"], ["runs", "show", run_id], ["nodes", run_id], ["timeline", run_id], ["status"]):
        answer = mwfs(*command, check=True)
        assert answer.out.strip(), command


def test_status_names_every_service(mwfs):
    services = mwfs.json("status")["services"]
    assert {service["name"] for service in services} >= {
        "postgres", "orchestrator", "scheduler", "action_service", "observability"
    }  # fmt: skip
    assert all({"name", "pid", "address", "state"} <= set(service) for service in services)


def test_a_cancelled_run_stops_and_can_be_taken_up_again(mwfs, tmp_path):
    gate = tmp_path / "open"
    run_id = mwfs.submit("journeys:waits", path=gate)
    mwfs.read_logs(run_id, 0, until="waiting")

    assert mwfs.json("runs", "cancel", run_id)["state"] in ("CANCELLING", "CANCELLED")
    cancelled = mwfs("runs", "show", run_id, "--watch", "--output", "json")
    assert json.loads(cancelled.out)["state"] == "CANCELLED"

    gate.touch()
    mwfs("runs", "retry", run_id, check=True)
    done = mwfs("runs", "show", run_id, "--watch", "--output", "json")
    assert json.loads(done.out)["state"] == "SUCCEEDED"


def test_a_failed_run_is_retried_without_repeating_what_succeeded(mwfs, tmp_path):
    needed = tmp_path / "needed"
    run_id = mwfs.submit("journeys:needs", path=needed)
    failed = mwfs("runs", "show", run_id, "--watch", "--output", "json")
    assert json.loads(failed.out)["state"] == "FAILED"

    needed.touch()
    mwfs("runs", "retry", run_id, check=True)
    done = json.loads(mwfs("runs", "show", run_id, "--watch", "--output", "json").out)
    assert done["state"] == "SUCCEEDED"
    assert done["round"] == 2
    attempts = {node["node"]: node["attempt"] for node in mwfs.json("nodes", run_id)["nodes"]}
    assert attempts == {0: 1, 1: 2, 2: 1}


def test_a_declared_gpu_is_given_to_one_operator(mwfs):
    place = mwfs.json("run", "journeys:place")["outputs"]
    assert place["gpus"] == "0"


def test_compiling_needs_no_platform(mwfs_alone):
    compiled = mwfs_alone.json("compile", "journeys:sums", "--input", "n=10")
    assert compiled["node_count"] == 11
