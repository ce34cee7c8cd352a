"""States, times and sizes in words."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from mwfs_api.events.v1 import events_pb2

COLOURS = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "UPSTREAM_FAILED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "RUNNING": "cyan",
    "FINISHING": "cyan",
    "WAITING": "magenta",
}


def run_state(state: int) -> str:
    return _name(events_pb2.RunState, state, "RUN_STATE_")


def node_state(state: int) -> str:
    return _name(events_pb2.NodeState, state, "NODE_STATE_")


def attempt_state(state: int) -> str:
    return _name(events_pb2.AttemptState, state, "ATTEMPT_STATE_")


def event_kind(kind: int) -> str:
    return _name(events_pb2.EventKind, kind, "EVENT_KIND_")


def failure_kind(kind: int) -> str:
    return _name(events_pb2.FailureKind, kind, "FAILURE_KIND_")


def waiting_reason(reason: int) -> str:
    """`waiting_for_capacity`."""
    from mwfs_api.scheduler.v1 import scheduler_pb2

    return _name(scheduler_pb2.WaitingReason, reason, "WAITING_REASON_").lower()


def _name(enum: object, number: int, prefix: str) -> str:
    try:
        name: str = enum.Name(number)  # type: ignore[attr-defined]
    except ValueError:  # of a newer platform
        return str(number)
    return name.removeprefix(prefix)


def coloured(state: str) -> str:
    """A state with its colour as rich markup's ANSI, for table cells."""
    codes = {"green": 32, "red": 31, "yellow": 33, "cyan": 36, "magenta": 35}
    colour = COLOURS.get(state)
    return f"\x1b[{codes[colour]}m{state}\x1b[0m" if colour else state


def iso_time(time_us: int) -> str | None:
    """UTC, for programs; None when it has not happened yet."""
    if not time_us:
        return None
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def ago(time_us: int) -> str:
    """How long ago, for people."""
    if not time_us:
        return ""
    seconds = max(time.time() - time_us / 1e6, 0.0)
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds / size)} {unit} ago"
    return f"{int(seconds / 86_400)} days ago"


def duration(seconds: float) -> str:
    """A length of time: 3.2 ms, 1.5 s, 2 min 3 s."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Bytes: 312 B, 4.1 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def counted(count: int, what: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def operator_name(ref: str) -> str:
    """`train` of `my_project.flows:train`."""
    return ref.rpartition(":")[2]
