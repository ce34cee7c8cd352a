"""The events of one run by WatchEvents, each once and in order, through restarts of the platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mwfs.client.connection import Patience
from mwfs.errors import Unavailable
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.client.connection import Orchestrator

#: Kinds of events that say when and where a body ran.
_WITH_BODY = frozenset(
    (
        events_pb2.EVENT_KIND_NODE_SUCCEEDED,
        events_pb2.EVENT_KIND_NODE_FAILED,
        events_pb2.EVENT_KIND_NODE_RETRIED,
        events_pb2.EVENT_KIND_NODE_GREW,
    )
)
#: Why something failed, what was accepted, how the Dag looks, where a result is from, for whom an attempt makes room, what it has kept.
EventFact: TypeAlias = (
    events_pb2.RunFacts
    | events_pb2.Failure
    | events_pb2.DagFacts
    | events_pb2.ResultOrigin
    | events_pb2.PreemptionFacts
    | events_pb2.Checkpoint
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One thing that happened to a run."""

    #: 1, 2, 3 … without gaps.
    number: int
    kind: events_pb2.EventKind.ValueType
    #: -1 for events of the run itself and of compiling on the platform.
    node: int
    #: 0 for events of the run itself.
    attempt: int
    #: When it was committed; all times in microseconds since 1970.
    time_us: int
    #: When the node became ready, for NODE_STARTED.
    ready_us: int = 0
    #: When the body of the attempt began and ended on its worker; 0 when it did not.
    body_started_us: int = 0
    body_ended_us: int = 0
    #: "host/worker".
    place: str = ""
    fact: EventFact | None = None


def events_of(batch: events_pb2.RunEvents, first: int = 1) -> Iterator[RunEvent]:
    """The events of a batch from a number on."""
    facts = {detail.index: getattr(detail, detail.WhichOneof("fact") or "", None) for detail in batch.details}
    ready = iter(batch.ready_us)
    bodies = iter(zip(batch.body_started_us, batch.body_ended_us, batch.place, strict=True))
    columns = zip(batch.kind, batch.node, batch.attempt, batch.time_us, strict=True)
    for index, (kind, node, attempt, time_us) in enumerate(columns):
        ready_us = next(ready, 0) if kind == events_pb2.EVENT_KIND_NODE_STARTED else 0
        began, ended, place = next(bodies, (0, 0, -1)) if kind in _WITH_BODY else (0, 0, -1)
        number = batch.first_number + index
        if number >= first:
            yield RunEvent(
                number=number,
                kind=kind,
                node=node,
                attempt=attempt,
                time_us=time_us,
                ready_us=ready_us,
                body_started_us=began,
                body_ended_us=ended,
                place=batch.places[place] if place >= 0 else "",
                fact=facts.get(index),
            )


async def watch_events(
    service: Orchestrator, run_id: str, first: int, *, follow: bool
) -> AsyncGenerator[RunEvent, None]:
    """The run's events from number `first` on, until it has ended; with `follow` until the caller stops."""
    patience = Patience(service)
    first = max(first, 1)
    while True:
        request = orchestrator_pb2.WatchEventsRequest(run_id=run_id, first_number=first, follow=follow)
        try:
            async with aclosing(service.read(service.stub.WatchEvents, request)) as responses:
                async for response in responses:
                    patience.reset()
                    for batch in response.batches:
                        for event in events_of(batch, first):
                            first = event.number + 1
                            yield event
        except Unavailable:
            if not await patience.wait():
                raise
        else:
            return
