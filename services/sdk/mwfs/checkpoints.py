"""What an attempt keeps for the next one of its node: any picklable value, a file or a folder, in the object store beside the artifacts.

Unlike an artifact, a checkpoint is replaced and removed: it lies under a name of its own, `checkpoints/RUN/NODE/ATTEMPT-NUMBER`, so that removing
one takes away nothing that has the same bytes. Its digest is checked before anything is read from it.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mwfs.artifacts import ArtifactStore, hash_file, safe_name
from mwfs.errors import ArtifactDamaged, ArtifactMissing, BadCheckpoint, CheckpointTooLarge
from mwfs_api.events.v1 import events_pb2
from mwfs_types.errors import BadValue

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: How the content is written.
PICKLE, FILE, TAR = "pickle", "file", "tar"


#: What one may have where nobody says otherwise.
MAX_BYTES = 4 * 1024**3


class CheckpointShelf:
    """The checkpoints of an object store. Without one: of a folder that is made when it is needed and goes with this object."""

    def __init__(self, store: ArtifactStore | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._given = store
        self._max_bytes = max_bytes

    @cached_property
    def _store(self) -> ArtifactStore:
        if self._given is not None:
            return self._given
        folder = tempfile.mkdtemp(prefix="mwfs-checkpoints-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return ArtifactStore(folder)

    def keep(self, value: Any, key: str) -> events_pb2.Checkpoint:
        """Stores a value, or what is at a Path: all of it or nothing. Raises BadCheckpoint, CheckpointTooLarge, and the store's errors."""
        with _scratch() as folder:
            path, encoding = _written(value, folder, self._max_bytes)
            digest, size = hash_file(path)
            if size > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._store.put_under(key, path)
        name = safe_name(value.name) if encoding != PICKLE else ""
        return events_pb2.Checkpoint(key=key, digest=digest, size=size, encoding=encoding, file_name=name)

    def drop(self, kept: events_pb2.Checkpoint) -> None:
        """It is of no use any more."""
        self._store.remove_under(kept.key)

    def read(self, kept: events_pb2.Checkpoint) -> Any:
        """The value; of a file or folder, the Path of a copy that the caller may write to. Raises ArtifactMissing, ArtifactDamaged, BadCheckpoint."""
        folder = self._store.scratch()
        path = folder / "content"
        try:
            self._store.get_under(kept.key, path)
        except FileNotFoundError:
            raise ArtifactMissing(
                f"The object store has no checkpoint {kept.key}.",
                "Restore it, or let the node begin anew in a new run.",
            ) from None
        if hash_file(path)[0] != kept.digest:
            raise ArtifactDamaged(
                f"The bytes of checkpoint {kept.key} do not match its digest.",
                "Restore the object store, or let the node begin anew in a new run.",
            )
        if kept.encoding == PICKLE:
            return _unpickled(path, kept)
        name = safe_name(kept.file_name) or "checkpoint"
        if kept.encoding == FILE:
            named = folder / "file" / name
            named.parent.mkdir()
            return path.rename(named)
        from mwfs.types.folder_archives import unpack

        target = folder / "folder" / name
        target.parent.mkdir()
        unpack(path, target)
        path.unlink()
        return target


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mwfs-checkpoint-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(value: Any, folder: Path, max_bytes: int) -> tuple[Path, str]:
    """The file that holds the content, and how."""
    if isinstance(value, os.PathLike):
        path = Path(value)
        if path.is_file():
            # A copy: what the operator writes to it meanwhile is not part of it.
            if path.stat().st_size > max_bytes:
                raise _too_large(max_bytes)
            return Path(shutil.copyfile(path, folder / "content")), FILE
        if not path.is_dir():
            raise BadCheckpoint(f"{path} is not there, so it cannot be kept as a checkpoint.", "Write it first.")
        if sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) > max_bytes:
            raise _too_large(max_bytes)
        return _packed(path, folder / "content"), TAR
    with (folder / "content").open("wb") as file:
        _pickle(value, file, max_bytes)
    return folder / "content", PICKLE


def _packed(folder: Path, target: Path) -> Path:
    from mwfs.types.folder_archives import pack

    try:
        pack(folder, target)
    except BadValue as error:
        raise BadCheckpoint(
            f"{folder} cannot be kept as a checkpoint: expected {error.expected}, found {error.found}.",
            "Keep a folder of plain files and folders.",
        ) from error
    return target


class _Bounded(io.RawIOBase):
    """Refuses to grow beyond a size, before memory or disk are full."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file, self._left, self._most = file, left, left

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise _too_large(self._most)
        self._file.write(data)
        return size


class _Pickler(pickle.Pickler):
    """Refuses values that are files of this machine: the next attempt may be on another."""

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if hasattr(kind, "__mwfs_semantic__") and hasattr(kind, "path"):
            raise BadCheckpoint(
                f"A {kind.__qualname__} cannot be kept as a checkpoint, or inside of one: it is a file of this machine.",
                "Keep the file itself: ctx.checkpoint(value.path).",
            )
        return NotImplemented


def _pickle(value: Any, file: IO[bytes], max_bytes: int) -> None:
    try:
        _Pickler(_Bounded(file, max_bytes), protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    except (BadCheckpoint, MemoryError, OSError):
        raise
    except Exception as error:  # whatever the value's own __reduce__ raises
        raise BadCheckpoint(
            f"A value of {type(value).__qualname__} cannot be kept as a checkpoint: {type(error).__name__}: {error}.",
            "Keep plain data, objects of module-level classes, or a Path to what you have written.",
        ) from error


def _unpickled(path: Path, kept: events_pb2.Checkpoint) -> Any:
    try:
        with path.open("rb") as file:
            return pickle.load(file)
    except Exception as error:
        raise BadCheckpoint(
            f"Checkpoint {kept.key} cannot be read any more: {type(error).__name__}: {error}.",
            "Keep plain data, or classes that the code can load again from where they were.",
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _too_large(max_bytes: int) -> CheckpointTooLarge:
    return CheckpointTooLarge(
        f"The checkpoint has more than the {max_bytes:,} bytes that one may have here.",
        "Keep less: what can be computed again need not be in it. Or raise MWFS_MAX_CHECKPOINT_BYTES of the action service.",
    )
