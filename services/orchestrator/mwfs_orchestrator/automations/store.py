"""Automations and their occasions as rows of the catalogue."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_chassis.postgres import load_queries

from .model import Automation, EndedRun, Occasion

#: An asyncpg.Record, and an asyncpg.Connection, which have no types of their own.
Row = Mapping[str, Any]
_Connection = Any
_COLUMNS: Final = tuple(Automation.__dataclass_fields__)
_OCCASION_COLUMNS: Final = tuple(Occasion.__dataclass_fields__)
#: In the order in which `add_occasions` takes them.
_ADDED: Final = ("automation_id", "occasion", "number", "state", "turn", "run_id", "header", "message", "depth", "root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to do."""

    #: Whether this replica holds the lease.
    held: bool
    #: When the next occasion of a schedule is due; None when there is none.
    next_us: int | None
    #: From when on a command may be carried out; None when there is none.
    retry_us: int | None
    #: Whether any automation waits for ends of runs.
    watching: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An occasion whose run is to be started, and in whose name."""

    occasion: Occasion
    team: str
    principal: str


class AutomationStore:
    """Needs a pool on the catalogue database. Each method is one transaction."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries(__package__)

    async def look(self, replica: str, lease_s: float) -> Look:
        row = await self._pool.fetchrow(self._sql["look"], replica, lease_s)
        return Look(**dict(row))

    async def release(self, replica: str) -> None:
        """Gives the lease back, if this replica holds it."""
        await self._pool.execute(self._sql["release_lease"], replica)

    # Automations.

    async def insert(self, automation: Automation, digest: bytes, partitions: Sequence[str] = ()) -> bool:
        """Stores an automation, with its partitions; False when the name is taken."""
        async with self._transaction() as connection:
            added = await connection.fetchval(
                self._sql["insert_automation"],
                automation.automation_id,
                automation.team,
                automation.kind,
                automation.name,
                automation.principal,
                automation.state,
                automation.content,
                digest,
                automation.create_us,
                automation.next_us,
                automation.max_parallel,
            )
            if added is not None and partitions:
                await connection.execute(self._sql["add_partitions"], automation.automation_id, partitions)
        return added is not None

    async def count(self, team: str, kind: int) -> int:
        return int(await self._pool.fetchval(self._sql["count_automations"], team, kind))

    async def get(self, team: str, kind: int, name: str) -> tuple[Automation, bytes] | None:
        """The automation of this name, and the digest of its content."""
        row = await self._pool.fetchrow(self._sql["get_automation"], team, kind, name)
        return None if row is None else (_automation(row), row["digest"])

    async def get_many(self, automation_ids: Sequence[UUID]) -> dict[UUID, Automation]:
        rows = await self._pool.fetch(self._sql["get_automations"], automation_ids)
        return {row["automation_id"]: _automation(row) for row in rows}

    async def list_named(self, team: str, kind: int, after: str, limit: int) -> list[Automation]:
        return [
            _automation(row) for row in await self._pool.fetch(self._sql["list_automations"], team, kind, after, limit)
        ]

    async def watching(self) -> list[Automation]:
        """Triggers and backfills that wait for ends of runs."""
        return [_automation(row) for row in await self._pool.fetch(self._sql["watching_automations"])]

    async def move(
        self, automation_id: UUID, state: int, *, of: Sequence[int], message: str = "", next_us: int | None = None
    ) -> bool:
        """Into a state, from one of those in `of`; False when it is in none of them."""
        moved = await self._pool.fetchval(self._sql["move_automation"], automation_id, state, of, message, next_us)
        return moved is not None

    async def begin_turn(self, automation: Automation) -> bool:
        """A backfill that has failed or was cancelled runs again what has not succeeded; False when another was first."""
        async with self._transaction() as connection:
            begun = await connection.fetchval(self._sql["begin_turn"], automation.automation_id, automation.turn)
            if begun is not None:
                await connection.execute(self._sql["reopen_partitions"], automation.automation_id)
                await connection.execute(self._sql["forget_join"], automation.automation_id)
        return begun is not None

    async def delete(self, automation_id: UUID) -> bool:
        """False for a backfill that has not ended."""
        return await self._pool.fetchval(self._sql["delete_automation"], automation_id) is not None

    # Schedules.

    async def due_schedules(self, now_us: int, limit: int) -> list[Automation]:
        return [_automation(row) for row in await self._pool.fetch(self._sql["due_schedules"], now_us, limit)]

    async def fire(
        self,
        schedule: Automation,
        next_us: int | None,
        skipped: int,
        occasions: Sequence[Occasion],
        trim_before_us: int,
    ) -> None:
        """Moves the schedule's cursor and adds the occasions, both or neither; nothing when the cursor is not where it was."""
        async with self._transaction() as connection:
            await connection.execute(
                self._sql["fire"],
                schedule.automation_id,
                schedule.next_us,
                next_us,
                skipped,
                *_columns(occasions, ("occasion", "number", "state", "run_id", "header", "message")),
            )
            await connection.execute(self._sql["trim_occasions"], schedule.automation_id, trim_before_us)

    # Commands.

    async def commands(self, now_us: int, limit: int) -> list[Command]:
        rows = await self._pool.fetch(self._sql["due_occasions"], now_us, limit)
        return [Command(occasion=_occasion(row), team=row["team"], principal=row["principal"]) for row in rows]

    async def started(self, occasion: Occasion) -> None:
        await self._pool.execute(self._sql["start_occasion"], occasion.automation_id, occasion.occasion, occasion.turn)

    async def refused(self, occasion: Occasion, message: str) -> None:
        await self._pool.execute(
            self._sql["refuse_occasion"], occasion.automation_id, occasion.occasion, occasion.turn, message
        )

    async def delayed(self, occasion: Occasion, retry_us: int, message: str) -> None:
        await self._pool.execute(
            self._sql["delay_occasion"], occasion.automation_id, occasion.occasion, occasion.turn, retry_us, message
        )

    # Ends of runs.

    async def chains(self, run_ids: Sequence[UUID]) -> dict[UUID, tuple[int, UUID | None]]:
        """Of those runs that an occasion started: how deep in a chain, and the run that the chain began with."""
        return {
            row["run_id"]: (row["depth"], row["root"]) for row in await self._pool.fetch(self._sql["chains"], run_ids)
        }

    async def count_chains(self, roots: Sequence[UUID]) -> dict[UUID, int]:
        return {row["root"]: row["count"] for row in await self._pool.fetch(self._sql["count_chain"], roots)}

    async def note_ends(
        self, occasions: Sequence[Occasion], ended: Sequence[tuple[UUID, EndedRun, int]], trim_before_us: int
    ) -> None:
        """What ends of runs mean: occasions of triggers, and (backfill, run, state of its partition) of backfills. Doing it twice changes nothing."""
        async with self._transaction() as connection:
            if occasions:
                await connection.execute(self._sql["add_occasions"], *_columns(occasions, _ADDED))
                for automation_id in {occasion.automation_id for occasion in occasions}:
                    await connection.execute(self._sql["trim_occasions"], automation_id, trim_before_us)
            if ended:
                await connection.execute(
                    self._sql["end_occasions"],
                    [automation_id for automation_id, _, _ in ended],
                    [run.run_id for _, run, _ in ended],
                    [run.round for _, run, _ in ended],
                    [state for _, _, state in ended],
                )

    # Pages.

    async def newest_occasions(
        self, automation_id: UUID, states: Sequence[int], before: tuple[int, str], limit: int
    ) -> list[Occasion]:
        rows = await self._pool.fetch(self._sql["newest_occasions"], automation_id, states, *before, limit)
        return [_occasion(row) for row in rows]

    async def partitions_page(
        self, automation_id: UUID, states: Sequence[int], after: int, limit: int
    ) -> list[Occasion]:
        rows = await self._pool.fetch(self._sql["partitions_page"], automation_id, states, after, limit)
        return [_occasion(row) for row in rows]

    async def occasion(self, automation_id: UUID, occasion: str) -> Occasion | None:
        row = await self._pool.fetchrow(self._sql["get_occasion"], automation_id, occasion)
        return None if row is None else _occasion(row)

    async def counts(self, automation_id: UUID) -> dict[pb.OccasionState.ValueType, int]:
        """How many occasions are in each state, without the join."""
        rows = await self._pool.fetch(self._sql["count_occasions"], automation_id)
        return {row["state"]: row["count"] for row in rows}

    # Backfills.

    async def backfills_to_work_on(self) -> list[Automation]:
        return [_automation(row) for row in await self._pool.fetch(self._sql["backfills_to_work_on"])]

    async def started_runs(self, automation_id: UUID) -> list[UUID]:
        return [row["run_id"] for row in await self._pool.fetch(self._sql["started_runs"], automation_id)]

    async def all_succeeded(self, automation_id: UUID) -> bool:
        """Whether all partitions of a backfill have."""
        return bool(await self._pool.fetchval(self._sql["all_succeeded"], automation_id))

    async def all_partitions(self, automation_id: UUID) -> list[tuple[str, UUID]]:
        rows = await self._pool.fetch(self._sql["all_partitions"], automation_id)
        return [(row["occasion"], row["run_id"]) for row in rows]

    @asynccontextmanager
    async def locked(self, automation_id: UUID) -> "AsyncIterator[LockedBackfill | None]":
        """The backfill, which nobody else changes until the end of the block; None when it is gone."""
        async with self._transaction() as connection:
            row = await connection.fetchrow(self._sql["lock_automation"], automation_id)
            yield None if row is None else LockedBackfill(connection, self._sql, _automation(row))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[_Connection]:
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection


