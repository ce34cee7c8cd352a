"""ObservabilityService over gRPC: unpack, read, fold, pack."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

from mwfs_api.observability.v1 import observability_pb2 as pb
from mwfs_api.observability.v1 import observability_pb2_grpc
from mwfs_chassis.caller import current_caller
from mwfs_chassis.errors import DataLoss, NotFound
from mwfs_observability.fold import BadEvents, Picture, fold
from mwfs_observability.store import Store
from mwfs_observability.wire import page_size_from, page_token_from, run_id_from, timeline_to

#: Batches read at a time for ListEvents, and the size from which a message is sent.
_ROWS = 200
_MESSAGE_BYTES = 1 << 20
#: Pictures kept for the next page of the same run.
_PICTURES_KEPT = 4


class ObservabilityServicer(observability_pb2_grpc.ObservabilityServiceServicer):
    """Promises and codes: observability.proto. A run of another team is not found."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pictures: OrderedDict[tuple[str, int], Picture] = OrderedDict()

    async def GetTimeline(self, request: pb.GetTimelineRequest, context: Any) -> pb.GetTimelineResponse:
        run_id, size = run_id_from(request.run_id), page_size_from(request.page_size)
        until, offset = page_token_from(request.page_token)
        picture = self._pictures.get((run_id, until)) or await self._picture(run_id, until)
        _check_team(run_id, picture.facts.team)
        page = timeline_to(picture, offset, size)
        if page.next_page_token:
            self._pictures[run_id, picture.last_event] = picture
            self._pictures.move_to_end((run_id, picture.last_event))
            while len(self._pictures) > _PICTURES_KEPT:
                self._pictures.popitem(last=False)
        return page

    async def ListEvents(self, request: pb.ListEventsRequest, context: Any) -> AsyncIterator[pb.ListEventsResponse]:
        run_id = run_id_from(request.run_id)
        last = 0
        pending = pb.ListEventsResponse()
        size = 0
        for_team = False
        while batches := await self._store.events_page(run_id, after=last, limit=_ROWS):
            for batch in batches:
                if batch.first_number != last + 1:
                    break
                if not for_team:
                    _check_team(run_id, next((d.accepted.team for d in batch.details if d.HasField("accepted")), ""))
                    for_team = True
                last += len(batch.kind)
                pending.events.append(batch)
                size += batch.ByteSize()
                if size >= _MESSAGE_BYTES:
                    yield pending
                    pending, size = pb.ListEventsResponse(), 0
            else:
                continue
            break
        if not last:
            raise _not_found(run_id)
        if pending.events:
            yield pending

    async def GetProgress(self, request: pb.GetProgressRequest, context: Any) -> pb.GetProgressResponse:
        positions = await self._store.positions()
        return pb.GetProgressResponse(
            streams=[pb.Progress(stream=stream, position=position) for stream, position in positions.items()]
        )

    async def _picture(self, run_id: str, until: int) -> Picture:
        batches = await (self._store.events(run_id, until=until) if until else self._store.events(run_id))
        if not batches:
            raise _not_found(run_id)
        try:
            return await asyncio.to_thread(fold, batches)
        except BadEvents as error:
            raise DataLoss(f"The events of run {run_id} cannot be read: {error}.", "Report this.") from error


def _check_team(run_id: str, team: str) -> None:
    if team != current_caller().team:
        raise _not_found(run_id)


def _not_found(run_id: str) -> NotFound:
    return NotFound(
        f"No event of a run {run_id} has arrived.",
        "A run's first events arrive within a second of its submission; check the id and the team.",
    )
