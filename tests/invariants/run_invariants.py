"""The invariants of one run, checked against its events, its node rows and its Dag. The slowest, simplest possible model.

`check_run(events, nodes=…, dag=…)` gives one sentence per violation; an empty list means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as pb
from mwfs_observability.fold import BadEvents, check_columns, contiguous, fold
from mwfs_types.dag_functions import arity_of
from mwfs_types.run_options import policy_of

#: node → (state, number of the last attempt), as the orchestrator's rows say; -1 is the compile attempt.
NodeRows = Mapping[int, tuple[int, int]]

RUN_MAY_GO: dict[int, set[int]] = {
    pb.RUN_STATE_UNSPECIFIED: {pb.RUN_STATE_ACCEPTED},
    pb.RUN_STATE_ACCEPTED: {
        pb.RUN_STATE_COMPILING,
        pb.RUN_STATE_RUNNING,
        pb.RUN_STATE_CANCELLING,
        pb.RUN_STATE_FAILED,
        pb.RUN_STATE_CANCELLED,
    },
    pb.RUN_STATE_COMPILING: {
        pb.RUN_STATE_RUNNING,
        pb.RUN_STATE_PAUSED,
        pb.RUN_STATE_CANCELLING,
        pb.RUN_STATE_FAILED,
        pb.RUN_STATE_CANCELLED,
    },
    pb.RUN_STATE_RUNNING: {
        pb.RUN_STATE_PAUSED,
        pb.RUN_STATE_CANCELLING,
        pb.RUN_STATE_SUCCEEDED,
        pb.RUN_STATE_FAILED,
        pb.RUN_STATE_CANCELLED,
    },
    pb.RUN_STATE_PAUSED: {
        pb.RUN_STATE_RUNNING,
        pb.RUN_STATE_CANCELLING,
        pb.RUN_STATE_SUCCEEDED,
        pb.RUN_STATE_FAILED,
    },
    pb.RUN_STATE_CANCELLING: {pb.RUN_STATE_CANCELLED, pb.RUN_STATE_FAILED, pb.RUN_STATE_SUCCEEDED},
}
RUN_STATE_AFTER: dict[int, int] = {
    pb.EVENT_KIND_RUN_ACCEPTED: pb.RUN_STATE_ACCEPTED,
    pb.EVENT_KIND_RUN_COMPILING: pb.RUN_STATE_COMPILING,
    pb.EVENT_KIND_RUN_STARTED: pb.RUN_STATE_RUNNING,
    pb.EVENT_KIND_RUN_PAUSED: pb.RUN_STATE_PAUSED,
    pb.EVENT_KIND_RUN_CANCELLING: pb.RUN_STATE_CANCELLING,
    pb.EVENT_KIND_RUN_SUCCEEDED: pb.RUN_STATE_SUCCEEDED,
    pb.EVENT_KIND_RUN_FAILED: pb.RUN_STATE_FAILED,
    pb.EVENT_KIND_RUN_CANCELLED: pb.RUN_STATE_CANCELLED,
}
RUN_ENDED = {pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED}
NODE_ENDED = {
    pb.NODE_STATE_SUCCEEDED,
    pb.NODE_STATE_FAILED,
    pb.NODE_STATE_SKIPPED,
    pb.NODE_STATE_CANCELLED,
    pb.NODE_STATE_UPSTREAM_FAILED,
}
#: States that no event tells apart.
NODE_OPEN = {pb.NODE_STATE_PENDING, pb.NODE_STATE_READY, pb.NODE_STATE_WAITING}
NODE_MAY_BECOME: dict[int, tuple[set[int], int]] = {
    pb.EVENT_KIND_NODE_STARTED: ({pb.NODE_STATE_PENDING}, pb.NODE_STATE_RUNNING),
    pb.EVENT_KIND_NODE_SUCCEEDED: ({pb.NODE_STATE_RUNNING}, pb.NODE_STATE_SUCCEEDED),
    pb.EVENT_KIND_NODE_FAILED: ({pb.NODE_STATE_RUNNING}, pb.NODE_STATE_FAILED),
    pb.EVENT_KIND_NODE_RETRIED: ({pb.NODE_STATE_RUNNING}, pb.NODE_STATE_PENDING),
    pb.EVENT_KIND_NODE_WAITING: ({pb.NODE_STATE_PENDING}, pb.NODE_STATE_PENDING),
    pb.EVENT_KIND_NODE_PREEMPTING: ({pb.NODE_STATE_RUNNING}, pb.NODE_STATE_RUNNING),
    pb.EVENT_KIND_NODE_CHECKPOINTED: ({pb.NODE_STATE_RUNNING}, pb.NODE_STATE_RUNNING),
    pb.EVENT_KIND_NODE_GREW: ({pb.NODE_STATE_RUNNING}, pb.NODE_STATE_PENDING),
    pb.EVENT_KIND_NODE_CANCELLED: ({pb.NODE_STATE_PENDING, pb.NODE_STATE_RUNNING}, pb.NODE_STATE_CANCELLED),
    pb.EVENT_KIND_NODE_UPSTREAM_FAILED: ({pb.NODE_STATE_PENDING}, pb.NODE_STATE_UPSTREAM_FAILED),
    pb.EVENT_KIND_NODE_SKIPPED: ({pb.NODE_STATE_PENDING}, pb.NODE_STATE_SKIPPED),
    pb.EVENT_KIND_NODE_REUSED: ({pb.NODE_STATE_PENDING}, pb.NODE_STATE_SUCCEEDED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of one run."""

    number: int
    kind: int
    node: int
    attempt: int
    body_start_us: int = 0
    body_end_us: int = 0

    def __str__(self) -> str:
        name = pb.EventKind.Name(self.kind).removeprefix("EVENT_KIND_")  # type: ignore[arg-type]
        return f"event {self.number} ({name}{f' of node {self.node}' if self.kind >= 20 else ''})"


