"""Looking before a run and after it: plan, diff, replay, why-miss."""

import json


def ran(mwfs, run_id):
    """Nodes and taken results by operator."""
    found = {}
    for node in mwfs.json("nodes", run_id)["nodes"]:
        count, hits = found.get(node["operator"], (0, 0))
        found[node["operator"]] = (count + 1, hits + (node["origin"] is not None))
    return found


def test_plan_names_the_nodes_and_the_hits_of_the_run_that_follows(mwfs):
    mwfs.json("run", "reused:twice", "--input", "n=31001")
    plan = mwfs.json("plan", "reused:twice", "--input", "n=31001")
    run = mwfs.json("run", "reused:twice", "--input", "n=31001")
    assert {one["operator"]: (one["nodes"], one["hits"]) for one in plan["operators"]} == ran(mwfs, run["run_id"])
    assert (plan["hits"], plan["maybe"], plan["more"]) == (2, 0, False)
    assert plan["seconds"] > 0
    assert plan["changes"] == []


def test_plan_of_a_run_that_grows_is_exact_where_results_are_known_and_says_where_they_are_not(mwfs):
    before = mwfs.json("plan", "reused:grown", "--input", "n=37")
    assert before["more"]
    assert {one["operator"]: (one["nodes"], one["more"]) for one in before["operators"]}["reused:plus"] == (1, True)
    mwfs.json("run", "reused:grown", "--input", "n=37")
    plan = mwfs.json("plan", "reused:grown", "--input", "n=37")
    found = ran(mwfs, mwfs.json("run", "reused:grown", "--input", "n=37")["run_id"])
    assert not plan["more"]
    assert {one["operator"]: one["nodes"] for one in plan["operators"]} == {
        name: count for name, (count, _) in found.items()
    }
    assert plan["nodes"] == sum(count for count, _ in found.values())
    by_name = {one["operator"]: one for one in plan["operators"]}
    assert (by_name["reused:plus"]["hits"], by_name["reused:plus"]["maybe"]) == (37, 1)
    assert found["reused:plus"] == (38, 38), "what the plan could not know was taken as well"
    assert plan["seconds"] > 0


def test_plan_of_a_loop_is_a_lower_bound_and_says_so(mwfs):
    mwfs.json("run", "reused:looped", "--input", "n=3000")
    plan = mwfs.json("plan", "reused:looped", "--input", "n=3000")
    found = ran(mwfs, mwfs.json("run", "reused:looped", "--input", "n=3000")["run_id"])
    assert plan["more"]
    assert plan["nodes"] < sum(count for count, _ in found.values())
    assert {one["operator"] for one in plan["operators"]} == set(found)
    shown = mwfs("plan", "reused:looped", "--input", "n=3000", check=True)
    assert "at least" in shown.out
    assert "grows at run time" in shown.out


def test_without_the_pass_cache_nothing_is_taken(mwfs):
    mwfs.json("run", "reused:twice", "--input", "n=31006")
    run = mwfs.json("run", "reused:twice", "--input", "n=31006", "--no-pass", "cache")
    assert all(hits == 0 for _, hits in ran(mwfs, run["run_id"]).values())
    explained = mwfs("compile", "reused:twice", "--input", "n=31006", "--explain", check=True).out
    assert "2 earlier results are taken: 1 of `squares`, 1 of `join`" in explained
    assert "by history" in explained


def test_plan_without_a_platform_says_so(mwfs_alone):
    answer = mwfs_alone("plan", "journeys:sums", check=True)
    assert "4 nodes" in answer.out
    assert "no history" in answer.text


