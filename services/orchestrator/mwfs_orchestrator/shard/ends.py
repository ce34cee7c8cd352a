"""Ends of runs that triggers and backfills wait for, as rows of one shard."""

import json
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.automations.model import EndedRun


class ShardEnds:
    """Needs a pool on the shard's database."""

    def __init__(self, shard: int, pool: asyncpg.Pool) -> None:
        self.shard = shard
        self._pool = pool
        self._sql = load_queries(__package__)

    async def watch(self, team: str, workflow: str, automation_id: UUID, turn: int, *, with_outputs: bool) -> None:
        """From now on ends of the workflow's runs (of any, when it is empty) are kept for this automation."""
        await self._pool.execute(self._sql["watch_ends"], team, workflow, automation_id, turn, with_outputs)

    async def unwatch(self, team: str, workflow: str, automation_id: UUID, turn: int) -> None:
        """For all turns up to this one."""
        await self._pool.execute(self._sql["unwatch_ends"], team, workflow, automation_id, turn)

    async def forget(self, automation_ids: Sequence[UUID]) -> None:
        """Automations that are gone or have ended; one that was said to wait within the last hour may be about to begin."""
        await self._pool.execute(self._sql["forget_watches"], automation_ids)

    async def read(self, limit: int) -> list[EndedRun]:
        """Ends that are not dealt with, in any order."""
        rows = await self._pool.fetch(self._sql["read_ends"], limit)
        return [EndedRun(**{**dict(row), "tags": json.loads(row["tags"])}) for row in rows]

    async def remove(self, ended: Sequence[EndedRun]) -> None:
        """They are dealt with."""
        await self._pool.execute(self._sql["remove_ends"], [run.run_id for run in ended], [run.round for run in ended])
