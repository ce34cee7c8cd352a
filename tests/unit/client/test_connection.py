"""Calls end when they are told to, whatever gRPC makes of it."""

import asyncio

import grpc
import pytest

from mwfs.client.connection import Service
from mwfs.client.refusals import Peer


async def test_a_cancellation_that_grpc_swallows_still_ends_the_call() -> None:
    begun = asyncio.Event()

    async def answers_in_spite_of_it(request: str, *, metadata: object, timeout: float) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as grpc.aio does when the answer arrives in the same moment
            return "an answer"
        return ""

    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    peer = Peer(service="orchestrator", address="127.0.0.1:1", up="mwfs up", status="mwfs status")
    service = Service(channel, lambda _: None, peer, (), 1.0)
    call = asyncio.create_task(service.call(answers_in_spite_of_it, "request"))  # type: ignore[arg-type]
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await channel.close()
