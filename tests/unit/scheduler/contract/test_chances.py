"""Where hosts stand on which asking those there alone may make room."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from mwfs_scheduler.fair_share.leaving.chances import Chances, Order
from mwfs_scheduler.fair_share.model import Grant, Host, Request, Shape
from mwfs_scheduler.fair_share.state.teams import Team


def test_a_host_stays_where_it_was_put_when_a_branch_above_has_come_to_use_less():
    team = Team("t", None, Fraction(1), 1)
    host = Host(id="n", capacity=[1], free=[0])
    grant = Grant(id="g", request=Request.build(id="g", team=team, shape=Shape(((0, 1),))), start=0, hosts=[host])
    before: Order = (0, ((-2, "org"), (-1, "t")), (0, 0, "g"))
    now: Order = (0, ((-1, "org"), (-1, "t")), (0, 0, "g"))
    on_hosts = SimpleNamespace(earliest=lambda *_, careful: (before, grant, None), order_of=lambda *_: now)
    borrowers: Any = SimpleNamespace(usable={host}, on_hosts=on_hosts)

    chances = Chances(borrowers, ((0, 1),), [host], careful=True)

    assert chances.first() == (now, "n", host)
    assert chances.first() == (now, "n", host)
