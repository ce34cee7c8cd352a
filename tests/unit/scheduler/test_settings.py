"""The knobs of a running service."""

from __future__ import annotations

import pytest

from mwfs_chassis.errors import FailedPrecondition
from mwfs_scheduler.fair_share.model import Knobs
from mwfs_scheduler.settings import RUNNING, knobs_from_env


def test_nothing_set_is_how_a_service_starts() -> None:
    assert knobs_from_env() == RUNNING == Knobs(backfill="easy", half_life_s=3600, grace_s=30, rank=True)


def test_each_knob_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "RECLAIM_PRIORITY": "lower",
        "FAIR_PREEMPTION": "on",
        "SHARE_BASIS": "total",
        "GRACE_S": "0",
        "MIN_RUNTIME_S": "60",
        "MAX_PREEMPTIONS_PER_JOB": "2",
        "RANK": "off",
        "BACKFILL": "none",
        "AGING_BOUND_S": "900",
        "HALF_LIFE_S": "none",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"MWFS_SCHEDULER_{name}", value)
    assert knobs_from_env() == Knobs(
        reclaim_priority="lower",
        fair_preemption=True,
        share_basis="total",
        grace_s=0,
        min_runtime_s=60,
        max_preemptions_per_job=2,
        rank=False,
        backfill="none",
        aging_bound_s=900,
        half_life_s=None,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRACE_S", "-1"),
        ("GRACE_S", "soon"),
        ("GRACE_S", "9" * 30),
        ("GRACE_S", "none"),
        ("HALF_LIFE_S", "0"),
        ("HALF_LIFE_S", "1.5"),
        ("BACKFILL", "hard"),
        ("RANK", "yes"),
    ],
)
def test_what_is_no_value_is_refused_with_what_would_be(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MWFS_SCHEDULER_{name}", value)
    with pytest.raises(FailedPrecondition, match=f"MWFS_SCHEDULER_{name} must be .*; found"):
        knobs_from_env()
