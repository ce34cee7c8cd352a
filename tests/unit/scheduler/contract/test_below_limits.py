"""Who is asked to leave below the burst limit of an organisation."""

from __future__ import annotations

from typing import Any

from mwfs_scheduler.fair_share.decide import decide
from mwfs_scheduler.fair_share.model import Request, Shape
from mwfs_scheduler.snapshots import Reader


def organisation(*, waiting: list[dict[str, Any]]) -> dict[str, Any]:
    """`lent` uses two CPUs more than it is promised, and all 8 GPUs that its organisation may use; 65 others run around it."""
    others = [
        {"id": f"other{number:02}", "team": "others", "req": {"cpu": 1}, "on": ["n0" if number < 20 else "n1"]}
        for number in range(65)
    ]
    return {
        "cluster": {"nodes": [{"id": name, "cpu": 64, "gpu": 16} for name in ("n0", "n1")]},
        "teams": [
            {"id": "org", "burst": {"gpu": 8}},
            {"id": "lent", "parent": "org", "guaranteed": {"gpu": 8, "cpu": 8}},
            {"id": "asks", "parent": "org", "guaranteed": {"gpu": 8, "cpu": 8}},
            {"id": "others", "weight": 1},
        ],
        "running": [
            *others,
            {"id": "small", "team": "lent", "req": {"cpu": 2}, "on": ["n0"], "start": 9},
            {"id": "large", "team": "lent", "req": {"gpu": 8, "cpu": 8}, "on": ["n0"], "priority": 5},
        ],
        "pending": waiting,
    }


def leaving(snapshot: dict[str, Any]) -> list[tuple[str, str]]:
    decision = decide(Reader(snapshot).cluster())
    return [(grant.id, request.id) for grant, request in decision.leaving]


def test_the_one_who_has_what_the_limit_lacks_is_found_among_many_on_its_host():
    waits = {"id": "p", "team": "asks", "req": {"gpu": 2, "cpu": 2}}

    assert leaving(organisation(waiting=[waits])) == [("large", "p")]


def test_nobody_leaves_where_too_little_may_be_asked_for_below_the_limit():
    snapshot = organisation(waiting=[{"id": "p", "team": "asks", "req": {"gpu": 2, "cpu": 2}}])
    snapshot["teams"][1]["guaranteed"] = {"gpu": 8, "cpu": 10}

    assert leaving(snapshot) == []


def test_who_is_held_by_a_limit_asks_again_once_another_below_it_is_above_its_guarantee():
    snapshot = organisation(waiting=[{"id": "p", "team": "asks", "req": {"gpu": 2, "cpu": 2}}])
    del snapshot["running"][-2]
    cluster = Reader(snapshot).cluster()
    assert not decide(cluster).leaving

    lent = cluster.teams["lent"]
    cluster.wait(Request.build(id="small", team=lent, shape=Shape(((cluster.resources.index("cpu"), 2),))))

    decision = decide(cluster)
    assert [grant.id for grant in decision.started] == ["small", "p"]
    assert [(grant.id, request.id) for grant, request in decision.leaving] == [("large", "p")]


def test_work_of_the_organisation_itself_leaves_for_a_team_within_its_guarantee_whatever_is_promised_to_the_organisation():
    own = [{"id": f"own{at}", "team": "org", "req": {"gpu": 4}, "on": ["n0"]} for at in range(2)]
    snapshot = {
        "cluster": {"nodes": [{"id": "n0", "gpu": 8}, {"id": "n1", "gpu": 8}]},
        "teams": [
            {"id": "org", "guaranteed": {"gpu": 6}, "burst": {"gpu": 8}},
            {"id": "asks", "parent": "org", "guaranteed": {"gpu": 8}},
        ],
        "running": own,
        "pending": [{"id": "p", "team": "asks", "req": {"gpu": 8}}],
    }

    assert sorted(leaving(snapshot)) == [("own0", "p"), ("own1", "p")]
