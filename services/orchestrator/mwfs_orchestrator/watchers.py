"""Pushes the changes of runs to those who watch them. Changes may be coalesced; the end of a run never is."""

import asyncio
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from mwfs_api.orchestrator.v1 import orchestrator_pb2

from .active_run import ActiveRun
from .model import NotOwner
from .wire import run_of_active

#: Changes within this time are sent together.
COALESCE_S: Final = 0.05


class Watch:
    """One watcher's view: which of its runs have changed since it last looked."""

    def __init__(self, run_ids: Iterable[UUID]) -> None:
        self.run_ids = frozenset(run_ids)
        #: Runs that have changed and go on.
        self.changed: set[UUID] = set()
        #: Runs that have ended, with their last state.
        self.ended: dict[UUID, orchestrator_pb2.Run] = {}
        #: A run of it has gone to another replica: nothing more is heard of that here.
        self.moved = False
        self.wake = asyncio.Event()

    async def look(self) -> tuple[set[UUID], dict[UUID, orchestrator_pb2.Run]]:
        """Which runs have changed, and which have ended, since the last look, as soon as there are any. Raises NotOwner."""
        await self.wake.wait()
        if not (self.ended or self.moved):
            await asyncio.sleep(COALESCE_S)
        if self.moved:  # also while we slept
            raise NotOwner()
        self.wake.clear()
        changed, self.changed = self.changed, set()
        ended, self.ended = self.ended, {}
        return changed - ended.keys(), ended


class Watchers:
    """Who watches which runs."""

    def __init__(self) -> None:
        self._by_run: dict[UUID, set[Watch]] = {}

    def add(self, watch: Watch) -> None:
        for run_id in watch.run_ids:
            self._by_run.setdefault(run_id, set()).add(watch)

    def remove(self, watch: Watch) -> None:
        for run_id in watch.run_ids:
            watches = self._by_run.get(run_id, set())
            watches.discard(watch)
            if not watches:
                self._by_run.pop(run_id, None)

    def touch(self, runs: Iterable[ActiveRun]) -> None:
        """These runs have changed, and the change is committed."""
        for run in runs:
            run_id = run.header.run_id
            for watch in self._by_run.get(run_id, ()):
                if run.end_committed:
                    watch.changed.discard(run_id)
                    watch.ended[run_id] = run_of_active(run)
                else:
                    watch.changed.add(run_id)
                watch.wake.set()

    def move(self, run_ids: Iterable[UUID]) -> None:
        """These runs have gone to another replica."""
        for run_id in run_ids:
            for watch in self._by_run.get(run_id, ()):
                watch.moved = True
                watch.wake.set()
