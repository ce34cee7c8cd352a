"""When a failed node is tried again."""

from uuid import UUID

import pytest

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.retry import delay_before, may_retry

ATTEMPT = (UUID(int=1), 0, 1)
RAISED = events_pb2.Failure(kind=events_pb2.FAILURE_KIND_RAISED, error_type="ValueError")


def test_attempts_count_the_first_one() -> None:
    policy = dag_pb2.RetryPolicy(attempts=3)
    assert [may_retry(policy, tries, RAISED) for tries in (1, 2, 3)] == [True, True, False]
    assert not may_retry(dag_pb2.RetryPolicy(), 1, RAISED)


@pytest.mark.parametrize("named", ["ValueError", "builtins.ValueError"])
def test_named_errors_are_not_tried_again(named: str) -> None:
    assert not may_retry(dag_pb2.RetryPolicy(attempts=3, except_errors=[named]), 1, RAISED)


def test_a_named_base_class_counts_for_all_its_subclasses() -> None:
    missing = events_pb2.Failure(error_type="KeyError", error_classes=["builtins.KeyError", "builtins.LookupError"])
    assert not may_retry(dag_pb2.RetryPolicy(attempts=3, except_errors=["builtins.LookupError"]), 1, missing)


def test_what_cannot_get_better_is_not_tried_again() -> None:
    hopeless = events_pb2.Failure(kind=events_pb2.FAILURE_KIND_NOT_LOADABLE)
    assert not may_retry(dag_pb2.RetryPolicy(attempts=3), 1, hopeless)


def test_waits_grow_by_the_factor_up_to_the_bound() -> None:
    policy = dag_pb2.RetryPolicy(attempts=9, backoff_seconds=2, backoff_factor=3, max_backoff_seconds=20)
    assert [delay_before(policy, tries, ATTEMPT) for tries in (1, 2, 3, 4)] == pytest.approx([2, 6, 18, 20])
    assert delay_before(dag_pb2.RetryPolicy(), 5, ATTEMPT) == 0


def test_only_named_failures_are_tried_again() -> None:
    policy = dag_pb2.RetryPolicy(attempts=3, only_errors=["builtins.OSError", "exited"])
    refused = events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_RAISED,
        error_type="ConnectionError",
        error_classes=["builtins.ConnectionError", "builtins.OSError"],
    )
    assert may_retry(policy, 1, refused)
    assert may_retry(policy, 1, events_pb2.Failure(kind=events_pb2.FAILURE_KIND_EXITED))
    assert not may_retry(policy, 1, RAISED)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (events_pb2.FAILURE_KIND_RAISED, "raised"),
        (events_pb2.FAILURE_KIND_EXITED, "exited"),
        (events_pb2.FAILURE_KIND_TIMED_OUT, "timed_out"),
    ],
)
def test_kinds_of_failure_are_named_like_errors(kind: "events_pb2.FailureKind.ValueType", name: str) -> None:
    failure = events_pb2.Failure(kind=kind)
    assert not may_retry(dag_pb2.RetryPolicy(attempts=3, except_errors=[name]), 1, failure)
    assert may_retry(dag_pb2.RetryPolicy(attempts=3, only_errors=[name]), 1, failure)


def test_jitter_takes_a_share_that_is_the_same_each_time_and_another_for_each_attempt() -> None:
    policy = dag_pb2.RetryPolicy(attempts=3, backoff_seconds=10, jitter=0.5)
    waits = [delay_before(policy, 1, (UUID(int=1), node, 1)) for node in range(100)]
    assert waits == [delay_before(policy, 1, (UUID(int=1), node, 1)) for node in range(100)]
    assert len(set(waits)) == 100
    assert 5 <= min(waits) < 6 < 9 < max(waits) <= 10


def test_no_policy_gives_a_wait_without_bound() -> None:
    absurd = dag_pb2.RetryPolicy(attempts=1000, backoff_seconds=1e6, backoff_factor=1000)
    assert delay_before(absurd, 999, ATTEMPT) == 30 * 86_400
    assert delay_before(dag_pb2.RetryPolicy(backoff_factor=1000), 999, ATTEMPT) == 0
