"""The passes in their order, which of them are on, and the report of what they did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mwfs.errors import InvalidInput
from mwfs.passes.dead import drop_dead
from mwfs.passes.hints import fuse, rank
from mwfs.passes.sharing import share
from mwfs_api.dags.v1 import dag_pb2

if TYPE_CHECKING:
    from mwfs.artifacts import Store
    from mwfs.local.foresight import EarlierResults

#: In the order in which they run.
NAMES = ("share", "dead", "cache", "fuse", "rank")
_EXAMPLES = 3

_chosen: ContextVar[frozenset[str]] = ContextVar("mwfs_passes", default=frozenset(NAMES))


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """What one pass did."""

    name: str
    #: False: it was switched off.
    on: bool
    nodes_before: int = 0
    nodes_after: int = 0
    #: In words: "12 equal calls of `load` are one".
    did: str = "nothing to do"
    #: A few of the places, with the user's line.
    examples: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What all passes did to one Dag."""

    passes: tuple[PassReport, ...]
    #: Nodes whose earlier result will be taken.
    hits: frozenset[int] = frozenset()
    #: A platform was asked for earlier results.
    asked: bool = False

    def describe(self) -> str:
        """A line a pass, and a few examples below it."""
        lines = []
        for one in self.passes:
            change = f"  {one.nodes_before} → {one.nodes_after} nodes" if one.nodes_before != one.nodes_after else ""
            lines.append(f"{one.name:<6}{one.did if one.on else 'switched off'}{change}  {one.seconds * 1000:.1f} ms")
            lines.extend(f"        {example}" for example in one.examples)
        return "\n".join(lines)


def chosen() -> frozenset[str]:
    """The names of the passes that are on."""
    return _chosen.get()


@contextmanager
def only(*names: str) -> Iterator[None]:
    """Compiles inside with these passes and no others. Raises InvalidInput for a name that is none."""
    token = _chosen.set(frozenset(_checked(names)))
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def off(*names: str) -> Iterator[None]:
    """Compiles inside without these passes: `with mwfs.passes.off("share"): …`. Raises InvalidInput for a name that is none."""
    with only(*(chosen() - set(_checked(names)))):
        yield


def _checked(names: Iterable[str]) -> list[str]:
    listed = list(names)
    for name in listed:
        if name not in NAMES:
            raise InvalidInput(f"There is no pass {name!r}.", f"The passes are {', '.join(NAMES)}.")
    return listed


def run_passes(
    dag: dag_pb2.Dag,
    *,
    earlier: EarlierResults | None = None,
    seconds: Mapping[str, float] | None = None,
    files: Store | None = None,
) -> Report:
    """Changes the Dag in place. earlier: results that may be taken; files: where the content of large ones is read.
    seconds: how long operators took before, by `module:qualname`.
    """
    reports: list[PassReport] = []
    hits: frozenset[int] = frozenset()
    on = chosen()
    for name in NAMES:
        if name not in on:
            if name == "cache":
                for operator in dag.operators:
                    operator.cached = False
            reports.append(PassReport(name=name, on=False))
            continue
        before, places = len(dag.node_operator), _Places(dag)
        begun = time.perf_counter()
        examples: tuple[str, ...] = ()
        did = ""
        if name == "share":
            removed = share(dag)
            did = _counted("equal calls are shared", places, removed)
            examples = tuple(
                f"{places.of(node)} is {places.of(first)}" for node, first in list(removed.items())[:_EXAMPLES]
            )
        elif name == "dead":
            dead = drop_dead(dag)
            did = _counted("calls that nothing needs are dropped", places, dead)
            examples = tuple(places.of(node) for node in dead[:_EXAMPLES])
        elif name == "cache":
            if earlier is not None and files is not None:
                hits = _hits(dag, earlier, files)
            did = _counted("earlier results are taken", places, hits) or _cacheable(dag, asked=earlier is not None)
            examples = tuple(places.of(node) for node in sorted(hits)[:_EXAMPLES])
        elif name == "fuse":
            fused = fuse(dag)
            did = f"{fused} cheap calls are in chains that keep their room on a host" if fused else ""
        elif name == "rank":
            longest = rank(dag, seconds or {})
            did = f"critical path {longest / 1000:.1f} s by history" if longest else _ranked_by_engine(dag)
        reports.append(
            PassReport(
                name=name,
                on=True,
                nodes_before=before,
                nodes_after=len(dag.node_operator),
                did=did or "nothing to do",
                examples=examples,
                seconds=time.perf_counter() - begun,
            )
        )
    return Report(passes=tuple(reports), hits=hits, asked=earlier is not None)


def _hits(dag: dag_pb2.Dag, earlier: EarlierResults, files: Store) -> frozenset[int]:
    """Nodes of the Dag whose earlier result is taken, as far as that is known before the run."""
    from mwfs.local.foresight import Foresight

    if not any(operator.cached for operator in dag.operators):
        return frozenset()
    ahead = Foresight(dag, files, results=earlier)
    ahead.run()
    return frozenset(node for node in ahead.cached if node < len(dag.node_operator))


def _cacheable(dag: dag_pb2.Dag, *, asked: bool) -> str:
    calls = Counter(dag.node_operator)
    cached = sum(count for row, count in calls.items() if dag.operators[row].cached)
    if not cached:
        return ""
    return (
        f"none of {cached} cached calls has an earlier result"
        if asked
        else f"{cached} calls look for one when they run"
    )


def _ranked_by_engine(dag: dag_pb2.Dag) -> str:
    if not dag.node_operator:
        return ""
    grows = any(operator.HasField("control") for operator in dag.operators)
    return f"{'the run grows' if grows else 'no history'}, so the engine ranks by the number of nodes to the end"


def _counted(what: str, places: _Places, nodes: Iterable[int]) -> str:
    names = Counter(places.name(node) for node in nodes)
    if not names:
        return ""
    shown = ", ".join(f"{count} of `{name}`" for name, count in names.most_common(5))
    return f"{sum(names.values())} {what}: {shown}"


class _Places:
    """Where the nodes of a Dag were called, before a pass changes their numbers."""

    def __init__(self, dag: dag_pb2.Dag) -> None:
        self._dag = dag
        # Copied by slices only: a list of a hundred thousand numbers costs a millisecond.
        self._operators = dag.node_operator[:]
        self._locations = dag.node_location[:]

    def name(self, node: int) -> str:
        return self._dag.operators[self._operators[node]].qualname

    def of(self, node: int) -> str:
        row = self._locations[node]
        return f"`{self.name(node)}` ({self._dag.files[self._dag.location_file[row]]}:{self._dag.location_line[row]})"
