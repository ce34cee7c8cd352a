"""Which worker takes which attempt, and how many workers there are.

Attempts of one pool (same code, same GPUs) share workers; pools never share one. A worker that has not run anything yet is a spare and may
join any pool. A pool grows to the floor while attempts wait, and beyond it only when every one of its workers runs a long attempt.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mwfs_action_service.gpus import GpuSlots
from mwfs_action_service.model import Attempt, PoolKey
from mwfs_action_service.settings import WorkerLimits
from mwfs_action_service.worker_process import WorkerProcess
from mwfs_api.action.v1 import worker_pb2

log = logging.getLogger(__name__)

#: After so many workers in a row that ended before they were ready, the waiting attempts fail: waiting longer would not help.
MAX_START_FAILURES = 5


@dataclass(slots=True, eq=False)
class Pool:
    """Workers that may run each other's attempts, and the attempts that wait for them."""

    key: PoolKey
    waiting: deque[Attempt] = field(default_factory=deque)
    workers: list[WorkerProcess] = field(default_factory=list)

    def freest(self) -> WorkerProcess | None:
        """The usable worker with the shortest queue, of those whose running attempt lets others queue behind it."""
        best, shortest = None, 1 << 30
        for worker in self.workers:
            queue = worker.outstanding
            if len(queue) < shortest and worker.usable:
                if queue and len(queue) >= next(iter(queue.values())).entry.queue_depth:
                    continue
                best, shortest = worker, len(queue)
        return best


