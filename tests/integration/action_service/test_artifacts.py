"""The object store's door: verified on the way in and on the way out."""

import hashlib
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from mwfs_api.action.v1 import action_pb2

MIB = 2**20


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def upload(host: Any, data: bytes, *, digest: str = "", size: int = -1, piece: int = MIB) -> bool:
    async def requests() -> AsyncIterator[action_pb2.UploadRequest]:
        header = action_pb2.UploadHeader(digest=digest or digest_of(data), size=len(data) if size < 0 else size)
        yield action_pb2.UploadRequest(header=header)
        for start in range(0, len(data), piece):
            yield action_pb2.UploadRequest(data=data[start : start + piece])

    call = host.artifacts.Upload(requests(), metadata=host.metadata, wait_for_ready=True, timeout=200)
    return bool((await call).created)


async def download(host: Any, digest: str) -> bytes:
    request = action_pb2.DownloadRequest(digest=digest)
    call = host.artifacts.Download(request, metadata=host.metadata, wait_for_ready=True, timeout=200)
    pieces = [response.data async for response in call]
    assert all(len(piece) <= MIB for piece in pieces)
    return b"".join(pieces)


async def code_of(awaitable: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code()


async def missing(host: Any, *digests: str) -> list[str]:
    request = action_pb2.FindMissingRequest(digests=digests)
    response = await host.artifacts.FindMissing(request, metadata=host.metadata, wait_for_ready=True, timeout=200)
    return list(response.digests)


@pytest.mark.parametrize("size", [0, 1, MIB, 4 * MIB, 11 * MIB + 7])
async def test_what_is_uploaded_comes_back(host: Any, size: int) -> None:
    data = os.urandom(size)
    digest = digest_of(data)
    assert await missing(host, digest) == [digest]
    assert await upload(host, data)
    assert not await upload(host, data)
    assert await missing(host, digest) == []
    assert await download(host, digest) == data
    path = host.service.artifacts / "sha256" / digest[7:9] / digest[9:]
    assert path.read_bytes() == data


async def test_a_corrupted_upload_is_refused_and_nothing_is_stored(host: Any) -> None:
    for size in (1000, 6 * MIB):
        data = os.urandom(size)
        digest = digest_of(data)
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        assert await code_of(upload(host, damaged, digest=digest)) == grpc.StatusCode.INVALID_ARGUMENT
        assert await code_of(upload(host, data[:-1], digest=digest, size=size)) == grpc.StatusCode.INVALID_ARGUMENT
        assert await code_of(upload(host, data, digest=digest, size=size - 1)) == grpc.StatusCode.INVALID_ARGUMENT
        assert await missing(host, digest) == [digest]
    assert list((host.service.home / "action_service" / "spool").iterdir()) == []


async def test_malformed_digests_are_refused(host: Any) -> None:
    for digest in ("", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 64, "sha256:../../etc/passwd"):
        assert await code_of(missing(host, digest)) == grpc.StatusCode.INVALID_ARGUMENT
        assert await code_of(download(host, digest)) == grpc.StatusCode.INVALID_ARGUMENT
        assert await code_of(upload(host, b"x", digest=digest or "x")) == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_artifact_that_is_not_there_is_not_found(host: Any) -> None:
    assert await code_of(download(host, digest_of(b"nothing"))) == grpc.StatusCode.NOT_FOUND


async def test_a_damaged_object_is_data_loss_and_can_be_replaced(host: Any) -> None:
    data = os.urandom(3 * MIB)
    digest = digest_of(data)
    await upload(host, data)
    path = host.service.artifacts / "sha256" / digest[7:9] / digest[9:]
    path.write_bytes(data[:-5])
    assert await code_of(download(host, digest)) == grpc.StatusCode.DATA_LOSS
    assert await upload(host, data)
    assert await download(host, digest) == data


@pytest.mark.parametrize("service_environment", [{"MWFS_MAX_ARTIFACT_BYTES": "1000"}])
async def test_an_artifact_beyond_the_stores_bound_is_refused(host: Any) -> None:
    assert await upload(host, b"x" * 1000)
    assert await code_of(upload(host, b"x" * 1001)) == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_data_must_follow_a_header_in_pieces_of_a_mebibyte(host: Any) -> None:
    async def no_header() -> AsyncIterator[action_pb2.UploadRequest]:
        yield action_pb2.UploadRequest(data=b"x")

    call = host.artifacts.Upload(no_header(), metadata=host.metadata, wait_for_ready=True, timeout=200)
    assert await code_of(call) == grpc.StatusCode.INVALID_ARGUMENT
    assert await code_of(upload(host, b"x" * 3 * MIB, piece=2 * MIB)) == grpc.StatusCode.INVALID_ARGUMENT
