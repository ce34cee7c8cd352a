"""Signals from outside: checked before they touch a run, accepted once for a name, acknowledged when they are committed."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
)
from mwfs_types.checking import check
from mwfs_types.errors import BadValue
from mwfs_types.rendering import describe
from mwfs_types.shapes import check_well_formed

from .active_run import ActiveRun
from .engine import Engine
from .graph import Graph
from .names import check_request_id
from .reading import Reading
from .states import NodeState, RunState
from .waits import SentSignal

MAX_PAYLOAD_BYTES: Final = 32 * 1024
_MAX_NAME: Final = 128
#: Signals of one run that nothing in it has declared so far: a dynamic operator may.
_MAX_UNDECLARED: Final = 100
_MAX_LISTED: Final = 10_000
_MAX_WAITING: Final = 100


class Signals:
    """Sends and lists the signals of runs."""

    def __init__(self, *, engine: Engine, reading: Reading, clock: Clock) -> None:
        self._engine = engine
        self._reading = reading
        self._clock = clock

    async def send(self, caller: Caller, request: pb.SignalRunRequest) -> bool:
        """Whether it is new; done once it is committed. Raises ServiceError."""
        name = request.name
        if not name.isidentifier() or len(name) > _MAX_NAME:
            raise InvalidArgument(
                f"{name[:80]!r} does not name a signal.", "Give the name that the workflow has in `mwfs.signal`."
            )
        check_request_id(request.request_id)
        size = request.payload.ByteSize()
        if size > MAX_PAYLOAD_BYTES:
            raise InvalidArgument(
                f"The payload of the signal {name} has {size:,} bytes; at most {MAX_PAYLOAD_BYTES:,} travel.",
                "Send a file, or less.",
            )
        run_id = await self._reading.find(caller.team, request.run_id)
        payload = request.payload.SerializeToString(deterministic=True)
        signal = SentSignal(
            name=name,
            request_id=request.request_id,
            payload=payload,
            principal=caller.principal,
            sent_us=self._clock.now_us(),
        )
        run = await self._reading.going(run_id)
        if run is None:
            if _is_known(await self._reading.sent_signals(run_id), signal):
                return False
            raise _too_late(run_id, RunState((await self._reading.run(run_id)).state))
        if _is_known(run.waits.sent.values(), signal):
            await self._engine.committed(run)
            return False
        if run.ended or (run.state is RunState.CANCELLING and not run.cleaning.cleaning):
            await self._engine.committed(run)
            raise _too_late(run_id, run.state)
        _check_declared(run, request.payload, name)
        await self._engine.signal(run, signal)
        return True

    async def list(self, team: str, text: str) -> list[pb.Signal]:
        """What the run has declared, and what was sent into it, by name. Raises NotFound."""
        run_id = await self._reading.find(team, text)
        run = self._engine.runs.get(run_id)
        graph = run.graph if run is not None else await self._reading.graph_of(run_id)
        found: dict[str, pb.Signal] = {}
        for name, kinds in graph.signals.items() if graph is not None else ():
            found[name] = pb.Signal(name=name, type=kinds[0])
        for sent in await self._reading.sent_signals(run_id):
            signal = found.setdefault(sent.name, pb.Signal(name=sent.name))
            signal.send_time_us, signal.principal = sent.sent_us, sent.principal
        for name, nodes in run.waits.by_signal.items() if run is not None else ():
            assert run is not None
            waiting = [node for node in nodes if run.node_state[node] == NodeState.WAITING]
            ends = [end for node in waiting if (end := run.waits.nodes[node].until_us)]
            found[name].waiting_nodes.extend(waiting[:_MAX_WAITING])
            found[name].until_time_us = min(ends, default=0)
        return [found[name] for name in sorted(found)[:_MAX_LISTED]]


def _is_known(sent: Iterable[SentSignal], signal: SentSignal) -> bool:
    """Whether it was accepted before. Raises AlreadyExists when another one was."""
    for known in sent:
        same = known.name == signal.name and known.payload == signal.payload
        if known.request_id == signal.request_id and not same:
            raise AlreadyExists(
                f"The request id {signal.request_id!r} was used for another signal of this run, {known.name}.",
                "Use a new request id, or none to have one made.",
            )
        if known.name == signal.name and known.request_id != signal.request_id:
            raise AlreadyExists(
                f"The signal {signal.name} was sent before, by {known.principal}: a run takes each once.",
                "Look at it with `mwfs signal RUN`; wait for another name to be told again.",
            )
        if known.request_id == signal.request_id:
            return True
    return False


def _check_declared(run: ActiveRun, payload: types_pb2.Value, name: str) -> None:
    graph = run.graph
    if graph is None:
        raise FailedPrecondition(
            f"The run {run.header.run_id} is not compiled yet, so its signals are not known.",
            "Send it again in a moment.",
        )
    kinds = graph.signals.get(name)
    if kinds is None:
        _check_undeclared(run, graph, payload, name)
        return
    for kind in kinds:
        try:
            check(payload, kind)
        except BadValue as error:
            raise InvalidArgument(
                f"The payload of the signal {name}{error.path}: expected {error.expected}, found {error.found}.",
                error.fix or f"Send a value of type {describe(kind)}.",
            ) from None


def _check_undeclared(run: ActiveRun, graph: Graph, payload: types_pb2.Value, name: str) -> None:
    """A dynamic operator may still declare it; else nothing ever will."""
    if not graph.dynamic_operators:
        known = ", ".join(sorted(graph.signals)[:20]) or "none"
        raise InvalidArgument(
            f"The run {run.header.run_id} waits for no signal {name}; its signals: {known}.", "Send one of these."
        )
    undeclared = sum(sent not in graph.signals for sent in run.waits.sent)
    if undeclared >= _MAX_UNDECLARED:
        raise ResourceExhausted(
            f"The run {run.header.run_id} has {undeclared} signals that nothing in it waits for so far.",
            "Send this one when a node waits for it.",
        )
    check_well_formed(payload)


def _too_late(run_id: UUID, state: RunState) -> FailedPrecondition:
    what = "is being cancelled" if state is RunState.CANCELLING else f"has ended: it is {state.name}"
    return FailedPrecondition(f"The run {run_id} {what}.", "Only a run that goes on takes signals.")
