"""What changed between two Dags: graph, code, types, options and inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mwfs.cache.misses import changed_parts, changed_versions
from mwfs.dag import Dag, show_value
from mwfs.dag_calls import Call, DagCalls, Numbers, Section
from mwfs.failure_policies import policy_name
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.cache_keys import value_digest
from mwfs_types.rendering import describe

#: Calls of one operator that are shown one by one.
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `before` or `after` is empty when there was, or is, none."""

    #: "graph", "code", "environment", "types", "options" or "inputs".
    kind: str
    #: What it is about: an operator, an edge between operators, an input, an output.
    what: str
    before: str
    after: str


def diff(before: Dag, after: Dag) -> list[Change]:
    """Every difference, by kind and then by name; empty when both do the same."""
    if before.serialize() == after.serialize():
        return []
    inputs = _inputs(before.proto, after.proto)
    numbers = Numbers()
    mine, theirs = (DagCalls(dag, numbers, only_edges=bool(inputs)) for dag in (before, after))
    return [*_graph(mine, theirs), *_operators(before.proto, after.proto), *inputs, *_outputs(before, after)]


_Calls: TypeAlias = list[tuple[Section, Call]]


def _graph(mine: DagCalls, theirs: DagCalls) -> list[Change]:
    changes = [*_calls(mine, theirs), *_edges(mine, theirs), *_results(mine, theirs)]
    return changes or _wiring(mine, theirs)


def _calls(mine: DagCalls, theirs: DagCalls) -> Iterator[Change]:
    old, new = _by_operator(mine), _by_operator(theirs)
    for owner, name in sorted({*old, *new}):
        was, now = old.get((owner, name), []), new.get((owner, name), [])
        what = _short(name) + (f" in {owner}" if owner else "")
        if len(was) != len(now):
            yield Change(kind="graph", what=what, before=_count(len(was)), after=_count(len(now)))
        for way in (_exact, _symbolic):
            was, now = _unmatched(was, now, way)
        pairs = [
            (one, other) for one, other in zip(was, now, strict=False) if not one[0].follows(one[1], other[0], other[1])
        ]
        for one, other in pairs[:_SHOWN]:
            yield Change(kind="graph", what=what, before=mine.show(*one), after=theirs.show(*other))
        if len(pairs) > _SHOWN:
            more = f"{len(pairs) - _SHOWN} more calls"
            yield Change(kind="graph", what=what, before=more, after="with other arguments")


def _by_operator(calls: DagCalls) -> dict[tuple[str, str], _Calls]:
    found: dict[tuple[str, str], _Calls] = {}
    for owner, section in calls.sections():
        for call in section.all:
            found.setdefault((owner, calls.names[call.row]), []).append((section, call))
    return found


def _exact(one: tuple[Section, Call]) -> int:
    return one[1].key


def _symbolic(one: tuple[Section, Call]) -> int:
    return one[1].symbolic


def _unmatched(was: _Calls, now: _Calls, way: Callable[[tuple[Section, Call]], int]) -> tuple[_Calls, _Calls]:
    """Those of each side that the other side has no equal of."""
    common = Counter(map(way, was)) & Counter(map(way, now))
    left: list[_Calls] = []
    for side in (was, now):
        free, rest = common.copy(), []
        for one in side:
            if free[way(one)] > 0:
                free[way(one)] -= 1
            else:
                rest.append(one)
        left.append(rest)
    return left[0], left[1]


def _edges(mine: DagCalls, theirs: DagCalls) -> Iterator[Change]:
    old, new = mine.edges(), theirs.edges()
    for pair in sorted(old ^ new):
        yield Change(
            kind="graph",
            what=f"{_short(pair[0])} → {_short(pair[1])}",
            before="an edge" if pair in old else "",
            after="an edge" if pair in new else "",
        )


