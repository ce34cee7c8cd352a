"""How the tables of a shard grow while runs come, end and are removed: also while somebody holds an old snapshot.

`python -m pytest -s -m heavy tests/integration/orchestrator/test_table_growth.py` prints a table.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import asyncpg
import pytest

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.retention.model import EndedRun
from mwfs_orchestrator.shard.ended import EMPTIED, EndedRuns

RUNS, NODES = 40, 500
#: Waves of runs that stay before they are removed.
KEPT = 3
GROUP = 200
OUTPUTS = bytes(80)
TABLES = ("nodes", "runs")


@dataclass(kw_only=True)
class Shard:
    """Commits as the orchestrator writes them, without the orchestrator."""

    pool: asyncpg.Pool
    lease_id: int
    position: int = 0
    wave: int = 0

    async def commit(self, **lists: list[tuple[object, ...]]) -> None:
        self.position += 1
        names = ("new_runs", "new_chunks", "revived", "started", "ended", "patches", "reused", "waiting", "children", "signals", "settled", "moved", "checkpoints", "interruptions")  # fmt: skip
        await self.pool.execute(
            load_queries("mwfs_orchestrator.shard")["commit_changes"],
            self.lease_id, self.position, bytes(GROUP * 20), [(0, 1)], *[lists.get(name, []) for name in names], self.position,
        )  # fmt: skip

    def runs_of(self, wave: int) -> list[UUID]:
        return [UUID(bytes=bytes(2) + sha256(f"{wave}/{number}".encode()).digest()[:14]) for number in range(RUNS)]

    async def next_wave(self) -> None:
        """Runs begin, their nodes start and end, and the runs end; those of an earlier wave are removed."""
        runs = self.runs_of(self.wave)
        await self.commit(
            new_runs=[
                (run, 0, "red", "ann", f"request-{run}", bytes(32), "flows:train", "sha256:" + "0" * 64, "", 0, "{}", None, b"", 3, NODES, number, 1, 1)
                for number, run in enumerate(runs)
            ]
        )  # fmt: skip
        nodes = [(run, node) for node in range(NODES) for run in runs]
        for first in range(0, len(nodes), GROUP):
            some = nodes[first : first + GROUP]
            await self.commit(started=[(run, node, 1, "host-1", f"1-{first}") for run, node in some])
            await self.commit(ended=[(run, node, 1, 5, 0, OUTPUTS, None) for run, node in some])
        await self.commit(moved=[(run, 6, 1, 1, None, OUTPUTS, "[0]", NODES, 2, None) for run in runs])
        for part in range(4):
            await self.pool.execute(f"TRUNCATE outbox_{part}")
        if self.wave >= KEPT:
            await self.remove(self.wave - KEPT)
        self.wave += 1
        for table in TABLES:  # as autovacuum does in time
            await self.pool.execute(f"VACUUM {table}")

    async def remove(self, wave: int) -> None:
        ended = EndedRuns(self.pool)
        old = [EndedRun(run_id=run, slot=0, round=1, end_us=1, node_count=NODES) for run in self.runs_of(wave)]
        gone = await ended.remove(old, self.lease_id, {0: 1})
        assert len(gone) == RUNS
        for table in EMPTIED:
            async for _ in ended.remove_rows(table, gone):
                pass
        await ended.end_removal(gone)

    async def bytes_of(self, relation: str) -> int:
        return int(await self.pool.fetchval("SELECT pg_relation_size($1::regclass)", relation))

    async def report(self, said: str) -> dict[str, int]:
        found = {}
        for table in TABLES:
            # In a session of its own: figures of a session are read as they were when it first asked.
            row = await self.pool.fetchrow(
                "SELECT pg_stat_clear_snapshot(), n_dead_tup AS dead, n_tup_upd AS updated, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = $1",
                table,
            )
            heap, key = await self.bytes_of(table), await self.bytes_of(f"{table}_pkey")
            found[table] = heap + key
            print(
                f"{said:<28} {table:<6} heap {heap / 1e6:7.2f} MB  key {key / 1e6:6.2f} MB  dead {row['dead']:>8,}  hot {row['hot'] / max(row['updated'], 1):6.1%}"
            )
        return found


@pytest.fixture
async def shard(databases: Callable[..., list[str]]) -> AsyncIterator[Shard]:
    (dsn,) = databases(1, package="mwfs_orchestrator.shard")
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=1)
    for table in (*TABLES, "run_tags", "removed_runs"):
        await pool.execute(
            f"ALTER TABLE {table} SET (autovacuum_enabled = off)"
        )  # so that the figures are the same each time
    lease_id = await pool.fetchval("INSERT INTO leases (replica, expires_at) VALUES ('r', now()) RETURNING lease_id")
    await pool.execute("INSERT INTO slots (slot, lease_id, epoch) VALUES (0, $1, 1)", lease_id)
    yield Shard(pool=pool, lease_id=lease_id)
    await pool.close()


@pytest.mark.heavy
async def test_tables_stay_as_large_as_what_is_in_them(shard: Shard, databases: Callable[..., list[str]]) -> None:
    waves = 8
    for _ in range(KEPT + 2):
        await shard.next_wave()
    steady = await shard.report("after the first waves")
    for _ in range(waves):
        await shard.next_wave()
    later = await shard.report(f"{waves} waves later")
    for table in TABLES:
        assert later[table] <= steady[table] * 1.1, table

    reader = await asyncpg.connect(dsn=shard.pool._connect_args[0])
    snapshot = reader.transaction(isolation="repeatable_read")
    await snapshot.start()
    await reader.fetchval("SELECT count(*) FROM nodes")
    for _ in range(waves):
        await shard.next_wave()
    held = await shard.report(f"{waves} waves, snapshot held")
    # Nothing can be reclaimed meanwhile: each node costs the row that started and the one that ended, no more.
    written = waves * RUNS * NODES
    assert (held["nodes"] - later["nodes"]) / written < 420
    await snapshot.rollback()
    await reader.close()

    for _ in range(waves):
        await shard.next_wave()
    after = await shard.report(f"{waves} waves, snapshot gone")
    for _ in range(waves):
        await shard.next_wave()
    at_last = await shard.report(f"{waves} waves later")
    for table in TABLES:
        assert after[table] < held[table], f"{table}: what the snapshot held back is not used again"
        assert at_last[table] <= after[table] * 1.1, table
