"""What the move of a slot does on a shard: on the one that it leaves, and on the one that it comes to. See adr/0010-shards.md."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries

from .tables import RUN_TABLES, RunTable, id_ranges

#: An asyncpg.Connection, which has no types of its own.
_Connection = Any
#: Table → how many rows, and the sum of their hashes.
Digests = dict[str, tuple[int, int]]

#: Copies of so much data go on for as long as they take.
_LONG_S: Final = 3600.0
_CHUNKS: Final = 16
_DELETED: Final = 2_000
#: Of history in one commit of the stream of what has come, about.
_COMMIT_BYTES: Final = 1_000_000


class Superseded(Exception):
    """Another try moves these slots, or another replica owns them."""


class SlotMoves:
    """Needs a pool on the shard's database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self._sql = load_queries(__package__)

    # On the shard that the slots leave.

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[tuple[_Connection, str], None]:
        """One moment of the shard, and the oldest transaction that it does not see wholly."""
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await _by_index(connection)
            yield (
                connection,
                await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text"),
            )

    async def seal(self, lease_id: int, epochs: Mapping[int, int]) -> dict[int, int]:
        """Slot → epoch, of all. Raises Superseded."""
        async with self.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(self._sql["seal_slots"], lease_id, list(epochs), list(epochs.values()))
            if len(rows) != len(epochs):
                raise Superseded(f"only {len(rows)} of {len(epochs)} slots could be sealed")
        return {row["slot"]: row["epoch"] for row in rows}

    async def unseal(self, lease_id: int, slots: Sequence[int]) -> None:
        await self.pool.execute(self._sql["unseal_slots"], lease_id, slots)

    async def claim_leaving(self, lease_id: int, replica: str) -> dict[int, int]:
        """Slots that a move of this replica, or of one that is gone, has sealed: slot → epoch."""
        rows = await self.pool.fetch(self._sql["claim_leaving"], lease_id, replica)
        return {row["slot"]: row["epoch"] for row in rows}

    async def unfolded_positions(self) -> dict[int, int]:
        """Stream → its last commit, for those that have any which history does not have."""
        return {row["lease_id"]: row["position"] for row in await self.pool.fetch(self._sql["unfolded_positions"])}

    async def watches(self) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in await self.pool.fetch(self._sql["read_watches"])]

    async def known_version(self) -> int:
        """All replicas go by this version of the slot map, or a later one."""
        return int(await self.pool.fetchval(self._sql["known_version"]))

    async def clear(self, epochs: Mapping[int, int]) -> int:
        """Removes what is left of slots that have moved, and that we look after by these epochs; how many rows. Raises Superseded."""
        return await self._clear(list(epochs), lambda: self._leaving(epochs))

    @asynccontextmanager
    async def _leaving(self, epochs: Mapping[int, int]) -> AsyncGenerator[_Connection, None]:
        """A transaction in which nobody else looks after the slots, and none of them comes back. Raises Superseded."""
        async with self.pool.acquire() as connection, connection.transaction():
            ours = await connection.fetchval(self._sql["lock_leaving"], list(epochs), list(epochs.values()))
            if ours != len(epochs):
                raise Superseded(f"only {ours} of {len(epochs)} slots are still looked after by us")
            yield connection

    async def remove_slots(self, slots: Sequence[int]) -> None:
        await self.pool.execute(self._sql["remove_slots"], slots)

    # On the shard that they come to.

    async def expect(self, attempts: Mapping[int, int]) -> None:
        """Makes room for the slots, for one try of the move. Raises Superseded."""
        rows = await self.pool.fetch(self._sql["expect_slots"], list(attempts), list(attempts.values()))
        if len(rows) != len(attempts):
            raise Superseded(f"only {len(rows)} of {len(attempts)} slots could be expected")
        await self._clear(list(attempts), lambda: self.arriving(attempts))

    async def give_room_back(self, attempts: Mapping[int, int]) -> None:
        """The slots of this try do not come. What was copied must be removed."""
        await self.pool.execute(self._sql["forget_expected"], list(attempts), list(attempts.values()))

    @asynccontextmanager
    async def arriving(self, attempts: Mapping[int, int]) -> AsyncGenerator[_Connection, None]:
        """A transaction in which no other try gets at the slots. Raises Superseded."""
        async with self.pool.acquire() as connection, connection.transaction():
            ours = await connection.fetchval(self._sql["lock_expected"], list(attempts), list(attempts.values()))
            if ours != len(attempts):
                raise Superseded(f"only {ours} of {len(attempts)} slots are still expected by this try")
            yield connection

    async def next_stream(self) -> int:
        return int(await self.pool.fetchval(self._sql["next_stream"]))

    async def add_watches(self, watches: Sequence[tuple[object, ...]]) -> None:
        if watches:
            await self.pool.execute(self._sql["add_watches"], *map(list, zip(*watches, strict=True)))

    async def arrive(self, lease_id: int | None, epochs: Mapping[int, int]) -> dict[int, int]:
        """The slots live here now, with these epochs: those that did not do so already."""
        async with self.pool.acquire() as connection, connection.transaction():
            await _by_index(connection)
            await connection.execute(self._sql["open_streams"], *id_ranges(list(epochs)))
            rows = await connection.fetch(self._sql["arrive_slots"], lease_id, list(epochs), list(epochs.values()))
            if lease_id is None:
                await connection.execute(self._sql["announce_slots"])
        return {row["slot"]: row["epoch"] for row in rows}

    # On both.

    async def digests(
        self, slots: Sequence[int], *, runs: Collection[UUID] = (), without: Collection[UUID] = ()
    ) -> Digests:
        """Of all rows of these slots; with `runs` of these runs only, and never of those `without`."""
        async with self.pool.acquire() as connection, connection.transaction(readonly=True):
            await _by_index(connection)
            if runs:
                return await self.digests_of_runs(connection, runs)
            arguments = [*id_ranges(list(slots)), list(without)]
            return await self._digests(
                connection, lambda table: f"{_of_ranges(table)} WHERE t.run_id <> ALL($3::uuid[])", arguments
            )

    async def digests_of_runs(self, connection: _Connection, runs: Collection[UUID]) -> Digests:
        return await self._digests(connection, _of_runs, [list(runs)])

    async def digests_of_copied(self, connection: _Connection, tables: Collection[RunTable]) -> tuple[Digests, Digests]:
        """What was put beside these tables by this transaction, and the same rows in the tables."""
        copied = await self._digests(connection, lambda table: f"moved_{table.name} t", [], tables)
        return copied, await self._digests(connection, _of_copied, [], tables)

    async def _digests(
        self,
        connection: _Connection,
        rows_of: Callable[[RunTable], str],
        arguments: Sequence[object],
        tables: Collection[RunTable] = RUN_TABLES,
    ) -> Digests:
        found: Digests = {}
        for table in tables:
            if table.lasting:
                columns = await self.columns_on(connection, table)
                row = ", ".join(f't."{name}"' for name in columns if name not in table.local)
                query = f"SELECT count(*), coalesce(sum(hash_record_extended(ROW({row}), 0)), 0) FROM {rows_of(table)}"
                count, total = await connection.fetchrow(query, *arguments, timeout=_LONG_S)
                found[table.name] = (count, int(total))
        return found

    async def columns_on(self, connection: _Connection, table: RunTable) -> list[str]:
        return [row["attname"] for row in await connection.fetch(self._sql["columns_of"], table.name)]

    async def _clear(
        self, slots: Sequence[int], transaction: Callable[[], AbstractAsyncContextManager[_Connection]]
    ) -> int:
        """Removes all rows of runs of these slots, a few in each transaction; how many there were. Raises Superseded."""
        gone = 0
        ranges = id_ranges(list(slots))
        for table in reversed(RUN_TABLES):
            while True:
                async with transaction() as connection:
                    await _by_index(connection)
                    told = await connection.execute(
                        f"DELETE FROM {table.name} WHERE ctid = ANY(ARRAY(SELECT t.ctid FROM {_of_ranges(table)} LIMIT {_DELETED}))",
                        *ranges,
                    )
                count = int(told.rpartition(" ")[2])
                gone += count
                if count < _DELETED:
                    break
        return gone