@dataclass(slots=True)
class NodeHistory:
    """What the events say of one node."""

    state: int = pb.NODE_STATE_PENDING
    attempt: int = 0
    successes: list[int] = field(default_factory=list)
    #: The last attempt that was told to make room.
    told: int = 0
    #: (body start, body end, attempt)
    bodies: list[tuple[int, int, int]] = field(default_factory=list)


def check_run(
    events: Sequence[pb.RunEvents], *, nodes: NodeRows | None = None, dag: dag_pb2.Dag | None = None
) -> list[str]:
    """All violations of the run's invariants, in plain words. `nodes` and `dag` are checked against when given."""
    batches = sorted(events, key=lambda batch: batch.first_number)
    violations = check_numbers(batches)
    for batch in batches:
        try:
            check_columns(batch)
        except BadEvents as error:
            violations.append(str(error))
    if violations:
        return violations  # nothing further can be said of such a history
    history = list(_unpack(batches))
    node_histories, found = _replay(history, dag)
    violations += found
    violations += check_bodies(node_histories)
    for node, known in sorted(node_histories.items()):
        if known.state == pb.NODE_STATE_SUCCEEDED and len(known.successes) != 1:
            violations.append(f"node {node} succeeded in attempts {known.successes}, not in exactly one")
    if nodes is not None:
        violations += check_rows(batches, nodes)
    return violations


def check_numbers(batches: Sequence[pb.RunEvents]) -> list[str]:
    """Event numbers are 1..n, without gap or repetition."""
    violations, following = [], 1
    for batch in batches:
        if batch.first_number != following:
            what = "repeated" if batch.first_number < following else "missing"
            violations.append(f"event numbers: expected {following}, found {batch.first_number}: events are {what}")
        following = batch.first_number + len(batch.kind)
    if len({batch.run_id for batch in batches}) > 1:
        violations.append("the batches are of several runs")
    return violations


def check_bodies(histories: Mapping[int, NodeHistory]) -> list[str]:
    """The bodies of a node's attempts do not overlap, and none ends before it begins."""
    violations = []
    for node, history in sorted(histories.items()):
        last_end, last_attempt = 0, 0
        for start, end, attempt in sorted(history.bodies):
            if end < start:
                violations.append(f"node {node}: the body of attempt {attempt} ended before it began")
            if start < last_end:
                violations.append(f"node {node}: the bodies of attempts {last_attempt} and {attempt} overlap")
            if end > last_end:
                last_end, last_attempt = end, attempt
    return violations


def check_rows(batches: Sequence[pb.RunEvents], rows: NodeRows) -> list[str]:
    """Folding the events gives the node rows: the same state and attempt, and no row more or less."""
    picture = fold(contiguous(batches))
    violations = []
    for node in sorted(picture.nodes.keys() | rows.keys()):
        told = picture.nodes.get(node, (pb.NODE_STATE_PENDING, 0))
        stored = rows.get(node, (pb.NODE_STATE_PENDING, told[1]))
        if (_plain(told[0]), told[1]) != (_plain(stored[0]), stored[1]):
            violations.append(f"node {node}: the events say {_in_words(told)}, the row says {_in_words(stored)}")
    return violations


