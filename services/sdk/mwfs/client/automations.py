"""Schedules, triggers and backfills: what starts runs by itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mwfs.errors import InvalidInput
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.connection import AutomationCalls, Connection
    from mwfs.client.transfers import Progress
    from mwfs.client.versions import Versions
    from mwfs.workflows import Workflow

SCHEDULE = pb.AUTOMATION_KIND_SCHEDULE
TRIGGER = pb.AUTOMATION_KIND_TRIGGER
BACKFILL = pb.AUTOMATION_KIND_BACKFILL

_CATCH_UP = {"all": pb.CATCH_UP_ALL, "latest": pb.CATCH_UP_LATEST, "none": pb.CATCH_UP_NONE}
_GRAINS = {"hour": pb.GRAIN_HOUR, "day": pb.GRAIN_DAY, "week": pb.GRAIN_WEEK, "month": pb.GRAIN_MONTH}
_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OccasionRun:
    """The run that an occasion starts: a workflow, inputs that are always the same, and inputs that are taken from the occasion."""

    workflow: Workflow[..., Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    #: By name: what an input takes from the occasion. Schedules: "time", "hour", "day", "week", "month", and "day-1" for the one before.
    #: Triggers: "output:NAME", "run", "state". Backfills: "partition". Joins: "outputs:NAME", "runs", "partitions".
    fills: Mapping[str, str] = field(default_factory=dict)
    #: True: always the code as it is now. False: the version that is newest at each occasion.
    pinned: bool = False
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRun:
    """The same with inputs that are encoded already, and the local files that they refer to, by digest."""

    workflow: Workflow[..., Any]
    values: Mapping[str, types_pb2.Value]
    files: Mapping[str, Path]
    fills: Mapping[str, str] = field(default_factory=dict)
    pinned: bool = False
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


class Automations:
    """What starts runs by itself, on one platform. Creating is safe to repeat: a name with the same content is found again."""

    def __init__(self, connection: Connection, versions: Versions) -> None:
        self._connection = connection
        self._versions = versions

    @property
    def _service(self) -> AutomationCalls:
        return self._connection.automations

    async def create_schedule(
        self,
        name: str,
        run: OccasionRun | EncodedRun,
        *,
        cron: str,
        time_zone: str = "UTC",
        catch_up: Literal["all", "latest", "none"] = "latest",
        paused: bool = False,
        progress: Progress | None = None,
    ) -> pb.CreateAutomationResponse:
        """Starts the run whenever the cron expression (minute, hour, day of month, month, day of week) says so, in a time zone of the tz database.

        catch_up: what becomes of occasions that the platform missed because it was away. Raises Rejected, NotFound, Unavailable.
        """
        if catch_up not in _CATCH_UP:
            raise InvalidInput(f"{catch_up!r} is no catch-up policy.", "Choose all, latest or none.")
        schedule = pb.Schedule(
            cron=cron, time_zone=time_zone, catch_up=_CATCH_UP[catch_up], run=await self._template(run, progress)
        )
        return await self._create(pb.CreateAutomationRequest(name=name, schedule=schedule, paused=paused))

    async def create_trigger(
        self,
        name: str,
        run: OccasionRun | EncodedRun,
        *,
        workflow: str = "",
        states: Iterable[events_pb2.RunState.ValueType] = (),
        tags: Mapping[str, str] | None = None,
        output: str = "",
        output_type: str = "",
        paused: bool = False,
        progress: Progress | None = None,
    ) -> pb.CreateAutomationResponse:
        """Starts the run whenever a run of `workflow` (`module:qualname`; empty: any of the team) ends in one of these states (SUCCEEDED by
        default), with these tags, and with an output of this name or semantic type. Raises Rejected, NotFound, Unavailable.
        """
        trigger = pb.Trigger(
            workflow=workflow,
            states=states,
            tags=tags or {},
            output=output,
            output_type=output_type,
            run=await self._template(run, progress),
        )
        return await self._create(pb.CreateAutomationRequest(name=name, trigger=trigger, paused=paused))

    async def create_backfill(
        self,
        name: str,
        run: OccasionRun | EncodedRun,
        *,
        partitions: tuple[str, str] | None = None,
        keys: Sequence[str] = (),
        max_parallel: int = 8,
        join: OccasionRun | EncodedRun | None = None,
        paused: bool = False,
        progress: Progress | None = None,
    ) -> pb.CreateAutomationResponse:
        """Starts one run for each partition, so many at a time, and `join` once all have succeeded.

        partitions: the first and the last of a range of time, ("2026-01-01", "2026-03-31"); keys: any texts. Raises Rejected, NotFound, Unavailable.
        """
        backfill = pb.Backfill(run=await self._template(run, progress), max_parallel=max_parallel)
        if partitions is not None:
            backfill.range.first, backfill.range.last = partitions
        else:
            backfill.keys.keys.extend(keys)
        if join is not None:
            backfill.join.CopyFrom(await self._template(join, progress))
        return await self._create(pb.CreateAutomationRequest(name=name, backfill=backfill, paused=paused))

    async def get(self, kind: pb.AutomationKind.ValueType, name: str) -> pb.Automation:
        request = pb.GetAutomationRequest(kind=kind, name=name)
        return (await self._service.call(self._service.stub.GetAutomation, request)).automation

    async def list(self, kind: pb.AutomationKind.ValueType) -> AsyncGenerator[pb.Automation, None]:
        """By name."""
        request = pb.ListAutomationsRequest(kind=kind, page_size=_PAGE)
        while True:
            page = await self._service.call(self._service.stub.ListAutomations, request)
            for automation in page.automations:
                yield automation
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def pause(self, kind: pb.AutomationKind.ValueType, name: str) -> pb.Automation:
        """Nothing new starts; what runs goes on."""
        request = pb.PauseAutomationRequest(kind=kind, name=name)
        return (await self._service.call(self._service.stub.PauseAutomation, request)).automation

    async def resume(self, kind: pb.AutomationKind.ValueType, name: str) -> pb.Automation:
        """Goes on after a pause; a backfill that failed or was cancelled runs again what has not succeeded."""
        request = pb.ResumeAutomationRequest(kind=kind, name=name)
        return (await self._service.call(self._service.stub.ResumeAutomation, request)).automation

    async def cancel_backfill(self, name: str) -> pb.Automation:
        """No further partition starts, and the runs that go on are cancelled."""
        request = pb.CancelAutomationRequest(kind=BACKFILL, name=name)
        return (await self._service.call(self._service.stub.CancelAutomation, request)).automation

    async def delete(self, kind: pb.AutomationKind.ValueType, name: str) -> None:
        """Its runs stay."""
        request = pb.DeleteAutomationRequest(kind=kind, name=name)
        await self._service.call(self._service.stub.DeleteAutomation, request)

    async def occasions(
        self,
        kind: pb.AutomationKind.ValueType,
        name: str,
        *,
        states: Iterable[pb.OccasionState.ValueType] = (),
        limit: int | None = None,
    ) -> AsyncGenerator[pb.Occasion, None]:
        """Of a schedule or trigger newest first, of a backfill in the order of the partitions."""
        left = limit if limit is not None else -1
        request = pb.ListOccasionsRequest(kind=kind, name=name, states=states)
        while left != 0:
            request.page_size = min(left, _PAGE) if left > 0 else _PAGE
            page = await self._service.call(self._service.stub.ListOccasions, request)
            for occasion in page.occasions:
                left -= 1
                yield occasion
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _create(self, request: pb.CreateAutomationRequest) -> pb.CreateAutomationResponse:
        return await self._service.call(self._service.stub.CreateAutomation, request, timeout=120.0)

    async def _template(self, run: OccasionRun | EncodedRun, progress: Progress | None) -> pb.RunTemplate:
        from mwfs.client.transfers import upload_missing
        from mwfs.inputs import encode_inputs

        fills = [read_fill(name, what) for name, what in run.fills.items()]
        if isinstance(run, OccasionRun):
            encoded = encode_inputs(run.workflow, run.inputs, filled=run.fills)
            values, files = encoded.values, encoded.local_files
        else:
            values, files = dict(run.values), dict(run.files)
        version = await self._versions.register(run.workflow, progress)
        if files:
            await upload_missing(self._connection.artifacts, files, progress)
        template = pb.RunTemplate(
            workflow=version.workflow,
            version_digest=version.digest if run.pinned else "",
            fills=fills,
            priority=run.priority,
            tags=run.tags,
        )
        for name, value in values.items():
            template.inputs[name].CopyFrom(value)
        return template


def read_fill(name: str, what: str) -> pb.Fill:
    """What an input takes from the occasion, from its text. Raises InvalidInput."""
    word, colon, output = what.partition(":")
    if colon and word in ("output", "outputs") and output:
        return pb.Fill(input=name, source=pb.FILL_SOURCE_OUTPUT, output=output)
    plain = {
        "time": pb.FILL_SOURCE_TIME,
        "run": pb.FILL_SOURCE_RUN,
        "runs": pb.FILL_SOURCE_RUN,
        "state": pb.FILL_SOURCE_STATE,
        "partition": pb.FILL_SOURCE_PARTITION,
        "partitions": pb.FILL_SOURCE_PARTITION,
    }
    if what in plain:
        return pb.Fill(input=name, source=plain[what])
    grain = next((grain for grain in _GRAINS if what.startswith(grain)), None)
    if grain is not None:
        rest = what.removeprefix(grain)
        if not rest:
            return pb.Fill(input=name, source=pb.FILL_SOURCE_TIME, grain=_GRAINS[grain])
        if rest[0] in "+-" and rest[1:].isascii() and rest[1:].isdecimal() and len(rest) < 8:
            return pb.Fill(input=name, source=pb.FILL_SOURCE_TIME, grain=_GRAINS[grain], shift=int(rest))
    raise InvalidInput(
        f"{what!r} is nothing that an occasion knows.",
        "Write time, hour, day, week, month or day-1 for schedules, output:NAME, run or state for triggers, partition for backfills, "
        "and outputs:NAME, runs or partitions for joins.",
    )
