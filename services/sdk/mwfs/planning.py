"""What a run of a Dag would do, before it is started: nodes, earlier results, resources, and how long by history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mwfs.artifacts import Store
from mwfs.local.foresight import EarlierResults, Foresight
from mwfs.local_files import LocalFiles
from mwfs_api.dags.v1 import dag_pb2

_SHOWN_PATH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPlan:
    """The calls of one operator."""

    #: `module:qualname`; of a control operator `mwfs:` and what it is.
    operator: str
    #: Nodes that are known before the run.
    nodes: int
    #: The run may add more of them: the number depends on results.
    more: bool
    #: Of the nodes, calls whose earlier result is taken.
    hits: int
    #: Of the nodes, cached calls whose inputs only the run will know: they may be taken or run.
    maybe: int
    cpu: float
    memory_bytes: int
    gpus: int
    #: Custom resources, by name.
    custom: dict[str, int]
    #: What its host must have: by key, the values that will do.
    labels: dict[str, list[str]]
    #: Median of earlier runs, in seconds; None when there is no history.
    seconds: float | None
    #: A control operator that makes more nodes while the run goes on.
    grows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Resources together."""

    cpu: float = 0.0
    memory_bytes: int = 0
    gpus: int = 0
    custom: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would run. Exact as far as it can be known; `more` and `maybe` say where that ends."""

    workflow: str
    operators: tuple[OperatorPlan, ...]
    #: Known before the run, those included that control nodes add because their arguments are known.
    nodes: int
    #: The run will add nodes that nobody knows yet.
    more: bool
    hits: int
    maybe: int
    #: Of all nodes that run, one after another; cached calls that may be taken are counted as run.
    total: Demand
    #: At once, if every node starts as soon as it can and takes as long as its operator usually does.
    peak: Demand
    #: Nodes on the longest chain.
    longest: int
    #: Of the chain that takes longest by history, in seconds; None without history of every operator on it.
    seconds: float | None
    critical: tuple[str, ...]


def plan(
    dag: dag_pb2.Dag,
    *,
    results: EarlierResults | None = None,
    seconds: Mapping[str, float] | None = None,
    store: Store | None = None,
) -> Plan:
    """The plan of a Dag. seconds: how long operators took before, by `module:qualname`. store: where the content of large results is read."""
    ahead = Foresight(dag, store or LocalFiles(), results=results)
    ahead.run()
    return _Planner(ahead, seconds or {}).plan(dag.workflow)


class _Planner:
    def __init__(self, ahead: Foresight, history: Mapping[str, float]) -> None:
        self._ahead = ahead
        self._history = history
        self._usual = sorted(history.values())[len(history) // 2] if history else 1.0
        #: One row for each name: its resources are those of the first set of options.
        self._rows: dict[str, dag_pb2.Operator] = {}
        self._of: list[tuple[str, dag_pb2.Operator]] = []
        for segment in ahead.segments.all:
            for node in range(segment.first, segment.first + segment.size):
                row = segment.row(node)
                name = _name(row)
                self._rows.setdefault(name, row)
                self._of.append((name, row))
        self._running = [node for node in range(len(self._of)) if node not in ahead.cached]

    def plan(self, workflow: str) -> Plan:
        ahead = self._ahead
        counts = Counter(name for name, _ in self._of)
        hits, maybe, grows = (
            Counter(self._of[node][0] for node in nodes) for nodes in (ahead.cached, ahead.maybe, ahead.open)
        )
        open_names = self._inside_of_open()
        operators = tuple(
            OperatorPlan(
                operator=name,
                nodes=counts[name],
                more=name in open_names,
                hits=hits[name],
                maybe=maybe[name],
                cpu=row.resources.cpu_millis / 1000,
                memory_bytes=row.resources.memory_bytes,
                gpus=row.resources.gpus,
                custom={one.name: one.amount for one in row.resources.custom},
                labels={label.key: list(label.values) for label in row.resources.labels},
                seconds=self._history.get(name),
                grows=grows[name] > 0,
            )
            for name, row in self._rows.items()
        )
        chain, spans = self._timed()
        return Plan(
            workflow=workflow,
            operators=operators,
            nodes=len(self._of),
            more=bool(ahead.open),
            hits=len(ahead.cached),
            maybe=len(ahead.maybe),
            total=_demand(Counter(_amounts(self._of[node][1]) for node in self._running)),
            peak=_peak(spans),
            longest=len(chain),
            seconds=self._took(chain),
            critical=tuple(self._of[node][0] for node in chain[:_SHOWN_PATH]),
        )

    def _inside_of_open(self) -> set[str]:
        """Operators that nodes may be added of. Their rows are known, their number is not."""
        found: set[str] = set()
        for segment in self._ahead.segments.all:
            rows = {
                segment.row_index(node)
                for node in range(segment.first, segment.first + segment.size)
                if node in self._ahead.open
            }
            for row in _reached(segment.dag, rows):
                name = _name(row)
                self._rows.setdefault(name, row)
                found.add(name)
        return found

    def _timed(self) -> tuple[list[int], list[tuple[float, float, dag_pb2.Operator]]]:
        """The chain that takes longest, and when each node that runs would begin and end."""
        count = len(self._of)
        waits, followers = self._events()
        times, why = [0.0] * (2 * count), [-1] * (2 * count)
        ready = [event for event, number in enumerate(waits) if not number]
        while ready:
            event = ready.pop()
            for follower in followers[event]:
                time = times[event] + (self._duration(event) if follower == event + count else 0.0)
                if why[follower] < 0 or time > times[follower]:
                    times[follower], why[follower] = time, event
                waits[follower] -= 1
                if not waits[follower]:
                    ready.append(follower)
        chain: list[int] = []
        event = max(range(count, 2 * count), key=times.__getitem__, default=-1)
        while event >= 0:
            # From its own beginning to its end: the node itself is on the way, and not only what it waits for.
            if why[event] == event - count and self._takes_time(why[event]):
                chain.append(why[event])
            event = why[event]
        spans = [
            (times[node], times[count + node], self._of[node][1])
            for node in self._running
            if not self._is_control(node)
        ]
        return chain[::-1], spans

    def _events(self) -> tuple[list[int], list[list[int]]]:
        """A node begins (event `node`) and ends (event `node + count`): how many events come before each, and which come after.

        A control node begins when its arguments are there, which its children wait for, and ends when they have.
        """
        ahead = self._ahead
        count = len(self._of)
        waits = [0] * (2 * count)
        followers: list[list[int]] = [[] for _ in range(2 * count)]

        def after(first: int, then: int) -> None:
            followers[first].append(then)
            waits[then] += 1

        for node, parent in enumerate(ahead.parent):
            after(node, count + node)
            if parent >= 0:
                after(parent, node)
                after(count + node, count + parent)
        for node, dependents in enumerate(ahead.dependents):
            for one in dependents:
                after(count + node, one)
        return waits, followers

    def _takes_time(self, node: int) -> bool:
        return node not in self._ahead.cached and (not self._is_control(node) or node in self._ahead.open)

    def _is_control(self, node: int) -> bool:
        return self._of[node][1].HasField("control")

    def _duration(self, node: int) -> float:
        """Of a control node whose children are not known, what it took before; of one whose children are, nothing of its own."""
        return self._history.get(self._of[node][0], self._usual) if self._takes_time(node) else 0.0

    def _took(self, chain: list[int]) -> float | None:
        names = [self._of[node][0] for node in chain]
        if not names or not set(names) <= self._history.keys():
            return None
        return sum(self._history[name] for name in names)


def _name(row: dag_pb2.Operator) -> str:
    return f"{row.module}:{row.qualname}"


def _reached(dag: dag_pb2.Dag, rows: set[int]) -> Iterator[dag_pb2.Operator]:
    """The operators in the bodies of control operators, at any depth."""
    waiting, seen = list(rows), set(rows)
    while waiting:
        control = dag.operators[waiting.pop()].control
        bodies = (control.body, control.condition, control.otherwise, control.cleanup, *control.candidates)
        for body in bodies:
            for row in dag.bodies[body - 1].node_operator if body else ():
                if row not in seen:
                    seen.add(row)
                    waiting.append(row)
                    yield dag.operators[row]


#: (name, amount); these three first, whose names no custom resource can have.
_Amounts = tuple[tuple[str, int], ...]


def _amounts(row: dag_pb2.Operator) -> _Amounts:
    has = row.resources
    custom = ((one.name, one.amount) for one in has.custom)
    return ("cpu", has.cpu_millis), ("memory", has.memory_bytes), ("gpu", has.gpus), *custom


def _demand(counts: Mapping[_Amounts, int]) -> Demand:
    total: Counter[str] = Counter()
    for amounts, count in counts.items():
        for name, amount in amounts:
            total[name] += amount * count
    return _demand_of(total)


def _demand_of(amounts: Mapping[str, int]) -> Demand:
    custom = {name: amount for name, amount in sorted(amounts.items()) if name not in ("cpu", "memory", "gpu")}
    return Demand(
        cpu=amounts.get("cpu", 0) / 1000,
        memory_bytes=amounts.get("memory", 0),
        gpus=amounts.get("gpu", 0),
        custom=custom,
    )


def _peak(spans: list[tuple[float, float, dag_pb2.Operator]]) -> Demand:
    """The most of each resource that is in use at any moment."""
    events = [(begin, 1, _amounts(row)) for begin, _, row in spans] + [(end, 0, _amounts(row)) for _, end, row in spans]
    events.sort(key=lambda event: event[:2])
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    for _, begins, amounts in events:
        for name, amount in amounts:
            now[name] = now.get(name, 0) + (amount if begins else -amount)
            most[name] = max(most.get(name, 0), now[name])
    return _demand_of(most)


__all__ = ["Demand", "OperatorPlan", "Plan", "plan"]
