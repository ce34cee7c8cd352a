"""The databases that hold the runs, for those who run the platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from mwfs_api.orchestrator.v1 import shards_pb2 as pb

if TYPE_CHECKING:
    from mwfs.client.connection import Connection, ShardCalls

#: A database may have to be created, with all its tables.
_ADD_S = 120.0


class ShardClient:
    """Adding and draining, and calling that off, are safe to repeat."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _service(self) -> ShardCalls:
        return self._connection.shards

    async def list(self) -> list[pb.Shard]:
        """All by number, drained ones included."""
        response = await self._service.call(self._service.stub.ListShards, pb.ListShardsRequest())
        return list(response.shards)

    async def add(self, database: str = "", *, balance: bool = True) -> pb.AddShardResponse:
        """Makes a shard of a database: a DSN, or a name beside the catalogue; empty: one is chosen. Raises Rejected."""
        request = pb.AddShardRequest(database=database, no_balance=not balance)
        return await self._service.call(self._service.stub.AddShard, request, timeout=_ADD_S)

    async def drain(self, shard: str) -> pb.Shard:
        """Lets all slots of a shard move to the others. Raises NotFound, Rejected."""
        response = await self._service.call(self._service.stub.DrainShard, pb.DrainShardRequest(shard=shard))
        return response.shard

    async def cancel_drain(self, shard: str) -> pb.Shard:
        """The slots that a shard still holds stay. Raises NotFound, Rejected."""
        response = await self._service.call(self._service.stub.CancelDrain, pb.CancelDrainRequest(shard=shard))
        return response.shard

    async def watch(self, shard: str) -> AsyncGenerator[pb.WatchMovesResponse, None]:
        """How far the moves from and to a shard are, until none is left. Raises NotFound, Unavailable."""
        updates = self._service.read(self._service.stub.WatchMoves, pb.WatchMovesRequest(shard=shard))
        async with aclosing(updates):
            async for update in updates:
                yield update


class BlockingShards:
    """The same methods with the same promises."""

    def __init__(
        self,
        shards: ShardClient,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        iterate: Callable[[AsyncIterator[Any]], Iterator[Any]],
    ) -> None:
        self._shards = shards
        self._run = run
        self._iterate = iterate

    def add(self, database: str = "", *, balance: bool = True) -> pb.AddShardResponse:
        response: pb.AddShardResponse = self._run(self._shards.add(database, balance=balance))
        return response

    def drain(self, shard: str) -> pb.Shard:
        found: pb.Shard = self._run(self._shards.drain(shard))
        return found

    def cancel_drain(self, shard: str) -> pb.Shard:
        found: pb.Shard = self._run(self._shards.cancel_drain(shard))
        return found

    def watch(self, shard: str) -> Iterator[pb.WatchMovesResponse]:
        return self._iterate(self._shards.watch(shard))

    def list(self) -> list[pb.Shard]:
        found: list[pb.Shard] = self._run(self._shards.list())
        return found
