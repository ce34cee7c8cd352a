"""What the events of a run add up to: its state, its nodes and its attempts. Pure; the meaning of the event stream."""

# Columns instead of objects: a run of a million nodes has two million events, and this runs when somebody looks at it.

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mwfs_api.events.v1 import events_pb2 as pb

Column: TypeAlias = NDArray[np.int64]
RunState: TypeAlias = "pb.RunState.ValueType"
NodeState: TypeAlias = "pb.NodeState.ValueType"

#: Events that carry when and where a body ran.
BODY_KINDS = frozenset(
    {
        pb.EVENT_KIND_NODE_SUCCEEDED,
        pb.EVENT_KIND_NODE_FAILED,
        pb.EVENT_KIND_NODE_RETRIED,
        pb.EVENT_KIND_NODE_GREW,
    }
)

#: Where an event of the run itself takes the run. RUN_REVIVED and RUN_RESUMED depend on whether the Dag is known.
RUN_STATE_AFTER: dict[int, RunState] = {
    pb.EVENT_KIND_RUN_ACCEPTED: pb.RUN_STATE_ACCEPTED,
    pb.EVENT_KIND_RUN_COMPILING: pb.RUN_STATE_COMPILING,
    pb.EVENT_KIND_RUN_STARTED: pb.RUN_STATE_RUNNING,
    pb.EVENT_KIND_RUN_PAUSED: pb.RUN_STATE_PAUSED,
    pb.EVENT_KIND_RUN_CANCELLING: pb.RUN_STATE_CANCELLING,
    pb.EVENT_KIND_RUN_SUCCEEDED: pb.RUN_STATE_SUCCEEDED,
    pb.EVENT_KIND_RUN_FAILED: pb.RUN_STATE_FAILED,
    pb.EVENT_KIND_RUN_CANCELLED: pb.RUN_STATE_CANCELLED,
}
RUN_ENDED = frozenset({pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED})

#: Where an event takes its node. After NODE_RETRIED, NODE_GREW and NODE_WAITING it is open: PENDING stands for PENDING, READY and WAITING, which
#: no event tells apart.
NODE_STATE_AFTER: dict[int, NodeState] = {
    pb.EVENT_KIND_NODE_STARTED: pb.NODE_STATE_RUNNING,
    pb.EVENT_KIND_NODE_SUCCEEDED: pb.NODE_STATE_SUCCEEDED,
    pb.EVENT_KIND_NODE_FAILED: pb.NODE_STATE_FAILED,
    pb.EVENT_KIND_NODE_CANCELLED: pb.NODE_STATE_CANCELLED,
    pb.EVENT_KIND_NODE_UPSTREAM_FAILED: pb.NODE_STATE_UPSTREAM_FAILED,
    pb.EVENT_KIND_NODE_SKIPPED: pb.NODE_STATE_SKIPPED,
    pb.EVENT_KIND_NODE_RETRIED: pb.NODE_STATE_PENDING,
    pb.EVENT_KIND_NODE_GREW: pb.NODE_STATE_PENDING,
    pb.EVENT_KIND_NODE_WAITING: pb.NODE_STATE_PENDING,
    pb.EVENT_KIND_NODE_REUSED: pb.NODE_STATE_SUCCEEDED,
    pb.EVENT_KIND_NODE_COMPUTED: pb.NODE_STATE_SUCCEEDED,
}

