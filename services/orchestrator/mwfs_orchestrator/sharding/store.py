"""Shards, the slot map and its moves as rows of the catalogue."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.shard.moves import Superseded

from .model import Move, MoveState, Moving, Shard, ShardMap, ShardState

#: An asyncpg.Connection, which has no types of its own.
_Connection = Any


class MapStore:
    """Needs a pool on the catalogue database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self._sql = load_queries(__package__)

    async def platform(self) -> UUID:
        """Of this catalogue."""
        platform: UUID = (await self.pool.fetchrow(self._sql["read_version"]))["platform"]
        return platform

    async def read(self) -> ShardMap:
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await self._read(connection, await connection.fetchrow(self._sql["read_version"]))

    @asynccontextmanager
    async def change(self) -> AsyncGenerator["MapChange", None]:
        """A transaction in which nobody else changes shards or map; those who follow hear of it."""
        async with self.pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(self._sql["lock_map"])
            yield MapChange(connection, self._sql, await self._read(connection, row))

    async def _read(self, connection: _Connection, version: Mapping[str, Any]) -> ShardMap:
        shards = [_shard(row) for row in await connection.fetch(self._sql["read_shards"])]
        rows = await connection.fetch(self._sql["read_map"])
        return ShardMap(
            version=version["version"],
            platform=version["platform"],
            shards={shard.shard: shard for shard in shards},
            shard_of_slot=[row["shard"] for row in rows],
            moves=await connection.fetchval(self._sql["count_moves"]),
        )

    async def moves(self) -> list[Move]:
        """All that are not wholly done, by slot."""
        return [_move(row) for row in await self.pool.fetch(self._sql["read_moves"])]

    async def moving(self, shard: int) -> Moving:
        rows = await self.pool.fetch(self._sql["moves_of"], shard)
        return Moving(moves={MoveState(row["state"]): row["slots"] for row in rows})

    async def begin(self, attempts: Mapping[int, int]) -> dict[int, int]:
        """One more try for each slot (with the number of its last one): slot → number of this one."""
        rows = await self.pool.fetch(self._sql["begin_moves"], list(attempts), list(attempts.values()))
        return {row["slot"]: row["attempt"] for row in rows}

    async def want_again(self, attempts: Mapping[int, int]) -> list[int]:
        """Tries that have failed. Those that have succeeded after all are left out."""
        rows = await self.pool.fetch(self._sql["want_again"], list(attempts), list(attempts.values()))
        return [row["slot"] for row in rows]

    async def flip(self, attempts: Mapping[int, int], source: int, target: int) -> int:
        """The map says target from now on: the commit point of a move. Gives the map's version. Raises Superseded."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(self._sql["lock_map"])
            version = int(await connection.fetchval(self._sql["change_map"]))
            slots = list(attempts)
            flipped = await connection.fetch(self._sql["flip_moves"], slots, list(attempts.values()), version)
            moved = await connection.fetch(self._sql["flip_map"], slots, target, source)
            if not len(flipped) == len(moved) == len(slots):
                raise Superseded(f"only {len(flipped)} of {len(slots)} moves are still this try's")
        return version

    async def check_tries(self, attempts: Mapping[int, int]) -> None:
        """Raises Superseded unless all these tries may still end."""
        tries = await self.pool.fetchval(self._sql["are_tries"], list(attempts), list(attempts.values()))
        if tries != len(attempts):
            raise Superseded(f"only {tries} of {len(attempts)} moves are still this try's")

    async def begin_undoing(self, attempts: Mapping[int, int]) -> dict[int, int]:
        """One more try to remove what was copied of slots that stay: as `begin`."""
        rows = await self.pool.fetch(self._sql["begin_undoing"], list(attempts), list(attempts.values()))
        return {row["slot"]: row["attempt"] for row in rows}

    async def end_undoing(self, attempts: Mapping[int, int]) -> None:
        """Nothing is left of the copies of these slots."""
        await self.pool.execute(self._sql["end_undoing"], list(attempts), list(attempts.values()))
        await self.announce()

    async def end(self, slots: Sequence[int]) -> None:
        """Nothing of these moves is left to do."""
        await self.pool.execute(self._sql["end_moves"], slots)
        await self.announce()

    async def end_drain(self, shard: int) -> bool:
        """The shard is drained, if it is being drained and nothing is left in it."""
        async with self.change() as change:
            found = change.map.shards[shard]
            if found.state is not ShardState.DRAINING or not await change.is_empty(shard):
                return False
            await change.set_state(shard, ShardState.DRAINED, planned=found.planned)
            return True

    async def announce(self) -> None:
        await self.pool.execute(self._sql["announce"])


class MapChange:
    """What may be done while the map is locked."""

    def __init__(self, connection: _Connection, sql: Mapping[str, str], before: ShardMap) -> None:
        self._connection = connection
        self._sql = sql
        #: The map as it is.
        self.map = before

    async def moves(self) -> list[Move]:
        """All that are not wholly done, by slot."""
        return [_move(row) for row in await self._connection.fetch(self._sql["read_moves"])]

    async def add(self, database: str, identity: UUID, now_us: int) -> int:
        """The number of the new shard."""
        shard = int(await self._connection.fetchval(self._sql["insert_shard"], database, identity, now_us))
        await self._changed()
        return shard

    async def set_state(self, shard: int, state: ShardState, planned: int = 0) -> None:
        await self._connection.execute(self._sql["set_shard"], shard, int(state), planned)
        await self._changed()

    async def is_empty(self, shard: int) -> bool:
        return bool(await self._connection.fetchval(self._sql["drained"], shard))

    async def set_database(self, shard: int, database: str) -> None:
        await self._connection.execute(self._sql["set_database"], shard, database)

    async def fill(self, shard_of_slot: Sequence[int]) -> None:
        """The first map."""
        await self._connection.execute(self._sql["fill_map"], range(len(shard_of_slot)), shard_of_slot)
        await self._changed()

    async def want(self, plan: Mapping[int, int]) -> None:
        """Slot → target."""
        if plan:
            await self._connection.execute(self._sql["want_moves"], list(plan), list(plan.values()))
            await self._changed()

    async def call_off(self, shard: int) -> int:
        """Slots of a shard stay there, if the map does not say otherwise already: how many of them somebody has tried to move."""
        await self._connection.execute(self._sql["forget_wanted"], shard)
        tried = await self._connection.fetch(self._sql["call_off"], shard)
        await self._changed()
        return len(tried)

    async def call_on(self, shard: int) -> None:
        """Moves of a shard that were called off, and of which something is left, are wanted again."""
        await self._connection.execute(self._sql["call_on"], shard)
        await self._changed()

    async def _changed(self) -> int:
        return int(await self._connection.fetchval(self._sql["change_map"]))


def _move(row: Mapping[str, Any]) -> Move:
    return Move(**{**dict(row), "state": MoveState(row["state"])})


def _shard(row: Mapping[str, Any]) -> Shard:
    return Shard(**{**dict(row), "state": ShardState(row["state"])})
