"""Runs, nodes, slots and the outbox of one shard as rows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.model import RunHeader, RunMove

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
        touched = list(changes.events)
        slots = sorted({run.header.slot for run in touched})
        started, ended = _columns(changes.started, 5), _columns(changes.ended, 7)
        arguments = (
            lease_id,
            position,
            payload,
            slots,
            [epochs[slot] for slot in slots],
            [run.header.run_id for run in touched],
            [batch.first_number + len(batch.kind) - 1 for batch in changes.events.values()],
            *started,
            *ended,
            now_us,
        )
        rare = changes.new_runs or changes.settled or changes.moved or changes.revived or changes.dag_chunks
        if not rare:
            await connection.execute(self._sql["commit_changes"], *arguments)
            return
        async with connection.transaction():
            if changes.new_runs:
                await connection.execute(self._sql["insert_runs"], *_run_columns(changes))
            if changes.dag_chunks:
                await connection.execute(self._sql["insert_dag_chunks"], *_columns(changes.dag_chunks, 3))
            for revived in changes.revived:
                await self._revive(connection, *revived)
            await connection.execute(self._sql["commit_changes"], *arguments)
            if changes.settled:
                await connection.execute(self._sql["settle_nodes"], *_columns(changes.settled, 3), now_us)
            for moves in _once_each(changes.moved):
                await connection.execute(self._sql["move_runs"], *_columns([_move_row(move) for move in moves], 8))

    async def _revive(self, connection: _Connection, run_id: UUID, state: int, request_id: str) -> None:
        if await connection.execute(self._sql["revive_run"], run_id, state, request_id) != "UPDATE 1":
            raise RuntimeError(f"run {run_id} is not in a state that can be revived: memory and shard disagree")
        await connection.execute(self._sql["revive_nodes"], run_id)

    async def commit_exists(self, lease_id: int, position: int) -> bool:
        """Whether a commit whose answer was lost took place."""
        return bool(await self.pool.fetchval(self._sql["commit_exists"], lease_id, position))


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _once_each(moves: list[RunMove]) -> list[list[RunMove]]:
    """In order, but so that no statement moves a run twice: an UPDATE would take one of the two, and not say which."""
    groups: list[dict[UUID, RunMove]] = []
    for move in moves:
        group = next((group for group in groups if move.run_id not in group), None)
        if group is None:
            groups.append(group := {})
        group[move.run_id] = move
    return [list(group.values()) for group in groups]


def _move_row(move: RunMove) -> tuple[object, ...]:
    counts = None if move.node_counts is None else json.dumps(move.node_counts)
    return (
        move.run_id,
        move.state,
        move.start_us,
        move.end_us,
        move.failure,
        move.outputs,
        counts,
        move.node_count,
    )


def _run_columns(changes: Changes) -> list[list[object]]:
    rows = []
    for header, state, node_count, start_us, run in changes.new_runs:
        batch = changes.events[run]
        rows.append(
            (
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
                int(state),
                node_count,
                header.create_us,
                start_us,
                batch.first_number + len(batch.kind) - 1,
            )
        )
    return _columns(rows, 17)


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
