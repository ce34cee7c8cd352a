"""Why nodes wait, and what would let them start: what is said comes true, and asking changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conftest import Answer, Mwfs

TEAM = {"MWFS_TEAM": "curious"}


def explained(mwfs: Mwfs, run_id: str) -> list[dict[str, Any]]:
    """Why the run waits, once the scheduler has been asked for room for it."""
    for _ in range(200):
        waiting: list[dict[str, Any]] = mwfs.json("explain", run_id, **TEAM)["waiting"]
        if waiting:
            return waiting
    raise AssertionError("nothing of the run ever waited")


def test_a_remedy_that_is_named_moves_the_node_on(mwfs: Mwfs, assert_one_paragraph: Callable[[Answer], str]) -> None:
    mwfs("quotas", "set", "curious", "--burst", "cpu=0.5", check=True)
    run = ("run", "journeys:sums", "--request-id", "curious")
    run_id = mwfs.json(*run, "--detach", **TEAM)["run_id"]
    [group] = explained(mwfs, run_id)
    assert (group["reason"], group["permanent"], group["waiting"], group["team"]) == (
        "exceeds_burst",
        True,
        3,
        "curious",
    )
    assert group["needs"] == {"cpu": 1}
    assert "more than the burst limit of curious" in group["message"]
    assert "Never, as hosts and quotas are." in mwfs("explain", run_id, "0", check=True, **TEAM).out
    assert "waits for the nodes before it (0, 1, 2)" in mwfs("explain", run_id, "3", check=True, **TEAM).out

    # Another limit would let as many start as the host has room for; a smaller node all; a larger host does not help.
    def asked(*what: str) -> dict[str, Any]:
        [answer] = mwfs.json("what-if", run_id, *what, **TEAM)["groups"]
        return dict(answer)

    raised = asked("--team", "curious", "--burst", "cpu=2")
    assert (raised["starts"], raised["still_waiting"], raised["victims"]) == (2, 1, [])
    assert raised["then"]["reason"] == "burst_in_use"
    assert asked("--needs", "cpu=0.1")["starts"] == 3
    more = asked("--add-host", "2x:cpu=64,memory=1TiB,gpu:h100=8", "--priority", "5")
    assert (more["starts"], more["then"]["reason"]) == (0, "exceeds_burst")
    typed = asked("--needs", "cpu=0.1,gpu:b200=1")
    assert (typed["starts"], typed["then"]["reason"], typed["then"]["permanent"]) == (0, "no_such_type", True)
    said = mwfs("what-if", run_id, "--team", "curious", "--burst", "cpu=2", check=True, **TEAM).out
    assert "2 would start at once, on local." in said
    assert "1 would still wait" in said

    # Nothing has changed by that; and then what was said is done.
    assert explained(mwfs, run_id) == [group]
    [team] = [each for each in mwfs.json("quotas", "show")["teams"] if each["team"] == "curious"]
    assert team["burst"] == {"cpu": 0.5}
    mwfs("quotas", "set", "curious", "--burst", "cpu=2", check=True)
    assert mwfs.json(*run, **TEAM)["state"] == "SUCCEEDED"

    ended = mwfs("what-if", run_id, "--priority", "1", **TEAM)
    assert "Nothing of the run" in assert_one_paragraph(ended)
    assert "Nothing of this run waits for room." in mwfs("explain", run_id, check=True, **TEAM).out
    for wrong, says in (
        ((), "Nothing would be different"),
        (("--burst", "cpu=1"), "A quota belongs to a team"),
        (("--needs", "gpu=1,gpu:h100=1"), "one kind of GPU"),
        (("--add-host", "cpu=many"), "'many' is not an amount of cpu"),
        (("--add-host", "0x:cpu=1"), "There is no resource '0x:cpu'"),
    ):
        answer = mwfs("what-if", run_id, *wrong, **TEAM)
        assert says in assert_one_paragraph(answer)
        assert answer.code == 2
    mwfs("quotas", "remove", "curious", check=True)
