"""What quotas come to on a cluster, and what a change of them says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from mwfs_scheduler.quotas import BadQuotas, Quotas, TeamQuota
from mwfs_scheduler.team_quotas.changes import Change, changed, differences
from mwfs_scheduler.team_quotas.figures import Figures, Load


def team(name: str, **given: Any) -> TeamQuota:
    return TeamQuota(team=name, **given)


def figures(*teams: TeamQuota, **load: Any) -> Figures:
    return Figures(Quotas(version=1, teams=teams), Load(**load))


ORG = (team("org"), team("ads", parent="org", guaranteed={"gpu": 6}), team("ml", parent="org", guaranteed={"gpu": 2}))


def test_a_parent_that_is_not_governed_is_promised_what_those_below_are() -> None:
    found = figures(*ORG, capacity={"gpu": 8})
    assert found.counted("org") == {"gpu": 8}
    assert found.notes() == []


def test_guarantees_above_the_cluster_count_in_proportion() -> None:
    found = figures(*ORG, team("lone", guaranteed={"gpu": 8, "cpu": 1000}), capacity={"gpu": 8, "cpu": 4000})
    assert [found.counted(name) for name in ("org", "ads", "ml")] == [{"gpu": 4}, {"gpu": 3}, {"gpu": 1}]
    assert found.counted("lone") == {"gpu": 4, "cpu": 1000}
    assert found.notes() == [
        "Guarantees of gpu add up to 16 and the cluster has 8: each counts 50 % of what is written."
    ]


def test_without_hosts_no_guarantee_counts() -> None:
    found = figures(*ORG)
    assert found.counted("ads") == {"gpu": 0}
    assert found.notes() == ["No host is connected: no guarantee counts at present."]
    assert figures(team("free")).notes() == []


def test_a_team_uses_what_those_below_use() -> None:
    found = figures(*ORG, held={"ads": {"gpu": 3}, "ml": {"gpu": 1}, "guest": {"cpu": 500}}, waiting={"ml": 7})
    assert found.in_use == {"org": {"gpu": 4}, "ads": {"gpu": 3}, "ml": {"gpu": 1}, "guest": {"cpu": 500}}
    assert found.waiting == {"org": 7, "ml": 7}
    assert found.teams == ["ads", "guest", "ml", "org"]


def test_a_cut_below_what_runs_is_said() -> None:
    new = team("ads", guaranteed={"gpu": 2, "cpu": 1000}, burst={"gpu": 3})
    found = figures(new, capacity={"gpu": 8, "cpu": 8000}, held={"ads": {"gpu": 5}})
    [burst, guarantee] = found.notes_on([Change(team="ads", old=None, new=new)])
    assert burst.startswith("Team ads uses gpu 5, above its burst limit of gpu 3: what runs goes on")
    assert guarantee.startswith("Team ads uses gpu 5 and is guaranteed gpu 2: what runs goes on")
    [removed] = figures(held={"ads": {"gpu": 5}}).notes_on([Change(team="ads", old=new, new=None)])
    assert removed.startswith("Team ads uses gpu 5: what runs goes on")


def test_a_quota_above_what_runs_says_nothing() -> None:
    new = team("ads", guaranteed={"gpu": 5, "cpu": 1000}, burst={"gpu": 5})
    found = figures(new, capacity={"gpu": 8, "cpu": 8000}, held={"ads": {"gpu": 5}})
    assert found.notes_on([Change(team="ads", old=None, new=new)]) == []


def test_a_guarantee_that_cannot_count_in_full_is_said() -> None:
    org, ads = (
        team("org", guaranteed={"gpu": 4, "cpu": 1000}),
        team("ads", parent="org", guaranteed={"gpu": 6, "cpu": 1000}, burst={"gpu": 5}),
    )
    found = figures(org, ads, capacity={"gpu": 8, "cpu": 8000})
    [beyond, parent] = found.notes_on([Change(team="ads", old=None, new=ads)])
    assert beyond == "The guarantee of team ads of gpu 6 is above its burst limit, and counts only up to that."
    assert parent.startswith("The teams below org are guaranteed gpu 6, and org itself gpu 4")


def test_a_change_replaces_adds_and_removes() -> None:
    old = Quotas(version=4, teams=ORG)
    new = changed(old, [team("ads", parent="org", guaranteed={"gpu": 8}), team("new")], ["ml"])
    assert new.version == 5
    assert [quota.team for quota in new.teams] == ["ads", "new", "org"]
    assert [(change.team, change.old is None, change.new is None) for change in differences(old, new)] == [
        ("ads", False, False),
        ("ml", False, True),
        ("new", True, False),
    ]


def test_a_guarantee_without_cores_takes_nothing_back_and_that_is_said() -> None:
    new = team("ads", guaranteed={"gpu": 2})
    found = figures(new, capacity={"gpu": 8, "cpu": 8000})
    [note] = found.notes_on([Change(team="ads", old=None, new=new)])
    assert note.startswith("Team ads is guaranteed gpu 2 and no cores.")
    assert "add cpu=" in note
    nothing = team("ads", guaranteed={"gpu": 0})
    assert found.notes_on([Change(team="ads", old=None, new=nothing)]) == []


def test_another_spelling_is_no_change() -> None:
    old = Quotas(teams=(team("ads", guaranteed={"gpu": 1}),))
    assert differences(old, changed(old, [team("ads", guaranteed={"gpu": 1, "cpu": 0}, burst={})], [])) == ()
    ungoverned = Quotas(teams=(team("ads"),))
    assert len(differences(ungoverned, changed(ungoverned, [team("ads", guaranteed={})], []))) == 1


@pytest.mark.parametrize(
    ("set_", "removed", "says"),
    [
        ([team("ads"), team("ads")], [], "'ads' is there twice"),
        ([team("ads")], ["ads"], "'ads' is there twice"),
        ([], ["nobody"], "'nobody' has no quota that could be removed"),
        ([], ["a\0b"], "cannot be the name"),
        ([], ["org"], "has the parent 'org', which is not there"),
        ([team("org", parent="ads")], [], "circle"),
    ],
)
def test_a_change_that_makes_no_tree_is_refused(set_: list[TeamQuota], removed: list[str], says: str) -> None:
    with pytest.raises(BadQuotas) as caught:
        changed(Quotas(teams=ORG), set_, removed)
    assert says in caught.value.message
