"""Backfills go on: partitions start as others end, the join starts after the last, and a cancelled backfill takes its runs with it."""

import logging
from dataclasses import dataclass, replace
from typing import Final

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.errors import FailedPrecondition, NotFound
from mwfs_orchestrator.catalogue.store import CatalogueStore

from .commands import Runs
from .facts import JoinFacts, Output, PartitionFacts
from .model import ACTIVE, CANCELLED, CANCELLING, FAILED, JOIN, SUCCEEDED, Automation, Occasion
from .runs_to_start import occasion_of
from .store import AutomationStore, LockedBackfill
from .watches import Watches

log = logging.getLogger(__name__)

_WAITING: Final = pb.OCCASION_STATE_WAITING
_DONE: Final = pb.OCCASION_STATE_SUCCEEDED


class Backfills:
    """Works on those backfills that can go on."""

    def __init__(self, *, store: AutomationStore, versions: CatalogueStore, runs: Runs, watches: Watches) -> None:
        self._store = store
        self._versions = versions
        self._runs = runs
        self._watches = watches

    async def work(self) -> bool:
        """Whether anything moved that may let something else move."""
        moved = False
        for backfill in await self._store.backfills_to_work_on():
            if backfill.state == CANCELLING:
                for run_id in await self._store.started_runs(backfill.automation_id):
                    await self._runs.cancel(run_id, _caller(backfill))
            moved = await self._go_on(backfill) or moved
        return moved

    async def _go_on(self, seen: Automation) -> bool:
        content = seen.message_of_content.backfill
        # Everything that takes long happens before the row is locked; what is there never changes.
        version = await self._versions.get_version(seen.team, content.run.workflow, content.run.version_digest)
        join = await self._join(seen, content)
        async with self._store.locked(seen.automation_id) as locked:
            if locked is None or locked.automation.state not in (ACTIVE, CANCELLING):
                return False
            backfill = locked.automation
            in_flight = await locked.count_open()
            if backfill.state == CANCELLING:
                if in_flight:
                    return False
                await locked.end(CANCELLED, "")
            else:
                waiting = await locked.waiting(max(backfill.max_parallel - in_flight, 0))
                if waiting:
                    await locked.release([_released(backfill, each, content, version) for each in waiting])
                    return True
                if in_flight or await locked.waiting(1):
                    return False
                if not await self._settled(locked, join):
                    return True
        await self._watches.end(seen)
        return False

    async def _settled(self, locked: LockedBackfill, join: "_Join | None") -> bool:
        """Nothing goes on and nothing waits: the end, or the join. False when the join has been started."""
        counts = await locked.counts()
        not_done = {state: count for state, count in counts.items() if state != _DONE and count}
        if not_done:
            await locked.end(FAILED, _words(not_done, sum(counts.values())))
            return True
        ended_join = await locked.join()
        if locked.automation.message_of_content.backfill.HasField("join") and ended_join is None:
            if join is None or join.turn != locked.automation.turn:
                return False  # its partitions have succeeded since we looked
            await locked.add_join(join.occasion)
            return False
        if ended_join is not None and ended_join.state != _DONE:
            name = pb.OccasionState.Name(ended_join.state).removeprefix("OCCASION_STATE_").lower()  # type: ignore[arg-type]
            await locked.end(FAILED, f"All partitions succeeded; their join was {name}. {ended_join.message}".rstrip())
        else:
            await locked.end(SUCCEEDED, "")
        return True

    async def _join(self, backfill: Automation, content: pb.Backfill) -> "_Join | None":
        """The join, when all partitions have succeeded; None when not."""
        if not content.HasField("join") or backfill.state != ACTIVE:
            return None
        if not await self._store.all_succeeded(backfill.automation_id):
            return None
        partitions = await self._store.all_partitions(backfill.automation_id)
        outputs: list[dict[str, Output]] | None = None
        message = ""
        if any(fill.source == pb.FILL_SOURCE_OUTPUT for fill in content.join.fills):
            try:
                caller = _caller(backfill)
                outputs = [_outputs(await self._runs.outputs(run_id, caller)) for _, run_id in partitions]
            except (NotFound, FailedPrecondition) as error:
                message = f"The outputs of a partition cannot be read. {error}"
        facts = JoinFacts(
            partitions=[partition for partition, _ in partitions],
            run_ids=[run_id for _, run_id in partitions],
            outputs=outputs,
        )
        template = content.join
        version = await self._versions.get_version(backfill.team, template.workflow, template.version_digest)
        occasion = occasion_of(backfill, JOIN, -1, template, version, facts, turn=backfill.turn)
        if message:
            occasion = replace(occasion, state=pb.OCCASION_STATE_REFUSED, header=None, run_id=None, message=message)
        return _Join(turn=backfill.turn, occasion=occasion)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Join:
    turn: int
    occasion: Occasion


def _caller(backfill: Automation) -> Caller:
    return Caller(principal=backfill.principal, team=backfill.team)


def _released(
    backfill: Automation, waiting: Occasion, content: pb.Backfill, version: orchestrator_pb2.WorkflowVersion | None
) -> Occasion:
    return occasion_of(
        backfill,
        waiting.occasion,
        waiting.number,
        content.run,
        version,
        PartitionFacts(partition=waiting.occasion),
        turn=backfill.turn,
    )


def _outputs(response: orchestrator_pb2.GetOutputsResponse) -> dict[str, Output]:
    return {each.name: (each.type, each.value, "") for each in response.outputs}


def _words(not_done: dict[pb.OccasionState.ValueType, int], total: int) -> str:
    parts = [
        f"{count:,} {pb.OccasionState.Name(state).removeprefix('OCCASION_STATE_').lower()}"
        for state, count in sorted(not_done.items())
    ]
    return f"Of {total:,} partitions, {' and '.join(parts)}."
