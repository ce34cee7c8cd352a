"""When a failed node is tried again."""

import pytest

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.retry import delay_before, may_retry

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
    assert [delay_before(policy, tries) for tries in (1, 2, 3, 4)] == [2, 6, 18, 20]
    assert delay_before(dag_pb2.RetryPolicy(), 5) == 0
