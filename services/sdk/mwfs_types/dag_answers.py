"""What a control node is told of the instances of its last patch, and what it may answer. (pure)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.growth import failure_of
from mwfs_types.limits import MAX_COLLECTED_BYTES

Value = types_pb2.Value
Failure = events_pb2.Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an instance ended: with a value, or with the failures of its nodes, lowest node first."""

    value: Value | None = None
    failures: tuple[Failure, ...] = ()
    #: It was cancelled before it had ended by itself: only of a TRY that has a cleanup to run.
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Grow:
    """Append these nodes to the run, and ask again when they have ended."""

    patch: dag_pb2.DagPatch


@dataclass(frozen=True, slots=True)
class Done:
    """The node has succeeded; what of its patch has not ended is cancelled."""

    value: Value
    #: Of a dynamic operator with several outputs: all but the first.
    more: tuple[Value, ...] = ()

    @property
    def values(self) -> tuple[Value, ...]:
        """One for each output of the node."""
        return self.value, *self.more


@dataclass(frozen=True, slots=True)
class Failed:
    """The node has failed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is decided yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """The node waits for a signal, whose payload is its value, or only for time."""

    #: Its name; empty: only time.
    signal: str = ""
    #: How long; 0: for ever.
    seconds: float


Step = Grow | Done | Failed | Wait | Await
Outcomes = Sequence[Outcome | None]


def collected(values: Sequence[Value]) -> Done | Failed:
    """All values as one list, which must not be too large."""
    size = sum(value.ByteSize() for value in values)
    return Done(list_of(values)) if size <= MAX_COLLECTED_BYTES else too_large()


def too_large() -> Failed:
    message = f"its results have more than {MAX_COLLECTED_BYTES:,} bytes together"
    return Failed(failure_of("GrowthLimit", message, "Write results to files, and pass these on."))


def list_of(values: Sequence[Value]) -> Value:
    return Value(list=types_pb2.ListValue(items=values))


def values_of(outcomes: Outcomes) -> list[Value]:
    """Of those instances that have ended with one."""
    return [outcome.value for outcome in outcomes if outcome is not None and outcome.value is not None]


def failed_of(outcomes: Outcomes) -> Failed | None:
    """None: no instance has failed."""
    failed = [outcome for outcome in outcomes if outcome is not None and outcome.value is None]
    return first_failure(failed) if failed else None


def first_failure(failed: Sequence[Outcome]) -> Failed:
    return Failed(failed[0].failures[0])
