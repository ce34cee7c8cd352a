"""The hot statements stay fast when a run has many nodes: their plans use the keys and never read a whole table."""

import re
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.run_filter import RunFilter

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
    await made.execute("ALTER TABLE run_tags SET (autovacuum_enabled = off)")
    await made.execute(
        "INSERT INTO nodes (run_id, node, state, attempt) SELECT $1, node, 3, 1 FROM generate_series(0, $2) AS node",
        RUN,
        ROWS,
    )
    await made.execute(
        "INSERT INTO runs (run_id, slot, team, principal, request_id, body_digest, workflow, version_digest, bundle_digest, priority, tags, state, create_us, last_event)"
        " SELECT gen_random_uuid(), 1, 'red', 'ann', 'request-' || n, '', CASE n % 500 WHEN 0 THEN 'flows:rare' ELSE 'flows:often' END, '', '', 0,"
        " CASE n % 100 WHEN 0 THEN '{\"env\": \"prod\"}' ELSE '{}' END::jsonb, CASE n % 200 WHEN 0 THEN 7 ELSE 6 END, n, 1 FROM generate_series(1, $1) AS n",
        ROWS,
    )
    await made.execute(
        "INSERT INTO run_tags (team, tag, create_us, run_id) SELECT team, tag_digest(each.key, each.value), create_us, run_id"
        " FROM runs CROSS JOIN LATERAL jsonb_each_text(tags) AS each"
    )
    yield made
    await made.close()


def statements_of_commit_changes() -> list[str]:
    """The statements of the function that touch nodes and runs."""
    text = (resources.files("mwfs_orchestrator.shard") / "commit_changes.sql").read_text()
    body = text[text.index("BEGIN\n") :]
    found = re.findall(
        r"^ *((?:INSERT INTO nodes|INSERT INTO dag_patches|INSERT INTO checkpoints|INSERT INTO run_ends|UPDATE nodes|UPDATE runs).*?);",
        body,
        flags=re.DOTALL | re.MULTILINE,
    )
    assert len(found) == 13
    return found


