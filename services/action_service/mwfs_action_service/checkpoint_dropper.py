"""Removes checkpoints that were replaced before anybody was told of them. One that is missed goes with its run."""

import asyncio
import contextlib
import logging

from mwfs_action_service.object_store import VerifiedStore

log = logging.getLogger(__name__)


class CheckpointDropper:
    """`drop` returns at once; the loop removes them one batch after another."""

    def __init__(self, store: VerifiedStore) -> None:
        self._store = store
        self._keys: list[str] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="checkpoint-dropper")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def drop(self, key: str) -> None:
        self._keys.append(key)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            keys, self._keys = self._keys, []
            try:
                await self._store.drop_checkpoints(keys, ())
            except Exception:
                log.warning("cannot remove checkpoints", extra={"keys": len(keys)}, exc_info=True)
