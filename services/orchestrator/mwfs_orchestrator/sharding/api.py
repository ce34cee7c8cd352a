"""The servicer of shards: unpacks, calls the commands, packs; no decisions."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from mwfs_api.orchestrator.v1 import shards_pb2 as pb
from mwfs_api.orchestrator.v1 import shards_pb2_grpc

from .commands import ShardCommands, ShardView
from .databases import shown

SERVICE: Final = "mwfs_api.orchestrator.v1.ShardService"
_Context = Any


class ShardApi(shards_pb2_grpc.ShardServiceServicer):
    """Shards, for those who run the platform."""

    def __init__(self, commands: ShardCommands) -> None:
        self._commands = commands

    async def ListShards(self, request: pb.ListShardsRequest, context: _Context) -> pb.ListShardsResponse:
        return pb.ListShardsResponse(shards=map(shard_message, await self._commands.list()))

    async def AddShard(self, request: pb.AddShardRequest, context: _Context) -> pb.AddShardResponse:
        view, created = await self._commands.add(request.database, balance=not request.no_balance)
        return pb.AddShardResponse(shard=shard_message(view), created=created)

    async def DrainShard(self, request: pb.DrainShardRequest, context: _Context) -> pb.DrainShardResponse:
        return pb.DrainShardResponse(shard=shard_message(await self._commands.drain(request.shard)))

    async def CancelDrain(self, request: pb.CancelDrainRequest, context: _Context) -> pb.CancelDrainResponse:
        return pb.CancelDrainResponse(shard=shard_message(await self._commands.cancel_drain(request.shard)))

    async def WatchMoves(
        self, request: pb.WatchMovesRequest, context: _Context
    ) -> AsyncIterator[pb.WatchMovesResponse]:
        async with aclosing(self._commands.watch(request.shard)) as views:
            async for view in views:
                yield pb.WatchMovesResponse(shard=shard_message(view), planned=view.shard.planned)


def shard_message(view: ShardView) -> pb.Shard:
    return pb.Shard(
        shard=view.shard.shard,
        database=shown(view.shard.database),
        state=int(view.shard.state),  # type: ignore[arg-type]
        slots=view.slots,
        slots_to_move=view.moving.left,
        slots_to_clear=view.moving.to_clear,
        runs_going_on=view.runs_going_on,
        size_bytes=view.size_bytes,
        trouble=view.trouble,
    )
