"""PostgreSQL for every service: pools, named queries, and which database errors may be retried."""

import asyncio
import logging
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

import asyncpg

from mwfs_chassis.revisions import newest_revision, schema_of, version_table

log = logging.getLogger(__name__)

_RETRY_S = 0.1
_READY_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0

#: The one list of database errors after which the same work may be tried again. A failed COMMIT is "unknown", not
#: "no": read back before repeating it.
TRANSIENT: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
    # What the driver says when a server that is going away spoke before it was asked: its connection is of no use any more.
    asyncpg.InternalClientError,
    ConnectionError,
)
#: How the driver's InterfaceError, otherwise a defect of the caller, names a connection that was cut.
_CUT_CONNECTION = ("connection is closed", "released back to the pool")
#: All that a call may raise whose database is away, or whose connection was cut under it: for loops that look again in a moment.
AWAY: tuple[type[BaseException], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed in a moment."""
    if isinstance(error, TRANSIENT):
        return True
    return isinstance(error, asyncpg.InterfaceError) and any(words in str(error) for words in _CUT_CONNECTION)


def is_cut(connection: asyncpg.pool.PoolConnectionProxy) -> bool:
    """Whether a connection that a pool gave out is of no use any more."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool took it back when it was cut
        return True


async def _leave(connection: asyncpg.Connection) -> None:
    """Nobody here leaves a session changed, so releasing a connection does not cost a round trip to reset it."""


async def open_pool(dsn: str, *, min_size: int = 1, max_size: int = 4, name: str = "mwfs") -> asyncpg.Pool:
    """A pool of connections named `name`.

    Waits up to a minute for a PostgreSQL that is still starting; then the last error is raised.
    """
    deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
    said = False
    while True:
        try:
            return await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                timeout=_CONNECT_TIMEOUT_S,
                command_timeout=_COMMAND_TIMEOUT_S,
                max_inactive_connection_lifetime=0,
                reset=_leave,
                server_settings={"application_name": name, "jit": "off"},
            )
        except Exception as error:
            if not isinstance(error, (*TRANSIENT, TimeoutError)) or asyncio.get_running_loop().time() > deadline:
                raise
            if not said:
                log.info("waiting for PostgreSQL", extra={"pool": name, "error": type(error).__name__})
                said = True
        await asyncio.sleep(_RETRY_S)


def load_queries(package: str) -> Mapping[str, str]:
    """The named statements of `<package>/sql/queries/*.sql`.

    Each begins with a line `-- name: x`; what follows, up to the next such line, is its text.
    """
    queries: dict[str, str] = {}
    folder = resources.files(package) / "sql" / "queries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            for name, text in _parse(file.read_text(encoding="utf-8"), file.name):
                if name in queries:
                    raise ValueError(f"{file.name}: the query {name!r} is there twice in {package}")
                queries[name] = text
    return MappingProxyType(queries)


def _parse(text: str, file: str) -> list[tuple[str, str]]:
    parts = ("\n" + text).split("\n-- name:")
    if any(line.strip() and not line.startswith("--") for line in parts[0].splitlines()):
        raise ValueError(f"{file}: SQL before the first `-- name: x` line")
    found = []
    for part in parts[1:]:
        name, _, body = part.partition("\n")
        found.append((name.strip(), body.strip()))
    return found


async def migrate(dsn: str, package: str) -> None:
    """Bring the database to the newest revision of `<package>/migrations/versions/*.py`.

    Safe to repeat, and from several processes at once. There is no `env.py`: this is the environment. Revisions use
    `alembic.op` as usual and are recorded in `alembic_version_<package>` (dots of a subpackage become underscores).
    FailedPrecondition when the database was made from other revisions, which until the first release happens.
    """
    if await _is_newest(dsn, package):
        return
    from mwfs_chassis.migrations import (
        upgrade,  # SQLAlchemy and Alembic cost a service 0.7 s and 30 MB: not for nothing
    )

    await asyncio.to_thread(upgrade, dsn, package)


async def _is_newest(dsn: str, package: str) -> bool:
    """Whether the database says of itself that it is at the newest revision; in doubt False."""
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S)
    except Exception as error:
        if is_transient(error) or isinstance(error, TimeoutError):
            return False
        raise
    try:
        table = version_table(package)
        found = await connection.fetchrow(f"SELECT version_num, obj_description('{table}'::regclass) FROM {table}")
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()
    newest = newest_revision(package)
    return found is not None and newest is not None and tuple(found) == (newest, schema_of(package, newest))
