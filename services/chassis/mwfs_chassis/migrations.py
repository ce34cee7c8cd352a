"""Alembic without an `env.py`: upgrades one database to a package's newest revision."""

import asyncio
import hashlib
import threading
from importlib import resources
from pathlib import Path
from typing import Any

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.revisions import schema_of, version_table

_POLL_S = 0.05

#: Alembic's context is one per process, so databases are migrated one after another.
_one_at_a_time = threading.Lock()


def upgrade(dsn: str, package: str) -> None:
    """Blocking, with an event loop of its own: call it from a thread."""
    with _one_at_a_time:
        asyncio.run(_upgrade(dsn, package))


async def _upgrade(dsn: str, package: str) -> None:
    lock = await asyncpg.connect(dsn, timeout=10)
    try:
        key = int.from_bytes(hashlib.sha256(f"mwfs-migrate-{package}".encode()).digest()[:8], "big", signed=True)
        # A blocking pg_advisory_lock would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for snapshots.
        while not await lock.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn), poolclass=NullPool
        )
        try:
            async with engine.connect() as connection:
                await connection.run_sync(_run, package)
                await connection.commit()
        finally:
            await engine.dispose()
    finally:
        await lock.close()


def _run(connection: Connection, package: str) -> None:
    _refuse_others(connection, package)
    connection.rollback()  # it has only read; each revision begins a transaction of its own
    table = version_table(package)

    def sign(ctx: object, step: Any, heads: object, run_args: object) -> None:
        """In the transaction of each revision."""
        connection.exec_driver_sql(f"COMMENT ON TABLE {table} IS '{schema_of(package, step.up_revision_id)}'")

    with resources.as_file(resources.files(package) / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(Path(folder)).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        script = ScriptDirectory.from_config(config)
        environment = EnvironmentContext(
            config,
            script,
            fn=lambda current, _context: script._upgrade_revs("head", current),
            destination_rev="head",
        )
        with environment:
            environment.configure(
                connection=connection,
                version_table=table,
                on_version_apply=sign,
                transaction_per_migration=True,
            )
            with environment.begin_transaction():
                environment.run_migrations()


def _refuse_others(connection: Connection, package: str) -> None:
    """What was made from other revisions than those that are here would only fail later, and in many ways."""
    table = version_table(package)
    if not inspect(connection).has_table(table):
        return
    found = connection.exec_driver_sql(f"SELECT version_num, obj_description('{table}'::regclass) FROM {table}").first()
    if found is not None and (found[1] is None or found[1] != schema_of(package, found[0])):
        raise FailedPrecondition(
            f"The database was made by another version of mwfs: its tables are not those of this {package}.",
            "Until the first release nothing is converted. Go on with that version, or begin anew with "
            "`mwfs down --purge`, which removes all that is stored.",
        )


def run_script(connection: Connection, package: str, name: str) -> None:
    """For a revision: runs a package's SQL file of many statements, within the revision's transaction."""
    text = (resources.files(package) / name).read_text(encoding="utf-8")
    # The driver prepares single statements only, unless it is asked directly; SQLAlchemy opens the transaction with its first own one.
    connection.exec_driver_sql("SELECT 1")
    driver = connection.connection.dbapi_connection
    assert driver is not None, "a connection that is in use has a driver"
    driver.run_async(lambda asyncpg_connection: asyncpg_connection.execute(text))