class Pools:
    """Places attempts on workers. Does no I/O but through the workers that `spawn` makes."""

    def __init__(
        self,
        *,
        limits: WorkerLimits,
        gpus: GpuSlots,
        spawn: Callable[[], WorkerProcess],
        monotonic: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._gpus = gpus
        self._spawn = spawn
        self._monotonic = monotonic
        self._pools: dict[PoolKey, Pool] = {}
        self._spares: list[WorkerProcess] = []
        self._starting: set[WorkerProcess] = set()
        #: Attempts that wait for GPUs, first come first served.
        self._gpu_line: deque[Attempt] = deque()
        self._start_failures = 0
        self._spawn_not_before = 0.0
        self._closed = False
        self.workers: set[WorkerProcess] = set()

    @property
    def waiting(self) -> int:
        """Attempts that no worker holds."""
        return len(self._gpu_line) + sum(len(pool.waiting) for pool in self._pools.values())

    def place(self, attempts: Iterable[Attempt]) -> None:
        """Queue new attempts and hand out what the workers can take."""
        touched: dict[PoolKey, Pool] = {}
        for attempt in attempts:
            if attempt.gpu_count:
                self._gpu_line.append(attempt)
            else:
                pool = self._pool((attempt.entry.bundle_digest, ()))
                pool.waiting.append(attempt)
                touched[pool.key] = pool
        for pool in [*touched.values(), *self._assign_gpus()]:
            self._feed(pool)
        self.balance()

    def put_back(self, attempts: list[Attempt], worker: WorkerProcess) -> None:
        """These were handed to the worker and did not begin: they go first."""
        if attempts:
            assert worker.pool is not None
            self._pool(worker.pool).waiting.extendleft(reversed(attempts))

    def feed(self, worker: WorkerProcess) -> None:
        """The worker finished something."""
        if not worker.outstanding:
            worker.idle_since = self._monotonic()
        if worker.pool is not None:
            pool = self._pool(worker.pool)
            if pool.waiting:
                self._feed(pool)

    def remove(self, attempt: Attempt) -> bool:
        """Take an attempt out of its queue; False when it is not in one."""
        line = self._gpu_line if attempt.gpu_count and not attempt.gpus else None
        if line is None:
            pool = self._pools.get((attempt.entry.bundle_digest, attempt.gpus))
            line = pool.waiting if pool else deque()
        try:
            line.remove(attempt)
        except ValueError:
            return False
        return True

    def release_gpus(self, attempt: Attempt) -> None:
        """The attempt has ended: others may have its GPUs."""
        if attempt.gpus:
            self._gpus.give_back(attempt.gpus)
            attempt.gpus = ()
            freed = self._assign_gpus()
            for pool in freed:
                self._feed(pool)
            if freed:
                self.balance()

    def worker_ready(self, worker: WorkerProcess) -> None:
        worker.ready = True
        worker.idle_since = self._monotonic()
        self._start_failures = 0
        self._starting.discard(worker)
        if not worker.ending:
            self._spares.append(worker)
            self.balance()

    def worker_gone(self, worker: WorkerProcess) -> list[Attempt]:
        """Forget a worker that ended. Gives the attempts that can never start, because workers do not."""
        self.workers.discard(worker)
        if worker in self._spares:
            self._spares.remove(worker)
        if worker.pool is not None:
            pool = self._pool(worker.pool)
            if worker in pool.workers:
                pool.workers.remove(worker)
        hopeless: list[Attempt] = []
        if worker in self._starting:
            self._starting.discard(worker)
            self._start_failures += 1
            self._spawn_not_before = self._monotonic() + min(1.0, 0.05 * 2**self._start_failures)
            if self._start_failures >= MAX_START_FAILURES:
                for pool in self._pools.values():
                    hopeless += pool.waiting
                    pool.waiting.clear()
                hopeless += self._gpu_line
                self._gpu_line.clear()
        return hopeless

    def balance(self) -> None:
        """Give spares to pools that need workers, and start more where that is justified."""
        wanted = 0
        for pool in list(self._pools.values()):
            if pool.waiting:
                need = self._need(pool)
                joining = min(need, len(self._spares))
                for _ in range(joining):
                    worker = self._spares.pop()
                    worker.pool = pool.key
                    pool.workers.append(worker)
                if joining:
                    self._feed(pool)
                wanted += need - joining
        if self._closed or self._monotonic() < self._spawn_not_before:
            return
        if wanted and len(self.workers) >= self._limits.most:
            self._retire_for_others()
        target = wanted + self._limits.spares
        while (
            len(self._starting) + len(self._spares) < target
            and len(self._starting) < self._limits.floor
            and len(self.workers) < self._limits.most + self._limits.spares
        ):
            try:
                worker = self._spawn()
            except OSError as error:
                log.error("cannot start a worker process", extra={"error": error})
                self._spawn_not_before = self._monotonic() + 1.0
                return
            self._starting.add(worker)
            self.workers.add(worker)

    def shrink(self) -> None:
        """End workers that have been idle for long. Pools that nobody uses lose all of theirs in the end."""
        now = self._monotonic()
        for pool in list(self._pools.values()):
            idle = [w for w in pool.workers if w.usable and not w.outstanding]
            idle.sort(key=lambda worker: worker.idle_since)
            spare = len(pool.workers) - self._limits.floor
            for worker in idle:
                rest = now - worker.idle_since
                if (spare > 0 and rest > self._limits.idle_seconds) or rest > 10 * self._limits.idle_seconds:
                    spare -= 1
                    worker.end(0)
            if not pool.workers and not pool.waiting:
                del self._pools[pool.key]

    def end_all(self) -> None:
        """End all workers, and start none any more."""
        self._closed = True
        for worker in self.workers:
            worker.end(0)

    def _pool(self, key: PoolKey) -> Pool:
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key)
        return pool

    def _feed(self, pool: Pool) -> None:
        waiting = pool.waiting
        while waiting:
            worker = pool.freest()
            if worker is None:
                return
            share = -(-len(waiting) // len(pool.workers))
            sent = 0
            while waiting and sent < share and len(worker.outstanding) < waiting[0].entry.queue_depth:
                if not worker.send(waiting[0]):
                    return
                waiting.popleft()
                sent += 1
            if not sent:
                return

    def _need(self, pool: Pool) -> int:
        """How many more workers this pool should have now."""
        have, gpus = len(pool.workers), pool.key[1]
        floor = 1 if gpus else self._limits.floor
        if have < floor:
            return min(len(pool.waiting), floor - have)
        since = self._monotonic() * 1e6 - self._limits.long_us
        for worker in pool.workers:
            if worker.usable:
                running = worker.running()
                if not running.ticket or running.since_us > since:
                    return 0
        return len(pool.waiting)

    def _assign_gpus(self) -> list[Pool]:
        touched = []
        while self._gpu_line:
            attempt = self._gpu_line[0]
            gpus = self._gpus.take(attempt.gpu_count)
            if gpus is None:
                break
            self._gpu_line.popleft()
            attempt.gpus = gpus
            # Serialised messages that follow each other are one message.
            visible = ",".join(map(str, gpus))
            attempt.packet += worker_pb2.WorkerLaunch(cuda_visible_devices=visible).SerializeToString()
            pool = self._pool((attempt.entry.bundle_digest, gpus))
            pool.waiting.append(attempt)
            touched.append(pool)
            # An idle worker may hold memory on a GPU that is now another's.
            for other in self._pools.values():
                if other is not pool and set(other.key[1]) & set(gpus):
                    for worker in other.workers:
                        if not worker.outstanding:
                            worker.end(0)
        return touched

    def _retire_for_others(self) -> None:
        """At the bound: the longest idle worker of a pool without work makes room."""
        idle = [
            worker
            for pool in self._pools.values()
            if not pool.waiting
            for worker in pool.workers
            if worker.usable and not worker.outstanding
        ]
        if idle:
            min(idle, key=lambda worker: worker.idle_since).end(0)
