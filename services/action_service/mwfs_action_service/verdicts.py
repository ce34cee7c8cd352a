"""What is reported of attempts that ended without an outcome of their own, in words that say what to do next."""

from mwfs_action_service.model import Verdict
from mwfs_action_service.worker_process import describe_exit
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

#: An operator that took too long is caught and retried as if it had raised TimeoutError.
_TIMEOUT_CLASSES = [f"builtins.{cls.__name__}" for cls in TimeoutError.__mro__[:-1]]

CANCELLED = Verdict(
    state=events_pb2.ATTEMPT_STATE_CANCELLED,
    kind=events_pb2.FAILURE_KIND_CANCELLED,
    message="The attempt was stopped.",
)

UNKNOWN = Verdict(
    state=events_pb2.ATTEMPT_STATE_LOST,
    kind=events_pb2.FAILURE_KIND_LOST,
    message="This host knows no such attempt.",
)

SERVICE_STOPPED = Verdict(
    state=events_pb2.ATTEMPT_STATE_LOST,
    kind=events_pb2.FAILURE_KIND_LOST,
    message="The action service was stopped while the attempt was queued or running.",
)


RESTARTED = Verdict(
    state=events_pb2.ATTEMPT_STATE_LOST,
    kind=events_pb2.FAILURE_KIND_LOST,
    message="The action service was restarted while the attempt was running.",
)


def outcome_of(verdict: Verdict) -> action_pb2.Outcome:
    """Without key and worker."""
    failure = events_pb2.Failure(kind=verdict.kind, message=verdict.message, next_step=verdict.next_step, node=-1)
    if verdict.kind == events_pb2.FAILURE_KIND_TIMED_OUT:
        failure.error_type = "TimeoutError"
        failure.error_classes.extend(_TIMEOUT_CLASSES)
    return action_pb2.Outcome(state=verdict.state, failure=failure)


def stale_grant(epoch: int, seen: int) -> Verdict:
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_LOST,
        kind=events_pb2.FAILURE_KIND_LOST,
        message=f"The grant is of scheduler epoch {epoch}, and this host has seen epoch {seen}: the grant is void.",
    )


def unknown_operator(number: int) -> Verdict:
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_FAILED,
        kind=events_pb2.FAILURE_KIND_NOT_LOADABLE,
        message=f"The launch names operator {number}, which this stream has not described.",
        next_step="This is a defect of the orchestrator: report it with the logs of both services.",
    )


def too_many_gpus(wanted: int, total: int) -> Verdict:
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_FAILED,
        kind=events_pb2.FAILURE_KIND_LIMIT,
        message=f"The attempt asks for {wanted} GPUs, and this host declares {total}.",
        next_step="Ask for fewer, or declare more with MWFS_GPUS.",
    )


def preempted(reason: str, checkpoint: events_pb2.Checkpoint | None) -> Verdict:
    kept = "It had kept no checkpoint" if checkpoint is None else f"It had kept a checkpoint at step {checkpoint.step}"
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_PREEMPTED,
        kind=events_pb2.FAILURE_KIND_PREEMPTED,
        message=f"The attempt made room: {reason.rstrip('.') or 'others were to have it'}. {kept}.",
        next_step="It is tried again when there is room, and goes on from its last checkpoint.",
    )


def timed_out(seconds: float) -> Verdict:
    return _too_long(
        f"The attempt ran longer than its timeout of {seconds:g} s and was stopped.",
        "Give the operator a longer timeout, or less to do.",
    )


def not_begun(seconds: float) -> Verdict:
    return _too_long(
        f"The attempt had not begun {seconds:g} s after it came to its host: it waited for a worker or GPU, or for its code to load.",
        "Give the operator a longer start_timeout; `mwfs logs` shows what it printed while it was loaded.",
    )


def silent(seconds: float) -> Verdict:
    return _too_long(
        f"The attempt gave no sign of life for its heartbeat_timeout of {seconds:g} s and was stopped.",
        "Call mwfs.heartbeat() more often, or give the operator a longer heartbeat_timeout.",
    )


def _too_long(message: str, next_step: str) -> Verdict:
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_TIMED_OUT,
        kind=events_pb2.FAILURE_KIND_TIMED_OUT,
        message=message,
        next_step=next_step,
    )


def too_much_output(size: int, limit: int) -> Verdict:
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_FAILED,
        kind=events_pb2.FAILURE_KIND_LIMIT,
        message=f"The attempt wrote {size:,} bytes to stdout and stderr, more than the {limit:,} allowed, and was stopped.",
        next_step="Print less, or write to a File output.",
    )


def exited(code: int, last_lines: str) -> Verdict:
    """The worker process ended in the middle of the attempt."""
    message = f"The operator ended its worker process with {describe_exit(code)} instead of returning."
    if last_lines:
        message += f"\nLast lines of its output:\n{last_lines}"
    if code == -9:
        next_step = (
            "Signal 9 from outside is most often the kernel when memory runs out: ask for more memory, or use less."
        )
    elif code < 0:
        next_step = "A native library crashed, or something sent the signal; `mwfs logs` shows all of the output."
    else:
        next_step = "Raise an exception to fail, and return to succeed; do not call os._exit in an operator."
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_FAILED,
        kind=events_pb2.FAILURE_KIND_EXITED,
        message=message,
        next_step=next_step,
    )


def workers_do_not_start(code: int, last_lines: str) -> Verdict:
    return Verdict(
        state=events_pb2.ATTEMPT_STATE_FAILED,
        kind=events_pb2.FAILURE_KIND_NOT_LOADABLE,
        message=f"Worker processes end with {describe_exit(code)} before they are ready.\n{last_lines}".rstrip(),
        next_step="The Python environment of the action service is broken: `python -m mwfs_action_service.worker` shows how.",
    )