def _results(mine: DagCalls, theirs: DagCalls) -> Iterator[Change]:
    """What the workflow returns, and what its bodies give."""
    new = {row.name: row.item for row in theirs.proto.outputs}
    for output in mine.proto.outputs:
        if output.name in new:
            yield from _result(
                mine, theirs, f"output {output.name}", (mine.base, output.item), (theirs.base, new[output.name])
            )
    sides: list[dict[str, list[tuple[Section, int]]]] = []
    for calls in (mine, theirs):
        found: dict[str, list[tuple[Section, int]]] = {}
        for owner, section in calls.sections():
            if isinstance(section.section, dag_pb2.Body):
                found.setdefault(owner, []).append((section, section.section.result))
        sides.append(found)
    for owner in sorted(sides[0].keys() & sides[1].keys()):
        for one, other in zip(sides[0][owner], sides[1][owner], strict=False):
            yield from _result(mine, theirs, f"result in {owner}", one, other)


def _result(
    mine: DagCalls, theirs: DagCalls, what: str, one: tuple[Section, int], other: tuple[Section, int]
) -> Iterator[Change]:
    was, now = one[0].result(one[1]), other[0].result(other[1])
    if was[0] != now[0] and was[1] != now[1]:
        yield Change(kind="graph", what=what, before=mine.show_row(*one), after=theirs.show_row(*other))


def _wiring(mine: DagCalls, theirs: DagCalls) -> list[Change]:
    """The same calls, connected in another way: `a(b(1), b(2))` and `a(b(2), b(1))`."""
    for one, other in zip(mine.sections(), theirs.sections(), strict=False):
        was, now = _unmatched(
            [(one[1], call) for call in one[1].all],
            [(other[1], call) for call in other[1].all],
            lambda found: found[1].deep,
        )
        for old, new in zip(was, now, strict=False):
            what = _short(mine.names[old[1].row]) + (f" in {one[0]}" if one[0] else "")
            return [
                Change(
                    kind="graph",
                    what=what,
                    before=f"{mine.show(*old)} ({mine.place(*old)})",
                    after=f"the same calls, connected in another way ({theirs.place(*new)})",
                )
            ]
    outputs = [{row.name: calls.base.result(row.item)[2] for row in calls.proto.outputs} for calls in (mine, theirs)]
    return [
        Change(kind="graph", what=f"output {name}", before="", after="comes from another one of the same calls")
        for name in sorted(outputs[0].keys() & outputs[1].keys())
        if outputs[0][name] != outputs[1][name]
    ]


def _count(count: int) -> str:
    return f"{count} call{'s' if count != 1 else ''}" if count else ""


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _operators(before: dag_pb2.Dag, after: dag_pb2.Dag) -> list[Change]:
    mine, theirs = _rows(before), _rows(after)
    parts = {
        row.digest: dict(zip(row.names, row.values, strict=True)) for row in (*before.digest_parts, *after.digest_parts)
    }
    changes = []
    for name in sorted(mine.keys() & theirs.keys()):
        old, new = mine[name][0], theirs[name][0]
        code, environment = (_code(old, new), _code(new, old)), (old.environment_digest, new.environment_digest)
        if code[0] != code[1]:
            changed = ", ".join(changed_parts(*(parts.get(one, {}) for one in code)))
            after_code = f"{_cut(code[1])} ({changed})" if changed else _cut(code[1])
            changes.append(Change(kind="code", what=_short(name), before=_cut(code[0]), after=after_code))
        if all(environment) and environment[0] != environment[1]:
            versions = ", ".join(changed_versions(*(parts.get(one, {}) for one in environment)))
            changes.append(
                Change(
                    kind="environment",
                    what=_short(name),
                    before=_cut(environment[0]),
                    after=versions or _cut(environment[1]),
                )
            )
        for kind, was, now in (
            ("types", _signature(before, old), _signature(after, new)),
            ("options", _all_options(mine[name]), _all_options(theirs[name])),
        ):
            if was != now:
                changes.append(Change(kind=kind, what=_short(name), before=was, after=now))
    bundles = before.bundle_digest, after.bundle_digest
    if all(bundles) and bundles[0] != bundles[1]:
        changes.append(Change(kind="code", what="the bundle", before=_cut(bundles[0]), after=_cut(bundles[1])))
    return changes


def _code(row: dag_pb2.Operator, other: dag_pb2.Operator) -> str:
    """The digest that both sides have: of all that is reached, or of the function alone."""
    return row.code_digest if row.code_digest and other.code_digest else row.source_digest


