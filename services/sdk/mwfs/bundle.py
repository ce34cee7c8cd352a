"""The user's code as one content-addressed file: made where a workflow is submitted, unpacked where its operators run.

A bundle is a zip without compression, with sorted names and fixed dates: equal folders give equal bytes, so an edited folder is another
version and an unedited one is the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mwfs.errors import MwfsError, NotLoadable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How large all files of a bundle together may be.
MAX_BYTES = 50 * 1024 * 1024
MAX_FILES = 10_000

#: Data, as opposed to code, is left out when it is larger than this: it travels as an input of the workflow.
MAX_DATA_FILE = 1024 * 1024
#: What is code or its configuration, whatever its size.
_CODE = frozenset((".py", ".pyi", ".so", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".sql", ".j2"))

_SKIPPED_FOLDERS = frozenset(("__pycache__", "node_modules", "site-packages", "venv", "env", "dist", "build"))
_SKIPPED_SUFFIXES = (".pyc", ".pyo", ".swp", "~")
_OURS = frozenset(
    (
        "mwfs",
        "mwfs_api",
        "mwfs_types",
        "mwfs_chassis",
        "mwfs_orchestrator",
        "mwfs_action_service",
        "mwfs_scheduler",
        "mwfs_observability",
        "mwfs_stack",
    )
)
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleTooLarge(MwfsError):
    """The project folder holds more than a bundle may. Names its largest parts."""

    exit_code = 2


class BadBundle(MwfsError):
    """The bytes are no bundle, or would write outside their folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A project folder as bytes."""

    #: "sha256:" and 64 hexadecimal digits, of `data`.
    digest: str
    size: int
    data: bytes = field(repr=False)
    #: The folder that was packed.
    root: Path
    #: Paths in it, relative to the root, sorted.
    files: tuple[str, ...]


def build_bundle(module_name: str) -> Bundle | None:
    """Pack the folder that holds the top-level package or module.

    None when workers can import it anyway: it is installed, part of Python, or part of `mwfs`. Raises NotLoadable when there is no such
    module, BundleTooLarge when the folder holds too much.
    """
    root = project_root(module_name)
    if root is None:
        return None
    files = list(_project_files(root))
    _check_size(root, files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    data = buffer.getvalue()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Bundle(digest=digest, size=len(data), data=data, root=root, files=tuple(name for name, _ in files))


def project_root(module_name: str) -> Path | None:
    """The folder that must be on `sys.path` for the module to be found; None when it always is."""
    top = module_name.partition(".")[0]
    if top in _OURS or top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return None
    if top == "__main__":
        raise NotLoadable(
            "A workflow that is defined in the script being run has no module name that workers could import.",
            "Run it as MODULE:WORKFLOW, or move it into a module and import it.",
        )
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise NotLoadable(
            f"There is no module {top!r}.", "Run from the folder that holds it, or put that folder on PYTHONPATH."
        )
    if spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
        root = package.parent
    elif spec.origin and spec.has_location:
        root = Path(spec.origin).parent
    else:
        return None
    root = root.resolve()
    return None if _is_installed(root) else root


def extract_bundle(source: Path | bytes, target: Path) -> Path:
    """Unpack a bundle as the folder `target`, all or nothing; fine when another process does the same. Raises BadBundle."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name[:16]}-", dir=target.parent))
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            _check_entries(archive)
            for entry in archive.infolist():
                path = partial / entry.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise BadBundle(f"The code bundle cannot be unpacked: {error}.", "Submit the workflow again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _is_installed(root: Path) -> bool:
    paths = sysconfig.get_paths()
    installed = {Path(paths[name]).resolve() for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    return root in installed or "site-packages" in root.parts or "dist-packages" in root.parts


def _project_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Names (with /) and paths of what belongs into the bundle, sorted by name."""
    found: list[tuple[str, Path]] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if _wanted_folder(Path(folder, name))]
        for name in names:
            path = Path(folder, name)
            if name.startswith(".") or name.endswith(_SKIPPED_SUFFIXES) or not path.is_file():
                continue
            if path.suffix not in _CODE and path.stat().st_size > MAX_DATA_FILE:
                continue
            found.append((path.relative_to(root).as_posix(), path))
        if len(found) > MAX_FILES:
            raise BundleTooLarge(
                f"The project folder {root} holds more than {MAX_FILES:,} files.",
                "Move the workflow's code into a folder of its own.",
            )
    return iter(sorted(found))


def _wanted_folder(path: Path) -> bool:
    name = path.name
    return not (
        name.startswith(".")
        or name in _SKIPPED_FOLDERS
        or name.endswith((".egg-info", ".dist-info"))
        or (path / "pyvenv.cfg").exists()
    )


def _check_size(root: Path, files: list[tuple[str, Path]]) -> None:
    sizes = sorted(((path.stat().st_size, name) for name, path in files), reverse=True)
    total = sum(size for size, _ in sizes)
    if total > MAX_BYTES:
        largest = ", ".join(f"{name} ({size / 2**20:.1f} MiB)" for size, name in sizes[:3])
        raise BundleTooLarge(
            f"The code in {root} has {total / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} MiB of a bundle; "
            f"its largest files: {largest}.",
            "Move them out of the project folder, or pass them as inputs of the workflow.",
        )


def _check_entries(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise BadBundle("The code bundle is larger than a bundle may be.", "Submit the workflow again.")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or entry.is_dir() or not path.parts:
            raise BadBundle(
                f"The code bundle holds the path {entry.filename!r}, which is not allowed.",
                "Submit the workflow again.",
            )
