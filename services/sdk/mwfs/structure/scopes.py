"""Bodies while they are compiled: what they take from the workflow around them, and how they become rows of the Dag."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from mwfs.binding import Mismatch, bind
from mwfs.errors import CompileError, ForeignFuture, Site, WrongType
from mwfs.futures import Future
from mwfs.graph import PARAMETER, Graph, active_graph
from mwfs.structure.inference import guess
from mwfs_api.dags.v1 import dag_pb2


class Captures:
    """Futures of the enclosing graph that the bodies of one control node use, in the order of first use."""

    __slots__ = ("_indices", "futures", "outer")

    def __init__(self, outer: Graph) -> None:
        self.outer = outer
        self.futures: list[Future] = []
        self._indices: dict[tuple[int, int, int], int] = {}

    def index(self, future: Future) -> int:
        """The place of a future of the outer graph."""
        key = self.outer.binding_of(future)
        index = self._indices.get(key)
        if index is None:
            index = self._indices[key] = len(self.futures)
            self.futures.append(Future(self.outer, *key, future._type))
        return index


def adopt(graph: Graph, future: Future) -> Future:
    """A future as `graph` may use it: its own as they are, those of enclosing graphs as captured parameters. Raises Mismatch."""
    if future._graph is graph:
        return future
    if graph.parent is None or graph.captures is None:
        theirs = future._graph
        if theirs.parent is not None and not theirs.is_open:
            raise Mismatch(
                expected="a future that exists whatever happens",
                found=f"a future made inside a branch or loop: {theirs.describe_future(future)}",
                fix="return it from the branch, and use what `mwfs.when` (or map, catch …) gives",
                foreign=True,
                branch=True,
            )
        raise Mismatch(
            expected="a future of this workflow",
            found=f"a future of `{theirs.workflow}`: {theirs.describe_future(future)}",
            foreign=True,
        )
    outer = adopt(graph.parent, future)
    index = len(graph.parameters) + graph.captures.index(outer)
    return Future(graph, PARAMETER, index, 0, outer._type)


def foreign_error(mismatch: Mismatch, what: str, site: Site | None) -> ForeignFuture:
    """The compile error of a future that may not be used here."""
    return ForeignFuture(
        f"{what} is a future of another {'branch' if mismatch.branch else 'workflow'}",
        site=site,
        expected=mismatch.expected,
        found=mismatch.found,
        fix=mismatch.fix or "call the operator again inside this workflow",
    )


class OpenBody:
    """A body whose code has run, and whose result waits for its type."""

    __slots__ = ("_graph", "_name", "_site", "_value", "_what", "type")

    def __init__(self, graph: Graph, value: Any, name: str, what: str, site: Site | None) -> None:
        self._graph, self._value, self._name, self._what, self._site = graph, value, name, what, site
        #: The result's type as far as it shows; the items of an empty list are unknown.
        self.type = guess(value, site)

    def close(self, kind: int) -> int:
        """Binds the result as a value of this row of the type table. Gives the body's row, plus one. Raises WrongType."""
        graph = self._graph
        try:
            item = graph.item_row(*bind(graph, self._value, kind))
        except Mismatch as error:
            raise _wrong_body_result(error, self._what, self._site) from None
        graph.is_open = False
        return store_body(graph, self._name, item, kind) + 1


def open_body(
    captures: Captures,
    call: Callable[..., Any],
    parameters: Sequence[int] = (),
    *,
    what: str,
    words: str,
    site: Site | None,
) -> OpenBody:
    """Runs `call` on futures of the parameters. `what` names the body in errors, `words` what its parameters are."""
    graph = captures.outer.body(captures, list(parameters), words, site)
    futures = [Future(graph, PARAMETER, index, 0, kind) for index, kind in enumerate(parameters)]
    token = active_graph.set(graph)
    try:
        value = call(*futures)
        return OpenBody(graph, value, name_of(call), what, site)
    finally:
        active_graph.reset(token)


def name_of(call: Callable[..., Any]) -> str:
    """What a user calls a callable: its name, or "lambda"."""
    if isinstance(call, functools.partial):
        return name_of(call.func)
    name = getattr(call, "__name__", type(call).__qualname__)
    return "lambda" if name == "<lambda>" else str(name)


def _wrong_body_result(error: Mismatch, what: str, site: Site | None) -> CompileError:
    if error.foreign:
        return foreign_error(error, f"the result of {what}", site)
    return WrongType(
        f"the result of {what}{error.path} has the wrong type" + (f": {error.reason}" if error.reason else ""),
        site=site,
        expected=error.expected,
        found=error.found,
        fix=error.fix or f"return a value of type {error.expected}",
    )


def body_proto(graph: Graph, name: str, item: int, kind: int) -> dag_pb2.Body:
    """A complete body. Its parameters are those of its kind, then all that was captured so far."""
    body = dag_pb2.Body(name=name, result=item, result_type=kind)
    body.parameters.extend(graph.parameters)
    if graph.captures is not None:
        body.parameters.extend(future._type for future in graph.captures.futures)
    body.node_operator.extend(graph.node_operator)
    body.node_location.extend(graph.node_location)
    for bindings, columns in ((body.arguments, graph.arguments), (body.items, graph.items)):
        fill(bindings, columns)
    for node, earlier in sorted(graph.order):
        body.order_node.append(node)
        body.order_after.append(earlier)
    return body


def fill(bindings: dag_pb2.Bindings, columns: tuple[array[int], array[int], array[int]]) -> None:
    """Writes three columns."""
    kinds, firsts, seconds = columns
    # The enum's wrapper type is static only: these are its numbers.
    bindings.kind.extend(kinds)  # type: ignore[arg-type]
    bindings.a.extend(firsts)
    bindings.b.extend(seconds)


def store_body(graph: Graph, name: str, item: int, kind: int) -> int:
    """The row of a complete body; equal bodies share one."""
    body = body_proto(graph, name, item, kind)
    key = body.SerializeToString(deterministic=True)
    row = graph.body_indices.get(key)
    if row is None:
        row = graph.body_indices[key] = len(graph.bodies)
        graph.bodies.append(body)
    return row
