"""Removes checkpoints from the object store that were replaced or that nobody needs. One that is missed goes with its run (`retention/`)."""

import asyncio
import logging
from collections.abc import Iterable

from mwfs_chassis.errors import ServiceError

from .contents import Contents

log = logging.getLogger(__name__)

_BATCH = 1_000


class CheckpointDropper:
    """`drop` returns at once; one loop removes them, batch after batch."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._keys: list[str] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="checkpoint-dropper")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def drop(self, keys: Iterable[str]) -> None:
        """That they are of no use is committed."""
        self._keys.extend(keys)
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._keys:
                keys, self._keys = self._keys[:_BATCH], self._keys[_BATCH:]
                try:
                    await self._contents.drop_checkpoints(keys, ())
                except ServiceError as error:
                    log.warning("checkpoints were not removed", extra={"keys": len(keys), "error": str(error)})
