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
        lambda: mwfs.Retry(jitter=1.5),
        lambda: mwfs.Retry(jitter=float("nan")),
        lambda: mwfs.Retry(only_errors=("sometimes",)),  # type: ignore[arg-type]
        lambda: mwfs.Retry(except_errors=ValueError),  # type: ignore[arg-type]
        lambda: mwfs.Retry(except_errors=(int,)),  # type: ignore[arg-type]
        lambda: mwfs.operator(queue_timeout=-1),
        lambda: mwfs.operator(start_timeout=float("inf")),
        lambda: mwfs.operator(heartbeat_timeout=timedelta(days=400)),
        lambda: mwfs.operator(priority=1_000_001),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(BadOption):
        wrong()


def test_durations_are_seconds_or_timedeltas() -> None:
    policy = mwfs.Retry(attempts=4, backoff=timedelta(minutes=1), max_backoff=600).to_proto()
    assert (policy.attempts, policy.backoff_seconds, policy.max_backoff_seconds) == (4, 60.0, 600.0)


@mwfs.operator(
    queue_timeout=timedelta(hours=1),
    start_timeout=60,
    heartbeat_timeout=5,
    retry=mwfs.Retry(only_errors=(ConnectionError, "exited"), except_errors=("timed_out",), jitter=0.2),
)
def patient(x: int) -> int:
    mwfs.heartbeat()
    return x


def test_limits_of_time_and_what_is_retried_travel_with_the_operator() -> None:
    row = patient.to_proto([0], [0])
    assert (row.queue_timeout_seconds, row.start_timeout_seconds, row.heartbeat_timeout_seconds) == (3600, 60, 5)
    assert row.retry.only_errors == ["builtins.ConnectionError", "exited"]
    assert row.retry.except_errors == ["timed_out"]
    assert row.retry.jitter == 0.2
    assert patient.with_options(queue_timeout=7).to_proto([0], [0]).queue_timeout_seconds == 7


def test_a_heartbeat_does_nothing_where_nobody_listens() -> None:
    assert patient(3) == 3
