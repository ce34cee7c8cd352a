"""A tree of teams that cannot be right is refused with the team and what would do."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import grpc
import pytest

from mwfs_scheduler.quotas import MAX_DEPTH, MAX_TEAMS, BadQuotas, Quotas, TeamQuota, check, parents_first


def tree(*teams: TeamQuota) -> Quotas:
    return Quotas(version=1, teams=teams)


def team(name: str = "ads", **given: Any) -> TeamQuota:
    return TeamQuota(team=name, **given)


@pytest.mark.parametrize(
    ("quotas", "says"),
    [
        (
            tree(
                team(""),
            ),
            "cannot be the name",
        ),
        (tree(team("a\nb")), "cannot be the name"),
        (tree(team("a/b")), "cannot be the name"),
        (tree(team(" ads")), "cannot be the name"),
        (tree(team("a" * 129)), "cannot be the name"),
        (tree(team(parent="")), "cannot be the name"),
        (tree(team(), team()), "'ads' is there twice"),
        (tree(team(parent="ads")), "its own parent"),
        (tree(team(parent="org")), "'ads' has the parent 'org', which is not there"),
        (tree(team("a", parent="b"), team("b", parent="c"), team("c", parent="a")), "circle: a → b → c → a"),
        (tree(team("d", parent="a"), team("a", parent="b"), team("b", parent="a")), "circle: a → b → a"),
        (tree(team(weight=Fraction(0))), "weight is above 0"),
        (tree(team(weight=Fraction(-1))), "weight is above 0"),
        (tree(team(weight=Fraction(10**7))), "weight is above 0"),
        (tree(team(weight=Fraction(1, 3))), "at most six decimal places"),
        (tree(team(guaranteed={"gpu": -1})), "guarantee: the amount of gpu must be between 0 and 1,000,000; found -1"),
        (tree(team(burst={"cpu": 10**13})), "burst limit: the amount of cpu must be between 0 and"),
        (tree(team(burst={"memory": 1 << 61})), "the amount of memory must be between"),
        (tree(team(burst={"gpu:h100": 10**7})), "the amount of gpu:h100 must be between"),
        (tree(team(guaranteed={"gpu": float("nan")})), "must be a whole number of its unit; found nan"),
        (tree(team(guaranteed={"gpu": float("inf")})), "must be a whole number of its unit; found inf"),
        (tree(team(guaranteed={"gpu": True})), "must be a whole number of its unit; found True"),
        (tree(team(guaranteed={"gpus": 1})), "There is no resource 'gpus'"),
        (tree(team(guaranteed={"gpu:": 1})), "There is no resource 'gpu:'"),
        (tree(team(guaranteed={"cpu:fast": 1})), "There is no resource 'cpu:fast'"),
        (tree(team(guaranteed={"gpu:h 100": 1})), "There is no resource 'gpu:h 100'"),
        (tree(team(guaranteed={f"gpu:t{at}": 1 for at in range(65)})), "at most 64 resources; found 65"),
        (tree(*(team(f"t{at}") for at in range(MAX_TEAMS + 1))), "There can be 10,000 teams with quotas; found 10,001"),
        (
            tree(team("t0"), *(team(f"t{at}", parent=f"t{at - 1}") for at in range(1, MAX_DEPTH + 1))),
            f"'t{MAX_DEPTH}' stands more than {MAX_DEPTH} levels deep",
        ),
    ],
)
def test_what_is_wrong_is_refused(quotas: Quotas, says: str) -> None:
    with pytest.raises(BadQuotas) as caught:
        check(quotas)
    assert says in caught.value.message
    assert caught.value.next_step
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_tree_may_promise_more_than_it_has() -> None:
    check(
        tree(
            team("org", guaranteed={"gpu": 4}, burst={"gpu": 2}, weight=Fraction(1, 10**6)),
            team("ads", parent="org", guaranteed={"gpu": 8, "gpu:h100": 8, "cpu": 0}, burst={}),
            team("ml", parent="org", guaranteed={}, weight=Fraction(5, 2)),
        )
    )


def test_a_long_circle_is_found_in_one_walk() -> None:
    count = MAX_TEAMS
    with pytest.raises(BadQuotas, match="circle"):
        check(tree(*(team(f"t{at}", parent=f"t{(at + 1) % count}") for at in range(count))))


def test_parents_come_first_whatever_the_order() -> None:
    teams = [team("a", parent="m"), team("b"), team("m", parent="z"), team("z"), team("c", parent="m")]
    assert [each.team for each in parents_first(teams)] == ["b", "z", "m", "a", "c"]
    assert parents_first(reversed(teams)) == parents_first(teams)