def _rows(dag: dag_pb2.Dag) -> dict[str, list[dag_pb2.Operator]]:
    """By name: one row for each set of options that it is used with."""
    rows: dict[str, list[dag_pb2.Operator]] = {}
    for row in dag.operators:
        rows.setdefault(f"{row.module}:{row.qualname}", []).append(row)
    return rows


def _all_options(rows: Sequence[dag_pb2.Operator]) -> str:
    return "; ".join(sorted(set(map(_options, rows))))


def _cut(text: str) -> str:
    return f"{text[:19]}…" if text.startswith("sha256:") else text


def _signature(dag: dag_pb2.Dag, row: dag_pb2.Operator) -> str:
    parameters = ", ".join(f"{one.name}: {describe(dag.types[one.type])}" for one in row.parameters)
    outputs = ", ".join(f"{one.name}: {describe(dag.types[one.type])}" for one in row.outputs)
    return f"({parameters}) → {outputs}"


def _options(row: dag_pb2.Operator) -> str:
    parts = [_resources(row.resources)]
    retry = row.retry
    if retry.attempts > 1:
        parts.append(f"attempts={retry.attempts}")
        if retry.backoff_seconds:
            parts.append(
                f"backoff={retry.backoff_seconds:g}×{retry.backoff_factor or 1:g}≤{retry.max_backoff_seconds:g}"
            )
        if retry.jitter:
            parts.append(f"jitter={retry.jitter:g}")
        if retry.only_errors:
            parts.append(f"only={'|'.join(retry.only_errors)}")
        if retry.except_errors:
            parts.append(f"except={'|'.join(retry.except_errors)}")
    for name in ("timeout", "queue_timeout", "start_timeout", "heartbeat_timeout"):
        seconds = getattr(row, f"{name}_seconds")
        if seconds:
            parts.append(f"{name}={seconds:g}")
    if row.priority:
        parts.append(f"priority={row.priority}")
    if row.not_preemptible:
        parts.append("not preemptible")
    if row.later_resources:
        parts.append(f"later {' then '.join(map(_resources, row.later_resources))}")
    if row.pure:
        parts.append("pure" if row.cached else "pure, not cached")
    if row.failure_policy:
        parts.append(f"on_failure={policy_name(row.failure_policy)}")
    return ", ".join(parts)


def _resources(resources: dag_pb2.Resources) -> str:
    parts = [f"cpu={resources.cpu_millis / 1000:g}"]
    if resources.memory_bytes:
        parts.append(f"memory={resources.memory_bytes}")
    if resources.gpus:
        parts.append(f"gpu={resources.gpus}{f' {resources.gpu_type}' if resources.gpu_type else ''}")
    parts += [f"{one.name}={one.amount}" for one in resources.custom]
    parts += [f"on {label.key}={'|'.join(label.values)}" for label in resources.labels]
    return " ".join(parts)


def _inputs(before: dag_pb2.Dag, after: dag_pb2.Dag) -> list[Change]:
    mine, theirs = ({one.name: (dag, one) for one in dag.inputs} for dag in (before, after))
    changes = []
    for name in sorted({*mine, *theirs}):
        was, now = (_input(*found[name]) if name in found else ("", "", "") for found in (mine, theirs))
        if was[0] != now[0]:
            changes.append(Change(kind="types", what=f"input {name}", before=was[0], after=now[0]))
        if was[2] != now[2]:
            changes.append(Change(kind="inputs", what=name, before=was[1], after=now[1]))
    return changes


def _input(dag: dag_pb2.Dag, row: dag_pb2.Input) -> tuple[str, str, str]:
    value = dag.constants[row.constant]
    shown = show_value(value) + (f" from {row.source}" if row.source else "")
    if value.WhichOneof("kind") == "artifact":
        shown = f"{shown} ({value.artifact.digest[7:15]})"
    return describe(dag.types[row.type]), shown, f"{value_digest(value)} {row.source}"


def _outputs(before: Dag, after: Dag) -> list[Change]:
    mine, theirs = (
        {one.name: describe(dag.proto.types[one.type]) for one in dag.proto.outputs} for dag in (before, after)
    )
    return [
        Change(kind="types", what=f"output {name}", before=mine.get(name, ""), after=theirs.get(name, ""))
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]
