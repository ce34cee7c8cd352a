"""One orchestrator replica's stream: what is still to be sent on it."""

from __future__ import annotations

import asyncio

from mwfs_api.scheduler.v1 import scheduler_pb2


class Session:
    """Messages that wait to be sent, until the stream is over."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._pending = scheduler_pb2.RequestResponse()
        self._wake = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    def outgoing(self) -> scheduler_pb2.RequestResponse:
        """The message that goes out next; what is added until then rides along."""
        self._wake.set()
        return self._pending

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will be sent; with an error, the stream ends with it."""
        self._ended = True
        self._error = error
        self._wake.set()

    async def next_message(self) -> scheduler_pb2.RequestResponse | None:
        """The next message once there is one; None when the stream is over."""
        await self._wake.wait()
        if self._error is not None:
            raise self._error
        if self._ended:
            return None
        self._wake.clear()
        message, self._pending = self._pending, scheduler_pb2.RequestResponse()
        return message
