"""What every value that is a file has in common."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue

if TYPE_CHECKING:
    from mwfs.artifacts import Store


class FileLike:
    """A value that is a file."""

    __mwfs_semantic__: ClassVar[tuple[str, int]]

    def __init__(self, path: str | Path) -> None:
        self._path: Path | None = Path(path)
        self._store: Store | None = None
        self._artifact: types_pb2.Artifact | None = None

    def _scratch(self) -> Path:
        """A new folder that lives as long as this value."""
        folder = tempfile.mkdtemp(prefix="mwfs-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @property
    def path(self) -> Path:
        """A local file with the bytes, fetched when first asked for; not to be written to."""
        if self._path is None:
            if self._store is None or self._artifact is None:
                self._path, _ = self.__mwfs_write__(self._scratch())
            else:
                self._path = self._fetched(self._store.fetch(self._artifact))
        return self._path

    def _readable(self) -> Path:
        """The same. Raises BadValue when no file is there."""
        path = self.path
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no regular file" if path.exists() else "not there"
            found = f"{str(path)[:500]}, which is {what}"
            raise BadValue(expected="a file", found=found, fix=f"Paths are taken from {Path.cwd()}.")
        return path

    def _fetched(self, path: Path) -> Path:
        """What `path` gives, from the file that was fetched."""
        return path

    @property
    def name(self) -> str:
        """The file name that a user would recognise."""
        if self._path is not None:
            return self._path.name
        return self._artifact.file_name if self._artifact is not None else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @classmethod
    def __mwfs_from_path__(cls, path: str | Path) -> Self:
        """The value of a path that was given for an input of this type."""
        return cls(path)

    def __mwfs_write__(self, folder: Path) -> tuple[Path, str]:
        """The file that holds the value, and its encoding; `folder` is for values that have no file yet."""
        return self._readable(), "file"

    def __mwfs_kept__(self, store: Store) -> types_pb2.Artifact | None:
        """The artifact of this value when this store has it already."""
        return self._artifact if self._store is store else None

    def __mwfs_keep__(self, store: Store, artifact: types_pb2.Artifact) -> None:
        # An artifact that was fetched from elsewhere keeps its own store.
        if self._store is None:
            self._store, self._artifact = store, artifact

    @classmethod
    def __mwfs_open__(cls, artifact: types_pb2.Artifact, store: Store) -> Self:
        opened = cls.__new__(cls)
        FileLike.__init__(opened, "")
        opened._path, opened._store, opened._artifact = None, store, artifact
        return opened

    def __mwfs_encode__(self, files: Store) -> types_pb2.Value:
        return types_pb2.Value(artifact=files.save(self, self.__mwfs_semantic__[0]))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: Store) -> Self:
        return files.load(value.artifact, cls)


def fields_of(value: types_pb2.Value, name: str, count: int) -> Sequence[types_pb2.Value]:
    """The fields of a value that a semantic type wrote as a record. Raises BadValue for anything else."""
    fields = value.record.fields
    if len(fields) != count:
        raise BadValue(expected=f"{name} as a record of {count} fields", found=f"one of {len(fields)}")
    return fields
