"""Public names exist, and options are checked where they are written."""

from datetime import timedelta
from typing import Any

import pytest

import mwfs
from mwfs.resources import BadOption


@pytest.mark.parametrize("name", [name for name in mwfs.__all__ if name not in ("BlockingClient", "Client")])
def test_every_public_name_exists(name: str) -> None:
    assert getattr(mwfs, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'operater'"):
        _ = mwfs.operater


@pytest.mark.parametrize(
    ("memory", "size"),
    [("2Gi", 2 * 2**30), ("500M", 500_000_000), ("1.5KiB", 1536), (7, 7), ("0", 0), ("64 Mi", 64 * 2**20)],
)
def test_memory_is_bytes_or_text(memory: str | int, size: int) -> None:
    assert mwfs.Resources(memory=memory).to_proto().memory_bytes == size


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: mwfs.Resources(memory="two gigs"),
        lambda: mwfs.Resources(memory=-1),
        lambda: mwfs.Resources(cpu=0),
        lambda: mwfs.Resources(cpu=float("nan")),
        lambda: mwfs.Resources(gpu=-1),
        lambda: mwfs.Resources(gpu_type="A100"),
        lambda: mwfs.Retry(attempts=0),
        lambda: mwfs.Retry(backoff=-1),
        lambda: mwfs.Retry(factor=0.5),
        lambda: mwfs.operator(timeout=-5),
        lambda: mwfs.operator(on_failure="explode"),
        lambda: mwfs.operator(resources={"cpu": 1}),
        lambda: mwfs.operator("train"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(BadOption):
        wrong()


def test_durations_are_seconds_or_timedeltas() -> None:
    policy = mwfs.Retry(attempts=4, backoff=timedelta(minutes=1), max_backoff=600).to_proto()
    assert (policy.attempts, policy.backoff_seconds, policy.max_backoff_seconds) == (4, 60.0, 600.0)