_ATTEMPT_STATE_AFTER = {
    pb.EVENT_KIND_NODE_SUCCEEDED: pb.ATTEMPT_STATE_SUCCEEDED,
    pb.EVENT_KIND_NODE_GREW: pb.ATTEMPT_STATE_SUCCEEDED,
    pb.EVENT_KIND_NODE_FAILED: pb.ATTEMPT_STATE_FAILED,
    pb.EVENT_KIND_NODE_RETRIED: pb.ATTEMPT_STATE_FAILED,
    pb.EVENT_KIND_NODE_CANCELLED: pb.ATTEMPT_STATE_CANCELLED,
}
_ATTEMPT_STATE_OF_FAILURE = {
    pb.FAILURE_KIND_TIMED_OUT: pb.ATTEMPT_STATE_TIMED_OUT,
    pb.FAILURE_KIND_LOST: pb.ATTEMPT_STATE_LOST,
    pb.FAILURE_KIND_PREEMPTED: pb.ATTEMPT_STATE_PREEMPTED,
    pb.FAILURE_KIND_CANCELLED: pb.ATTEMPT_STATE_CANCELLED,
}
_KINDS = max(pb.EventKind.values()) + 1


class BadEvents(ValueError):
    """A batch whose columns do not belong together. Says which batch, and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """All attempts in the order in which they were committed, as columns of one length. 0: not yet, or never."""

    node: Column
    attempt: Column
    #: Numbers of `AttemptState`.
    state: Column
    ready_us: Column
    commit_us: Column
    body_start_us: Column
    body_end_us: Column
    end_us: Column
    #: Index into `Picture.places`, or -1.
    place: Column
    #: By position of the attempt.
    failures: dict[int, pb.Failure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A run as its events 1..last_event tell it."""

    state: RunState
    facts: pb.RunFacts
    accept_us: int
    start_us: int
    end_us: int
    round: int
    dag: pb.DagFacts
    attempts: Attempts
    places: list[str]
    last_event: int
    #: node → (state, attempt), of every node that an event has named; -1 is the compile attempt.
    nodes: dict[int, tuple[NodeState, int]]

    def operator_of(self, node: int) -> str:
        """`module:qualname`; "compile" for the compile attempt; empty when not known."""
        if node < 0:
            return "compile"
        if node < len(self.dag.node_operator) and self.dag.node_operator[node] < len(self.dag.operators):
            return self.dag.operators[self.dag.node_operator[node]]
        return ""


def contiguous(batches: Iterable[pb.RunEvents]) -> list[pb.RunEvents]:
    """The batches, which come in order of their first number, up to the first gap; repeated ones are left out."""
    found: list[pb.RunEvents] = []
    following = 1
    for batch in batches:
        if batch.first_number > following:
            break
        if batch.first_number == following and batch.kind:
            found.append(batch)
            following += len(batch.kind)
    return found


