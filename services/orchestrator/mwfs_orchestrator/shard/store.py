"""Runs, nodes, slots and the outbox of one shard as rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg

from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.model import RunHeader, RunMove
from mwfs_orchestrator.states import RunState

if TYPE_CHECKING:
    from mwfs_orchestrator.active_run import ActiveRun

#: An asyncpg.Record.
Row = Mapping[str, Any]
#: An asyncpg.Connection, which has no types of its own.
_Connection = Any

#: Raised by commit_changes: a slot is no longer ours.
SLOT_LOST: Final = "MW001"
#: Raised by commit_changes: a node was not in the state that memory had.
CONFLICT: Final = "MW002"


class ShardStore:
    """Needs a pool on the shard's database."""

    def __init__(self, shard: int, pool: asyncpg.Pool) -> None:
        self.shard = shard
        self.pool = pool
        self._sql = load_queries(__package__)

    # Slots.

    async def add_slots(self, slots: Sequence[int]) -> None:
        await self.pool.execute(self._sql["add_slots"], slots)

    async def open_lease(self, replica: str, seconds: float) -> int:
        return int(await self.pool.fetchval(self._sql["open_lease"], replica, seconds))

    async def renew_lease(self, lease_id: int, seconds: float) -> bool:
        return await self.pool.fetchval(self._sql["renew_lease"], lease_id, seconds) is not None

    async def end_lease(self, lease_id: int) -> None:
        await self.pool.execute(self._sql["end_lease"], lease_id)

    async def claim_slots(self, lease_id: int, replica: str) -> dict[int, int]:
        """Takes every slot that nobody holds: slot → new epoch."""
        return {row["slot"]: row["epoch"] for row in await self.pool.fetch(self._sql["claim_slots"], lease_id, replica)}

    # Reading runs.

    async def find_runs(self, run_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Digests of the submissions of those runs that exist."""
        return {row["run_id"]: row["body_digest"] for row in await self.pool.fetch(self._sql["find_runs"], run_ids)}

    async def get_run(self, run_id: UUID) -> Row | None:
        row: Row | None = await self.pool.fetchrow(self._sql["get_run"], run_id)
        return row

    async def get_runs(self, run_ids: Sequence[UUID]) -> list[Row]:
        return list(await self.pool.fetch(self._sql["get_runs"], run_ids))

    async def find_by_prefix(self, first: UUID, last: UUID, team: str) -> list[UUID]:
        return [row["run_id"] for row in await self.pool.fetch(self._sql["find_by_prefix"], first, last, team)]

    async def list_runs(
        self, team: str, before: tuple[int, UUID], states: Sequence[int], workflow: str, limit: int
    ) -> list[Row]:
        return list(await self.pool.fetch(self._sql["list_runs"], team, *before, states, workflow, limit))

    async def load_active_runs(self, slots: Sequence[int]) -> list[Row]:
        return list(await self.pool.fetch(self._sql["load_active_runs"], slots))

    async def load_dag(self, run_id: UUID) -> list[bytes]:
        """The chunks of the run's Dag; none when it is not compiled yet."""
        return [row["data"] for row in await self.pool.fetch(self._sql["load_dag"], run_id)]

    async def load_nodes(self, run_id: UUID) -> list[Row]:
        return list(await self.pool.fetch(self._sql["load_nodes"], run_id))

    async def list_nodes(self, run_id: UUID, first: int, end: int) -> dict[int, Row]:
        rows = await self.pool.fetch(self._sql["list_nodes"], run_id, first, end)
        return {row["node"]: row for row in rows}

    # The outbox.

    async def list_streams(self, *, all_streams: bool) -> list[int]:
        """Streams of commits: all that ever were, or those that may still grow."""
        return [row["lease_id"] for row in await self.pool.fetch(self._sql["list_streams"], all_streams)]

    async def read_commits(self, lease_id: int, after: int, limit: int) -> list[Row]:
        return list(await self.pool.fetch(self._sql["read_commits"], lease_id, after, limit))

    # The group commit.

    async def commit(
        self,
        connection: _Connection,
        changes: Changes,
        *,
        lease_id: int,
        position: int,
        payload: bytes,
        epochs: dict[int, int],
        now_us: int,
    ) -> None:
        """Writes one group in one transaction. Raises asyncpg.PostgresError with SLOT_LOST or CONFLICT; after a lost connection the outcome is unknown."""
        slots = {run.header.slot for run in changes.events}
        await connection.execute(
            self._sql["commit_changes"],
            lease_id,
            position,
            payload,
            [(slot, epochs[slot]) for slot in sorted(slots)],
            [(run.header.run_id, _last_event(batch)) for run, batch in changes.events.items()],
            [_run_row(changes, *new) for new in changes.new_runs],
            changes.dag_chunks,
            changes.revived,
            changes.started,
            changes.ended,
            changes.settled,
            _move_rows(changes.moved),
            now_us,
        )

    async def commit_exists(self, lease_id: int, position: int) -> bool:
        """Whether a commit whose answer was lost took place."""
        return bool(await self.pool.fetchval(self._sql["commit_exists"], lease_id, position))


def _run_row(
    changes: Changes, header: RunHeader, state: RunState, node_count: int, start_us: int, run: "ActiveRun"
) -> tuple[object, ...]:
    return (
        header.run_id,
        header.slot,
        header.team,
        header.principal,
        header.request_id,
        header.body_digest,
        header.workflow,
        header.version_digest,
        header.bundle_digest,
        header.priority,
        json.dumps(header.tags),
        header.compile_job,
        state,
        node_count,
        header.create_us,
        start_us,
        _last_event(changes.events[run]),
    )


def _last_event(batch: events_pb2.RunEvents) -> int:
    return batch.first_number + len(batch.kind) - 1


def _move_rows(moves: list[RunMove]) -> list[tuple[object, ...]]:
    """A row for each run: an UPDATE takes one of several, and does not say which."""
    merged: dict[UUID, RunMove] = {}
    for move in moves:
        before = merged.get(move.run_id)
        if before is not None:
            known = {name: value for name, value in asdict(move).items() if value is not None}
            move = replace(before, **known)
        merged[move.run_id] = move
    return [
        (
            move.run_id,
            move.state,
            move.start_us,
            move.end_us,
            move.failure,
            move.outputs,
            None if move.node_counts is None else json.dumps(move.node_counts),
            move.node_count,
        )
        for move in merged.values()
    ]


def header_of(row: Row) -> RunHeader:
    """The unchanging part of a row of `runs`."""
    return RunHeader(
        run_id=row["run_id"],
        team=row["team"],
        principal=row["principal"],
        request_id=row["request_id"],
        body_digest=row["body_digest"],
        workflow=row["workflow"],
        version_digest=row["version_digest"],
        bundle_digest=row["bundle_digest"],
        priority=row["priority"],
        tags=json.loads(row["tags"]),
        compile_job=row["compile_job"],
        create_us=row["create_us"],
    )
