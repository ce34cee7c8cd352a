"""Ended runs of one shard: which are old, all their rows for the archive, and removing them in small steps. See adr/0011-archive.md."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.retention.model import EndedRun

from .tables import RUN_TABLES, RunTable

#: An asyncpg.Connection, which has no types of its own.
_Connection = Any
#: Read at once: of tables whose rows are small, and of others.
_MANY: Final = 1_000
_FEW: Final = 16
_SMALL: Final = frozenset({"nodes", "signals"})
_REMOVED: Final = 2_000
#: Rows that say who a run was, when it is removed.
_KEPT: Final = frozenset({"runs", "removed_runs"})


class SlotsLost(Exception):
    """Another replica owns slots of ours, or they are on their way to another shard."""


class EndedRuns:
    """Needs a pool on the shard's database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries(__package__)

    async def oldest_ends(self) -> dict[str, int]:
        """Team → end of its oldest run."""
        async with self._reading() as connection:
            return {row["team"]: row["end_us"] for row in await connection.fetch(self._sql["oldest_ends"])}

    async def older(
        self, team: str, before_us: int, after: tuple[int, UUID], slots: Sequence[int], limit: int
    ) -> list[EndedRun]:
        """Oldest first, of these slots."""
        async with self._reading() as connection:
            rows = await connection.fetch(self._sql["list_ended"], team, before_us, *after, slots, limit)
        return [EndedRun(**row) for row in rows]

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator["Snapshot", None]:
        """The shard at one moment."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute("SET LOCAL enable_seqscan = off")
            yield Snapshot(connection)

    async def remove(self, runs: Sequence[EndedRun], lease_id: int, epochs: Mapping[int, int]) -> list[UUID]:
        """Those that are still as they were are gone for everybody, and the rest of their rows may go. Raises SlotsLost."""
        slots = sorted({run.slot for run in runs})
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off")
            ours = await connection.fetchval(
                self._sql["lock_owned_slots"], lease_id, slots, [epochs[slot] for slot in slots]
            )
            if ours != len(slots):
                raise SlotsLost(f"only {ours} of {len(slots)} slots are still ours")
            gone = await connection.fetch(
                self._sql["remove_runs"],
                [run.run_id for run in runs],
                [run.round for run in runs],
                [run.end_us for run in runs],
            )
        return [row["run_id"] for row in gone]

    async def half_removed(self, slots: Sequence[int], limit: int) -> list[UUID]:
        """Runs that are gone and of which rows are left."""
        return [row["run_id"] for row in await self._pool.fetch(self._sql["list_half_removed"], slots, limit)]

    async def with_checkpoints(self, run_ids: Sequence[UUID]) -> list[UUID]:
        """Those of these runs of which the object store may have checkpoints."""
        return [row["run_id"] for row in await self._pool.fetch(self._sql["list_with_checkpoints"], run_ids)]

    async def remove_rows(self, table: RunTable, run_ids: Sequence[UUID]) -> AsyncGenerator[None, None]:
        """Removes all rows of removed runs from a table; gives way after each 2,000 or so."""
        if table.name == "nodes":
            # By ranges: looking for what is left would read again what was removed, for as long as an old snapshot is held.
            removed = 0
            for run_id in run_ids:
                last = await self._pool.fetchval(self._sql["last_node"], run_id)
                for first in range(-1, -1 if last is None else last + 1, _REMOVED):
                    removed += await self._remove(self._sql["remove_nodes"], run_id, first, first + _REMOVED)
                    if removed >= _REMOVED:
                        removed = 0
                        yield
            return
        some = f"SELECT ctid FROM {table.name} WHERE run_id = ANY($1::uuid[]) LIMIT $2"
        query = f"WITH gone AS (DELETE FROM {table.name} WHERE ctid = ANY(ARRAY({some})) RETURNING 1) SELECT count(*) FROM gone"
        if table.name == "run_events":
            query = self._sql["remove_events"]
        while await self._remove(query, run_ids, _REMOVED) == _REMOVED:
            yield

    async def _remove(self, query: str, *arguments: object) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            # What is lost with a crash is removed again: that it is done is committed after it, and waited for.
            await connection.execute("SET LOCAL synchronous_commit TO off; SET LOCAL enable_seqscan TO off")
            return int(await connection.fetchval(query, *arguments))

    async def end_removal(self, run_ids: Sequence[UUID]) -> None:
        await self._pool.execute(self._sql["end_removal"], run_ids)

    async def has_team(self, team: str) -> bool:
        return bool(await self._pool.fetchval(self._sql["has_team"], team))

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[_Connection, None]:
        """By index, also while there are no statistics."""
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute("SET LOCAL enable_seqscan = off")
            yield connection


class Snapshot:
    """Rows of runs, table by table."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def columns(self, table: RunTable) -> list[tuple[str, str]]:
        """Names and types of PostgreSQL."""
        statement = await self._connection.prepare(f"SELECT * FROM {table.name}")
        return [(column.name, column.type.name) for column in statement.get_attributes()]

    async def rows(self, table: RunTable, run_ids: Sequence[UUID]) -> AsyncGenerator[tuple[Any, ...], None]:
        """By key, the rows of a run together."""
        order = ", ".join(["run_id", *(column for column in table.key if column != "run_id")])
        query = f"SELECT * FROM {table.name} WHERE run_id = ANY($1::uuid[]) ORDER BY {order}"
        prefetch = _MANY if table.name in _SMALL else _FEW
        async for row in self._connection.cursor(query, run_ids, prefetch=prefetch):
            yield tuple(row)


#: Whose rows go after the run itself, those that nobody looks for without it.
EMPTIED: Final = tuple(table for table in reversed(RUN_TABLES) if table.name not in _KEPT)