class Copy:
    """The rows of one batch of slots on their way from one shard to another."""

    def __init__(self, source: SlotMoves, target: SlotMoves, attempts: Mapping[int, int], stream: int) -> None:
        self._source = source
        self._target = target
        self.attempts = dict(attempts)
        self._stream = stream
        self._position = 0
        #: The oldest transaction that the last copy has not seen wholly.
        self._since = ""
        self._columns: dict[RunTable, list[str]] = {}
        #: Both shards were compared: from then on all that is newer is copied each time.
        self._compared = False

    async def all(self) -> int:
        """All rows of the slots as they are at one moment; how many."""
        lasts = id_ranges(list(self.attempts))
        arrays = [f"ARRAY[{', '.join(map(_literal, ids))}]::uuid[]" for ids in lasts]
        async with self._source.snapshot() as (source, since), self._target.arriving(self.attempts) as target:
            copied = await self._copy(source, target, lambda table: _of_ranges(table, *arrays), again=False)
        self._since = since
        return copied.total()

    async def changed(self, runs: Collection[UUID]) -> int:
        """The rows of these runs that have changed since the last copy, or since `compared`; how many."""
        if not runs:
            return 0
        async with self._source.snapshot() as (source, since), self._target.arriving(self.attempts) as target:
            copied = await self._copy_changed(source, target, runs)
        if not self._compared:
            self._since = since
        return copied.total()

    async def compare(self, runs: Collection[UUID]) -> tuple[Digests, Digests]:
        """Like `changed`; what all rows of these runs are on both shards, as of this moment. What changes from here on is for `last`."""
        if not runs:
            async with self._source.snapshot() as (_, since):
                self._since, self._compared = since, True
            return {}, {}
        async with self._source.snapshot() as (source, since), self._target.arriving(self.attempts) as target:
            await _by_index(target)
            await self._copy_changed(source, target, runs)
            both = await asyncio.gather(
                self._source.digests_of_runs(source, runs), self._target.digests_of_runs(target, runs)
            )
        self._since, self._compared = since, True
        return both

    async def last(self, runs: Collection[UUID]) -> tuple[Digests, Digests]:
        """Like `changed`, when nothing changes any more: all that these runs have changed since `compare`, as it came and as it is now on the target."""
        assert self._compared, "what did not change since is known to be the same"
        if not runs:
            return {}, {}
        async with self._source.snapshot() as (source, _), self._target.arriving(self.attempts) as target:
            await _by_index(target)
            copied = await self._copy_changed(source, target, runs)
            return await self._target.digests_of_copied(target, copied.keys())

    async def _copy_changed(
        self, source: _Connection, target: _Connection, runs: Collection[UUID]
    ) -> Counter[RunTable]:
        array = f"ARRAY[{', '.join(map(_literal, runs))}]::uuid[]"
        newer = f"age(t.xmin) <= age('{self._since}'::xid)"
        return await self._copy(source, target, lambda table: f"{_of_runs(table, array)} AND {newer}", again=True)

    async def _copy(
        self, source: _Connection, target: _Connection, rows_of: Callable[[RunTable], str], *, again: bool
    ) -> Counter[RunTable]:
        """How many rows of each table; those without are left out."""
        copied: Counter[RunTable] = Counter()
        for table in RUN_TABLES:
            if table not in self._columns:
                self._columns[table] = await self._source.columns_on(source, table)
            columns = self._columns[table]
            query = self._query(table, columns, rows_of(table))
            into = table.name
            if again:
                into = f"moved_{table.name}"
                await target.execute(f"CREATE TEMP TABLE {into} (LIKE {table.name}) ON COMMIT DROP")
            count = await _pass_on(source, query, target, into, columns)
            if again and count:
                await target.execute(_upsert(table, into, columns), timeout=_LONG_S)
            if count and table.name == "run_events":
                self._position = await target.fetchval(
                    "SELECT max(last_position) FROM run_events WHERE lease_id = $1", self._stream
                )
            if count:
                copied[table] = count
        return copied

    def _query(self, table: RunTable, columns: Sequence[str], rows: str) -> str:
        chosen = {name: f't."{name}"' for name in columns}
        if table.name == "run_events":
            # They become a stream of the target, in commits of about one size.
            chosen["lease_id"] = f"{self._stream}::bigint"
            chosen["last_position"] = (
                f"({self._position + 1} + sum(octet_length(t.payload)) OVER (ORDER BY t.run_id, t.first_number) / {_COMMIT_BYTES})::bigint"
            )
        return f"SELECT {', '.join(chosen.values())} FROM {rows}"


