"""Control nodes: one row of the operator table for what a construct does, and one node for each place that writes it."""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from mwfs.binding import Mismatch, bind
from mwfs.errors import BadStructure, Site, WrongType
from mwfs.futures import Future
from mwfs.graph import OUTPUT, Graph, active_graph
from mwfs.locations import calling_user_frame, site_of_argument, site_of_frame
from mwfs.structure.scopes import Captures, foreign_error
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.rendering import describe

#: An argument that a control node's kind names: its name, its value, and its row in the type table.
Argument = tuple[str, Any, int]


class ControlRow:
    """A control operator as one graph knows it."""

    __slots__ = ("index", "name", "operator", "proto")

    def __init__(self, index: int, proto: dag_pb2.Operator) -> None:
        self.index = index
        self.proto = proto
        self.name: str = proto.qualname
        #: There is no function behind it.
        self.operator = None

    def to_proto(self) -> dag_pb2.Operator:
        return self.proto


class Construct:
    """One use of a construct in a workflow's body: the graph, and the user's line."""

    __slots__ = ("captures", "frame", "graph", "name", "site")

    def __init__(self, name: str, graph: Graph) -> None:
        self.name = name
        self.graph = graph
        self.captures = Captures(graph)
        self.frame: FrameType | None = calling_user_frame()
        self.site: Site | None = site_of_frame(self.frame)

    @property
    def words(self) -> str:
        """ "`mwfs.map`"."""
        return f"`mwfs.{self.name}`"

    def at(self, argument: int | str) -> Site | None:
        """The site of one argument of the call."""
        return site_of_argument(self.frame, argument)

    def wrong(
        self, message: str, *, argument: int | str | None = None, expected: str, found: str, fix: str
    ) -> BadStructure:
        site = self.site if argument is None else self.at(argument)
        return BadStructure(f"{self.words}: {message}", site=site, expected=expected, found=found, fix=fix)

    def record(self, qualname: str, control: dag_pb2.Control, arguments: Sequence[Argument], result: int) -> Future:
        """Adds the control node; its arguments are those named, then what the bodies captured."""
        graph = self.graph
        columns = array("I"), array("I"), array("I")
        for name, value, kind in arguments:
            for column, part in zip(columns, self._bound(name, value, kind), strict=True):
                column.append(part)
        parameters = [dag_pb2.Parameter(name=name, type=kind) for name, _, kind in arguments]
        for index, future in enumerate(self.captures.futures):
            parameters.append(dag_pb2.Parameter(name=f"captured{index}", type=future._type))
            for column, part in zip(columns, graph.binding_of(future), strict=True):
                column.append(part)
        proto = dag_pb2.Operator(
            module="mwfs",
            qualname=qualname,
            parameters=parameters,
            outputs=[dag_pb2.Output(name="result", type=result)],
            control=control,
        )
        row = row_of(graph, proto)
        node = graph.add_node(row.index, columns, self.frame)
        return Future(graph, OUTPUT, node, 0, result)

    def _bound(self, name: str, value: Any, kind: int) -> tuple[int, int, int]:
        try:
            return bind(self.graph, value, kind)
        except Mismatch as error:
            if error.foreign:
                raise foreign_error(error, f"`{name}` of {self.words}", self.site) from None
            raise WrongType(
                f"`{name}{error.path}` of {self.words} has the wrong type"
                + (f": {error.reason}" if error.reason else ""),
                site=self.site,
                expected=error.expected,
                found=error.found,
                fix=error.fix or f"give a value of type {error.expected}",
            ) from None

    def type_words(self, kind: int) -> str:
        return describe(self.graph.types[kind])


def row_of(graph: Graph, proto: dag_pb2.Operator) -> ControlRow:
    """The row of a control operator; equal ones share one."""
    key = proto.SerializeToString(deterministic=True)
    row = graph.control_rows.get(key)
    if row is None:
        row = graph.control_rows[key] = ControlRow(len(graph.operators), proto)
        graph.operators.append(row)
    return row


def construct(name: str) -> Construct | None:
    """The construct of this name in the workflow that is being compiled; None outside of compiling."""
    graph = active_graph.get()
    return None if graph is None else Construct(name, graph)


def accepted(call: Callable[..., Any]) -> tuple[int, int] | None:
    """How few and how many positional arguments a callable takes; None when Python cannot say."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    most = 1_000 if any(p.kind == p.VAR_POSITIONAL for p in parameters) else len(positional)
    return sum(p.default is p.empty for p in positional), most


def check_callable(use: Construct, call: Any, count: int, *, argument: int | str, what: str, takes: str) -> None:
    """Raises BadStructure unless `call` can be called with `count` positional arguments."""
    if isinstance(call, Future) or not callable(call):
        found = use.graph.describe_future(call) if isinstance(call, Future) else type(call).__qualname__
        raise use.wrong(
            f"{what} is not something to call",
            argument=argument,
            expected="an operator, a workflow or a lambda",
            found=found,
            fix=f"write `lambda{' x' if count else ''}: …`",
        )
    bounds = accepted(call)
    if bounds is not None and not bounds[0] <= count <= bounds[1]:
        raise use.wrong(
            f"{what} takes {_plural(bounds[0])}, but is called with {takes}",
            argument=argument,
            expected=f"a callable with {_plural(count)}",
            found=f"one with {_plural(bounds[0])}",
            fix=f"write a lambda with {_plural(count)}",
        )


def _plural(count: int) -> str:
    return "1 parameter" if count == 1 else f"{count or 'no'} parameters"