def dependencies_of(dag: dag_pb2.Dag, *, order: bool = True) -> list[set[int]]:
    """For each node the nodes that it waits for: whose outputs it takes, directly or inside of something, and with `order` those that it is to follow."""
    behind: list[set[int]] = []  # for each row of `items`
    for kind, a, b in zip(dag.items.kind, dag.items.a, dag.items.b, strict=True):
        behind.append(_behind(kind, a, b, behind))
    needs: list[set[int]] = []
    row = 0
    for operator in dag.node_operator:
        size = len(dag.operators[operator].parameters)
        columns = (column[row : row + size] for column in (dag.arguments.kind, dag.arguments.a, dag.arguments.b))
        needs.append(set().union(*(_behind(kind, a, b, behind) for kind, a, b in zip(*columns, strict=True))))
        row += size
    for node, after in zip(dag.order_node, dag.order_after, strict=True) if order else ():
        needs[node] = needs[node] | {after}
    return needs


def _behind(kind: int, a: int, b: int, items: Sequence[set[int]]) -> set[int]:
    if kind == dag_pb2.BINDING_KIND_OUTPUT:
        return {a}
    if kind in (dag_pb2.BINDING_KIND_LIST, dag_pb2.BINDING_KIND_MAP, dag_pb2.BINDING_KIND_RECORD):
        return set().union(*items[a : a + b])
    if kind == dag_pb2.BINDING_KIND_APPLY:
        return set().union(*items[a : a + arity_of(b)])
    return items[a] if kind == dag_pb2.BINDING_KIND_FIELD else set()


def _unpack(batches: Sequence[pb.RunEvents]) -> Iterator[Event]:
    with_body = (
        pb.EVENT_KIND_NODE_SUCCEEDED,
        pb.EVENT_KIND_NODE_FAILED,
        pb.EVENT_KIND_NODE_RETRIED,
        pb.EVENT_KIND_NODE_GREW,
    )
    for batch in batches:
        body = 0
        for index, kind in enumerate(batch.kind):
            start = end = 0
            if kind in with_body:
                start, end = batch.body_started_us[body], batch.body_ended_us[body]
                body += 1
            yield Event(
                number=batch.first_number + index,
                kind=kind,
                node=batch.node[index],
                attempt=batch.attempt[index],
                body_start_us=start,
                body_end_us=end,
            )


def _replay(history: Sequence[Event], dag: dag_pb2.Dag | None) -> tuple[dict[int, NodeHistory], list[str]]:
    """Walk through the events one by one."""
    violations: list[str] = []
    nodes: dict[int, NodeHistory] = {}
    needs = dependencies_of(dag) if dag is not None else None
    takes = dependencies_of(dag, order=False) if dag is not None else []
    tolerated = _tolerated(dag) if dag is not None else set()
    run_state: int = pb.RUN_STATE_UNSPECIFIED
    started = False
    for event in history:
        if event.kind == pb.EVENT_KIND_RUN_REVIVED:
            if run_state not in (pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED):
                violations.append(f"{event}: the run was {_run_name(run_state)}; only FAILED and CANCELLED are revived")
            run_state = pb.RUN_STATE_RUNNING if started else pb.RUN_STATE_COMPILING
            for known in nodes.values():
                if known.state != pb.NODE_STATE_SUCCEEDED:
                    known.state = pb.NODE_STATE_PENDING
        elif event.kind == pb.EVENT_KIND_RUN_RESUMED:
            if run_state != pb.RUN_STATE_PAUSED:
                violations.append(f"{event}: the run was {_run_name(run_state)}; only PAUSED runs are resumed")
            run_state = pb.RUN_STATE_RUNNING if started else pb.RUN_STATE_COMPILING
        elif event.kind in RUN_STATE_AFTER:
            after = RUN_STATE_AFTER[event.kind]
            if after not in RUN_MAY_GO.get(run_state, set()):
                violations.append(f"{event}: a run cannot go from {_run_name(run_state)} to {_run_name(after)}")
            run_state = after
            started = started or after == pb.RUN_STATE_RUNNING
            violations += _check_end(event, run_state, nodes, needs, tolerated)
        else:
            violations += _step(event, run_state, nodes.setdefault(event.node, NodeHistory()))
            if event.kind in (pb.EVENT_KIND_NODE_STARTED, pb.EVENT_KIND_NODE_REUSED) and needs is not None:
                violations += _check_inputs(event, nodes, needs, takes)
    return nodes, violations


