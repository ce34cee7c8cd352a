"""How long ended runs stay before they go to the archive, for those who run the platform."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mwfs_api.orchestrator.v1 import retention_pb2 as pb

if TYPE_CHECKING:
    from mwfs.client.connection import Connection, RetentionCalls


class RetentionClient:
    """Setting is safe to repeat."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _service(self) -> RetentionCalls:
        return self._connection.retention

    async def show(self, team: str = "") -> pb.ShowRetentionResponse:
        """What counts for all teams and for each that has a setting; or for one team. Raises NotFound, Rejected."""
        return await self._service.call(self._service.stub.ShowRetention, pb.ShowRetentionRequest(team=team))

    async def set(self, team: str, days: int | None) -> pb.Retention:
        """Days: 0 is for ever, None what counts for all teams. Raises NotFound, Rejected."""
        request = pb.SetRetentionRequest(team=team, days=days)
        return (await self._service.call(self._service.stub.SetRetention, request)).retention


class BlockingRetention:
    """The same methods with the same promises."""

    def __init__(self, retention: RetentionClient, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._retention = retention
        self._run = run

    def show(self, team: str = "") -> pb.ShowRetentionResponse:
        response: pb.ShowRetentionResponse = self._run(self._retention.show(team))
        return response

    def set(self, team: str, days: int | None) -> pb.Retention:
        found: pb.Retention = self._run(self._retention.set(team, days))
        return found
