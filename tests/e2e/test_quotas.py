"""Quotas and teams as those who run the platform have them: set, applied from a file, shown, and told who changed what."""

from __future__ import annotations

import json
from collections.abc import Callable

from .conftest import Answer, Mwfs

FILE = """
[teams.research]
guaranteed = {gpu = 8}

[teams.default]
parent = "research"
weight = 2
burst = {gpu = 4, memory = "16GiB"}
"""


def test_quotas_are_set_shown_applied_and_remembered(mwfs: Mwfs, assert_one_paragraph: Callable[[Answer], str]) -> None:
    before = mwfs.json("quotas", "show")["version"]
    # Set: what is not named stays, and what cannot count is said.
    first = mwfs("quotas", "set", "research", "--guarantee", "gpu=4,cpu=0.5", "--reason", "spring", check=True)
    assert "research: new: weight 1; guaranteed cpu 0.5, gpu 4; burst no limit" in first.out
    assert f"In force as version {before + 1}." in first.out
    assert "add up to 4 and the cluster has 1: each counts 25 % of what is written" in first.err
    second = mwfs(
        "quotas", "set", "research", "--guarantee", "gpu=1", "--burst", "gpu=1", "--weight", "0.5", check=True
    )
    assert "research: weight 1 → 0.5; guaranteed gpu 4 → 1; burst gpu no limit → 1" in second.out
    third = mwfs("quotas", "set", "research", "--burst", "gpu=none", "--clear", "weight", "--output", "json").json
    [change] = third["changes"]
    assert change["new"] == {"parent": None, "weight": 1, "guaranteed": {"cpu": 0.5, "gpu": 1}, "burst": None}
    assert f"already, as version {before + 3}" in mwfs("quotas", "set", "research", "--weight", "1", check=True).out

    # What is wrong, as typed or for the tree, changes nothing, and says what would do.
    for arguments, says in (
        (("research", "--guarantee", "gpu=-1"), "'-1' is not an amount of gpu"),
        (("research", "--weight", "nan"), "'nan' is not a weight"),
        (("research", "--parent", "nobody"), "'nobody', which is not there. Add that team first."),
        (("re/search", "--weight", "1"), "cannot be the name of a team"),
        (("research",), "Nothing would change"),
    ):
        answer = mwfs("quotas", "set", *arguments)
        assert says in assert_one_paragraph(answer)
        assert answer.code == 2

    # A file holds the whole tree: shown first, asked for, then applied; and what is shown as JSON is such a file.
    (mwfs.folder / "teams.toml").write_text(FILE)
    shown = mwfs("quotas", "apply", "teams.toml", "--dry-run", check=True)
    assert "default: new: below research; weight 2; guaranteed not governed; burst gpu 4, memory 16 GiB" in shown.out
    assert "research: guaranteed cpu 0.5 → none; guaranteed gpu 1 → 8" in shown.out
    assert "nobody can be asked" in assert_one_paragraph(mwfs("quotas", "apply", "teams.toml"))
    applied = mwfs("quotas", "apply", "teams.toml", "--yes", "--reason", "new year", check=True)
    assert f"In force as version {before + 4}." in applied.out
    document = mwfs.json("quotas", "show")
    assert [(team["team"], team["parent"], team["counted_guarantee"]) for team in document["teams"]] == [
        ("default", "research", {}),
        ("research", None, {"gpu": 1}),
    ]
    (mwfs.folder / "shown.json").write_text(json.dumps(document))
    assert "Nothing differs" in mwfs("quotas", "apply", "shown.json", "--yes", check=True).out
    (mwfs.folder / "circle.toml").write_text('[teams.a]\nparent = "b"\n[teams.b]\nparent = "a"\n')
    assert "circle: a → b → a" in assert_one_paragraph(mwfs("quotas", "apply", "circle.toml", "--yes"))

    # Shown to people.
    tree = mwfs("quotas", "show", check=True)
    assert "\n  default" in tree.out
    assert f"Version {before + 4}." in tree.out
    assert "weight 2" in mwfs("teams", "show", "default", check=True).out
    assert "research" in mwfs("teams", "list", check=True).out
    for shows in ("show", "watch"):
        nobody = mwfs("teams", shows, "nobody")
        assert nobody.code == 2
        assert "'nobody' has no quota" in assert_one_paragraph(nobody)
        assert "`mwfs teams list` shows the teams." in nobody.err
    with mwfs.start("teams", "watch", "default", "--output", "json") as watcher:
        assert watcher.stdout is not None
        assert json.loads(watcher.stdout.readline())["team"] == "default"
        watcher.kill()

    # What runs counts for its team and those above, and goes on when the quota is cut below it.
    flag = mwfs.folder.parent / "flag"  # not among the code that a run takes along
    waits = ("run", "journeys:waits", "--input", f"path={flag}", "--request-id", "quota-cut")
    run_id = mwfs.json(*waits, "--detach")["run_id"]
    mwfs.read_logs(run_id, 0, until="waiting")
    assert mwfs.json("teams", "show", "research")["in_use"]["cpu"] >= 1
    cut = mwfs("quotas", "set", "default", "--burst", "cpu=0.5", check=True)
    assert "Team default uses cpu" in cut.err
    assert "above its burst limit of cpu 0.5: what runs goes on" in cut.err
    mwfs("quotas", "set", "default", "--burst", "cpu=none", check=True)
    flag.touch()
    assert mwfs.json(*waits)["state"] == "SUCCEEDED"

    gone = mwfs("quotas", "remove", "default", "--reason", "merged", check=True)
    assert "default: removed (had below research; weight 2" in gone.out
    revisions = mwfs.json("quotas", "history")["revisions"]
    assert [(one["version"], one["reason"]) for one in revisions][:2] == [(before + 7, "merged"), (before + 6, "")]
    assert all(one["principal"] and one["time"] for one in revisions)
    assert "spring" in mwfs("quotas", "history", "research", check=True).out
    mwfs("quotas", "remove", "research", check=True)
    assert mwfs.json("quotas", "show")["teams"] == []