async def _pass_on(source: _Connection, query: str, target: _Connection, table: str, columns: Sequence[str]) -> int:
    """Rows of a query into a table of another database, without holding them."""
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS)

    async def read() -> None:
        await source.copy_from_query(query, output=chunks.put, format="binary", timeout=_LONG_S)
        await chunks.put(None)

    async def arriving() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async with asyncio.TaskGroup() as both:
        both.create_task(read())
        told = both.create_task(
            target.copy_to_table(table, source=arriving(), columns=list(columns), format="binary", timeout=_LONG_S)
        )
    return int(told.result().rpartition(" ")[2])


def _upsert(table: RunTable, source: str, columns: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    key = ", ".join(f'"{name}"' for name in table.key)
    kept = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in {*table.key, *table.local})
    does = f"UPDATE SET {kept}" if kept else "NOTHING"
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {source} ON CONFLICT ({key}) DO {does}"


def _of_ranges(table: RunTable, first: str = "$1::uuid[]", last: str = "$2::uuid[]") -> str:
    return (
        f"unnest({first}, {last}) AS r (first, last) JOIN {table.name} t ON t.run_id >= r.first AND t.run_id <= r.last"
    )


def _of_runs(table: RunTable, runs: str = "$1::uuid[]") -> str:
    return f"{table.name} t WHERE t.run_id = ANY({runs})"


def _of_copied(table: RunTable) -> str:
    same = " AND ".join(f'm."{name}" = t."{name}"' for name in table.key)
    return f"moved_{table.name} m JOIN {table.name} t ON {same}"


def _literal(run_id: UUID) -> str:
    return f"'{run_id}'"


async def _by_index(connection: _Connection) -> None:
    """For this transaction: the rows of runs are found by their ids, whatever the statistics say."""
    await connection.execute("SET LOCAL enable_seqscan = off")