def check_columns(batch: pb.RunEvents) -> None:
    """Raises BadEvents unless all columns have the length that they must have."""
    kinds = list(batch.kind)
    bodies = sum(kinds.count(kind) for kind in BODY_KINDS)
    wanted = {
        "node": (len(batch.node), len(kinds)),
        "attempt": (len(batch.attempt), len(kinds)),
        "time_us": (len(batch.time_us), len(kinds)),
        "body_started_us": (len(batch.body_started_us), bodies),
        "body_ended_us": (len(batch.body_ended_us), bodies),
        "place": (len(batch.place), bodies),
        "ready_us": (len(batch.ready_us), kinds.count(pb.EVENT_KIND_NODE_STARTED)),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise BadEvents(f"batch {batch.first_number}: {name} has {found} entries, expected {expected}")
    if any(kind not in pb.EventKind.values() or not kind for kind in set(kinds)):
        raise BadEvents(f"batch {batch.first_number}: an event of no known kind")
    if kinds and (min(batch.node) < -1 or max(batch.node) >= 1 << 31):
        raise BadEvents(f"batch {batch.first_number}: a node below -1")
    if bodies and max(batch.place) >= len(batch.places):
        raise BadEvents(f"batch {batch.first_number}: a place beyond {len(batch.places)}")
    if any(detail.index >= len(kinds) for detail in batch.details):
        raise BadEvents(f"batch {batch.first_number}: a detail beyond {len(kinds)} events")


def fold(batches: Iterable[pb.RunEvents]) -> Picture:
    """Fold the contiguous batches of one run, from event 1. Raises BadEvents when one is malformed."""
    columns = _Columns()
    for batch in batches:
        check_columns(batch)
        columns.append(batch)
    kind, node, attempt, time_us = (
        _numbers(one) for one in (columns.kind, columns.node, columns.attempt, columns.time)
    )
    run = _fold_run(kind, node, attempt, time_us)
    return Picture(
        state=run.state,
        facts=columns.facts,
        accept_us=run.accept_us,
        start_us=run.start_us,
        end_us=run.end_us,
        round=len(run.revived_at),
        dag=columns.dag,
        attempts=_fold_attempts(columns, kind, node, attempt, time_us),
        places=list(columns.places),
        last_event=len(kind),
        nodes=_fold_nodes(kind, node, attempt, run.revived_at[-1] if run.revived_at else -1),
    )


@dataclass(slots=True)
class _Columns:
    """The batches end to end."""

    kind: Any = field(default_factory=lambda: array("q"))
    node: Any = field(default_factory=lambda: array("q"))
    attempt: Any = field(default_factory=lambda: array("q"))
    time: Any = field(default_factory=lambda: array("q"))
    body_start: Any = field(default_factory=lambda: array("q"))
    body_end: Any = field(default_factory=lambda: array("q"))
    place: Any = field(default_factory=lambda: array("q"))
    ready: Any = field(default_factory=lambda: array("q"))
    places: dict[str, int] = field(default_factory=dict)
    #: By position of the event.
    failures: dict[int, pb.Failure] = field(default_factory=dict)
    facts: pb.RunFacts = field(default_factory=pb.RunFacts)
    dag: pb.DagFacts = field(default_factory=pb.DagFacts)

    def append(self, batch: pb.RunEvents) -> None:
        before = len(self.kind)
        self.kind.extend(batch.kind)
        self.node.extend(batch.node)
        self.attempt.extend(batch.attempt)
        self.time.extend(batch.time_us)
        self.body_start.extend(batch.body_started_us)
        self.body_end.extend(batch.body_ended_us)
        self.ready.extend(batch.ready_us)
        known = [self.places.setdefault(place, len(self.places)) for place in batch.places]
        self.place.extend(map(known.__getitem__, batch.place))
        for detail in batch.details:
            if detail.HasField("failure"):
                self.failures[before + detail.index] = detail.failure
            elif detail.HasField("accepted"):
                self.facts = detail.accepted
            elif detail.HasField("started"):
                self.dag = pb.DagFacts()
                self.dag.CopyFrom(detail.started)
            elif detail.HasField("grown"):
                before_them = len(self.dag.operators)
                self.dag.operators.extend(detail.grown.operators)
                self.dag.node_operator.extend(before_them + row for row in detail.grown.node_operator)
                self.dag.node_count = detail.grown.node_count


@dataclass(slots=True)
class _RunFold:
    state: RunState = pb.RUN_STATE_UNSPECIFIED
    accept_us: int = 0
    start_us: int = 0
    end_us: int = 0
    #: Positions of the RUN_REVIVED events.
    revived_at: list[int] = field(default_factory=list)


def _fold_run(kind: Column, node: Column, attempt: Column, time_us: Column) -> _RunFold:
    run = _RunFold()
    for position in np.flatnonzero((node == -1) & (attempt == 0)).tolist():
        what, when = int(kind[position]), int(time_us[position])
        if what == pb.EVENT_KIND_RUN_REVIVED:
            run.state = pb.RUN_STATE_RUNNING if run.start_us else pb.RUN_STATE_COMPILING
            run.end_us = 0
            run.revived_at.append(position)
        elif what == pb.EVENT_KIND_RUN_RESUMED:
            run.state = pb.RUN_STATE_RUNNING if run.start_us else pb.RUN_STATE_COMPILING
        elif what in RUN_STATE_AFTER:
            run.state = RUN_STATE_AFTER[what]
            if what == pb.EVENT_KIND_RUN_ACCEPTED:
                run.accept_us = when
            elif what == pb.EVENT_KIND_RUN_STARTED:
                run.start_us = when
            elif run.state in RUN_ENDED:
                run.end_us = when
    return run


def _fold_attempts(columns: _Columns, kind: Column, node: Column, attempt: Column, time_us: Column) -> Attempts:
    begun = np.flatnonzero(kind == pb.EVENT_KIND_NODE_STARTED)
    size = len(begun)
    state = np.full(size, pb.ATTEMPT_STATE_RUNNING, dtype=np.int64)
    body_start, body_end, end = (np.zeros(size, dtype=np.int64) for _ in range(3))
    place = np.full(size, -1, dtype=np.int64)

    ending = np.flatnonzero(_table(_ATTEMPT_STATE_AFTER)[kind] * (attempt > 0))
    key = (node + 1) << 32 | attempt
    order = np.argsort(key[begun], kind="stable")
    sorted_keys = key[begun][order]
    at = np.searchsorted(sorted_keys, key[ending])
    at[at == size] = 0
    matched = sorted_keys[at] == key[ending] if size else np.zeros(len(ending), dtype=bool)
    ending, target = ending[matched], order[at[matched]] if size else at[:0]

    state[target] = _table(_ATTEMPT_STATE_AFTER)[kind[ending]]
    end[target] = time_us[ending]
    # Position of each event in the body columns, which only some kinds have.
    has_body = np.isin(kind, list(BODY_KINDS))
    row = np.cumsum(has_body) - 1
    with_body = has_body[ending]
    body_row, body_target = row[ending][with_body], target[with_body]
    body_start[body_target] = _numbers(columns.body_start)[body_row]
    body_end[body_target] = _numbers(columns.body_end)[body_row]
    place[body_target] = _numbers(columns.place)[body_row]

    failures = {}
    attempt_at = dict(zip(ending.tolist(), target.tolist(), strict=True)) if columns.failures else {}
    for position, failure in columns.failures.items():
        if position in attempt_at:
            failures[attempt_at[position]] = failure
            if failure.kind in _ATTEMPT_STATE_OF_FAILURE:
                state[attempt_at[position]] = _ATTEMPT_STATE_OF_FAILURE[failure.kind]
    return Attempts(
        node=node[begun],
        attempt=attempt[begun],
        state=state,
        ready_us=_numbers(columns.ready),
        commit_us=time_us[begun],
        body_start_us=body_start,
        body_end_us=body_end,
        end_us=end,
        place=place,
        failures=failures,
    )


def _fold_nodes(kind: Column, node: Column, attempt: Column, revived_at: int) -> dict[int, tuple[NodeState, int]]:
    after = _table(NODE_STATE_AFTER)
    named = np.flatnonzero(after[kind])
    # The last event of each node: the first one when looking from the end.
    nodes, from_end = np.unique(node[named][::-1], return_index=True)
    last = named[::-1][from_end]
    state = after[kind[last]]
    state[(last < revived_at) & (state != pb.NODE_STATE_SUCCEEDED)] = pb.NODE_STATE_PENDING
    highest = np.zeros(len(nodes), dtype=np.int64)
    np.maximum.at(highest, np.searchsorted(nodes, node[named]), attempt[named])
    columns = zip(nodes.tolist(), state.tolist(), highest.tolist(), strict=True)
    return {which: (now, tries) for which, now, tries in columns}


def _table(after: dict[Any, Any]) -> Column:
    """`after` as an array over event kinds, 0 where there is nothing."""
    table = np.zeros(_KINDS, dtype=np.int64)
    for kind, state in after.items():
        table[kind] = state
    return table


def _numbers(column: Any) -> Column:
    return np.frombuffer(column, dtype=np.int64) if column else np.zeros(0, dtype=np.int64)
