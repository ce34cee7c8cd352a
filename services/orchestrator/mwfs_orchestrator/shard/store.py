"""Runs, nodes, slots and the outbox of one shard as rows."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.postgres import load_queries
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.model import RunHeader, RunMove
from mwfs_orchestrator.run_filter import RunFilter
from mwfs_orchestrator.states import NodeState, RunState
from mwfs_orchestrator.waits import SentSignal

if TYPE_CHECKING:
    from mwfs_orchestrator.active_run import ActiveRun

#: An asyncpg.Record.
Row = Mapping[str, Any]
#: Run, first and last event number, a serialised RunHistory.
HistoryRow = tuple[UUID, int, int, bytes]
#: An asyncpg.Connection, which has no types of its own.
_Connection = Any

#: Raised by commit_changes: a slot is no longer ours.
SLOT_LOST: Final = "MW001"
_MAX_FAILURE_TEXT: Final = 1_000
#: Raised by commit_changes: a node was not in the state that memory had.
CONFLICT: Final = "MW002"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A replica among the owners of a shard's slots."""

    #: Slots under its lease.
    held: int
    #: All slots of the shard.
    slots: int
    #: Replicas with a lease that holds, itself included.
    replicas: int


class ShardStore:
    """Needs a pool on the shard's database."""

    def __init__(self, shard: int, pool: asyncpg.Pool) -> None:
        self.shard = shard
        self.pool = pool
        self._sql = load_queries(__package__)

    # Slots.

    async def identify(self, platform: UUID) -> tuple[UUID, UUID]:
        """Which database this is and whose shard: this platform's, unless it was another's already."""
        await self.pool.execute(self._sql["identify"], platform)
        row = await self.pool.fetchrow(self._sql["read_identity"])
        return row["identity"], row["platform"]

    async def first_slots(self, slots: Sequence[int]) -> None:
        """Once, when the database has become a shard; later calls change nothing."""
        await self.pool.execute(self._sql["first_slots"], slots)

    async def open_lease(self, replica: str, seconds: float) -> int:
        return int(await self.pool.fetchval(self._sql["open_lease"], replica, seconds))

    async def renew_lease(self, lease_id: int, seconds: float, address: str, map_version: int) -> "Standing":
        row = await self.pool.fetchrow(self._sql["renew_lease"], lease_id, seconds, address, map_version)
        return Standing(held=row["held"], slots=row["slots"], replicas=row["replicas"])

    async def end_lease(self, lease_id: int) -> None:
        await self.pool.execute(self._sql["end_lease"], lease_id)

    async def claim_slots(self, lease_id: int, replica: str, limit: int) -> dict[int, int]:
        """Takes slots that nobody holds: slot → new epoch."""
        rows = await self.pool.fetch(self._sql["claim_slots"], lease_id, replica, limit)
        return {row["slot"]: row["epoch"] for row in rows}

    async def slots_of_lease(self, lease_id: int) -> dict[int, int]:
        """slot → epoch."""
        return {row["slot"]: row["epoch"] for row in await self.pool.fetch(self._sql["slots_of_lease"], lease_id)}

    async def release_slots(self, lease_id: int, slots: Sequence[int]) -> None:
        await self.pool.execute(self._sql["release_slots"], lease_id, slots)

    async def figures(self) -> tuple[int, int]:
        """How many runs go on here, and the size of the database in bytes."""
        row = await self.pool.fetchrow(self._sql["figures"])
        return row["runs"], row["bytes"]

    async def owner_of_slot(self, slot: int) -> tuple[str, str] | None:
        """Name and address of the replica that owns the slot; None when nobody does."""
        row = await self.pool.fetchrow(self._sql["owner_of_slot"], slot)
        return None if row is None else (row["replica"], row["address"])

    async def listen(self, heard: Callable[[], None]) -> asyncpg.pool.PoolConnectionProxy:
        """A connection of the pool on which `heard` is called whenever slots are let go. The caller releases it."""
        connection = await self.pool.acquire()
        try:
            await connection.add_listener("mwfs_slots", lambda *_: heard())
        except BaseException:
            connection.terminate()
            await self.pool.release(connection)
            raise
        return connection

    # Reading runs.

    async def find_runs(self, run_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Digests of the submissions of those runs that exist, or are archived."""
        return {row["run_id"]: row["body_digest"] for row in await self.pool.fetch(self._sql["find_runs"], run_ids)}

    async def present(self, run_ids: Sequence[UUID]) -> list[UUID]:
        """Those that exist."""
        return [row["run_id"] for row in await self.pool.fetch(self._sql["present_runs"], run_ids)]

    async def was_removed(self, run_id: UUID, team: str) -> bool:
        """Whether it was a run of the team that is archived."""
        return bool(await self.pool.fetchval(self._sql["find_removed"], run_id) == team)

    async def get_run(self, run_id: UUID) -> Row | None:
        row: Row | None = await self.pool.fetchrow(self._sql["get_run"], run_id)
        return row

    async def get_runs(self, run_ids: Sequence[UUID]) -> list[Row]:
        return list(await self.pool.fetch(self._sql["get_runs"], run_ids))

    async def find_by_prefix(self, first: UUID, last: UUID, team: str) -> list[UUID]:
        return [row["run_id"] for row in await self.pool.fetch(self._sql["find_by_prefix"], first, last, team)]

    async def list_runs(self, wanted: RunFilter, before: tuple[int, UUID], limit: int) -> list[Row]:
        """The newest runs before a position that the filter lets through, without their outputs. Each way to ask has its own index."""
        name, narrowing = wanted.question()
        return list(
            await self.pool.fetch(self._sql[name], wanted.team, *before, wanted.created_after_us, limit, *narrowing)
        )

    async def load_active_runs(self, slots: Sequence[int]) -> list[Row]:
        return list(await self.pool.fetch(self._sql["load_active_runs"], slots))

    async def load_dag(self, run_id: UUID) -> list[bytes]:
        """The chunks of the run's Dag; none when it is not compiled yet."""
        return [row["data"] for row in await self.pool.fetch(self._sql["load_dag"], run_id)]

    async def load_patches(self, run_id: UUID) -> list[Row]:
        """What the run has grown by, in order."""
        return list(await self.pool.fetch(self._sql["load_patches"], run_id))

    async def load_signals(self, run_id: UUID) -> list[SentSignal]:
        """The signals that were sent into the run."""
        return [SentSignal(**row) for row in await self.pool.fetch(self._sql["load_signals"], run_id)]

    async def load_child(self, run_id: UUID, node: int, round: int) -> bytes:
        """The Dag of the child run of a node."""
        return bytes(await self.pool.fetchval(self._sql["load_child"], run_id, node, round))

    async def list_children(self, run_id: UUID, first: int, end: int) -> dict[int, UUID]:
        """Node → its newest child run."""
        rows = await self.pool.fetch(self._sql["list_children"], run_id, first, end)
        return {row["node"]: row["child_run_id"] for row in rows}

    async def load_nodes(self, run_id: UUID) -> list[Row]:
        return list(await self.pool.fetch(self._sql["load_nodes"], run_id))

    async def load_checkpoints(self, run_ids: Sequence[UUID]) -> dict[UUID, dict[int, events_pb2.Checkpoint]]:
        """What attempts of these runs have kept last, by node."""
        found: dict[UUID, dict[int, events_pb2.Checkpoint]] = {}
        for row in await self.pool.fetch(self._sql["load_checkpoints"], run_ids):
            found.setdefault(row["run_id"], {})[row["node"]] = events_pb2.Checkpoint.FromString(row["data"])
        return found

    async def list_nodes(self, run_id: UUID, first: int, end: int) -> dict[int, Row]:
        rows = await self.pool.fetch(self._sql["list_nodes"], run_id, first, end)
        return {row["node"]: row for row in rows}

    async def load_node_states(self, run_id: UUID, count: int) -> bytes:
        """The states of the first nodes of a run, a byte each."""
        states = bytearray([NodeState.PENDING]) * count
        for row in await self.pool.fetch(self._sql["load_node_states"], run_id, count):
            states[row["node"]] = row["state"]
        return bytes(states)

    async def load_results(self, run_id: UUID, nodes: Sequence[int]) -> dict[int, Row]:
        """State, outputs and failure of those of these nodes that have a row."""
        rows = await self.pool.fetch(self._sql["load_results"], run_id, nodes)
        return {row["node"]: row for row in rows}

    # The outbox.

    async def list_streams(self, *, all_streams: bool) -> list[int]:
        """Streams of commits: all that ever were, or those that may still grow."""
        return [row["lease_id"] for row in await self.pool.fetch(self._sql["list_streams"], all_streams)]

    async def read_commits(self, lease_id: int, after: int, limit: int) -> list[Row]:
        return list(await self.pool.fetch(self._sql["read_commits"], lease_id, after, limit))

    async def trim_outbox(self, part: int) -> bool:
        """Empties a part whose commits are all in history. Raises asyncpg.LockNotAvailableError while somebody reads it."""
        return bool(await self.pool.fetchval(self._sql["trim_outbox"], part))

    # History.

    async def list_unfolded(self) -> list[int]:
        """Streams whose writer is gone and which are not wholly in history."""
        return [row["lease_id"] for row in await self.pool.fetch(self._sql["list_unfolded"])]

    async def history_position(self, lease_id: int) -> tuple[int, int]:
        """The last position of a stream that is in history, and the last whose events may be gone from there."""
        row = await self.pool.fetchrow(self._sql["history_position"], lease_id)
        return (row["position"], row["removed_to"]) if row is not None else (0, 0)

    async def keep_history(self, lease_id: int, after: int, to: int, rows: Sequence[HistoryRow]) -> bool:
        """Adds what the commits after one position up to another did; False when somebody else was first."""
        columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
        async with self.pool.acquire() as connection, connection.transaction():
            # Rows and cursor are lost together, and then moved again: the outbox is emptied by a later transaction.
            await connection.execute("SET LOCAL synchronous_commit TO off")
            return bool(await connection.fetchval(self._sql["keep_history"], lease_id, after, to, *columns))

    async def read_history(self, lease_id: int, after: int) -> tuple[int, list[events_pb2.RunHistory]]:
        """What came from the next commits that were moved together, and the last position of them; 0 when there are none."""
        rows = await self.pool.fetch(self._sql["read_history"], lease_id, after)
        found = [events_pb2.RunHistory.FromString(row["payload"]) for row in rows]
        last = rows[0]["last_position"] if rows else 0
        if rows and rows[0]["moved"]:
            # From another shard, where positions were others: here all of it is one commit.
            for history in found:
                history.positions[:] = [last] * len(history.batches)
        return last, found

    async def read_unfolded(self) -> AsyncGenerator[events_pb2.Commit, None]:
        """Commits of all streams that are not in history yet: those of the last moment, unless history is behind."""
        async with self.pool.acquire() as connection, connection.transaction():
            async for row in connection.cursor(self._sql["read_unfolded"], prefetch=50):
                yield events_pb2.Commit.FromString(row["payload"])

    async def read_run_events(self, run_id: UUID, first: int, limit: int) -> list[events_pb2.RunHistory]:
        """The run's history from the row on that holds an event."""
        rows = await self.pool.fetch(self._sql["read_run_events"], run_id, first, limit)
        return [events_pb2.RunHistory.FromString(row["payload"]) for row in rows]

    async def last_numbers(self, run_ids: Sequence[UUID]) -> dict[UUID, int]:
        """The number of the last event of each of these runs. Exact for runs in slots that nobody else writes to."""
        wanted = {str(run_id): run_id for run_id in run_ids}
        numbers: dict[UUID, int] = {}
        if wanted:
            # In this order: what is moved meanwhile is seen twice, never missed.
            async with aclosing(self.read_unfolded()) as commits:
                async for commit in commits:
                    for batch in commit.runs:
                        run_id = wanted.get(batch.run_id)
                        if run_id is not None:
                            numbers[run_id] = max(numbers.get(run_id, 0), _last_event(batch))
            for row in await self.pool.fetch(self._sql["last_numbers"], run_ids):
                numbers[row["run_id"]] = max(numbers.get(row["run_id"], 0), row["last_number"])
        return numbers

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
            [_run_row(changes, *new) for new in changes.new_runs],
            changes.dag_chunks,
            changes.revived,
            changes.started,
            changes.ended,
            changes.patches,
            changes.reused,
            changes.waiting,
            changes.children,
            changes.signals,
            changes.settled,
            _move_rows(changes),
            [(*key, data) for key, data in changes.checkpoints.items()],
            [(*key, data) for key, data in changes.interruptions.items()],
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
        header.options.SerializeToString(),
        state,
        node_count,
        header.create_us,
        start_us,
        _last_event(changes.events[run]),
    )


def _last_event(batch: events_pb2.RunEvents) -> int:
    return batch.first_number + len(batch.kind) - 1


def _move_rows(changes: Changes) -> list[tuple[object, ...]]:
    """A row for each run: an UPDATE takes one of several, and does not say which."""
    if not changes.moved:
        return []
    numbers = {run.header.run_id: _last_event(batch) for run, batch in changes.events.items()}
    merged: dict[UUID, RunMove] = {}
    for move in changes.moved:
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
            numbers.get(move.run_id),
            None if move.failure is None else _failure_text(move.failure),
        )
        for move in merged.values()
    ]


def _failure_text(failure: bytes) -> str:
    """Where runs are found by their failures: without what PostgreSQL cannot store, and not longer than anybody reads."""
    message = events_pb2.Failure.FromString(failure)
    return f"{message.error_type} {message.message}"[:_MAX_FAILURE_TEXT].replace("\0", " ")


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
        options=dag_pb2.RunOptions.FromString(row["options"]),
        create_us=row["create_us"],
    )
