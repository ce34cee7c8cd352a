"""Ends of runs become occasions of triggers, and ends of partitions of backfills.

A shard keeps an end, in the transaction of the end itself, while somebody waits for it. Here it is noted in the catalogue and only then removed from
the shard: what happens twice is the same occasion again.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.clock import Clock
from mwfs_chassis.postgres import is_transient
from mwfs_orchestrator.catalogue.store import CatalogueStore
from mwfs_orchestrator.shard.ends import ShardEnds

from .facts import EndFacts, Output
from .model import (
    ACTIVE,
    BACKFILL,
    CANCELLED,
    FAILED,
    MAX_CHAIN,
    MAX_CHAIN_RUNS,
    SUCCEEDED,
    TRIGGER,
    Automation,
    EndedRun,
    Occasion,
)
from .runs_to_start import occasion_of
from .schedules import KEPT_US
from .store import AutomationStore

log = logging.getLogger(__name__)

_BATCH: Final = 200
_ENDED: Final = frozenset({CANCELLED, SUCCEEDED, FAILED})
_PARTITION_STATES: Final = {
    events_pb2.RUN_STATE_SUCCEEDED: pb.OCCASION_STATE_SUCCEEDED,
    events_pb2.RUN_STATE_FAILED: pb.OCCASION_STATE_FAILED,
    events_pb2.RUN_STATE_CANCELLED: pb.OCCASION_STATE_CANCELLED,
}


class Ends:
    """Empties the shards' lists of ends."""

    def __init__(
        self, *, store: AutomationStore, versions: CatalogueStore, shards: Mapping[int, ShardEnds], clock: Clock
    ) -> None:
        self._store = store
        self._versions = versions
        self._shards = shards
        self._clock = clock

    async def take(self) -> bool:
        """Whether there was any."""
        found = False
        for shard in list(self._shards.values()):
            try:
                while ended := await shard.read(_BATCH):
                    found = True
                    gone = await self._note(ended)
                    await shard.remove(ended)
                    if gone:
                        await shard.forget(gone)
                    if len(ended) < _BATCH:
                        break
            except Exception as error:
                # Its ends stay in it; those of the other shards need not wait.
                if not (is_transient(error) or isinstance(error, (TimeoutError, OSError))):
                    raise
                log.warning("ends of runs wait", extra={"shard": shard.shard, "error": repr(error)})
        return found

    async def _note(self, ended: Sequence[EndedRun]) -> list[UUID]:
        """Says which of those that waited for them wait no more."""
        waiting = await self._store.get_many(list({each for run in ended for each in run.automations}))
        fired: list[tuple[Automation, pb.Trigger, EndedRun]] = []
        partitions: dict[tuple[UUID, UUID], tuple[UUID, EndedRun, int]] = {}
        for run in sorted(ended, key=lambda run: run.round):
            for automation_id in run.automations:
                automation = waiting.get(automation_id)
                if automation is None:
                    continue
                if automation.kind == BACKFILL:
                    state = _PARTITION_STATES[run.state]  # type: ignore[index]
                    partitions[automation_id, run.run_id] = (automation_id, run, state)
                elif automation.kind == TRIGGER and automation.state == ACTIVE:
                    trigger = automation.message_of_content.trigger
                    if fires(trigger, run):
                        fired.append((automation, trigger, run))
        occasions = await self._occasions(fired)
        await self._store.note_ends(occasions, list(partitions.values()), self._clock.now_us() - KEPT_US)
        named = {each for run in ended for each in run.automations}
        return [each for each in named if each not in waiting or waiting[each].state in _ENDED]

    async def _occasions(self, fired: Sequence[tuple[Automation, pb.Trigger, EndedRun]]) -> list[Occasion]:
        if not fired:
            return []
        chains = await self._store.chains([run.run_id for _, _, run in fired])
        roots = {run.run_id: chains.get(run.run_id, (0, None))[1] or run.run_id for _, _, run in fired}
        sizes = await self._store.count_chains(list(set(roots.values())))
        occasions = []
        for automation, trigger, run in fired:
            version = await self._versions.get_version(
                automation.team, trigger.run.workflow, trigger.run.version_digest
            )
            occasion = occasion_of(
                automation,
                f"{run.run_id}/{run.round}",
                run.end_us,
                trigger.run,
                version,
                EndFacts(run_id=run.run_id, state=run.state, outputs=outputs_of(run)),
                depth=chains.get(run.run_id, (0, None))[0] + 1,
                root=roots[run.run_id],
            )
            sizes[roots[run.run_id]] = sizes.get(roots[run.run_id], 0) + 1
            occasions.append(within_bounds(occasion, sizes))
        return occasions


def fires(trigger: pb.Trigger, run: EndedRun) -> bool:
    """Whether a trigger waits for this end. (pure)"""
    if trigger.workflow and trigger.workflow != run.workflow:
        return False
    states = trigger.states or [events_pb2.RUN_STATE_SUCCEEDED]
    if run.state not in states or any(run.tags.get(name) != value for name, value in trigger.tags.items()):
        return False
    if not trigger.output and not trigger.output_type:
        return True
    return any(
        (not trigger.output or name == trigger.output) and (not trigger.output_type or _is(type_, trigger.output_type))
        for name, (type_, _, _) in outputs_of(run).items()
    )


def within_bounds(occasion: Occasion, sizes: Mapping[UUID, int]) -> Occasion:
    """The occasion; refused when its chain of triggers is too long, or all that began with one run is too much. (pure)"""
    if occasion.depth > MAX_CHAIN:
        why = f"TriggerLoop: a chain of {MAX_CHAIN} triggers led here from run {occasion.root}."
    elif occasion.root is not None and sizes.get(occasion.root, 0) > MAX_CHAIN_RUNS:
        why = f"TriggerLoop: triggers have started {MAX_CHAIN_RUNS:,} runs that go back to run {occasion.root}."
    else:
        return occasion
    return Occasion(
        automation_id=occasion.automation_id,
        occasion=occasion.occasion,
        number=occasion.number,
        state=pb.OCCASION_STATE_REFUSED,
        message=f"{why} Make the triggers of workflows that start each other narrower.",
        depth=occasion.depth,
        root=occasion.root,
    )


def outputs_of(run: EndedRun) -> dict[str, Output]:
    """By name. (pure)"""
    if run.outputs is None:
        return {}
    response = orchestrator_pb2.GetOutputsResponse.FromString(run.outputs)
    return {each.name: (each.type, each.value, f"run:{run.run_id}/{each.name}") for each in response.outputs}


def _is(type_: types_pb2.Type, name: str) -> bool:
    return type_.HasField("semantic") and type_.semantic.name == name
