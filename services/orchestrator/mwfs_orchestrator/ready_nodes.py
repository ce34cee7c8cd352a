"""The nodes of a run that may start, in the groups in which the scheduler is asked for them. (pure)"""

from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2

from .changes import Changes
from .durations import OperatorName, Took
from .graph import COMPILE_NODE, Graph
from .model import Group, InFlight
from .retry import delay_before, may_retry
from .run_part import RunPart
from .states import FAILED, READY, WAITING, NodeState
from .time_limits import waited_too_long

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: What compiling asks for.
COMPILE_RESOURCES: Final = dag_pb2.Resources(cpu_millis=1000)
_COMPILE_SHAPE: Final = (b"compile", COMPILE_RESOURCES, 0)
#: What nodes ask for, as a key and as a message, and their priority. The key says as well whether they may be preempted.
_Shape = tuple[bytes, dag_pb2.Resources, int]
#: Of a group: the key of the shape, the priority, the rank band, how often its nodes were preempted, and the band of what they are expected to take.
_Key = tuple[bytes, int, int, int, int]
#: Ends the key of those that may not.
_PINNED: Final = b"\0pinned"
_MAX_RANK: Final = 1 << 31
#: In the place of a row of operators.
_COMPILING: Final = -1
#: The compile node, -1, is this in a heap.
_NODE_MASK: Final = (1 << 32) - 1


