"""Tells the shards which ends of runs an automation waits for, before it exists, and that it waits no more, after it has ended."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_orchestrator.shard.ends import ShardEnds

from .model import BACKFILL, TRIGGER, Automation
from .store import AutomationStore


class Watches:
    """On all shards."""

    def __init__(
        self,
        *,
        store: AutomationStore,
        shards: Mapping[int, ShardEnds],
        look_for_shards: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._shards = shards
        self._look_for_shards = look_for_shards

    async def begin(self, automation: Automation) -> None:
        """From now on no end is missed, on any shard."""
        told = dict(self._shards)
        await self._tell(automation, told.values())
        # A slot that has gone to a new shard before the old one was told did so after the new one was there to be found.
        if self._look_for_shards is not None:
            await self._look_for_shards()
            await self._tell(automation, [shard for number, shard in self._shards.items() if number not in told])

    async def _tell(self, automation: Automation, shards: Iterable[ShardEnds]) -> None:
        for workflow, with_outputs in watched(automation):
            for shard in shards:
                await shard.watch(
                    automation.team, workflow, automation.automation_id, automation.turn, with_outputs=with_outputs
                )

    async def end(self, automation: Automation) -> None:
        for workflow, _ in watched(automation):
            for shard in list(self._shards.values()):
                await shard.unwatch(automation.team, workflow, automation.automation_id, automation.turn)

    async def restore(self) -> None:
        """A shard that is new knows what all wait for."""
        for automation in await self._store.watching():
            await self._tell(automation, list(self._shards.values()))


def watched(automation: Automation) -> list[tuple[str, bool]]:
    """Workflows whose ends an automation waits for, and whether it reads their outputs. (pure)"""
    content = automation.message_of_content
    if automation.kind == TRIGGER:
        trigger = content.trigger
        reads = bool(trigger.output or trigger.output_type) or any(
            fill.source == pb.FILL_SOURCE_OUTPUT for fill in trigger.run.fills
        )
        return [(trigger.workflow, reads)]
    if automation.kind == BACKFILL:
        backfill = content.backfill
        workflows = [backfill.run.workflow] + ([backfill.join.workflow] if backfill.HasField("join") else [])
        return [(workflow, False) for workflow in dict.fromkeys(workflows)]
    return []
