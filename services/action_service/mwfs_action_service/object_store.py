"""Content-addressed objects in a folder, S3 or memory: bytes are verified on the way in and on the way out."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from tempfile import TemporaryFile

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore, from_url

from mwfs_chassis.errors import DataLoss, InvalidArgument, NotFound, ResourceExhausted

_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CHECKPOINT = re.compile(rf"checkpoints/{_RUN_ID.pattern}/\d+/\d+-\d+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: Objects up to this size are held in memory while they are verified; larger ones in a temporary file.
IN_MEMORY = 4 * 1024 * 1024
CHUNK = 1024 * 1024
_LOOKUPS = 64


def open_store(url: str) -> ObjectStore:
    """A folder's path, or a URL such as `s3://bucket/prefix`."""
    if "://" not in url:
        return LocalStore(url, mkdir=True)
    if url.startswith("file://"):
        return LocalStore(url.removeprefix("file://"), mkdir=True)
    return from_url(url)


def key_for(digest: str) -> str:
    """Where an artifact lies, below the store's root. Raises InvalidArgument when it is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(
            f"Expected a digest such as sha256:<64 lower-case hexadecimal digits>, found {digest[:80]!r}.",
            "Send the digest of the artifact's bytes.",
        )
    return f"sha256/{digest[7:9]}/{digest[9:]}"


class VerifiedStore:
    """What the artifact service needs of an object store."""

    def __init__(self, store: ObjectStore, *, spool: Path, max_bytes: int) -> None:
        self._store = store
        self._spool = spool
        self._max_bytes = max_bytes

    async def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not stored, in their order."""
        keys = {digest: key_for(digest) for digest in digests}
        gate = asyncio.Semaphore(_LOOKUPS)

        async def size(key: str) -> int | None:
            async with gate:
                return await self._size(key)

        sizes = await asyncio.gather(*map(size, keys.values()))
        return [digest for digest, found in zip(keys, sizes, strict=True) if found is None]

    async def put(self, digest: str, size: int, chunks: AsyncIterator[bytes]) -> bool:
        """Store what `chunks` gives under its digest; False when it was there. Nothing is stored unless size and digest are right."""
        key = key_for(digest)
        if size > self._max_bytes:
            raise ResourceExhausted(
                f"The artifact has {size:,} bytes, more than the {self._max_bytes:,} that this store takes.",
                "Split it, or raise MWFS_MAX_ARTIFACT_BYTES.",
            )
        known = await self._size(key) == size
        hasher = hashlib.sha256()
        received = 0
        with TemporaryFile(dir=self._spool, prefix="upload-") if size > IN_MEMORY else _Memory() as spool:
            async for data in chunks:
                received += len(data)
                if received > size:
                    break
                if len(data) > 64 * 1024:
                    await asyncio.to_thread(_absorb, hasher, spool, data)
                else:
                    _absorb(hasher, spool, data)
            found = f"sha256:{hasher.hexdigest()}"
            if received != size or found != digest:
                raise InvalidArgument(
                    f"Expected {size} bytes with digest {digest}, found {received} with {found}.",
                    "The bytes were damaged on their way or the file changed meanwhile: send it again.",
                )
            if known:
                return False
            if isinstance(spool, _Memory):
                try:
                    await obstore.put_async(self._store, key, bytes(spool.data), mode="create")
                except AlreadyExistsError:
                    if await self._size(key) == size:
                        return False
                    await obstore.put_async(self._store, key, bytes(spool.data))
            else:
                spool.seek(0)
                # Larger objects go in parts and are visible only when complete.
                await obstore.put_async(self._store, key, spool)
        return True

    async def get(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes in pieces of at most 1 MiB. Raises DataLoss at the end when they do not match the digest."""
        key = key_for(digest)
        try:
            result = await obstore.get_async(self._store, key)
        except FileNotFoundError:
            raise NotFound(
                f"The store has no artifact {digest}.", "It was never uploaded here, or the store was emptied."
            ) from None
        hasher = hashlib.sha256()
        async for piece in result.stream(min_chunk_size=CHUNK):
            data = bytes(piece)
            if len(data) > 64 * 1024:
                await asyncio.to_thread(hasher.update, data)
            else:
                hasher.update(data)
            for start in range(0, len(data), CHUNK):
                yield data[start : start + CHUNK]
        found = f"sha256:{hasher.hexdigest()}"
        if found != digest:
            raise DataLoss(
                f"The stored bytes of artifact {digest} have digest {found}.",
                "The object store is damaged: restore the object, or run its producer again.",
            )

    async def drop_checkpoints(self, keys: Iterable[str], run_ids: Iterable[str]) -> None:
        """Remove these checkpoints, and all of these runs; those that are not there are no fault. Raises InvalidArgument."""
        keys, run_ids = list(keys), list(run_ids)
        wrong = next((key for key in keys if not _CHECKPOINT.fullmatch(key)), None)
        if wrong is None:
            wrong = next((run_id for run_id in run_ids if not _RUN_ID.fullmatch(run_id)), None)
        if wrong is not None:
            raise InvalidArgument(
                f"Expected checkpoints/RUN/NODE/ATTEMPT-NUMBER or the id of a run, found {wrong[:80]!r}.",
                "Send the key of a checkpoint as it was told.",
            )
        for run_id in run_ids:
            async for page in obstore.list(self._store, prefix=f"checkpoints/{run_id}/"):
                keys += [found["path"] for found in page]
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def _size(self, key: str) -> int | None:
        try:
            return (await obstore.head_async(self._store, key))["size"]
        except FileNotFoundError:
            return None


class _Memory:
    """A spool for small objects."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self.data.clear()


def _absorb(hasher: "hashlib._Hash", spool: object, data: bytes) -> None:
    hasher.update(data)
    spool.write(data)  # type: ignore[attr-defined]