class ReadyNodes(RunPart):
    """Nodes of the same shape, priority, rank band and expected duration that were preempted as often are one group: a million nodes are a handful of requests."""

    def __init__(self, run: "ActiveRun", group_ids: Iterator[str]) -> None:
        super().__init__(run)
        self._group_ids = group_ids
        self._groups: dict[_Key, Group] = {}
        #: For each operator of the Dag: what its nodes ask for.
        self._shapes: list[_Shape] = []
        #: For each operator that asks for something else when it is tried again: what its second, third … try ask for.
        self._later_shapes: dict[int, list[_Shape]] = {}
        self._ready_us: dict[int, int] = {}
        #: For each operator: for how long its nodes will probably hold their room, in seconds. It changes only with the groups that its nodes are in.
        self._expected: dict[int, int] = {}
        self._took: dict[int, Took] = {}
        self._look_up(_COMPILING)

    def loosen(self) -> None:
        super().loosen()
        for group in self._groups.values():
            group.run = self._run

    def shape(self, graph: Graph) -> None:
        """The run has its graph now, or has grown."""
        for row, operator in enumerate(graph.operators[len(self._shapes) :], len(self._shapes)):
            self._shapes.append(_shape(operator.resources, operator))
            self._look_up(row)
            if operator.later_resources:
                self._later_shapes[row] = [_shape(one, operator) for one in operator.later_resources]

    def resources_of(self, node: int) -> dag_pb2.Resources:
        """What the node's present or next try asks for."""
        graph = self._run.graph
        if node == COMPILE_NODE or graph is None:
            return COMPILE_RESOURCES
        return self._shape_of(graph.node_operator[node], node)[1]

    def terms_of(self, node: int) -> tuple[int, bool]:
        """The priority of a node in its team, and whether it may be preempted."""
        (shape, _, priority), _ = self._wish_of(node)
        return priority + self._run.header.priority, not shape.endswith(_PINNED)

    def may_take_over(self, node: int, dependent: int) -> bool:
        """Whether the first try of `dependent` asks for just what the present try of `node` was given."""
        graph = self._run.graph
        assert graph is not None, "only nodes of a graph follow each other"
        given = self._shape_of(graph.node_operator[node], node)
        asked = self._shape_of(graph.node_operator[dependent], dependent)
        return given[0] == asked[0] and given[2] == asked[2]

    def _shape_of(self, operator: int, node: int) -> _Shape:
        tries = self._run.tries.get(node, 0)
        if tries and operator in self._later_shapes:
            later = self._later_shapes[operator]
            return later[min(tries, len(later)) - 1]
        return self._shapes[operator]

    def queue(self, node: int, changes: Changes, now: int) -> None:
        """A node that is ready waits for room."""
        run = self._run
        since = now
        graph = run.graph
        if graph is not None and graph.queue_limits and node != COMPILE_NODE:
            limit = graph.queue_limits.get(graph.node_operator[node])
            if limit:
                since = run.restoring.ready_since(node, now)
                left = max(0.0, limit - (now - since) / 1e6)
                changes.timers.append((left, run, partial(_leave_queue, node=node, since=since)))
        group = self.add(node, since)
        more = self.more_of(group)
        if more:
            changes.demands[group] += more

    def ask_for_more(self, changes: Changes) -> None:
        """A run that may not do everything at once asks for more when it may do more."""
        if self._run.options.max_parallel and not self._run.ended:
            for group in self._groups.values():
                more = self.more_of(group)
                if more:
                    changes.demands[group] += more

    def ask_anew(self, changes: Changes) -> None:
        """The scheduler was told that none of the groups waits any more; now they do, under other names."""
        for group in self._groups.values():
            group.group_id = next(self._group_ids)
            group.asked = 0
            more = self.more_of(group)
            if more:
                changes.demands[group] += more

    def add(self, node: int, since: int) -> Group:
        """A node is ready, since a time; `more_of` says whether its group is to ask for more."""
        (shape, resources, priority), rank = self._wish_of(node)
        row = self._row_of(node)
        expected = self._expected.get(row, 0)
        key = self._key_of(node)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(
                group_id=next(self._group_ids),
                run=self._run,
                resources=resources,
                priority=priority + self._run.header.priority,
                rank_band=rank.bit_length(),
                preemptible=not shape.endswith(_PINNED),
                preemptions=self._run.interruptions.preemptions(node),
                expected_s=expected,
            )
        elif expected > group.expected_s:
            group.expected_s = expected
        if not group.ready:
            group.operators.clear()
        group.operators.add(row)
        if node in group.gone:
            group.gone.discard(node)  # it is in the heap still
        else:
            heappush(group.ready, (_MAX_RANK - min(rank, _MAX_RANK)) << 32 | node & _NODE_MASK)
        self._ready_us[node] = since
        return group

    def _wish_of(self, node: int) -> tuple[_Shape, int]:
        """What a node asks for, and its rank."""
        graph = self._run.graph
        if node == COMPILE_NODE or graph is None:
            return _COMPILE_SHAPE, 1
        return self._shape_of(graph.node_operator[node], node), graph.rank[node]

    def _key_of(self, node: int) -> _Key:
        (shape, _, priority), rank = self._wish_of(node)
        preemptions, expected = self._run.interruptions.preemptions(node), self.expected_of(node)
        return shape, priority, rank.bit_length(), preemptions, expected.bit_length()

    def more_of(self, group: Group) -> int:
        """How many more the scheduler is to be asked for; from now on they are asked for."""
        wanted = len(group.ready) - len(group.gone)
        limit = self._run.options.max_parallel
        if limit:
            # Each group by itself: one for which there is no room keeps no other from starting.
            wanted = min(wanted, limit - len(self._run.in_flight))
        more = wanted - group.asked
        if more <= 0:
            return 0
        group.asked += more
        return more

    def since(self, node: int) -> int | None:
        """Since when a node waits for room; None when it does not."""
        return self._ready_us.get(node)

    def group_of(self, node: int) -> str:
        """The group in which a node waits for room; empty when it does not."""
        return self._groups[self._key_of(node)].group_id if node in self._ready_us else ""

    def remove(self, node: int) -> None:
        """A node waits for room no more. Before anything changes that says what it asks for."""
        if self._ready_us.pop(node, None) is not None:
            self._groups[self._key_of(node)].gone.add(node)

    def take(self, group: Group, count: int, now: int) -> list[tuple[int, int]]:
        """Up to `count` nodes of the group, by rank and then by index, each with the time at which it became ready."""
        taken: list[tuple[int, int]] = []
        while group.ready and len(taken) < count:
            node = heappop(group.ready) & _NODE_MASK
            if node == _NODE_MASK:
                node = COMPILE_NODE
            if node in group.gone:
                group.gone.discard(node)
                continue
            taken.append((node, self._ready_us.pop(node, now)))
        return taken

    def clear(self) -> list[Group]:
        """Nothing is to start any more; the groups that there were."""
        groups = list(self._groups.values())
        for group in groups:
            group.ready.clear()
            group.gone.clear()
            group.asked = 0
        self._groups.clear()
        self._ready_us.clear()
        return groups

    def groups(self) -> list[Group]:
        return list(self._groups.values())

    # How long nodes hold their room.

    def expected_of(self, node: int) -> int:
        """For how long a node will probably hold its room, in seconds; 0: not known."""
        return self._expected.get(self._row_of(node), 0)

    def _look_up(self, row: int) -> None:
        expected = self._run.durations.expected_s(self._name_of(row))
        if expected:
            self._expected[row] = expected

    def took(self, node: int, way: InFlight, changes: Changes, now: int) -> None:
        """A node has succeeded: the next ones will probably hold their room for about as long."""
        row = self._row_of(node)
        took = self._took.get(row)
        if took is None:
            took = self._took[row] = self._run.durations.of(self._name_of(row))
        took.add(now - way.held_us)
        if row not in self._expected:
            self._expect(row, took.expected_s(), changes)

    def _expect(self, row: int, expected: int, changes: Changes) -> None:
        """Nothing was known of the operator, and now that is: the scheduler hears it of those that wait, unless they wait together with others."""
        moved: list[tuple[_Key, _Key]] = []
        for key, group in self._groups.items():
            if row in group.operators and group.ready:
                moved.append((key, (*key[:4], expected.bit_length())))
                if len(group.operators) > 1 or moved[-1][1] in self._groups:
                    return
        self._expected[row] = expected
        for before, after in moved:
            group = self._groups[after] = self._groups.pop(before)
            group.expected_s = expected
            changes.demands[group] += 0

    def _row_of(self, node: int) -> int:
        graph = self._run.graph
        return _COMPILING if node == COMPILE_NODE or graph is None else graph.node_operator[node]

    def _name_of(self, row: int) -> OperatorName:
        header, graph = self._run.header, self._run.graph
        if row == _COMPILING or graph is None:
            return header.team, header.workflow, ""
        operator = graph.operators[row]
        return header.team, header.workflow, f"{operator.module}:{operator.qualname}"


