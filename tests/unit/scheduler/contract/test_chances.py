"""Where hosts stand on which asking those there alone may make room."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from mwfs_scheduler.fair_share.leaving.chances import Chances
from mwfs_scheduler.fair_share.leaving.on_hosts import OnHosts
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.state.changes import Changes
from mwfs_scheduler.fair_share.state.teams import Team, leaving_place

NEEDS = ((0, 1),)


class Hall:
    """Full hosts of one resource, each with a grant of one for each of some teams."""

    def __init__(self, hosts: Mapping[str, list[Team]], *, needs: tuple[tuple[int, int], ...] = NEEDS) -> None:
        self.hosts = {id: Host(id=id, capacity=[len(teams)], free=[0]) for id, teams in hosts.items()}
        self.grants: dict[Team, list[Grant]] = {}
        for id, teams in hosts.items():
            for at, team in enumerate(teams):
                request = Request.build(id=f"{team.id}{at}@{id}", team=team, shape=Shape(NEEDS))
                grant = Grant(id=request.id, request=request, start=0, hosts=[self.hosts[id]])
                self.hosts[id].grants[grant] = 1
                self.grants.setdefault(team, []).append(grant)
        there = [grant for grants in self.grants.values() for grant in grants]
        self._on_hosts = OnHosts({}, {grant: (leaving_place(grant), True) for grant in there}, 0)
        self._on_hosts.forget(self.hosts.values())
        self._grown: Changes[Team] = Changes()
        borrowers: Any = SimpleNamespace(
            usable=set(self.hosts.values()),
            hosts=self.hosts.values,
            on_hosts=self._on_hosts,
            of_team=lambda team: self.grants[team],
            better=Changes(),
            grown=self._grown,
        )
        self.chances = Chances(borrowers, needs, careful=True)

    def first(self) -> str | None:
        found = self.chances.first()
        return None if found is None else found[2].id

    def uses(self, team: Team, amount: int, *, grown: bool = False) -> None:
        """The team uses so much of what it is above its guarantee by."""
        team.settled[0] = amount
        self._on_hosts.forget_shares([team])
        if grown:
            self._grown.note(team)


def team_of(id: str, uses: int, parent: Team | None = None) -> Team:
    team = Team(id, parent, Fraction(1), 1)
    team.unit, team.settled = [1], [uses]
    if parent is not None:
        parent.children.append(team)
    return team


def test_a_host_comes_first_whose_work_is_of_the_team_that_is_most_above_its_guarantee():
    much, little = team_of("much", 5), team_of("little", 3)

    hall = Hall({"n1": [little], "n2": [much]})

    assert hall.first() == "n2"


def test_a_host_comes_later_when_the_team_whose_work_is_there_uses_less():
    much, little = team_of("much", 5), team_of("little", 3)
    hall = Hall({"n1": [little], "n2": [much]})
    assert hall.first() == "n2"

    hall.uses(much, 2)

    assert hall.first() == "n1"


def test_a_host_comes_no_later_than_by_the_work_of_another_team_there():
    much, more, little = team_of("much", 5), team_of("more", 4), team_of("little", 3)
    hall = Hall({"n1": [little], "n2": [much, more]})
    assert hall.first() == "n2"

    hall.uses(much, 2)

    assert hall.first() == "n2"


def test_a_host_comes_earlier_when_the_team_whose_work_is_there_uses_more():
    much, little = team_of("much", 5), team_of("little", 3)
    hall = Hall({"n1": [little], "n2": [much]})
    assert hall.first() == "n2"

    hall.uses(little, 7, grown=True)

    assert hall.first() == "n1"


def test_a_host_stands_where_all_have_left_of_whom_a_member_needs_the_room():
    most, much, little = team_of("most", 6), team_of("much", 5), team_of("little", 3)

    hall = Hall({"n1": [most, little], "n2": [much, much]}, needs=((0, 2),))

    assert hall.first() == "n2"


def test_a_host_stays_where_it_is_when_a_branch_above_has_come_to_use_less():
    org = team_of("org", 5)
    one, other = team_of("one", 3, org), team_of("other", 4)
    hall = Hall({"n1": [one], "n2": [other]})
    assert hall.first() == "n1"

    hall.uses(org, 3)

    assert [hall.first(), hall.first()] == ["n2", "n2"]


def test_a_host_where_asking_was_in_vain_comes_again_when_a_team_there_uses_more():
    team = team_of("t", 3)
    hall = Hall({"n1": [team]})
    assert hall.first() == "n1"
    hall.chances.set_aside(hall.hosts["n1"])
    hall.chances.ask_no_more(hall.hosts["n1"])
    hall.chances.put_back()
    assert hall.first() is None

    hall.uses(team, 4, grown=True)

    assert hall.first() == "n1"


def test_a_host_that_was_set_aside_comes_again_when_it_is_put_back():
    hall = Hall({"n1": [team_of("t", 3)]})
    hall.chances.set_aside(hall.hosts["n1"])
    assert hall.first() is None

    hall.chances.put_back()

    assert hall.first() == "n1"


def test_a_team_that_came_under_the_name_of_another_stands_beside_it():
    hall = Hall({"n1": [team_of("t", 3)], "n2": [team_of("t", 3)]})

    assert hall.first() == "n1"
