"""What is known of runs that are in the archive, for those who ask."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_chassis.errors import DataLoss, FailedPrecondition, InvalidArgument
from mwfs_orchestrator.contents import Contents
from mwfs_orchestrator.model import slot_of
from mwfs_orchestrator.run_filter import RunFilter
from mwfs_orchestrator.shard.store import ShardStore
from mwfs_orchestrator.states import RunState
from mwfs_orchestrator.wire import run_of_row

from .archive_files import read_row, trouble
from .model import ArchivedRun
from .store import RetentionStore


class ArchivedRuns:
    """Reads the catalogue's rows, and what they point at."""

    def __init__(self, *, store: RetentionStore, contents: Contents, shard_of: Callable[[int], ShardStore]) -> None:
        self._store = store
        self._contents = contents
        self._shard_of = shard_of

    async def find(self, team: str, first: UUID, last: UUID) -> list[ArchivedRun]:
        """Of the team, within a range of ids: none, one, or two for several."""
        return await self._store.find(team, first, last)

    async def run(self, archived: ArchivedRun) -> pb.Run:
        """As it was when it was archived. Raises Unavailable, DataLoss, FailedPrecondition."""
        row = await self._row(archived)
        message = run_of_row(row)
        _add_facts(message, archived)
        return message

    async def outputs(self, archived: ArchivedRun) -> pb.GetOutputsResponse:
        """Raises FailedPrecondition, Unavailable, DataLoss."""
        row = await self._row(archived)
        if row["outputs"] is None:
            raise FailedPrecondition(
                f"The run {archived.run_id} has no outputs: it is {RunState(archived.state).name}.",
                "Only a run that has succeeded has outputs.",
            )
        return pb.GetOutputsResponse.FromString(row["outputs"])

    async def _row(self, archived: ArchivedRun) -> dict[str, Any]:
        why = trouble()
        if why:
            raise FailedPrecondition(f"The run {archived.run_id} is archived, and cannot be read: {why}.")
        data = await self._contents.read(archived.digest, archived.size)
        try:
            return await asyncio.to_thread(read_row, data, archived.row_group)
        except ValueError as error:
            raise DataLoss(f"The archive {archived.digest} cannot be read: {error}.") from error

    async def list(
        self, wanted: RunFilter, before: tuple[int, UUID], limit: int
    ) -> tuple[list[pb.Run], tuple[int, UUID] | None]:
        """A page, newest first, and the place where the next begins. Raises InvalidArgument."""
        if wanted.tags or wanted.text:
            raise InvalidArgument(
                "Archived runs are not found by tags or text.", "Ask by workflow, state and time of creation."
            )
        found = await self._store.list(wanted, before, limit)
        there = await self._still_there([archived.run_id for archived in found])
        runs = []
        for archived in found:
            if archived.run_id not in there:
                run = pb.Run(
                    run_id=str(archived.run_id),
                    team=archived.team,
                    workflow=archived.workflow,
                    state=archived.state,  # type: ignore[arg-type]
                    create_time_us=archived.create_us,
                    end_time_us=archived.end_us,
                )
                _add_facts(run, archived)
                runs.append(run)
        return runs, (found[-1].create_us, found[-1].run_id) if len(found) == limit else None

    async def _still_there(self, run_ids: Sequence[UUID]) -> set[UUID]:
        """Those that their shard has: they were revived, or are about to be removed."""
        stores: dict[int, tuple[ShardStore, list[UUID]]] = {}
        for run_id in run_ids:
            store = self._shard_of(slot_of(run_id))
            stores.setdefault(store.shard, (store, []))[1].append(run_id)
        rows = await asyncio.gather(*(store.present(ids) for store, ids in stores.values()))
        return {run_id for found in rows for run_id in found}


def _add_facts(run: pb.Run, archived: ArchivedRun) -> None:
    run.archive.archive_time_us = archived.archive_us
    run.archive.digest = archived.digest
    run.archive.size = archived.size
    run.archive.row_group = archived.row_group
