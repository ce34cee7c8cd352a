"""When a failed node is tried again, and after how long. (pure)"""

from hashlib import sha256
from math import exp, inf, log
from typing import Final

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_types.limits import MAX_BACKOFF_SECONDS

from .changes import AttemptId

#: Attempts that the platform may lose before the node fails: an operator that kills its host must not go on for ever.
MAX_LOST_ATTEMPTS: Final = 20

#: Trying these again gives the same answer.
_HOPELESS: Final = frozenset(
    {
        events_pb2.FAILURE_KIND_NOT_LOADABLE,
        events_pb2.FAILURE_KIND_BAD_RESULT,
        events_pb2.FAILURE_KIND_LIMIT,
        events_pb2.FAILURE_KIND_ARGUMENTS,
        events_pb2.FAILURE_KIND_COMPILE,
        events_pb2.FAILURE_KIND_CANCELLED,
    }
)


#: How the kinds of failure are named in a policy, beside classes of exceptions.
_KINDS: Final = {
    events_pb2.FAILURE_KIND_RAISED: "raised",
    events_pb2.FAILURE_KIND_EXITED: "exited",
    events_pb2.FAILURE_KIND_TIMED_OUT: "timed_out",
}


def may_retry(policy: dag_pb2.RetryPolicy, tries: int, failure: events_pb2.Failure) -> bool:
    """Whether another attempt is due after `tries` failures of the user's own."""
    if failure.kind in _HOPELESS or tries >= max(1, policy.attempts):
        return False
    plain = failure.error_type.rpartition(".")[2]
    named = {failure.error_type, plain, f"builtins.{plain}", *failure.error_classes, _KINDS.get(failure.kind, "")}
    only = policy.only_errors
    return named.isdisjoint(policy.except_errors) and (not only or not named.isdisjoint(only))


def delay_before(policy: dag_pb2.RetryPolicy, tries: int, attempt: AttemptId) -> float:
    """Seconds to wait before the next attempt, after `tries` failures, the last one that of `attempt`. The same each time that it is asked."""
    factor, most = policy.backoff_factor or 1.0, policy.max_backoff_seconds or MAX_BACKOFF_SECONDS
    # In logarithms: a large factor to a large power is no float.
    grown = log(policy.backoff_seconds) + max(0, tries - 1) * log(factor) if policy.backoff_seconds else -inf
    delay = exp(grown) if grown < log(most) else most
    return delay * (1 - policy.jitter * _share(attempt)) if policy.jitter else delay


def _share(attempt: AttemptId) -> float:
    """From 0 to 1, and another one for each attempt."""
    run_id, node, number = attempt
    digest = sha256(run_id.bytes + f"/{node}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 0xFFFFFFFF
