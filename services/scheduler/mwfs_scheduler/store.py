"""Which replicas may hold grants, as the catalogue has it."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg


class Store:
    """Durable facts of the scheduler. Everything else is rebuilt from hellos."""

    def __init__(self, pool: asyncpg.Pool, queries: Mapping[str, str]) -> None:
        self._pool = pool
        self._queries = queries

    async def known_replicas(self) -> frozenset[str]:
        """Replicas that may hold grants of an earlier epoch."""
        return frozenset(row["replica"] for row in await self._pool.fetch(self._queries["known_replicas"]))

    async def note_replica(self, replica: str) -> None:
        """The replica may hold grants from now on."""
        await self._pool.execute(self._queries["note_replica"], replica)

    async def forget_replica(self, replica: str) -> None:
        """What the replica held has been freed."""
        await self._pool.execute(self._queries["forget_replica"], replica)

    async def close(self) -> None:
        """Give the connections back. Twice is fine."""
        await self._pool.close()
