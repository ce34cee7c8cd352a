"""Where values too large to travel inline are kept: by the digest of their bytes, in a folder or an object store."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from mwfs.errors import ArtifactDamaged, ArtifactMissing, MwfsError
from mwfs_api.types.v1 import types_pb2
from mwfs_types.files import SPILLED

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Artifact = types_pb2.Artifact
T = TypeVar("T")

#: A serialised value over this many bytes travels as an artifact.
INLINE_LIMIT = 32 * 1024

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20


class Store:
    """Keeps artifacts. Subclasses say where; this class adds what the type system asks of it (`mwfs_types.values.Files`)."""

    #: Files of this machine by digest that no shared store has yet.
    paths: dict[str, Path]

    def __init__(self) -> None:
        self.paths = {}
        self._scratch: Path | None = None

    def put_bytes(self, data: bytes, encoding: str, file_name: str = "") -> Artifact:
        """Stores bytes. Storing the same bytes again changes nothing."""
        raise NotImplementedError

    def put_file(self, path: Path | str, encoding: str = "file", file_name: str = "") -> Artifact:
        """Stores the bytes of a file. OSError: it cannot be read."""
        raise NotImplementedError

    def get_bytes(self, artifact: Artifact) -> bytes:
        """The bytes of an artifact, verified. Raises ArtifactMissing, ArtifactDamaged."""
        raise NotImplementedError

    def fetch(self, artifact: Artifact) -> Path:
        """A local file with the bytes of an artifact, verified; not to be written to. Raises ArtifactMissing, ArtifactDamaged."""
        raise NotImplementedError

    def save(self, value: Any, name: str) -> Artifact:
        """Stores a Dataset, Model or File."""
        kept: Artifact | None = value.__mwfs_kept__(self)
        if kept is None:
            path, encoding = value.__mwfs_write__(self.scratch())
            kept = self.put_file(path, encoding, path.name)
            value.__mwfs_keep__(self, kept)
        return kept

    def load(self, artifact: Artifact, cls: type[T]) -> T:
        """The Dataset, Model or File of an artifact, whose bytes are fetched when first asked for; or a Value that was stored."""
        if issubclass(cls, types_pb2.Value):
            return cls.FromString(self.get_bytes(artifact))
        loaded: T = cls.__mwfs_open__(artifact, self)  # type: ignore[attr-defined]
        return loaded

    def spill(self, value: types_pb2.Value) -> types_pb2.Value:
        """The value itself, or an artifact of it when it is too large to travel inline."""
        if value.ByteSize() <= INLINE_LIMIT:
            return value
        return types_pb2.Value(artifact=self.put_bytes(value.SerializeToString(deterministic=True), SPILLED))

    def scratch(self) -> Path:
        """A new folder that lives as long as the store."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="mwfs-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._scratch))


