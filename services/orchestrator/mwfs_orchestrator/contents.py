"""What the orchestrator itself reads and writes in the object store: values that outputs and control nodes are computed from, what these give, and archives."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import grpc

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.channel import open_channel
from mwfs_chassis.errors import DataLoss, ResourceExhausted, Unavailable
from mwfs_chassis.identity import Identity
from mwfs_types.files import SPILLED
from mwfs_types.limits import MAX_COLLECTED_BYTES

from .host_links import HostLinks

MAX_BYTES: Final = MAX_COLLECTED_BYTES
_PART_BYTES: Final = 1024 * 1024
_TRIES: Final = 5
_HOST_PATIENCE_S: Final = 5.0
_TIMEOUT_S: Final = 60.0
_FILE_TIMEOUT_S: Final = 900.0
_T = TypeVar("_T")


class Contents:
    """Reads spilled values through whichever action service is there."""

    def __init__(self, *, hosts: HostLinks, identity: Identity) -> None:
        self._hosts = hosts
        self._identity = identity

    async def fetch(self, artifact: types_pb2.Artifact) -> types_pb2.Value | events_pb2.Failure:
        """The value, or why there is none."""
        if artifact.size > MAX_BYTES:
            return _failure(
                events_pb2.FAILURE_KIND_LIMIT,
                "ValueTooLarge",
                f"An output of the workflow is computed from a value of {artifact.size:,} bytes; at most {MAX_BYTES:,} are read for this.",
                "Return the value itself, or compute the output in an operator.",
            )
        why = "no action service could be reached"
        for _ in range(_TRIES):
            address = await self._hosts.any_address(_HOST_PATIENCE_S)
            if not address:
                continue
            try:
                data = await self._download(address, artifact)
            except grpc.aio.AioRpcError as error:
                why = error.details() or error.code().name
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    break
                continue
            if artifact.digest == "sha256:" + sha256(data).hexdigest():
                return await asyncio.to_thread(types_pb2.Value.FromString, data)
            why = "its bytes do not match its digest"
            break
        return _failure(
            events_pb2.FAILURE_KIND_NOT_LOADABLE,
            "ArtifactMissing",
            f"A value that an output is computed from could not be read ({artifact.digest[:19]}…): {why}.",
            "Retry the run; when the object has been removed, run it again.",
        )

    async def keep(self, value: types_pb2.Value) -> types_pb2.Artifact | events_pb2.Failure:
        """Stores a value that is too large to travel inline; or why it could not."""
        data = value.SerializeToString(deterministic=True)
        if len(data) > MAX_BYTES:
            return _failure(
                events_pb2.FAILURE_KIND_LIMIT,
                "ValueTooLarge",
                f"The result of a control node has {len(data):,} bytes; at most {MAX_BYTES:,} are kept.",
                "Write results to files, and pass these on.",
            )
        artifact = types_pb2.Artifact(
            digest="sha256:" + sha256(data).hexdigest(), size=len(data), encoding=SPILLED, file_name=""
        )
        why = "no action service could be reached"
        for _ in range(_TRIES):
            address = await self._hosts.any_address(_HOST_PATIENCE_S)
            if not address:
                continue
            try:
                await self._upload(address, artifact, _slices(data))
            except grpc.aio.AioRpcError as error:
                why = error.details() or error.code().name
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    break
                continue
            return artifact
        return _failure(
            events_pb2.FAILURE_KIND_NOT_LOADABLE,
            "ArtifactNotStored",
            f"The result of a control node could not be stored: {why}.",
            "Retry the run.",
        )

    async def keep_file(self, path: Path) -> types_pb2.Artifact:
        """Stores a file. Raises Unavailable, and ResourceExhausted when it is too large."""
        artifact = types_pb2.Artifact(
            digest=await asyncio.to_thread(_digest_of, path), size=path.stat().st_size, file_name=path.name
        )
        await self._anywhere(
            f"the file {path.name} could not be stored",
            lambda address: self._upload(address, artifact, _parts_of(path), _FILE_TIMEOUT_S),
        )
        return artifact

    async def keep_bytes(self, data: bytes, file_name: str) -> types_pb2.Artifact:
        """Stores bytes. Raises Unavailable, and ResourceExhausted when there are too many."""
        digest = "sha256:" + (await asyncio.to_thread(sha256, data)).hexdigest()
        artifact = types_pb2.Artifact(digest=digest, size=len(data), file_name=file_name)
        await self._anywhere(
            f"{file_name} could not be stored",
            lambda address: self._upload(address, artifact, _slices(data), _FILE_TIMEOUT_S),
        )
        return artifact

    async def read(self, digest: str, size: int) -> bytes:
        """The bytes of an artifact. Raises Unavailable, DataLoss."""
        artifact = types_pb2.Artifact(digest=digest, size=size)
        data = await self._anywhere(
            f"{digest[:19]}… could not be read from the object store",
            lambda address: self._download(address, artifact, size),
        )
        if digest != "sha256:" + sha256(data).hexdigest():
            raise DataLoss(f"The bytes of {digest} in the object store do not match their digest.")
        return data

    async def drop_checkpoints(self, keys: Iterable[str], run_ids: Iterable[UUID]) -> None:
        """Removes checkpoints, and all of some runs. Raises Unavailable."""
        request = action_pb2.DropCheckpointsRequest(keys=keys, run_ids=map(str, run_ids))

        async def call(address: str) -> None:
            async with open_channel(address) as channel:
                await action_pb2_grpc.ArtifactServiceStub(channel).DropCheckpoints(
                    request, metadata=self._identity.metadata, timeout=_TIMEOUT_S
                )

        await self._anywhere("checkpoints could not be removed", call)

    async def _anywhere(self, what: str, call: Callable[[str], Awaitable[_T]]) -> _T:
        """Asks the action services that are there until one answers."""
        why = "no action service could be reached"
        for _ in range(_TRIES):
            address = await self._hosts.any_address(_HOST_PATIENCE_S)
            if not address:
                continue
            try:
                return await call(address)
            except grpc.aio.AioRpcError as error:
                why = error.details() or error.code().name
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise ResourceExhausted(f"{what[0].upper()}{what[1:]}: {why}") from None
                if error.code() is grpc.StatusCode.DATA_LOSS:
                    raise DataLoss(f"{what}: {why}") from None
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    break
        raise Unavailable(f"{what[0].upper()}{what[1:]}: {why}.", "Try again once an action service is there.")

    async def _upload(
        self, address: str, artifact: types_pb2.Artifact, parts: Iterable[bytes], timeout: float = _TIMEOUT_S
    ) -> None:
        def requests() -> Iterator[action_pb2.UploadRequest]:
            yield action_pb2.UploadRequest(header=action_pb2.UploadHeader(digest=artifact.digest, size=artifact.size))
            for part in parts:
                yield action_pb2.UploadRequest(data=part)

        async with open_channel(address) as channel:
            await action_pb2_grpc.ArtifactServiceStub(channel).Upload(
                requests(), metadata=self._identity.metadata, timeout=timeout
            )

    async def _download(self, address: str, artifact: types_pb2.Artifact, most: int = MAX_BYTES) -> bytes:
        async with open_channel(address) as channel:
            call = action_pb2_grpc.ArtifactServiceStub(channel).Download(
                action_pb2.DownloadRequest(digest=artifact.digest),
                metadata=self._identity.metadata,
                timeout=_TIMEOUT_S,
            )
            parts = bytearray()
            async for response in call:
                parts += response.data
                if len(parts) > most:
                    break  # not what was announced: its digest will not match
        return bytes(parts)


def _slices(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _PART_BYTES):
        yield data[at : at + _PART_BYTES]


def _parts_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_PART_BYTES):
            yield part


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + file_digest(file, "sha256").hexdigest()


def _failure(
    kind: events_pb2.FailureKind.ValueType, error_type: str, message: str, next_step: str
) -> events_pb2.Failure:
    return events_pb2.Failure(kind=kind, error_type=error_type, message=message, next_step=next_step, node=-1)
