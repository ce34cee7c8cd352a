"""Retention and archived runs as rows of the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.run_filter import RunFilter
from mwfs_orchestrator.states import RunState

from .model import ArchivedRun


class RetentionStore:
    """Needs a pool on the catalogue database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries(__package__)

    async def settings(self) -> dict[str, int]:
        """Team → days, of those that have a setting, by name."""
        return {row["team"]: row["days"] for row in await self._pool.fetch(self._sql["read_retention"])}

    async def set(self, team: str, days: int) -> None:
        await self._pool.execute(self._sql["set_retention"], team, days)

    async def forget(self, team: str) -> None:
        await self._pool.execute(self._sql["forget_retention"], team)

    async def knows_team(self, team: str) -> bool:
        return bool(await self._pool.fetchval(self._sql["knows_team"], team))

    async def count(self, team: str) -> int:
        return int(await self._pool.fetchval(self._sql["count_archived"], team))

    async def note(self, runs: Sequence[ArchivedRun]) -> None:
        """Safe to repeat."""
        columns = [list(column) for column in zip(*map(astuple, runs), strict=True)]
        await self._pool.execute(self._sql["note_archived"], *columns)

    async def find(self, team: str, first: UUID, last: UUID) -> list[ArchivedRun]:
        """At most two."""
        return [_run(row) for row in await self._pool.fetch(self._sql["find_archived"], first, last, team)]

    async def list(self, wanted: RunFilter, before: tuple[int, UUID], limit: int) -> list[ArchivedRun]:
        """The newest before a position that the filter lets through; tags and text are not known here."""
        states = [int(state) for state in wanted.states or RunState]
        arguments = [wanted.team, *before, wanted.created_after_us, limit, states]
        if wanted.workflow:
            rows = await self._pool.fetch(self._sql["list_archived_of_workflow"], *arguments, wanted.workflow)
        else:
            rows = await self._pool.fetch(self._sql["list_archived"], *arguments)
        return [_run(row) for row in rows]


def _run(row: Mapping[str, Any]) -> ArchivedRun:
    return ArchivedRun(**dict(row))