def test_diff_of_a_run_and_the_code_as_it_is_now(mwfs, project):
    run_id = mwfs.json("run", "reused:twice", "--input", "n=31002")["run_id"]
    assert mwfs.json("diff", run_id, "reused:twice")["changes"] == []
    code = project / "reused.py"
    code.write_text(code.read_text().replace("sum(values)", "sum(values) + 1"))
    changes = mwfs.json("diff", run_id, "reused:twice", "--input", "n=5")["changes"]
    assert [(one["kind"], one["what"]) for one in changes] == [("code", "join"), ("inputs", "n")]
    assert mwfs("diff", run_id, "reused:twice", "--exit-code").code == 1
    code.write_text(code.read_text().replace("return total", "return total + 0"))
    changes = mwfs.json("diff", run_id, "reused:twice")["changes"]
    assert [(one["kind"], one["what"]) for one in changes] == [("code", "announce"), ("code", "join")]
    assert "`reused:announce`" in changes[0]["after"]
    other = mwfs.json("run", "reused:twice", "--input", "n=31002")["run_id"]
    assert [one["kind"] for one in mwfs.json("diff", run_id, other)["changes"]] == ["code", "code", "code"]


def test_replay_gives_the_recorded_result(mwfs):
    run_id = mwfs.json("run", "lifted:large")["run_id"]
    nodes = mwfs.json("nodes", run_id)["nodes"]
    for node in nodes:
        replayed = mwfs.json("replay", run_id, node["node"])
        assert replayed["same_outputs"] is True, replayed


def test_replay_of_a_failure_shows_it_with_the_users_line(mwfs, project):
    answer = mwfs("run", "both_ways:raises", "--output", "json")
    run_id = json.loads(answer.out)["run_id"]
    replayed = mwfs("replay", run_id, "0")
    assert replayed.code == 1
    assert "ValueError: -1 is negative" in replayed.out
    assert "both_ways.py" in replayed.out
    code = project / "both_ways.py"
    code.write_text(code.read_text().replace("if x < 0", "if x < -5"))
    assert mwfs("replay", run_id, "0", check=True).out.strip() == "result = -1"


def test_replay_of_a_node_in_a_map_keeps_what_it_prints_from_the_result(mwfs):
    answer = mwfs("run", "both_ways:fails_in_map", "--output", "json")
    run_id, node = json.loads(answer.out)["run_id"], json.loads(answer.out)["failure"]["node"]
    assert f"mwfs replay {run_id[:8]} {node} --pdb" in answer.err
    replayed = mwfs("replay", run_id, node, "--output", "json")
    assert json.loads(replayed.out)["failure"]["message"] == "2 is too much"
    assert "looking at 2" in replayed.err
    stopped = mwfs("replay", run_id, node, "--pdb", check=False)
    assert "-> raise ValueError" in stopped.out


def test_control_nodes_have_nothing_to_replay_and_nothing_to_miss(mwfs, assert_one_paragraph):
    run_id = json.loads(mwfs("run", "both_ways:fails_in_map", "--output", "json").out)["run_id"]
    (control,) = [one["node"] for one in mwfs.json("nodes", run_id)["nodes"] if one["operator"].startswith("mwfs:")]
    for command in ("replay", "why-miss"):
        said = assert_one_paragraph(mwfs(command, run_id, control))
        assert "which the engine does itself" in said
        assert f"mwfs nodes {run_id[:8]}" in said


def test_replay_says_when_the_code_is_another(mwfs, project):
    run_id = mwfs.json("run", "reused:twice", "--input", "n=31003")["run_id"]
    code = project / "reused.py"
    code.write_text(code.read_text().replace("i * i", "i * i * i"))
    answer = mwfs("replay", run_id, "0", check=True)
    assert "not what the run was compiled with" in answer.err
    assert "not the recorded one" in answer.err


def test_why_miss_says_which_part_changed(mwfs, project):
    mwfs.json("run", "reused:twice", "--input", "n=31004")
    other = mwfs.json("run", "reused:twice", "--input", "n=31005")["run_id"]
    assert mwfs.json("why-miss", other, 0)["reasons"] == ["The input `n` has another value."]
    assert "pure=True" in mwfs.json("why-miss", other, 2)["reasons"][0]
    code = project / "reused.py"
    code.write_text(code.read_text().replace("i * i", "i * i * i"))
    third = mwfs.json("run", "reused:twice", "--input", "n=31005")["run_id"]
    assert mwfs.json("why-miss", third, 0)["reasons"] == ["The code changed: `reused:squares`."]
