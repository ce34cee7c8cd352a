"""The one row that says who leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads, or led last."""

    epoch: int
    #: Name of the scheduler process, the same after it was started again.
    instance: str
    #: host:port; empty while it does not serve yet.
    address: str
    #: By the database's clock.
    since_us: int = 0
    #: The lease has run out, by the database's clock.
    free: bool = False


class LeaderStore:
    """Needs a pool on the catalogue."""

    def __init__(self, pool: asyncpg.Pool, queries: Mapping[str, str]) -> None:
        self._pool = pool
        self._queries = queries

    async def read(self) -> Leader | None:
        """None before the first scheduler of all."""
        row = await self._pool.fetchrow(self._queries["read_leader"])
        return None if row is None else Leader(**row)

    async def take(self, instance: str, address: str, seconds: float) -> int | None:
        """A new epoch with a lease of so many seconds; None when somebody else has the lead."""
        epoch: int | None = await self._pool.fetchval(self._queries["take_lead"], instance, address, seconds)
        return epoch

    async def leave(self, epoch: int) -> None:
        """The lease is over, if it still is that of this epoch."""
        await self._pool.execute(self._queries["leave_lead"], epoch)
