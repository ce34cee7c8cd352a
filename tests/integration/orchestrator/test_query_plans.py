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
    """The statements of the function that touch nodes and runs."""
    text = (resources.files("mwfs_orchestrator.shard") / "commit_changes.sql").read_text()
    body = text[text.index("BEGIN\n") :]
    found = re.findall(r"^ *((?:INSERT INTO nodes|UPDATE nodes|UPDATE runs).*?);", body, flags=re.DOTALL | re.MULTILINE)
    assert len(found) == 7
    return found


#: A row of each composite type; what is not named is null.
ROWS_OF = {
    "_told": "ROW({run}, 9)::told_run",
    "_revived": "ROW({run}, 3, '')::revived_run",
    "_started": "ROW({run}, 100000, 1, 'h', 'g')::started_node",
    "_ended": "ROW({run}, 5, 1, 5, 0, NULL, NULL)::ended_node",
    "_settled": "ROW({run}, 6, 8)::settled_node",
    "_moved": "ROW({run}, 6, 1, 1, NULL, NULL, NULL, 1)::moved_run",
}


async def test_the_group_commit_reads_rows_by_their_keys(connection: asyncpg.Connection) -> None:
    for setting in await connection.fetchval("SELECT proconfig FROM pg_proc WHERE proname = 'commit_changes'"):
        name, _, value = setting.partition("=")
        await connection.execute(f"SET {name} = {value}")
    for statement in statements_of_commit_changes():
        sql = statement.replace("_now_us", "1")
        for name, row in ROWS_OF.items():
            sql = sql.replace(f"unnest({name})", "unnest(ARRAY[" + row.format(run=f"'{RUN}'") + "])")
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