#: A row of each composite type; what is not named is null.
ROWS_OF = {
    "_revived": "ROW({run}, 3, '')::revived_run",
    "_started": "ROW({run}, 100000, 1, 'h', 'g')::started_node",
    "_ended": "ROW({run}, 5, 1, 5, 0, NULL, NULL)::ended_node",
    "_patches": "ROW({run}, 100002, 5, '')::new_patch",
    "_waiting": "ROW({run}, 100003, 1, 0)::waiting_node",
    "_reused": "ROW({run}, 100001, NULL, NULL)::reused_node",
    "_settled": "ROW({run}, 6, 8, 0, NULL)::settled_node",
    "_checkpoints": "ROW({run}, 5, NULL)::kept_checkpoint",
    "_interruptions": "ROW({run}, 5, NULL)::interrupted_node",
    "_moved": "ROW({run}, 6, 1, 1, NULL, NULL, NULL, 1, 9, NULL)::moved_run",
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


async def plan_of(connection: asyncpg.Connection, wanted: RunFilter, name: str = "") -> str:
    """How a page of 50 runs is read, as measured."""
    question, narrowing = wanted.question()
    name = name or question
    sql = load_queries("mwfs_orchestrator.shard")[name]
    statement = await connection.prepare("EXPLAIN (ANALYZE, FORMAT TEXT) " + sql)
    rows = await statement.fetch(wanted.team, 1 << 62, UUID(int=0), wanted.created_after_us, 51, *narrowing)
    return "\n".join(row[0] for row in rows)


async def test_a_page_of_runs_reads_its_index_and_no_more(connection: asyncpg.Connection) -> None:
    pages: list[tuple[dict[str, Any], str]] = [
        ({}, "runs_by_team"),
        ({"created_after_us": 100}, "runs_by_team"),
        ({"states": (7,)}, "runs_by_state"),
        ({"states": (3, 7)}, "runs_by_state"),
        ({"workflow": "flows:rare"}, "runs_by_workflow"),
        ({"workflow": "flows:often", "states": (7,)}, "runs_by_workflow"),
        ({"tags": {"env": "prod"}}, "run_tags_by_time"),
    ]
    for about, index in pages:
        plan = await plan_of(connection, RunFilter(team="red", **about))
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "Rows Removed" not in plan, plan
        most = max(int(rows) for rows in re.findall(r"actual time=\S+ rows=(\d+)", plan))
        assert most <= 2 * 51, plan


async def test_old_runs_are_found_and_removed_by_their_indexes(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE runs SET end_us = create_us")
    await connection.execute("SET enable_seqscan = off")  # as `ended.py` does
    sql = load_queries("mwfs_orchestrator.shard")
    (run_id,) = await connection.fetchrow("SELECT run_id FROM runs LIMIT 1")
    for name, arguments, index in [
        ("oldest_ends", (), "runs_by_end"),
        ("list_ended", ("red", 1 << 62, 0, UUID(int=0), list(range(4096)), 51), "runs_by_end"),
        ("remove_runs", ([run_id], [1], [1]), "runs_pkey"),
        ("remove_events", ([run_id], 2_000), "run_events_pkey"),
        ("last_node", (RUN,), "nodes_pkey"),
        ("remove_nodes", (RUN, 2_000, 4_000), "nodes_pkey"),
        ("list_half_removed", (list(range(4096)), 200), "removed_runs_half"),
        ("find_runs", ([run_id],), "removed_runs_pkey"),
    ]:
        statement = await connection.prepare("EXPLAIN (ANALYZE, FORMAT TEXT) " + sql[name])
        plan = "\n".join(row[0] for row in await statement.fetch(*arguments))
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
        most = max(int(rows) for rows in re.findall(r"actual time=\S+ rows=(\d+)", plan))
        assert most <= 4096, plan


@pytest.fixture
def nested_plans(connection: asyncpg.Connection) -> list[str]:
    """Plans of what functions run, as measured, once `auto_explain` is loaded."""
    plans: list[str] = []
    connection.add_log_listener(lambda _, message: plans.append(message.message))
    return plans


@pytest.mark.parametrize("analysed", [False, True])
async def test_words_are_looked_for_among_the_newest_and_then_day_by_day(
    connection: asyncpg.Connection, nested_plans: list[str], analysed: bool
) -> None:
    day = 86_400_000_000
    await connection.execute(f"UPDATE runs SET create_us = create_us * {day // 200}")  # 200 a day
    await connection.execute(
        f"UPDATE runs SET failure_text = 'seldom' WHERE create_us % {5 * day} = 0 AND create_us < {50 * day}"
    )
    await connection.execute(f"UPDATE runs SET state = 3 WHERE create_us = {30 * day} + {day // 200}")
    await connection.execute("VACUUM ANALYZE runs" if analysed else "VACUUM runs")
    await connection.execute(
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;"
        " SET auto_explain.log_nested_statements = on; SET client_min_messages = log"
    )
    for text, limit, statements, most in [("often", 51, 2, 204), ("seldom", 11, 50, 45), ("absent", 51, 50, 205)]:
        nested_plans.clear()
        question, narrowing = RunFilter(team="red", text=text).question()
        sql = load_queries("mwfs_orchestrator.shard")[question]
        rows = await connection.fetch(sql, "red", 1 << 62, UUID(int=0), 0, limit, *narrowing)
        assert len(rows) == {"often": 51, "seldom": 9, "absent": 0}[text]
        of_runs = [plan for plan in nested_plans if " on runs" in plan]
        assert len(of_runs) <= statements, of_runs
        for plan in of_runs:
            assert "Seq Scan" not in plan, plan
            read = re.findall(r"Scan[^\n]*(?: on | using )[^\n]*actual time=\S+ rows=(\d+)", plan)
            assert max(map(int, read)) <= most, plan
        by_words = [plan for plan in of_runs if "runs_by_words" in plan]
        assert bool(by_words) == (text != "often")
        assert all("runs_by_state" in plan and "runs_by_team" not in plan for plan in by_words), by_words