class LockedBackfill:
    """A backfill under its row lock."""

    def __init__(self, connection: _Connection, sql: Mapping[str, str], automation: Automation) -> None:
        self._connection = connection
        self._sql = sql
        self.automation = automation

    async def count_open(self) -> int:
        return int(await self._connection.fetchval(self._sql["count_open"], self.automation.automation_id))

    async def counts(self) -> dict[pb.OccasionState.ValueType, int]:
        rows = await self._connection.fetch(self._sql["count_occasions"], self.automation.automation_id)
        return {row["state"]: row["count"] for row in rows}

    async def waiting(self, limit: int) -> list[Occasion]:
        rows = await self._connection.fetch(self._sql["waiting_partitions"], self.automation.automation_id, limit)
        return [_occasion(row) for row in rows]

    async def release(self, occasions: Sequence[Occasion]) -> None:
        await self._connection.execute(
            self._sql["release_partitions"],
            self.automation.automation_id,
            *_columns(occasions, ("occasion", "state", "run_id", "header", "message", "turn")),
        )

    async def join(self) -> Occasion | None:
        row = await self._connection.fetchrow(self._sql["get_occasion"], self.automation.automation_id, "")
        return None if row is None else _occasion(row)

    async def add_join(self, join: Occasion) -> None:
        await self._connection.execute(self._sql["add_occasions"], *_columns([join], _ADDED))

    async def end(self, state: int, message: str) -> None:
        await self._connection.execute(
            self._sql["move_automation"], self.automation.automation_id, state, [self.automation.state], message, None
        )


def _columns(occasions: Sequence[Occasion], names: Sequence[str]) -> list[list[Any]]:
    """Rows as columns, as `unnest` takes them."""
    return [[getattr(occasion, name) for occasion in occasions] for name in names]


def _automation(row: Row) -> Automation:
    return Automation(**{name: row[name] for name in _COLUMNS})


def _occasion(row: Row) -> Occasion:
    return Occasion(**{name: row[name] for name in _OCCASION_COLUMNS})
