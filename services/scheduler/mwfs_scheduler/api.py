"""SchedulerService over gRPC: unpack, call the engine, pack; no decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from mwfs_api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from mwfs_chassis.errors import InvalidArgument
from mwfs_scheduler.engine import Engine
from mwfs_scheduler.session import Session
from mwfs_scheduler.wire import waiting_to


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Promises and codes: scheduler.proto."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def Request(self, request_iterator: Any, context: Any) -> AsyncIterator[scheduler_pb2.RequestResponse]:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or not first.hello.replica:
            raise InvalidArgument(
                "The first message of a Request stream must be a hello that names the replica.",
                "Open the stream again and say hello first.",
            )
        session = await self._engine.connect(first.hello)
        reading: asyncio.Task[None] | None = None
        try:
            self._engine.receive(session, first)
            reading = asyncio.create_task(self._read(requests, session))
            while (message := await session.next_message()) is not None:
                yield message
        finally:
            if reading is not None:
                reading.cancel()
            self._engine.disconnect(session)

    async def _read(self, requests: AsyncIterator[scheduler_pb2.RequestRequest], session: Session) -> None:
        try:
            async for message in requests:
                if message.HasField("hello"):
                    # Grants may be on their way that this hello cannot know: believing it could grant their room twice.
                    raise InvalidArgument("Only the first message may be a hello.", "Open a new stream to say hello.")
                self._engine.receive(session, message)
            session.end()
        except Exception as error:
            session.end(error)

    async def Offer(self, request_iterator: Any, context: Any) -> AsyncIterator[scheduler_pb2.OfferResponse]:
        stream = object()
        host = ""
        try:
            async for offer in request_iterator:
                if host and offer.host != host:
                    raise InvalidArgument(
                        f"This stream speaks for host {host!r}, not {offer.host!r}.", "Open one stream per host."
                    )
                host = self._engine.offer(offer, stream).host
                yield scheduler_pb2.OfferResponse(epoch=self._engine.epoch)
            if not host:
                raise InvalidArgument("The first message of an Offer stream must be an inventory.", "Send one.")
        finally:
            if host:
                self._engine.withdraw_offer(host, stream)

    async def ExplainWaiting(
        self, request: scheduler_pb2.ExplainWaitingRequest, context: Any
    ) -> scheduler_pb2.ExplainWaitingResponse:
        return scheduler_pb2.ExplainWaitingResponse(
            groups=[waiting_to(explanation) for explanation in self._engine.explain(request.run_id)]
        )

    async def ListHosts(self, request: scheduler_pb2.ListHostsRequest, context: Any) -> scheduler_pb2.ListHostsResponse:
        return scheduler_pb2.ListHostsResponse(hosts=self._engine.hosts().hosts)
