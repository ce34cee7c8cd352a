"""Rows of the observability database: raw batches of events, one line per run, and where each stream stands."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from mwfs_api.events.v1 import events_pb2 as pb
from mwfs_observability.fold import contiguous
from mwfs_observability.projection import Batch

_EVERY_NUMBER = (1 << 63) - 1


class Store:
    """What the projection writes and the service reads."""

    def __init__(self, pool: asyncpg.Pool, queries: Mapping[str, str]) -> None:
        self._pool = pool
        self._queries = queries

    async def positions(self) -> dict[str, int]:
        """For each stream the last position stored."""
        rows = await self._pool.fetch(self._queries["list_positions"])
        return {row["stream"]: row["position"] for row in rows}

    async def save(self, batch: Batch) -> None:
        """Store the batch and move the cursors, in one transaction: either all of it happened, or none."""
        async with self._pool.acquire() as connection, connection.transaction():
            # See adr/0001: losing the last moments costs nothing but reading them again.
            await connection.execute(self._queries["commit_without_waiting_for_disk"])
            if batch.run_ids:
                await connection.execute(
                    self._queries["store_events"], batch.run_ids, batch.first_numbers, batch.counts, batch.payloads
                )
            if batch.runs:
                rows = list(batch.runs.values())
                await connection.execute(
                    self._queries["store_runs"],
                    list(batch.runs),
                    [row.team for row in rows],
                    [row.workflow for row in rows],
                    [row.accept_us for row in rows],
                    [row.last_kind for row in rows],
                    [row.last_number for row in rows],
                )
            await connection.execute(self._queries["move_cursors"], list(batch.moved), list(batch.moved.values()))

    async def forget(self) -> None:
        """Everything: what follows is stored from the start."""
        await self._pool.execute(self._queries["forget"])

    async def events(self, run_id: str, *, until: int = _EVERY_NUMBER) -> list[pb.RunEvents]:
        """The run's batches from event 1 without a gap, those that begin at or before number `until`."""
        rows = await self._pool.fetch(self._queries["list_events"], run_id, 0, until, None)
        return contiguous(pb.RunEvents.FromString(row["payload"]) for row in rows)

    async def events_page(self, run_id: str, *, after: int, limit: int) -> list[pb.RunEvents]:
        """The next batches of the run, those that begin after number `after`."""
        rows = await self._pool.fetch(self._queries["list_events"], run_id, after, _EVERY_NUMBER, limit)
        return [pb.RunEvents.FromString(row["payload"]) for row in rows]

    async def close(self) -> None:
        """Give the connections back. Twice is fine."""
        await self._pool.close()
