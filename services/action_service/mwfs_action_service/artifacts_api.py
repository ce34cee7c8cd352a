"""The ArtifactService servicer: the object store's door for clients and for the orchestrator."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from mwfs_action_service.object_store import CHUNK, VerifiedStore
from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_chassis.errors import InvalidArgument

MAX_DIGESTS = 10_000

Context = grpc.aio.ServicerContext[Any, Any]


class ArtifactServicer(action_pb2_grpc.ArtifactServiceServicer):
    """Unpacks, calls the store, packs."""

    def __init__(self, store: VerifiedStore) -> None:
        self._store = store

    async def FindMissing(
        self, request: action_pb2.FindMissingRequest, context: Context
    ) -> action_pb2.FindMissingResponse:
        if len(request.digests) > MAX_DIGESTS:
            raise InvalidArgument(
                f"At most {MAX_DIGESTS:,} digests a call, found {len(request.digests):,}.", "Ask in several calls."
            )
        return action_pb2.FindMissingResponse(digests=await self._store.missing(request.digests))

    async def Upload(
        self, request_iterator: AsyncIterator[action_pb2.UploadRequest], context: Context
    ) -> action_pb2.UploadResponse:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidArgument("The first message of Upload must be its header.", "Send digest and size first.")
        created = await self._store.put(first.header.digest, first.header.size, _data(requests))
        return action_pb2.UploadResponse(created=created)

    async def Download(
        self, request: action_pb2.DownloadRequest, context: Context
    ) -> AsyncIterator[action_pb2.DownloadResponse]:
        async for data in self._store.get(request.digest):
            yield action_pb2.DownloadResponse(data=data)

    async def DropCheckpoints(
        self, request: action_pb2.DropCheckpointsRequest, context: Context
    ) -> action_pb2.DropCheckpointsResponse:
        if len(request.keys) > MAX_DIGESTS or len(request.run_ids) > MAX_DIGESTS:
            raise InvalidArgument(f"At most {MAX_DIGESTS:,} keys and runs a call.", "Ask in several calls.")
        await self._store.drop_checkpoints(request.keys, request.run_ids)
        return action_pb2.DropCheckpointsResponse()


async def _data(requests: AsyncIterator[action_pb2.UploadRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "data" or len(request.data) > CHUNK:
            raise InvalidArgument(
                "After the header each message of Upload must carry at most 1 MiB of data.", "Send smaller pieces."
            )
        yield request.data