class ArtifactStore(Store):
    """An object store: a folder (`/data/artifacts`, `file:///…`) or anything that obstore opens (`s3://bucket/prefix`).

    An artifact lies under `sha256/<2 hex>/<62 hex>` below the root. `cache`: folder for fetched files, shared by processes;
    a temporary one by default.
    """

    def __init__(self, url: str | Path, *, cache: Path | None = None) -> None:
        super().__init__()
        self.url = str(url)
        self._cache = cache
        self._verified: dict[str, Path] = {}
        self._folder: Path | None = None
        if "://" not in self.url or self.url.startswith("file://"):
            self._folder = Path(self.url.removeprefix("file://")).absolute()
        self._opened: ObjectStore | None = None

    def put_bytes(self, data: bytes, encoding: str, file_name: str = "") -> Artifact:
        artifact = Artifact(digest=digest_of(data), size=len(data), encoding=encoding, file_name=safe_name(file_name))
        self._put(key_of(artifact.digest), data)
        return artifact

    def put_file(self, path: Path | str, encoding: str = "file", file_name: str = "") -> Artifact:
        path = Path(path)
        digest, size = hash_file(path)
        self._put(key_of(digest), path)
        return Artifact(digest=digest, size=size, encoding=encoding, file_name=safe_name(file_name or path.name))

    def has(self, digest: str) -> bool:
        """Whether the store has an artifact of this digest. Raises MwfsError when the digest is malformed."""
        key = key_of(digest)
        if self._folder is not None:
            return (self._folder / key).is_file()
        try:
            self._store().head(key)
        except FileNotFoundError:
            return False
        return True

    def get_bytes(self, artifact: Artifact) -> bytes:
        try:
            if self._folder is not None:
                data = (self._folder / key_of(artifact.digest)).read_bytes()
            else:
                data = bytes(self._store().get(key_of(artifact.digest)).bytes())
        except FileNotFoundError:
            raise _missing(artifact) from None
        if digest_of(data) != artifact.digest:
            raise _damaged(artifact)
        return data

    def fetch(self, artifact: Artifact) -> Path:
        key = key_of(artifact.digest)
        known = self._verified.get(artifact.digest)
        if known is not None and known.is_file():
            return known
        if self._cache is None:
            self._cache = self.scratch()
        target = self._cache / key / (safe_name(artifact.file_name) or "artifact")
        if not target.is_file():
            self._download(artifact, key, target)
        if hash_file(target)[0] != artifact.digest:
            target.unlink(missing_ok=True)
            raise _damaged(artifact)
        self._verified[artifact.digest] = target
        return target

    def put_under(self, key: str, path: Path) -> None:
        """Stores a file under a name that is not its digest: visible only when complete, in place of what was there."""
        self._store().put(key, path)

    def get_under(self, key: str, target: Path) -> None:
        """Writes what was stored under such a name to a new file. FileNotFoundError: there is nothing."""
        with target.open("xb") as file:
            for chunk in self._store().get(key).stream(min_chunk_size=_CHUNK):
                file.write(chunk)

    def remove_under(self, key: str) -> None:
        """Removes what was stored under such a name, if it is there."""
        with suppress(FileNotFoundError):
            self._store().delete(key)

    def _download(self, artifact: Artifact, key: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent)) / "partial"
        try:
            if self._folder is not None:
                # A link costs nothing; across file systems only a copy will do.
                try:
                    os.link(self._folder / key, partial)
                except FileNotFoundError:
                    raise
                except OSError:
                    shutil.copyfile(self._folder / key, partial)
            else:
                with partial.open("wb") as file:
                    for chunk in self._store().get(key).stream(min_chunk_size=_CHUNK):
                        file.write(chunk)
            partial.replace(target)
        except FileNotFoundError:
            raise _missing(artifact) from None
        finally:
            shutil.rmtree(partial.parent, ignore_errors=True)

    def _put(self, key: str, data: bytes | Path) -> None:
        try:
            self._store().put(key, data, mode="create")
        except Exception as error:
            # obstore's own AlreadyExistsError; the bytes under a digest are what they are.
            if type(error).__name__ != "AlreadyExistsError":
                raise

    def _store(self) -> ObjectStore:
        if self._opened is None:
            from obstore.store import LocalStore, from_url

            if self._folder is not None:
                self._opened = LocalStore(self._folder, mkdir=True)
            else:
                self._opened = from_url(self.url)
        return self._opened


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hash_file(path: Path) -> tuple[str, int]:
    """Digest and size of a file. OSError: it cannot be read."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"sha256:{digest}", file.tell()


def key_of(digest: str) -> str:
    """Where an artifact lies below the root of its store. Raises MwfsError when the digest is malformed."""
    if not _DIGEST.fullmatch(digest):
        raise MwfsError(f"{digest[:80]!r} is not a digest.", 'Give "sha256:" and 64 lower-case hexadecimal digits.')
    return f"sha256/{digest[7:9]}/{digest[9:]}"


def safe_name(name: str) -> str:
    """The last part of a file name that came from anywhere, without what a file system could misread."""
    last = PurePosixPath(name.replace("\\", "/")).name.replace("\0", "")
    return "" if last in ("", ".", "..") else last[-120:]


def _missing(artifact: Artifact) -> ArtifactMissing:
    return ArtifactMissing(
        f"The object store has no artifact {artifact.digest[:19]}… ({artifact.file_name or artifact.encoding}).",
        "Upload it again, or run the node again that made it.",
    )


def _damaged(artifact: Artifact) -> ArtifactDamaged:
    return ArtifactDamaged(
        f"The bytes of artifact {artifact.digest[:19]}… ({artifact.file_name or artifact.encoding}) do not match its digest.",
        "Restore the object store, or upload the file again.",
    )
