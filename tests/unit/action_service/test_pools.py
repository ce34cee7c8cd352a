"""Which worker takes which attempt, and when there are more workers. Workers are played by a fake that only remembers."""

import itertools
from dataclasses import dataclass, field
from typing import cast

import pytest

from mwfs_action_service.attempt_clock import Running
from mwfs_action_service.gpus import GpuSlots
from mwfs_action_service.model import Attempt, OperatorEntry
from mwfs_action_service.pools import MAX_START_FAILURES, Pools
from mwfs_action_service.settings import WorkerLimits
from mwfs_action_service.worker_process import WorkerProcess

LIMITS = WorkerLimits(floor=2, most=6, idle_seconds=30.0)
TICKETS = itertools.count(1)


@dataclass(eq=False)
class FakeWorker:
    outstanding: dict[int, Attempt] = field(default_factory=dict)
    pool: object = None
    ready: bool = False
    ending: bool = False
    idle_since: float = 0.0
    since_us: int = 0

    @property
    def usable(self) -> bool:
        return self.ready and not self.ending

    def send(self, attempt: Attempt) -> bool:
        self.outstanding[attempt.ticket] = attempt
        return True

    def running(self) -> Running:
        first = next(iter(self.outstanding), 0)
        return Running(ticket=first, since_us=self.since_us, body_started_us=0, log_number=0, log_start=0)

    def end(self, grace_seconds: float) -> None:
        self.ending = True


class World:
    """Pools over fake workers, with a clock that stands until it is moved."""

    def __init__(self, gpus: int = 0) -> None:
        self.now = 1000.0
        self.spawned: list[FakeWorker] = []
        self.pools = Pools(limits=LIMITS, gpus=GpuSlots(gpus), spawn=self._spawn, monotonic=lambda: self.now)

    def _spawn(self) -> WorkerProcess:
        self.spawned.append(FakeWorker())
        return cast(WorkerProcess, self.spawned[-1])

    def all_ready(self) -> None:
        """Every process that was started gets ready, and those that follow from it."""
        while starting := [worker for worker in self.spawned if not worker.ready]:
            for worker in starting:
                self.pools.worker_ready(cast(WorkerProcess, worker))

    def started(self) -> "World":
        self.pools.balance()
        self.all_ready()
        return self

    def busy(self) -> list[int]:
        return sorted((len(worker.outstanding) for worker in self.spawned if worker.outstanding), reverse=True)

    def run_long(self) -> None:
        """All that runs has been running for long, and the next tick sees it."""
        for worker in self.spawned:
            worker.since_us = int((self.now - 1) * 1e6)
        self.pools.balance()
        self.all_ready()


def attempts(count: int, *, duration_us: float = -1.0, bundle: str = "", gpus: int = 0) -> list[Attempt]:
    entry = OperatorEntry(bundle_digest=bundle, packet_prefix=b"", timeout=0.0, duration_us=duration_us)
    return [
        Attempt(
            key=("run", number, 1),
            ticket=next(TICKETS),
            replica="r",
            epoch=0,
            entry=entry,
            packet=b"",
            gpu_count=gpus,
            received=0.0,
        )
        for number in range(count)
    ]


def test_spares_are_started_ahead() -> None:
    world = World().started()
    assert len(world.spawned) == LIMITS.spares


def test_attempts_of_an_unknown_operator_are_not_queued_behind_each_other() -> None:
    world = World().started()
    world.pools.place(attempts(10))
    assert world.busy() == [1, 1]
    assert world.pools.waiting == 8


def test_quick_attempts_are_queued_and_shared_out() -> None:
    world = World().started()
    world.pools.place(attempts(40, duration_us=50))
    assert world.busy() == [20, 20]
    world.pools.place(attempts(100, duration_us=50))
    assert world.busy() == [32, 32]


def test_a_queue_is_as_long_as_the_operator_is_quick() -> None:
    entries = [attempts(1, duration_us=duration)[0].entry.queue_depth for duration in (10, 1_000, 10_000, 1e9)]
    assert entries == [32, 19, 1, 1]


def test_one_long_duration_shortens_the_queue_at_once() -> None:
    entry = attempts(1, duration_us=50)[0].entry
    entry.learn(5_000_000)
    assert entry.queue_depth == 1


