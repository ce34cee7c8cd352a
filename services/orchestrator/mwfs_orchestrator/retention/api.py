"""The servicer of retention: unpacks, calls the commands, packs; no decisions."""

from typing import Any, Final

from mwfs_api.orchestrator.v1 import retention_pb2 as pb
from mwfs_api.orchestrator.v1 import retention_pb2_grpc

from .archive_files import trouble
from .commands import RetentionCommands
from .model import Retention

SERVICE: Final = "mwfs_api.orchestrator.v1.RetentionService"
_Context = Any


class RetentionApi(retention_pb2_grpc.RetentionServiceServicer):
    """How long runs stay, for those who run the platform."""

    def __init__(self, commands: RetentionCommands) -> None:
        self._commands = commands

    async def ShowRetention(self, request: pb.ShowRetentionRequest, context: _Context) -> pb.ShowRetentionResponse:
        found = await self._commands.show(request.team)
        return pb.ShowRetentionResponse(retentions=map(_message, found), trouble=trouble())

    async def SetRetention(self, request: pb.SetRetentionRequest, context: _Context) -> pb.SetRetentionResponse:
        days = request.days if request.HasField("days") else None
        return pb.SetRetentionResponse(retention=_message(await self._commands.set(request.team, days)))


def _message(found: Retention) -> pb.Retention:
    return pb.Retention(team=found.team, days=found.days, own=found.own, archived_runs=found.archived_runs)
