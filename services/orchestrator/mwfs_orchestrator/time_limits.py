"""What is said of nodes that took too long without an attempt. (pure)"""

from typing import Final

from mwfs_api.events.v1 import events_pb2

#: As if the operator had raised TimeoutError: so it is retried and caught.
_CLASSES: Final = [f"builtins.{cls.__name__}" for cls in TimeoutError.__mro__[:-1]]

#: An attempt that was told to stop and says nothing for so long is given up: its run must end.
STOP_SECONDS: Final = 60.0


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
