"""Tells the scheduler what this host offers, for as long as the service lives; reconnects by itself."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import grpc

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_chassis.leader import LeaderFinder
from mwfs_chassis.streams import keep_open

log = logging.getLogger(__name__)


class Offer:
    """A part. `address` is asked when it starts: by then the server has its port."""

    def __init__(
        self,
        *,
        scheduler_address: str,
        identity: Identity,
        host: str,
        address: Callable[[], str],
        capacity: dag_pb2.Resources,
        on_epoch: Callable[[int], None],
    ) -> None:
        self._finder = LeaderFinder(scheduler_address, identity)
        self._identity = identity
        self._host = host
        self._address = address
        self._capacity = capacity
        self._on_epoch = on_epoch
        #: Whether the scheduler has answered on this stream.
        self._told = False
        #: Why the scheduler does not take the offer; "" when it does.
        self._refused = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._finder.start()
        self._task = asyncio.create_task(
            keep_open("offer", lambda: self._finder.follow(self._offer), ended=self._ended), name="offer"
        )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._finder.stop()

    async def _offer(self, address: str) -> None:
        async with open_channel(address) as channel:
            stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
            try:
                async for response in stub.Offer(self._inventory(), metadata=self._identity.metadata):
                    self._told = True
                    self._refused = ""
                    self._on_epoch(response.epoch)
            except grpc.aio.AioRpcError as error:
                self._say_refused(error)
                raise

    def _say_refused(self, error: grpc.aio.AioRpcError) -> None:
        """Nothing runs here until somebody changes something, so they must hear of it: once, and not for each time that it is tried again."""
        refused = error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
        if refused and error.details() != self._refused:
            self._refused = error.details() or ""
            log.error("the scheduler refuses what this host offers", extra={"why": self._refused})

    def _ended(self) -> None:
        if self._told:  # once, and not for each time that it is tried again
            log.warning("the scheduler is away")
            self._told = False

    async def _inventory(self) -> AsyncIterator[scheduler_pb2.OfferRequest]:
        yield scheduler_pb2.OfferRequest(host=self._host, address=self._address(), capacity=self._capacity)
        await asyncio.Event().wait()  # the stream stays open: its end is the end of the offer
