"""Order without data, and waiting for somebody outside or for time: `mwfs.after`, `mwfs.signal` and `mwfs.sleep`."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

from mwfs.binding import Mismatch
from mwfs.errors import BadStructure
from mwfs.futures import Future
from mwfs.graph import PARAMETER, Graph, active_graph
from mwfs.resources import seconds_of
from mwfs.structure.control import construct
from mwfs.structure.scopes import adopt, foreign_error
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.dag_steps import MAX_SLEEP_S
from mwfs_types.rendering import describe

T = TypeVar("T")


def after(*futures: Any) -> AbstractContextManager[None]:
    """Everything called inside waits until these have succeeded: `with mwfs.after(migrated): load(data)`."""
    use, graph = construct("after"), active_graph.get()
    if use is None or graph is None:
        return nullcontext()
    earlier: set[int] = set()
    for index, future in enumerate(futures):
        if not isinstance(future, Future):
            raise use.wrong(
                "only what an operator gives can be waited for",
                argument=index,
                expected="a future",
                found=type(future).__qualname__,
                fix="pass what the operator call returned",
            )
        try:
            own = adopt(graph, future)
        except Mismatch as error:
            raise foreign_error(error, f"an argument of {use.words}", use.site) from None
        if own._kind != PARAMETER:  # the control node of this body waits for what it captured
            earlier |= graph.nodes_of(own)
    return _Waiting(graph, earlier)


class _Waiting(AbstractContextManager[None]):
    """May be entered again once it was left: `load.after(migrated)` is called more than once."""

    def __init__(self, graph: Graph, earlier: set[int]) -> None:
        self._graph = graph
        self._earlier = earlier
        self._before: tuple[int, ...] = ()

    def __enter__(self) -> None:
        self._before = self._graph.waiting_for
        self._graph.waiting_for = tuple(sorted({*self._before, *self._earlier}))

    def __exit__(self, *_: object) -> None:
        self._graph.waiting_for = self._before


def signal(name: str, kind: type[T], *, timeout: float | timedelta | None = None) -> T:
    """Waits for a signal of this name from outside the run, and gives its payload. timeout: seconds; then the node fails."""
    use = construct("signal")
    if use is None:
        raise BadStructure(
            f"mwfs.signal({name!r}) was called outside of a workflow",
            fix="call it in a workflow; in a test give its payload: mwfs.LocalRun(signals={…})",
        )
    if not isinstance(name, str) or not name.isidentifier() or len(name) > 128:
        raise use.wrong(
            "a signal is named by an identifier",
            argument=0,
            expected="letters, digits and _, at most 128",
            found=repr(name)[:80],
            fix='write `mwfs.signal("approved", bool)`',
        )
    seconds = 0.0 if timeout is None else seconds_of(timeout)
    if not 0 <= seconds <= 366 * 86_400:
        raise use.wrong(
            "`timeout` is how long to wait",
            argument="timeout",
            expected="seconds, at most a year",
            found=repr(timeout),
            fix="leave it out",
        )
    try:
        index = use.graph.type_index(type_of(kind))
    except UnsupportedType as error:
        raise use.wrong(
            "its payload cannot travel", argument=1, expected="a type", found=str(error), fix="use another type"
        ) from None
    known = use.graph.signals.setdefault(name, index)
    if known != index:
        raise use.wrong(
            f"signal `{name}` is waited for with two types",
            argument=1,
            expected=describe(use.graph.types[known]),
            found=describe(use.graph.types[index]),
            fix="use one type, or another name",
        )
    control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_SIGNAL, name=name, timeout_seconds=seconds)
    return cast(T, use.record(f"signal({name})", control, [], index))


def sleep(duration: float | timedelta) -> object:
    """Waits so many seconds, and gives None: `with mwfs.after(mwfs.sleep(600)): check(…)`. No worker is held meanwhile.

    duration: seconds, at most a year; what an operator gives will do. `run_local` does not wait.
    """
    use = construct("sleep")
    unknown = isinstance(duration, Future)
    seconds = 0.0 if unknown else seconds_of(duration)
    if not 0 <= seconds <= MAX_SLEEP_S:
        if use is None:
            raise BadStructure(f"mwfs.sleep takes 0 to {MAX_SLEEP_S:,} seconds", found=repr(duration)[:80])
        raise use.wrong(
            "how long it waits",
            argument=0,
            expected="seconds, at most a year",
            found=repr(duration)[:80],
            fix="write `mwfs.sleep(600)`, or give a timedelta",
        )
    if use is None:
        time.sleep(seconds)
        return None
    number = use.graph.type_index(type_of(float))
    control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_SLEEP)
    argument = ("seconds", duration if unknown else seconds, number)
    return use.record("sleep", control, [argument], use.graph.type_index(type_of(type(None))))
