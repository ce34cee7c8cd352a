"""`Automations` behind plain calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mwfs.client.automations import Automations, EncodedRun, OccasionRun
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb

if TYPE_CHECKING:
    from mwfs.client.transfers import Progress


class BlockingAutomations:
    """The same methods with the same promises."""

    def __init__(
        self,
        automations: Automations,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        iterate: Callable[[AsyncIterator[Any]], Iterator[Any]],
    ) -> None:
        self._automations = automations
        self._run = run
        self._iterate = iterate

    def create_schedule(
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
        response: pb.CreateAutomationResponse = self._run(
            self._automations.create_schedule(
                name, run, cron=cron, time_zone=time_zone, catch_up=catch_up, paused=paused, progress=progress
            )
        )
        return response

    def create_trigger(
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
        response: pb.CreateAutomationResponse = self._run(
            self._automations.create_trigger(
                name,
                run,
                workflow=workflow,
                states=states,
                tags=tags,
                output=output,
                output_type=output_type,
                paused=paused,
                progress=progress,
            )
        )
        return response

    def create_backfill(
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
        response: pb.CreateAutomationResponse = self._run(
            self._automations.create_backfill(
                name,
                run,
                partitions=partitions,
                keys=keys,
                max_parallel=max_parallel,
                join=join,
                paused=paused,
                progress=progress,
            )
        )
        return response

    def get(self, kind: pb.AutomationKind.ValueType, name: str) -> pb.Automation:
        found: pb.Automation = self._run(self._automations.get(kind, name))
        return found

    def list(self, kind: pb.AutomationKind.ValueType) -> Iterator[pb.Automation]:
        return self._iterate(self._automations.list(kind))

    def pause(self, kind: pb.AutomationKind.ValueType, name: str) -> pb.Automation:
        found: pb.Automation = self._run(self._automations.pause(kind, name))
        return found

    def resume(self, kind: pb.AutomationKind.ValueType, name: str) -> pb.Automation:
        found: pb.Automation = self._run(self._automations.resume(kind, name))
        return found

    def cancel_backfill(self, name: str) -> pb.Automation:
        found: pb.Automation = self._run(self._automations.cancel_backfill(name))
        return found

    def delete(self, kind: pb.AutomationKind.ValueType, name: str) -> None:
        self._run(self._automations.delete(kind, name))

    def occasions(
        self,
        kind: pb.AutomationKind.ValueType,
        name: str,
        *,
        states: Iterable[pb.OccasionState.ValueType] = (),
        limit: int | None = None,
    ) -> Iterator[pb.Occasion]:
        return self._iterate(self._automations.occasions(kind, name, states=states, limit=limit))