def _shape(resources: dag_pb2.Resources, operator: dag_pb2.Operator) -> _Shape:
    key = resources.SerializeToString(deterministic=True)
    return key + _PINNED if operator.not_preemptible else key, resources, operator.priority


def _leave_queue(run: "ActiveRun", /, *, node: int, since: int, changes: Changes, now: int) -> None:
    """The time in which a node that is ready since then had to find room is over."""
    graph = run.graph
    if graph is None or run.node_state[node] != READY or run.ready.since(node) != since:
        return
    operator = graph.operator_of(node)
    failure = waited_too_long(node, operator.queue_timeout_seconds)
    failure.file, failure.line = graph.source_of(node)
    run.ready.remove(node)
    tries = run.tries[node] = run.tries.get(node, 0) + 1
    again = may_retry(operator.retry, tries, failure)
    kind = events_pb2.EVENT_KIND_NODE_RETRIED if again else events_pb2.EVENT_KIND_NODE_FAILED
    # There was no attempt.
    batch = changes.event(run, kind, now, node)
    changes.detail(batch).failure.CopyFrom(failure)
    changes.body(batch, "", action_pb2.Outcome())
    delay = delay_before(operator.retry, tries, (run.header.run_id, node, run.attempt[node])) if again else 0.0
    state = (NodeState.WAITING if delay else NodeState.PENDING) if again else NodeState.FAILED
    changes.settled.append((run.header.run_id, node, state, tries, failure.SerializeToString()))
    if delay:
        run.set_state(node, WAITING)
        changes.waits.append((delay, run, node))
    elif again:
        run.make_ready(node, changes, now)
    else:
        run.set_state(node, FAILED)
        run.policies.failed(node, failure, changes, now)
        run.go_on(changes, now)
