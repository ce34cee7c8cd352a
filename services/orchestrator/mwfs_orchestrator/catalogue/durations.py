"""How long nodes of operators took, as rows of the catalogue."""

from collections.abc import Sequence

import asyncpg

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.durations import OperatorName


class DurationStore:
    """Needs a pool on the catalogue database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries(__package__)

    async def keep(self, took: Sequence[tuple[OperatorName, Sequence[float]]]) -> None:
        """Writes what the last nodes took, in the place of what is there."""
        await self._pool.execute(
            self._sql["keep_durations"],
            [team for (team, _, _), _ in took],
            [workflow for (_, workflow, _), _ in took],
            [operator for (_, _, operator), _ in took],
            ["{" + ",".join(map(repr, seconds)) + "}" for _, seconds in took],
        )

    async def newer(self, since_us: int, limit: int) -> list[tuple[OperatorName, list[float], int]]:
        """What was written since, the newest of it, oldest first: name, seconds, and when it was written."""
        rows = await self._pool.fetch(self._sql["newer_durations"], since_us, limit)
        return [
            ((row["team"], row["workflow"], row["operator"]), row["seconds"], row["update_us"])
            for row in reversed(rows)
        ]

    async def trim(self, older_us: int) -> None:
        """Removes what was written longer ago than that."""
        await self._pool.execute(self._sql["trim_durations"], older_us)
