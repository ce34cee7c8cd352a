"""The servicer of automations: unpacks, calls the upkeep, packs; no decisions."""

from typing import Any, Final

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import automations_pb2_grpc
from mwfs_chassis.caller import current_caller
from mwfs_chassis.errors import InvalidArgument
from mwfs_orchestrator.pages import page_size

from .model import BACKFILL, JOIN, Automation
from .store import AutomationStore
from .upkeep import Upkeep
from .wire import automation_message, occasion_message

SERVICE: Final = "mwfs_api.orchestrator.v1.AutomationService"
#: After every occasion of a schedule or trigger.
_LAST: Final = ((1 << 63) - 1, "")
_Context = Any


class AutomationApi(automations_pb2_grpc.AutomationServiceServicer):
    """Schedules, triggers and backfills."""

    def __init__(self, *, upkeep: Upkeep, store: AutomationStore) -> None:
        self._upkeep = upkeep
        self._store = store

    async def CreateAutomation(
        self, request: pb.CreateAutomationRequest, context: _Context
    ) -> pb.CreateAutomationResponse:
        automation, created = await self._upkeep.create(current_caller(), request)
        return pb.CreateAutomationResponse(automation=await self._shown(automation), created=created)

    async def GetAutomation(self, request: pb.GetAutomationRequest, context: _Context) -> pb.GetAutomationResponse:
        found = await self._upkeep.find(current_caller().team, request.kind, request.name)
        return pb.GetAutomationResponse(automation=await self._shown(found))

    async def ListAutomations(
        self, request: pb.ListAutomationsRequest, context: _Context
    ) -> pb.ListAutomationsResponse:
        if request.kind not in (1, 2, 3):
            raise InvalidArgument("The request names no kind.", "Ask for schedules, triggers or backfills.")
        size = page_size(request.page_size, default=100, most=1_000)
        found = await self._store.list_named(current_caller().team, request.kind, request.page_token, size + 1)
        return pb.ListAutomationsResponse(
            automations=map(automation_message, found[:size]),
            next_page_token=found[size - 1].name if len(found) > size else "",
        )

    async def PauseAutomation(
        self, request: pb.PauseAutomationRequest, context: _Context
    ) -> pb.PauseAutomationResponse:
        moved = await self._upkeep.pause(current_caller().team, request.kind, request.name)
        return pb.PauseAutomationResponse(automation=await self._shown(moved))

    async def ResumeAutomation(
        self, request: pb.ResumeAutomationRequest, context: _Context
    ) -> pb.ResumeAutomationResponse:
        moved = await self._upkeep.resume(current_caller().team, request.kind, request.name)
        return pb.ResumeAutomationResponse(automation=await self._shown(moved))

    async def CancelAutomation(
        self, request: pb.CancelAutomationRequest, context: _Context
    ) -> pb.CancelAutomationResponse:
        moved = await self._upkeep.cancel(current_caller().team, request.kind, request.name)
        return pb.CancelAutomationResponse(automation=await self._shown(moved))

    async def DeleteAutomation(
        self, request: pb.DeleteAutomationRequest, context: _Context
    ) -> pb.DeleteAutomationResponse:
        await self._upkeep.delete(current_caller().team, request.kind, request.name)
        return pb.DeleteAutomationResponse()

    async def ListOccasions(self, request: pb.ListOccasionsRequest, context: _Context) -> pb.ListOccasionsResponse:
        automation = await self._upkeep.find(current_caller().team, request.kind, request.name)
        size = page_size(request.page_size, default=50, most=1_000)
        states = [int(state) for state in request.states]
        token = request.page_token
        if automation.kind == BACKFILL:
            found = await self._store.partitions_page(
                automation.automation_id, states, _read_token(token)[0] if token else -1, size + 1
            )
        else:
            before = _read_token(token) if token else _LAST
            found = await self._store.newest_occasions(automation.automation_id, states, before, size + 1)
        last = found[size - 1] if len(found) > size else None
        return pb.ListOccasionsResponse(
            occasions=[occasion_message(automation, occasion) for occasion in found[:size]],
            next_page_token=f"{last.number}/{last.occasion}" if last is not None else "",
        )

    async def _shown(self, automation: Automation) -> pb.Automation:
        counts = await self._store.counts(automation.automation_id)
        join = None
        if automation.kind == BACKFILL:
            join = await self._store.occasion(automation.automation_id, JOIN)
        return automation_message(automation, counts, join)


def _read_token(token: str) -> tuple[int, str]:
    number, slash, occasion = token[:512].partition("/")
    if not slash or not number.isdecimal() or not number.isascii() or int(number[:20]) > _LAST[0]:
        raise InvalidArgument("The page token is malformed.", "Use the token of the page before.")
    return int(number), occasion