def _step(event: Event, run_state: int, node: NodeHistory) -> list[str]:
    violations = []
    allowed, after = NODE_MAY_BECOME[event.kind]
    if run_state in RUN_ENDED or run_state == pb.RUN_STATE_UNSPECIFIED:
        violations.append(f"{event}: the run was {_run_name(run_state)}")
    if event.attempt == 0 and event.kind in (pb.EVENT_KIND_NODE_FAILED, pb.EVENT_KIND_NODE_RETRIED):
        allowed = {pb.NODE_STATE_PENDING}  # it found no room in time
    if node.state not in allowed:
        ended = " in this round" if node.state in NODE_ENDED else ""
        violations.append(f"{event}: the node was already {_node_name(node.state)}{ended}")
    if event.kind == pb.EVENT_KIND_NODE_STARTED:
        expected = pb.RUN_STATE_COMPILING if event.node < 0 else pb.RUN_STATE_RUNNING
        if run_state != expected and run_state not in RUN_ENDED:
            violations.append(f"{event}: nothing starts while the run is {_run_name(run_state)}")
        if event.attempt != node.attempt + 1:
            violations.append(f"{event}: attempt {event.attempt} follows attempt {node.attempt}")
        node.attempt = event.attempt
    elif node.state == pb.NODE_STATE_RUNNING and event.attempt != node.attempt:
        violations.append(f"{event}: it is of attempt {event.attempt}, but attempt {node.attempt} was running")
    if event.kind == pb.EVENT_KIND_NODE_PREEMPTING:
        if event.attempt == node.told:
            violations.append(f"{event}: attempt {event.attempt} was told to make room before")
        node.told = event.attempt
    if event.kind in (pb.EVENT_KIND_NODE_SUCCEEDED, pb.EVENT_KIND_NODE_REUSED):
        node.successes.append(event.attempt)
    if event.body_start_us and event.body_end_us:
        node.bodies.append((event.body_start_us, event.body_end_us, event.attempt))
    node.state = after
    return violations


#: A node that only follows others starts when they have ended so.
_OUT_OF_THE_WAY = {pb.NODE_STATE_SUCCEEDED, pb.NODE_STATE_FAILED, pb.NODE_STATE_SKIPPED}


def _tolerated(dag: dag_pb2.Dag) -> set[int]:
    """Nodes whose failure does not fail the run."""
    return {
        node
        for node, row in enumerate(dag.node_operator)
        if policy_of(dag.operators[row], dag.options) == dag_pb2.FAILURE_POLICY_CONTINUE
    }


def _check_inputs(
    event: Event, nodes: Mapping[int, NodeHistory], needs: Sequence[set[int]], takes: Sequence[set[int]]
) -> list[str]:
    if event.node < 0:
        return []
    if event.node >= len(needs):
        return [f"{event}: the Dag has only {len(needs)} nodes"]
    missing = [
        need
        for need in sorted(needs[event.node])
        if need not in nodes
        or nodes[need].state not in ({pb.NODE_STATE_SUCCEEDED} if need in takes[event.node] else _OUT_OF_THE_WAY)
    ]
    return [f"{event}: it started before its input from node {need} existed" for need in missing]


def _check_end(
    event: Event,
    run_state: int,
    nodes: Mapping[int, NodeHistory],
    needs: Sequence[set[int]] | None,
    tolerated: set[int],
) -> list[str]:
    if run_state not in RUN_ENDED:
        return []
    violations = [
        f"{event}: node {node} was still {_node_name(known.state)}"
        for node, known in sorted(nodes.items())
        if known.state == pb.NODE_STATE_RUNNING
        or (
            run_state == pb.RUN_STATE_SUCCEEDED
            and known.state not in (pb.NODE_STATE_SUCCEEDED, pb.NODE_STATE_SKIPPED)
            and not (known.state == pb.NODE_STATE_FAILED and node in tolerated)
        )
    ]
    if run_state == pb.RUN_STATE_SUCCEEDED and needs is not None:
        never = sorted(set(range(len(needs))) - nodes.keys())
        violations += [f"{event}: node {node} never ran" for node in never]
    return violations


def _plain(state: int) -> int:
    return pb.NODE_STATE_PENDING if state in NODE_OPEN else state


def _in_words(told: tuple[int, int]) -> str:
    return f"{_node_name(told[0])} in attempt {told[1]}"


def _node_name(state: int) -> str:
    return pb.NodeState.Name(state).removeprefix("NODE_STATE_")  # type: ignore[arg-type]


def _run_name(state: int) -> str:
    return pb.RunState.Name(state).removeprefix("RUN_STATE_")  # type: ignore[arg-type]