def test_a_pool_stays_at_the_floor_while_its_attempts_are_quick() -> None:
    world = World().started()
    world.pools.place(attempts(200, duration_us=50))
    for worker in world.spawned:
        worker.since_us = int(world.now * 1e6)
    world.pools.balance()
    world.all_ready()
    assert len(world.busy()) == LIMITS.floor


def test_a_pool_grows_to_the_bound_when_all_its_workers_run_long() -> None:
    world = World().started()
    world.pools.place(attempts(20))
    for _ in range(10):
        world.run_long()
    assert world.busy() == [1] * (LIMITS.most + LIMITS.spares)
    assert world.pools.waiting == 20 - LIMITS.most - LIMITS.spares


def test_two_versions_never_share_a_worker() -> None:
    world = World().started()
    world.pools.place(attempts(1, bundle="sha256:a"))
    world.pools.place(attempts(1, bundle="sha256:b"))
    world.all_ready()
    assert sorted(str(worker.pool) for worker in world.spawned if worker.outstanding) == [
        "('sha256:a', ())",
        "('sha256:b', ())",
    ]


def test_what_a_dead_worker_had_not_begun_goes_first() -> None:
    world = World().started()
    placed = attempts(5)
    world.pools.place(placed)
    dead = world.spawned[0]
    back = list(dead.outstanding.values())
    dead.outstanding.clear()
    dead.ending = True
    world.pools.put_back(back, cast(WorkerProcess, dead))
    world.pools.worker_gone(cast(WorkerProcess, dead))
    world.pools.balance()
    world.all_ready()
    assert any(back[0].ticket in worker.outstanding for worker in world.spawned)


def test_gpus_wait_their_turn_and_are_named_in_the_packet() -> None:
    world = World(gpus=2).started()
    first, second = attempts(2, gpus=2)
    world.pools.place([first, second])
    world.all_ready()
    assert first.gpus == (0, 1)
    assert b"0,1" in first.packet
    assert second.gpus == ()
    (worker,) = [worker for worker in world.spawned if worker.outstanding]
    worker.outstanding.clear()
    world.pools.release_gpus(first)
    assert second.gpus == (0, 1)
    assert second.ticket in worker.outstanding


def test_an_idle_worker_of_other_code_leaves_the_gpu() -> None:
    world = World(gpus=1).started()
    (first,) = attempts(1, gpus=1, bundle="sha256:a")
    world.pools.place([first])
    world.all_ready()
    (worker,) = [worker for worker in world.spawned if worker.outstanding]
    worker.outstanding.clear()
    world.pools.release_gpus(first)
    world.pools.place(attempts(1, gpus=1, bundle="sha256:b"))
    assert worker.ending


def test_idle_workers_leave_above_the_floor_soon_and_all_in_the_end() -> None:
    world = World().started()
    world.pools.place(attempts(5))
    for _ in range(3):
        world.run_long()
    for worker in world.spawned:
        worker.outstanding.clear()
        worker.idle_since = world.now
    joined = [worker for worker in world.spawned if worker.pool]
    world.now += LIMITS.idle_seconds + 1
    world.pools.shrink()
    assert sum(not worker.ending for worker in joined) == LIMITS.floor
    world.now += 10 * LIMITS.idle_seconds
    world.pools.shrink()
    assert all(worker.ending for worker in joined)


def test_when_workers_never_get_ready_the_waiting_attempts_fail() -> None:
    world = World()
    placed = attempts(3)
    world.pools.place(placed)
    hopeless: list[Attempt] = []
    for number in itertools.count():
        if number == len(world.spawned) or hopeless:
            break
        hopeless = world.pools.worker_gone(cast(WorkerProcess, world.spawned[number]))
        world.now += 2
        world.pools.balance()
    assert hopeless == placed
    assert number == MAX_START_FAILURES


@pytest.mark.parametrize("gpus", [0, 1])
def test_an_attempt_leaves_its_queue_when_it_is_stopped(gpus: int) -> None:
    world = World(gpus=1)
    placed = attempts(3, gpus=gpus)
    world.pools.place(placed)
    assert world.pools.remove(placed[2])
    assert not world.pools.remove(placed[2])
    assert world.pools.waiting == 2
