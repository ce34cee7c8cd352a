"""Group commit: everything that happened on a shard while the last transaction ran goes into the next one.

One writer per shard and lease, one transaction at a time: so positions in the outbox count up in commit order.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import asyncpg
from prometheus_client import Counter, Histogram

from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.clock import Clock
from mwfs_chassis.postgres import is_transient

from .changes import Changes
from .shard.store import ShardStore
from .slots import ShardLease

log = logging.getLogger(__name__)

COMMITS = Counter("mwfs_orchestrator_commits", "Group commits.", ("shard",))
COMMIT_SECONDS = Histogram(
    "mwfs_orchestrator_commit_seconds",
    "Time of a group commit.",
    ("shard",),
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
EVENTS = Counter("mwfs_orchestrator_events", "Events committed.", ("shard",))
_RETRY_S = 0.2
_DRIVER_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError)
_MAX_DRIVER_ERRORS = 20


class Committer:
    """Writes `pending` whenever there is something in it, then hands it to `after_commit`."""

    def __init__(
        self,
        store: ShardStore,
        lease: ShardLease,
        clock: Clock,
        *,
        after_commit: Callable[[Changes], None],
        publish: Callable[[events_pb2.Commit, int], None],
        give_up: Callable[[str], None],
    ) -> None:
        self.pending = Changes()
        self._store = store
        self._lease = lease
        self._clock = clock
        self._after_commit = after_commit
        self._publish = publish
        self._give_up = give_up
        self._wake = asyncio.Event()
        self._position = 0
        self._writing_since: float | None = None
        #: When the oldest of what is pending, and of what is being written, happened.
        self._pending_from: float | None = None
        self._writing_from: float | None = None
        #: How long the last took from then until it was acted on, and when that was.
        self._took_s = self._took_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncpg.pool.PoolConnectionProxy | None = None
        self._stopping = False
        label = str(store.shard)
        self._seconds, self._commits = COMMIT_SECONDS.labels(label), COMMITS.labels(label)
        self._events = EVENTS.labels(label)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"committer-{self._store.shard}")

    async def stop(self) -> None:
        """Finishes the commit in flight and what is pending; never cancels a COMMIT."""
        self._stopping = True
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await task
        if self._connection is not None:
            await self._store.pool.release(self._connection)
            self._connection = None

    @property
    def behind_s(self) -> float:
        """For how long the present commit has been written; 0 when there is none."""
        return 0.0 if self._writing_since is None else self._clock.monotonic() - self._writing_since

    @property
    def delay_s(self) -> float:
        """How long what happens takes to be committed: what is on its way, or what was last if that is not longer ago than it took."""
        now = self._clock.monotonic()
        since = self._writing_from if self._writing_from is not None else self._pending_from
        took_s = self._took_s if now - self._took_at < self._took_s else 0.0
        return took_s if since is None else max(took_s, now - since)

    def flush(self) -> None:
        """Something was added to `pending`."""
        if self._pending_from is None:
            self._pending_from = self._clock.monotonic()
        self._wake.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                changes, self.pending = self.pending, Changes()
                self._writing_from, self._pending_from = self._pending_from, None
                if changes:
                    await self._write(changes)
                self._after_commit(changes)
                if self._writing_from is not None:
                    self._took_at = self._clock.monotonic()
                    self._took_s = self._took_at - self._writing_from
                    self._writing_from = None
                del changes  # the runs in it may have ended, and the next may be long in coming
                if self._stopping and not self.pending:
                    return
        except Exception as error:
            # Memory is ahead of the shard and cannot be trusted: begin again from the last commit.
            log.critical("cannot commit; starting again from the last commit", exc_info=error)
            self._give_up(f"shard {self._store.shard}: {error}")

    async def _write(self, changes: Changes) -> None:
        self._position += 1
        commit = events_pb2.Commit(stream=self._lease.stream, position=self._position, runs=changes.events.values())
        payload = commit.SerializeToString()
        self._writing_since = self._clock.monotonic()
        with self._seconds.time():
            await self._write_until_known(changes, payload)
        self._writing_since = None
        self._publish(commit, len(payload))
        self._commits.inc()
        self._events.inc(sum(len(batch.kind) for batch in changes.events.values()))

    async def _write_until_known(self, changes: Changes, payload: bytes) -> None:
        """A lost connection leaves the outcome unknown, not negative: look before writing again."""
        broken = 0
        tried = False
        now_us = self._clock.now_us()  # the same for each try: it decides where in the outbox the position is
        while True:
            try:
                connection = await self._connected()
                if tried and await self._store.commit_exists(self._lease.lease_id, self._position):
                    return
                tried = True
                await self._store.commit(
                    connection,
                    changes,
                    lease_id=self._lease.lease_id,
                    position=self._position,
                    payload=payload,
                    epochs=self._lease.epochs,
                    now_us=now_us,
                )
                return
            except Exception as error:
                if isinstance(error, _DRIVER_ERRORS):
                    broken += (
                        1  # what the driver says of a connection that was cut under it; a defect says so each time
                    )
                if not self._may_try_again(error) or broken > _MAX_DRIVER_ERRORS:
                    raise
                log.warning("shard is away; will try again", extra={"shard": self._store.shard, "error": repr(error)})
            await self._disconnect()
            await asyncio.sleep(_RETRY_S)

    def _may_try_again(self, error: Exception) -> bool:
        return is_transient(error) or isinstance(
            error, (TimeoutError, OSError, asyncpg.InsufficientResourcesError, *_DRIVER_ERRORS)
        )

    async def _connected(self) -> asyncpg.pool.PoolConnectionProxy:
        if self._connection is None:
            self._connection = await self._store.pool.acquire()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # the pool may have let go of it already
                connection.terminate()
                await self._store.pool.release(connection)
