"""Files to and from the object store, through the platform's artifact service."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from mwfs.client.connection import Patience
from mwfs.client.refusals import refusal_of
from mwfs.errors import ArtifactDamaged, InvalidInput, Unavailable
from mwfs_api.action.v1 import action_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.connection import Artifacts

CHUNK_BYTES = 2**20
#: Digests in one FindMissing call.
_MAX_DIGESTS = 10_000

#: Called with (bytes sent, bytes in all).
Progress = Callable[[int, int], None]


async def upload_missing(
    service: Artifacts, files: Mapping[str, Path | bytes], progress: Progress | None = None
) -> int:
    """Sends those files, given by digest, that the store does not have. Returns how many were sent."""
    missing: list[str] = []
    digests = sorted(files)
    for start in range(0, len(digests), _MAX_DIGESTS):
        request = action_pb2.FindMissingRequest(digests=digests[start : start + _MAX_DIGESTS])
        missing.extend((await service.call(service.stub.FindMissing, request)).digests)
    sizes = {digest: _size_of(files[digest]) for digest in missing}
    total, sent = sum(sizes.values()), 0

    def report(count: int) -> None:
        nonlocal sent
        sent += count
        if progress is not None:
            progress(sent, total)

    for digest in missing:
        before = sent
        patience = Patience(service)
        while True:
            try:
                await _upload(service, digest, files[digest], sizes[digest], report)
                break
            except Unavailable:
                sent = before
                if not await patience.wait():
                    raise
    return len(missing)


async def download(service: Artifacts, artifact: types_pb2.Artifact) -> AsyncGenerator[bytes, None]:
    """The bytes of an artifact, in pieces. Raises ArtifactDamaged at the end when they do not match the digest."""
    found = hashlib.sha256()
    request = action_pb2.DownloadRequest(digest=artifact.digest)
    async with aclosing(service.read(service.stub.Download, request)) as responses:
        async for response in responses:
            found.update(response.data)
            yield response.data
    if f"sha256:{found.hexdigest()}" != artifact.digest:
        raise ArtifactDamaged(f"The bytes of {artifact.digest} arrived damaged.", "Download it again.")


async def download_bytes(service: Artifacts, artifact: types_pb2.Artifact) -> bytes:
    return b"".join([piece async for piece in download(service, artifact)])


async def download_file(service: Artifacts, artifact: types_pb2.Artifact, target: Path) -> Path:
    """Saves an artifact as a file; `target` may be a folder. Half a file is never left behind."""
    if target.is_dir():
        target = target / (Path(artifact.file_name).name or artifact.digest.removeprefix("sha256:")[:12])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".mwfs-")
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written ({error.strerror}).", "Name another file or folder.") from None
    try:
        with os.fdopen(handle, "wb") as file:
            async for piece in download(service, artifact):
                file.write(piece)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


async def _upload(
    service: Artifacts, digest: str, source: Path | bytes, size: int, report: Callable[[int], None]
) -> None:
    async def parts() -> AsyncIterator[action_pb2.UploadRequest]:
        yield action_pb2.UploadRequest(header=action_pb2.UploadHeader(digest=digest, size=size))
        for piece in _pieces(source):
            yield action_pb2.UploadRequest(data=piece)
            report(len(piece))

    try:
        await service.stub.Upload(parts(), metadata=service.metadata)
        service.reached = True
    except grpc.aio.AioRpcError as error:
        raise refusal_of(error, service.peer) from None


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[start : start + CHUNK_BYTES] for start in range(0, len(source), CHUNK_BYTES))
        return
    with source.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece


def _size_of(source: Path | bytes) -> int:
    try:
        return len(source) if isinstance(source, bytes) else source.stat().st_size
    except OSError as error:
        raise InvalidInput(f"{source!s} cannot be read ({error.strerror}).", "Give a file that exists.") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
