"""The hot statements stay fast when a run has many nodes: their plans use the keys and never read a whole table."""

import re
from collections.abc import AsyncIterator, Callable
from importlib import resources
from uuid import UUID

import asyncpg
import pytest

RUN = UUID(int=7 << 100)
ROWS = 20_000


@pytest.fixture
async def connection(databases: Callable[..., list[str]]) -> AsyncIterator[asyncpg.Connection]:
    """A shard with one large run and many small ones, as a freshly started platform sees it: not analysed."""
    (dsn,) = databases(1, package="mwfs_orchestrator.shard")
    made = await asyncpg.connect(dsn)
    await made.execute("INSERT INTO slots (slot) SELECT generate_series(0, 4095)")
    await made.execute("ALTER TABLE nodes SET (autovacuum_enabled = off)")
    await made.execute("ALTER TABLE runs SET (autovacuum_enabled = off)")
    await made.execute(
        "INSERT INTO nodes (run_id, node, state, attempt) SELECT $1, node, 3, 1 FROM generate_series(0, $2) AS node",
        RUN,
        ROWS,
    )
    await made.execute(
        "INSERT INTO runs (run_id, slot, team, principal, request_id, body_digest, workflow, version_digest, bundle_digest, priority, tags, state, create_us, last_event)"
        " SELECT gen_random_uuid(), 1, 'red', '', '', '', '', '', '', 0, '{}', 6, n, 1 FROM generate_series(1, $1) AS n",
        ROWS,
    )
    yield made
    await made.close()


def statements_of_commit_changes() -> list[str]:
    """The statements of the function that touch nodes and runs, with their parameters as typed arrays."""
    text = (resources.files("mwfs_orchestrator.shard") / "commit_changes.sql").read_text()
    found = re.findall(r"^ *((?:INSERT INTO nodes|UPDATE nodes|UPDATE runs).*?);", text, flags=re.DOTALL | re.MULTILINE)
    assert len(found) == 3
    return found


ARRAYS = {
    "_started_runs": "ARRAY[{run}]::uuid[]",
    "_started_nodes": "ARRAY[100000]",
    "_started_attempts": "ARRAY[1]",
    "_started_hosts": "ARRAY['h']",
    "_started_grants": "ARRAY['g']",
    "_ended_runs": "ARRAY[{run}]::uuid[]",
    "_ended_nodes": "ARRAY[5]",
    "_ended_attempts": "ARRAY[1]",
    "_ended_states": "ARRAY[5]::smallint[]",
    "_ended_tries": "ARRAY[0]::smallint[]",
    "_ended_outputs": "ARRAY[NULL]::bytea[]",
    "_ended_failures": "ARRAY[NULL]::bytea[]",
    "_last_events": "ARRAY[9]::bigint[]",
    "_runs": "ARRAY[{run}]::uuid[]",
    "_now_us": "1",
}


async def test_the_group_commit_reads_rows_by_their_keys(connection: asyncpg.Connection) -> None:
    for setting in await connection.fetchval("SELECT proconfig FROM pg_proc WHERE proname = 'commit_changes'"):
        name, _, value = setting.partition("=")
        await connection.execute(f"SET {name} = {value}")
    for statement in statements_of_commit_changes():
        sql = re.sub(r"\b_[a-z_]+\b", lambda name: ARRAYS[name.group()].format(run=f"'{RUN}'"), statement)
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + sql))
        assert "Seq Scan" not in plan, plan


async def test_a_page_of_runs_reads_its_index_and_no_more(connection: asyncpg.Connection) -> None:
    from mwfs_chassis.postgres import load_queries

    sql = load_queries("mwfs_orchestrator.shard")["list_runs"]
    statement = await connection.prepare("EXPLAIN (ANALYZE, FORMAT TEXT) " + sql)
    rows = await statement.fetch("red", 1 << 62, UUID(int=(1 << 128) - 1), [], "", 50)
    plan = "\n".join(row[0] for row in rows)
    assert "runs_by_team" in plan, plan
    assert "Seq Scan" not in plan, plan
