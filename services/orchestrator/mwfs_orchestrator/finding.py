"""Which run an id or a prefix of one means: asked of memory, the shards, and the archive."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from mwfs_chassis.errors import InvalidArgument, NotFound
from mwfs_chassis.postgres import AWAY

from .engine import Engine
from .model import slot_of
from .names import id_range
from .retention.archived_runs import ArchivedRuns
from .retention.model import ArchivedRun, is_archived
from .shard.store import ShardStore

#: So long a prefix is looked for in a database, which takes a millisecond, where memory has an answer too.
_FIND_S: Final = 1.0


class Finding:
    """A part of `Reading`."""

    def __init__(self, engine: Engine, archived: ArchivedRuns) -> None:
        self.archived = archived
        self._engine = engine

    async def find(self, team: str, text: str) -> UUID:
        """The run that an id or a prefix of one means. Raises NotFound, InvalidArgument, and FailedPrecondition when it is archived."""
        found = await self.find_anywhere(team, text)
        if isinstance(found, ArchivedRun):
            raise is_archived(found.run_id)
        return found

    async def find_anywhere(self, team: str, text: str) -> UUID | ArchivedRun:
        """The run that an id or a prefix of one means; those that are archived only when there is no other. Raises NotFound, InvalidArgument.

        While the database is away, a prefix means the only run that goes on here and begins so: who asks what is wrong is not kept waiting.
        """
        first, last = id_range(text)
        going: list[UUID] = []
        if first != last:
            runs = self._engine.runs.items()
            going = [run_id for run_id, run in runs if first <= run_id <= last and run.header.team == team]
        elif (active := self._engine.runs.get(first)) is not None and active.header.team == team:
            return first
        found: Sequence[UUID | ArchivedRun]
        try:
            async with asyncio.timeout(_FIND_S if len(going) == 1 else None):
                found = await self._stored(team, first, last)
        except AWAY:
            if len(going) != 1:
                raise
            found = going
        if len(found) > 1:
            raise InvalidArgument(f"Several runs begin with {text!r}.", "Give more characters of the id.")
        if not found:
            raise _no_run(team, text)
        return found[0]

    async def _stored(self, team: str, first: UUID, last: UUID) -> Sequence[UUID | ArchivedRun]:
        """Those of the team within a range of ids that their shards have, else those in the archive."""
        stores = {
            store.shard: store
            for store in (self._engine.shard_of(slot_of(first)), self._engine.shard_of(slot_of(last)))
        }
        found = [run_id for store in stores.values() for run_id in await store.find_by_prefix(first, last, team)]
        return found or await self.archived.find(team, first, last)

    async def find_all(self, team: str, texts: Iterable[str]) -> list[UUID]:
        """Like `find` for many, each once: whole ids are asked for together, and those of runs that go on not at all."""
        found: dict[UUID, None] = {}
        asked: dict[int, list[UUID]] = {}
        for text in texts:
            first, last = id_range(text)
            if first != last:
                found[await self.find(team, text)] = None
                continue
            found[first] = None
            active = self._engine.runs.get(first)
            if active is None or active.header.team != team:
                asked.setdefault(self._store(first).shard, []).append(first)
        for shard, run_ids in asked.items():
            rows = await self._engine.shards.stores[shard].get_runs(run_ids)
            missing = set(run_ids) - {row["run_id"] for row in rows if row["team"] == team}
            if missing:
                await self.find(team, str(min(missing)))  # says why
                raise _no_run(team, str(min(missing)))
        return list(found)

    def _store(self, run_id: UUID) -> ShardStore:
        return self._engine.shard_of(slot_of(run_id))


def _no_run(team: str, text: str) -> NotFound:
    return NotFound(f"Team {team} has no run {text}.", "List its runs with `mwfs runs list`.")
