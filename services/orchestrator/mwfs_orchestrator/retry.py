"""When a failed node is tried again, and after how long. (pure)"""

from typing import Final

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2

#: Attempts that the platform may lose before the node fails: an operator that kills its host must not go on for ever.
MAX_LOST_ATTEMPTS: Final = 20

#: Trying these again gives the same answer.
_HOPELESS: Final = frozenset(
    {
        events_pb2.FAILURE_KIND_NOT_LOADABLE,
        events_pb2.FAILURE_KIND_BAD_RESULT,
        events_pb2.FAILURE_KIND_LIMIT,
        events_pb2.FAILURE_KIND_CANCELLED,
    }
)


def may_retry(policy: dag_pb2.RetryPolicy, tries: int, failure: events_pb2.Failure) -> bool:
    """Whether another attempt is due after `tries` failures of the user's own."""
    if failure.kind in _HOPELESS or tries >= max(1, policy.attempts):
        return False
    plain = failure.error_type.rpartition(".")[2]
    named = {failure.error_type, plain, f"builtins.{plain}", *failure.error_classes}
    return named.isdisjoint(policy.except_errors)


def delay_before(policy: dag_pb2.RetryPolicy, tries: int) -> float:
    """Seconds to wait before the next attempt, after `tries` failures."""
    delay = policy.backoff_seconds * (policy.backoff_factor or 1.0) ** max(0, tries - 1)
    return min(delay, policy.max_backoff_seconds) if policy.max_backoff_seconds else delay
