"""Workflow versions as rows."""

import asyncpg

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.postgres import load_queries


class CatalogueStore:
    """Needs a pool on the catalogue database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries(__package__)

    async def add_version(self, team: str, version: orchestrator_pb2.WorkflowVersion) -> bool:
        """Stores a version; False when it was there."""
        return (
            await self._pool.fetchval(
                self._sql["insert_version"],
                team,
                version.workflow,
                version.digest,
                version.bundle_digest,
                version.SerializeToString(),
                version.create_time_us,
            )
            is not None
        )

    async def get_version(self, team: str, workflow: str, digest: str) -> orchestrator_pb2.WorkflowVersion | None:
        """The version with this digest, or the newest for an empty one."""
        if digest:
            data = await self._pool.fetchval(self._sql["get_version"], team, workflow, digest)
        else:
            data = await self._pool.fetchval(self._sql["get_newest_version"], team, workflow)
        return None if data is None else orchestrator_pb2.WorkflowVersion.FromString(data)

    async def list_workflows(self, team: str, after: str, limit: int) -> list[orchestrator_pb2.WorkflowVersion]:
        """The newest version of each workflow whose name comes after `after`, by name."""
        rows = await self._pool.fetch(self._sql["list_workflows"], team, after, limit)
        return [orchestrator_pb2.WorkflowVersion.FromString(row["version"]) for row in rows]
