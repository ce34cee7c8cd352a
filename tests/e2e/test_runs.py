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


def test_submitting_again_after_the_end_finds_the_same_run_although_there_is_a_history_now(mwfs):
    first = mwfs.json("run", "journeys:sums", "--request-id", "sunday")
    again = mwfs.json("run", "journeys:sums", "--request-id", "sunday", "--detach")
    assert (again["run_id"], again["created"]) == (first["run_id"], False)


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


def test_the_events_of_a_run_are_printed_from_any_number_on(mwfs):
    run_id = mwfs.json("run", "journeys:sums")["run_id"]
    lines = mwfs("events", run_id[:8], "--output", "json", check=True).out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["kind"], events[-1]["kind"]) == ("RUN_ACCEPTED", "RUN_SUCCEEDED")
    assert sum(event["kind"] == "NODE_SUCCEEDED" for event in events) == 4
    assert mwfs("events", run_id, "--from", str(len(events)), check=True).out.split()[0] == str(len(events))


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


def test_a_paused_run_starts_nothing_until_it_is_resumed(mwfs, tmp_path):
    gate = tmp_path / "open"
    run_id = mwfs.submit("journeys:waits", path=gate)
    mwfs.read_logs(run_id, 0, until="waiting")
    assert mwfs.json("runs", "pause", run_id)["state"] == "PAUSED"
    assert mwfs.json("runs", "resume", run_id)["state"] == "RUNNING"
    gate.touch()
    assert json.loads(mwfs("runs", "show", run_id, "--watch", "--output", "json").out)["state"] == "SUCCEEDED"
    refused = mwfs("runs", "pause", run_id)
    assert refused.code == 2
    assert "has ended" in refused.err


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


def test_a_run_is_repeated_from_an_operator_with_the_reason_per_node(mwfs):
    first = mwfs.json("run", "journeys:sums", "--input", "n=3")
    planned = mwfs.json("rerun", first["run_id"], "--from", "add", "--dry-run")
    assert [node["runs"] for node in planned["nodes"]] == [False, False, False, True]
    assert planned["nodes"][3]["reason"] == "asked for"
    again = mwfs.json("rerun", first["run_id"][:8], "--from", "add")
    assert again["state"] == "SUCCEEDED"
    assert again["outputs"] == first["outputs"]
    nodes = mwfs.json("nodes", again["run_id"], "--why")["nodes"]
    assert [node["attempt"] for node in nodes] == [0, 0, 0, 1]
    assert [node["why"] for node in nodes] == [node["reason"] for node in planned["nodes"]]


def test_a_run_is_repeated_with_another_input_and_takes_what_is_the_same(mwfs):
    first = mwfs.json("run", "journeys:sums", "--input", "n=3")
    again = mwfs.json("rerun", first["run_id"], "--set", "n=4")
    assert again["outputs"] == {"result": 12}
    nodes = mwfs.json("nodes", again["run_id"])["nodes"]
    assert [node["attempt"] for node in nodes] == [0, 0, 0, 1, 1]
    refused = mwfs("rerun", first["run_id"])
    assert refused.code == 2
    assert "--from" in refused.err


def test_a_worker_compiles_and_plans_a_rerun_as_a_client_does(mwfs):
    first = mwfs.json("run", "journeys:sums", "--input", "n=3")
    on_platform = ("rerun", first["run_id"], "--compile-on-platform")
    planned = mwfs.json("rerun", first["run_id"], "--set", "n=4", "--from", "1", "--dry-run")["nodes"]
    again = mwfs.json(*on_platform, "--set", "n=4", "--from", "1", "--code", "HEAD")
    assert again["outputs"] == {"result": 12}
    nodes = mwfs.json("nodes", again["run_id"], "--why")["nodes"]
    assert [node["why"] for node in nodes] == [node["reason"] for node in planned]
    assert [node["attempt"] for node in nodes] == [0, 1, 0, 1, 1]
    shown = mwfs(*on_platform, "--from", "add", "--code", "run", check=True)
    assert "Node 3 add: runs, asked for" in shown.err
    for start, says in (["--from", "subtract"], "calls no operator `subtract`"), ([], "would run again"):
        failed = mwfs(*on_platform, *start, "--output", "json")
        assert failed.code != 0
        assert says in failed.text
