"""What is asked again and again stays cheap with many automations and a very large backfill: by indexes, never by reading a table."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import asyncpg
import pytest

from mwfs_chassis.postgres import load_queries

LARGE = UUID(int=7)
PARTITIONS = 50_000


@pytest.fixture
async def connection(databases: Callable[..., list[str]]) -> AsyncIterator[asyncpg.Connection]:
    """A catalogue with a backfill of many partitions, and many schedules that are not due."""
    (dsn,) = databases(1, package="mwfs_orchestrator.catalogue")
    made = await asyncpg.connect(dsn)
    await made.execute(
        "INSERT INTO automations (automation_id, team, kind, name, principal, state, content, digest, create_us, next_us, max_parallel)"
        " SELECT gen_random_uuid(), 'red', 1, n::text, '', 1, '', '', 0, 1000000 + n, 0 FROM generate_series(1, 2000) AS n"
    )
    await made.execute(
        "INSERT INTO automations (automation_id, team, kind, name, principal, state, content, digest, create_us, max_parallel)"
        " VALUES ($1, 'red', 3, 'large', '', 1, '', '', 0, 8)",
        LARGE,
    )
    await made.execute(
        "INSERT INTO occasions (automation_id, occasion, number, state, run_id)"
        " SELECT $1, n::text, n, CASE WHEN n < 100 THEN 5 WHEN n < 108 THEN 3 ELSE 1 END, gen_random_uuid() FROM generate_series(1, $2) AS n",
        LARGE,
        PARTITIONS,
    )
    await made.execute("ANALYZE")
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("look", ("orchestrator-0", 8.0)),
        ("due_schedules", (1_000, 100)),
        ("due_occasions", (1_000, 128)),
        ("backfills_to_work_on", ()),
        ("count_open", (LARGE,)),
        ("waiting_partitions", (LARGE, 8)),
        ("all_succeeded", (LARGE,)),
        ("started_runs", (LARGE,)),
        ("chains", ([UUID(int=1)],)),
        ("count_chain", ([UUID(int=1)],)),
        ("partitions_page", (LARGE, [], 20_000, 50)),
        ("newest_occasions", (LARGE, [], 20_000, "", 50)),
    ],
)
async def test_it_reads_few_rows(connection: asyncpg.Connection, name: str, arguments: tuple[object, ...]):
    statement = await connection.prepare(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) " + load_queries("mwfs_orchestrator.automations")[name]
    )
    plan = "\n".join(row[0] for row in await statement.fetch(*arguments))
    assert "Seq Scan on occasions" not in plan, plan
    removed = [int(line.rpartition(":")[2]) for line in plan.splitlines() if "Rows Removed by Filter" in line]
    assert sum(removed) < 3_000, plan
