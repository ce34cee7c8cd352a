"""What `up` keeps in a home: its marker, the token, the lock of the one supervisor, and small files written atomically."""

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mwfs_stack.errors import BadOption, HomeUnusable
from mwfs_stack.postgres import database_user

log = logging.getLogger(__name__)

MARKER_FILE = "home.json"
TOKEN_FILE = "token"
ENDPOINTS_FILE = "endpoints.json"
_LOCK_FILE = "up.lock"
#: What clients may have put there before the first `up`.
_HARMLESS = frozenset({TOKEN_FILE, _LOCK_FILE, "cache", "artifacts", "logs"})
#: As root, database files live below the first of these that can be written; each is reachable by every user.
_DATABASE_ROOTS = ("/var/lib/mwfs", "/opt/mwfs", "/srv/mwfs")
DATABASE_ROOT_VARIABLE = "MWFS_DATABASE_ROOT"


class AlreadyRunning(Exception):
    """Another supervisor holds the home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home that is ours: it has a marker, and this user may use it."""

    path: Path
    #: Programs and files of the database; below the home unless we are root.
    database_directory: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def password_file(self) -> Path:
        return self.path / "postgres-password"

    @classmethod
    def prepare(cls, path: Path) -> Self:
        """Make the home, or find it again. An unrelated folder with files in it is refused."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (path / "logs").mkdir(exist_ok=True)
            (path / _LOCK_FILE).touch(mode=0o600)
        except OSError as error:
            raise HomeUnusable(
                f"The home {path} cannot be written: {error.strerror}.",
                "Correct its permissions, or choose another home with --home or $MWFS_HOME.",
            ) from None
        if (path / MARKER_FILE).exists():
            return cls.find(path)
        foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in _HARMLESS)
        if foreign:
            raise HomeUnusable(
                f"The folder {path} holds other files ({', '.join(foreign[:3])}) and is not a home of mwfs.",
                "Choose a new or empty folder with --home or $MWFS_HOME.",
            )
        directory = _new_database_directory(path)
        marker = {"home": str(path), "user": os.geteuid(), "database_directory": str(directory)}
        write_json(path / MARKER_FILE, marker)
        return cls(path=path, database_directory=path / directory)

    @classmethod
    def find(cls, path: Path) -> Self:
        """The home that `prepare` made; raises HomeUnusable when it is damaged, moved or another user's."""
        try:
            marker = json.loads((path / MARKER_FILE).read_text(encoding="utf-8"))
            made_at, user, directory = Path(marker["home"]), marker["user"], Path(marker["database_directory"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(
                f"{path / MARKER_FILE} cannot be read ({type(error).__name__}), so {path} is not a usable home.",
                "Choose another home with --home or $MWFS_HOME.",
            ) from None
        if user != os.geteuid():
            raise HomeUnusable(
                f"The home {path} belongs to the user with number {user}, and you are {os.geteuid()}.",
                "Run as that user, or choose another home with --home or $MWFS_HOME.",
            )
        if made_at != path and directory.is_absolute():
            if (made_at / MARKER_FILE).exists():
                raise HomeUnusable(
                    f"The home {path} is a copy of {made_at}, and both would use the database in {directory}.",
                    "Use the original, or choose a new folder with --home.",
                )
            write_json(path / MARKER_FILE, marker | {"home": str(path)})
        return cls(path=path, database_directory=path / directory)

    def token(self) -> str:
        """The token that every call must carry; made at the first start, and kept."""
        path = self.path / TOKEN_FILE
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
        path.chmod(0o600)
        return path.read_text(encoding="ascii").strip()

    def purge(self) -> None:
        """Remove the database, its programs, and the home."""
        shutil.rmtree(self.database_directory, ignore_errors=True)
        shutil.rmtree(self.path)


class HomeLock:
    """Held by the supervisor for its whole life. The kernel releases it, however the supervisor ends."""

    def __init__(self, path: Path) -> None:
        self._file = (path / _LOCK_FILE).open("r+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise AlreadyRunning from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def supervisor_of(path: Path) -> int | None:
    """Pid of the supervisor that holds this home now; None when nobody does. 0: it is just starting."""
    try:
        file = (path / _LOCK_FILE).open("r+", encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HomeUnusable(
            f"The home {path} cannot be used: {error.strerror}.",
            "Run as the user that made it, or choose another home.",
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return int(file.read() or 0)
    return None


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Readers see the old document or the new one, never half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    fresh.rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """The document; empty when it is missing or damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _new_database_directory(home: Path) -> Path:
    """Absolute as root, relative to the home otherwise, so that an ordinary user may move or copy a home."""
    if database_user() is None:
        return Path("postgres")
    name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    chosen = os.environ.get(DATABASE_ROOT_VARIABLE)
    for root in (Path(chosen),) if chosen else map(Path, _DATABASE_ROOTS):
        try:
            root.mkdir(mode=0o755, parents=True, exist_ok=True)
            # Files of an earlier home of this name have another password: leave them alone.
            for suffix in ("", *(f"-{count}" for count in range(2, 1000))):
                directory = root / f"{name}{suffix}"
                if not directory.exists():
                    directory.mkdir(mode=0o750)
                    if suffix:
                        log.warning("an earlier home left database files behind", extra={"directory": root / name})
                    return directory
        except OSError:
            continue
    raise BadOption(
        "PostgreSQL must not run as root, and no folder was found for the files of an unprivileged database user.",
        f"Name one that every user can reach in ${DATABASE_ROOT_VARIABLE}, or run mwfs as an ordinary user.",
    )
