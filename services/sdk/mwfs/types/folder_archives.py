"""Folders as tars: the same bytes for the same content, and nothing written outside of the folder when one is unpacked."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from mwfs.errors import ArtifactDamaged
from mwfs_types.errors import BadValue

#: Files and folders in one folder.
MAX_ENTRIES = 1_000_000
#: Bytes of all files together.
MAX_BYTES = 1 << 40
#: Levels of folders in folders.
MAX_DEPTH = 256


def pack(root: Path, target: Path) -> None:
    """Writes the tar of a folder: equal folders give equal bytes. Raises BadValue for what is no folder or cannot travel."""
    if not root.is_dir():
        raise BadValue(expected="a folder", found=f"{root}, which is {'a file' if root.exists() else 'not there'}")
    inside = root.resolve()
    left = MAX_BYTES
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in _entries(root):
            info = tarfile.TarInfo(path.relative_to(root).as_posix())
            if not path.resolve().is_relative_to(inside):
                raise BadValue(expected="a folder without links that lead out of it", found=f"{path}, which does")
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif path.is_file():
                with path.open("rb") as file:
                    status = path.stat()
                    # Whose file it is, and who packs it, makes no difference.
                    info.size, info.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
                    left -= info.size
                    if left < 0:
                        raise BadValue(expected=f"a folder of at most {MAX_BYTES:,} bytes", found="more")
                    _add(tar, info, file, path)
            else:
                raise BadValue(expected="a folder of files and folders", found=f"{path}, which is neither")


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, file: IO[bytes], path: Path) -> None:
    try:
        tar.addfile(info, file)
    except OSError as error:
        if "unexpected end of data" not in str(error):
            raise
        raise BadValue(expected="a folder that nothing writes to", found=f"{path}, which became shorter") from None


def _entries(root: Path) -> list[Path]:
    found: list[Path] = []
    waiting: list[tuple[Path, tuple[Path, ...]]] = [(root, (root.resolve(),))]
    while waiting:
        folder, above = waiting.pop()
        for path in folder.iterdir():
            found.append(path)
            if len(found) > MAX_ENTRIES:
                raise BadValue(expected=f"a folder of at most {MAX_ENTRIES:,} files", found="more")
            if path.is_dir():
                real = path.resolve()
                if real in above:
                    raise BadValue(
                        expected="a folder without links in a circle", found=f"{path}, which leads to {real}"
                    )
                if len(above) >= MAX_DEPTH:
                    raise BadValue(
                        expected=f"folders nested at most {MAX_DEPTH} deep", found=f"{root} with deeper ones"
                    )
                waiting.append((path, (*above, real)))
    return sorted(found, key=lambda path: path.relative_to(root).as_posix().encode("utf-8", "surrogateescape"))


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar into a new folder; nothing is written outside of it, and no links or devices are made. Raises ArtifactDamaged.

    It takes no more room than the tar itself does.
    """
    folder.mkdir()
    left = archive.stat().st_size
    try:
        with tarfile.open(archive, "r:") as tar:
            for count, member in enumerate(tar, 1):
                # A sparse file may claim any size.
                left -= member.size
                if count > MAX_ENTRIES or left < 0 or member.issparse() or not (member.isfile() or member.isdir()):
                    raise tarfile.TarError(f"it holds {member.name[:80]!r}, which is neither a file nor a folder")
                if member.name.count("/") > MAX_DEPTH:
                    raise tarfile.TarError(f"its folders are nested more than {MAX_DEPTH} deep")
                _make(tar, member, folder)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ArtifactDamaged(f"{archive.name} is not a folder that mwfs packed: {error}.", "Make it again.") from error


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """One file or folder. By hand: filters of `tarfile` came with Python 3.11.4, and there are older ones."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise tarfile.TarError(f"{member.name[:80]!r} would lie outside of it")
    # Nothing in it is a link, so the name says where it is.
    target = folder.joinpath(*name.parts)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None, "it is a file"
    with target.open("xb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)
    os.utime(target, (0, 0))  # as packed
