"""Any file, and any folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from mwfs.artifacts import safe_name
from mwfs.types.file_like import FileLike
from mwfs.types.folder_archives import pack, unpack

#: Encoding of folders: an uncompressed tar, the same bytes for the same content.
TAR = "tar"


class File(FileLike):
    """Any file."""

    __mwfs_semantic__ = ("File", 1)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "file") -> Self:
        """A file with these bytes."""
        made = cls("")
        made._path = made._scratch() / (Path(name).name or "file")
        made._path.write_bytes(data)
        return made

    @classmethod
    def from_text(cls, text: str, name: str = "file.txt") -> Self:
        """A file with this text, as UTF-8."""
        return cls.from_bytes(text.encode(), name)

    def read_bytes(self) -> bytes:
        return self.path.read_bytes()

    def read_text(self) -> str:
        """The whole file, read as UTF-8."""
        return self.path.read_text(encoding="utf-8")


class Directory(FileLike):
    """A folder with all that is in it. It travels as one tar: names, bytes and the executable bit, no owners and no times.

    Symbolic links are followed when they stay inside, and refused otherwise. `/` joins: `(folder / "weights.bin").read_bytes()`.
    """

    __mwfs_semantic__ = ("Directory", 1)

    def __truediv__(self, name: str) -> Path:
        """The path of a file in it."""
        return self.path / name

    def files(self) -> list[str]:
        """The paths of all files in it, relative to it, sorted."""
        root = self.path
        return sorted(each.relative_to(root).as_posix() for each in root.rglob("*") if each.is_file())

    @property
    def name(self) -> str:
        """The name of the folder."""
        if self._path is not None:
            # Unlike resolve(), this takes links in a circle.
            return os.path.basename(os.path.realpath(self._path))
        return safe_name(super().name.removesuffix(".tar"))

    def __mwfs_write__(self, folder: Path) -> tuple[Path, str]:
        assert self._path is not None
        target = folder / f"{_short(self.name)}.tar"
        pack(self._path, target)
        return target, TAR

    def _fetched(self, path: Path) -> Path:
        folder = self._scratch() / _short(self.name)
        unpack(path, folder)
        return folder


def _short(name: str) -> str:
    """A name that every file system takes, also with a suffix."""
    return name[:60] or "folder"
