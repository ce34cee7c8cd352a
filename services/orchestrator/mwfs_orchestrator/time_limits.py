"""How long nodes may take to stop or to make room, and what is said of those that took too long without an attempt. (pure)"""

from typing import Final

from mwfs_api.events.v1 import events_pb2

#: As if the operator had raised TimeoutError: so it is retried and caught.
_CLASSES: Final = [f"builtins.{cls.__name__}" for cls in TimeoutError.__mro__[:-1]]

#: An attempt that was told to stop and says nothing for so long is given up: its run must end.
STOP_SECONDS: Final = 60.0
#: More than any grace, and in milliseconds still a number that the messages take.
_MOST_GRACE_S: Final = 30.0 * 86_400


def never_stopped(node: int) -> events_pb2.Failure:
    """An attempt did not answer when it was told to stop."""
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_LOST,
        error_type="NeverStopped",
        message=f"The attempt was told to stop and its host did not say within {STOP_SECONDS:g} s that it has.",
        next_step="Look at its host: it may run on there until the host is reached again.",
        node=node,
    )


def never_made_room(node: int) -> events_pb2.Failure:
    """An attempt did not end when it had to make room."""
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_LOST,
        error_type="NeverStopped",
        message=f"The attempt had to make room, and its host did not say within {STOP_SECONDS:g} s after its time that it has.",
        next_step="Look at its host: it may run on there until the host is reached again.",
        node=node,
    )


def waited_too_long(node: int, seconds: float) -> events_pb2.Failure:
    """A node found no room in time."""
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_TIMED_OUT,
        error_type="TimeoutError",
        error_classes=_CLASSES,
        message=f"The node waited longer than its queue_timeout of {seconds:g} s for room to run.",
        next_step="`mwfs runs show RUN` says what it waits for; give it a longer queue_timeout, or ask for less.",
        node=node,
    )


def left_until(deadline_us: int, now: int) -> float:
    """Seconds left to make room. The wall clock may have jumped since the deadline was set: never more than 30 days."""
    return min(max(0.0, (deadline_us - now) / 1e6), _MOST_GRACE_S)
