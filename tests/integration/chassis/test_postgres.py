"""Pools and migrations against a real PostgreSQL."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.postgres import is_cut, is_transient, migrate, open_pool

FIRST = """
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    op.execute("CREATE TABLE runs (id int PRIMARY KEY)")
    op.execute("INSERT INTO runs VALUES (1)")
"""
SECOND = """
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY runs_by_id ON runs (id)")
"""
BROKEN = """
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.execute("INSERT INTO runs VALUES (2)")
    op.execute("SELECT no_such_function()")
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A package with one migration."""
    name = f"room_{abs(hash(request.node.name))}"
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (versions / "0001_first.py").write_text(FIRST)
    monkeypatch.syspath_prepend(tmp_path)
    return name, versions


async def fetch(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_migrating_twice_changes_nothing_and_new_revisions_are_added(
    database: str, room: tuple[str, Path]
) -> None:
    package, versions = room
    await migrate(database, package)
    await migrate(database, package)
    assert await fetch(database, "SELECT count(*) FROM runs") == 1
    (versions / "0002_second.py").write_text(SECOND)
    await migrate(database, package)
    assert await fetch(database, f"SELECT version_num FROM alembic_version_{package}") == "0002"
    assert await fetch(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'runs_by_id'::regclass") is True


async def test_replicas_that_start_together_migrate_once(database: str, room: tuple[str, Path]) -> None:
    package, _ = room
    await asyncio.gather(*(migrate(database, package) for _ in range(3)))
    assert await fetch(database, "SELECT count(*) FROM runs") == 1


async def test_a_broken_revision_leaves_the_database_at_the_last_good_one(
    database: str, room: tuple[str, Path]
) -> None:
    package, versions = room
    (versions / "0002_second.py").write_text(SECOND)
    (versions / "0003_broken.py").write_text(BROKEN)
    with pytest.raises(Exception, match="no_such_function"):
        await migrate(database, package)
    assert await fetch(database, f"SELECT version_num FROM alembic_version_{package}") == "0002"
    assert await fetch(database, "SELECT count(*) FROM runs") == 1


async def test_a_database_of_another_version_is_refused_and_left_as_it_is(
    database: str, room: tuple[str, Path]
) -> None:
    package, versions = room
    await migrate(database, package)
    first = versions / "0001_first.py"
    first.write_text(FIRST.replace("\n    op", "\n\n    op"))
    await migrate(database, package)  # blank lines do nothing
    first.write_text(FIRST.replace("id int", "id bigint"))
    with pytest.raises(FailedPrecondition, match="made by another version of mwfs") as refused:
        await migrate(database, package)
    assert "mwfs down --purge" in refused.value.next_step
    (versions / "0002_second.py").write_text(SECOND)
    with pytest.raises(FailedPrecondition):
        await migrate(database, package)
    assert await fetch(database, f"SELECT version_num FROM alembic_version_{package}") == "0001"
    first.write_text(FIRST)
    await migrate(database, package)
    (versions / "0002_second.py").unlink()
    with pytest.raises(FailedPrecondition):  # made by a newer one
        await migrate(database, package)


async def test_what_a_revision_runs_from_a_file_counts_as_well(database: str, room: tuple[str, Path]) -> None:
    package, versions = room
    script = versions.parent.parent / "schema.sql"
    script.write_text("-- a table\nCREATE TABLE runs (id int);\n")
    run = f'run_script(op.get_bind(), "{package}", "schema.sql")'
    (versions / "0001_first.py").write_text(
        "from alembic import op\nfrom mwfs_chassis.migrations import run_script\n"
        f'revision, down_revision = "0001", None\ndef upgrade():\n    {run}\n'
    )
    await migrate(database, package)
    script.write_text("-- another comment\nCREATE TABLE runs (id int);\n")
    await migrate(database, package)
    script.write_text("CREATE TABLE runs (id bigint);\n")
    with pytest.raises(FailedPrecondition):
        await migrate(database, package)


async def test_a_pool_says_who_it_is(database: str) -> None:
    async with await open_pool(database, name="mwfs-test") as pool:
        assert await pool.fetchval("SHOW application_name") == "mwfs-test"


async def test_a_pool_that_may_not_connect_says_so_at_once(database: str) -> None:
    wrong = database.replace("mwfs:", "mwfs:wrong-")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await open_pool(wrong)


async def test_a_connection_that_was_cut_while_nobody_used_it_is_known(database: str) -> None:
    async with await open_pool(database, min_size=1, max_size=2) as pool:
        connection = await pool.acquire()
        cut = asyncio.Event()
        connection.add_termination_listener(lambda *_: cut.set())
        assert not is_cut(connection)
        await pool.execute("SELECT pg_terminate_backend($1)", await connection.fetchval("SELECT pg_backend_pid()"))
        await cut.wait()
        assert is_cut(connection)
        await pool.release(connection)


async def test_a_connection_that_was_cut_is_worth_another_try(database: str) -> None:
    async with await open_pool(database, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            with pytest.raises(Exception, match=r"terminat|closed") as cut:
                await connection.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")
        assert is_transient(cut.value)
        assert await pool.fetchval("SELECT 1") == 1
    assert not is_transient(asyncpg.UniqueViolationError("x"))
