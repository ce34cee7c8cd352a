"""The group commit refuses whoever is not the owner, and knows what happened after its connection was cut."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest
from builders.run_headers import run_header

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_chassis.postgres import open_pool
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.model import Grant
from mwfs_orchestrator.shard.store import CONFLICT, SLOT_LOST, ShardStore
from mwfs_orchestrator.slots import LeaseKeeper, LeaseLost, ShardLease
from mwfs_orchestrator.states import NodeState

from .conftest import World
from .dags import WORKFLOW, chain, fanout
from .neighbours import fail, succeed

SLOTS = list(range(4096))


@pytest.fixture
async def store(databases: Callable[..., list[str]]) -> AsyncIterator[ShardStore]:
    (dsn,) = databases(1, package="mwfs_orchestrator.shard")
    pool = await open_pool(dsn)
    made = ShardStore(0, pool)
    await made.identify(uuid4())
    await made.first_slots(SLOTS)
    yield made
    await pool.close()


async def owner(store: ShardStore, replica: str) -> ShardLease:
    lease = ShardLease(store, replica, lambda: "127.0.0.1:1", seconds=60.0)
    await lease.open()
    await lease.claim()
    return lease


def new_run(request_id: str = "r") -> ActiveRun:
    header = run_header(
        run_id=UUID(int=7 << 100), team="red", workflow=WORKFLOW, request_id=request_id, body_digest=b"d"
    )
    return ActiveRun(header, (f"g{number}" for number in itertools.count()))


async def commit(store: ShardStore, lease: ShardLease, changes: Changes, position: int) -> None:
    async with store.pool.acquire() as connection:
        await store.commit(
            connection, changes, lease_id=lease.lease_id, position=position, payload=b"", epochs=lease.epochs, now_us=1
        )


async def test_slots_have_one_owner_until_its_lease_has_ended(store: ShardStore) -> None:
    first = await owner(store, "a")
    second = await owner(store, "b")
    assert sorted(first.epochs) == SLOTS
    assert not second.epochs
    await first.end()
    await second.renew()
    assert sorted(await second.claim()) == SLOTS
    assert set(second.epochs.values()) == {2}
    with pytest.raises(LeaseLost):
        await first.renew()


async def test_a_restarted_replica_takes_its_own_slots_back_at_once(store: ShardStore) -> None:
    await owner(store, "a")
    assert sorted((await owner(store, "a")).epochs) == SLOTS


class ReluctantUser:
    """Cannot take up runs at first: the shard goes away under it."""

    def __init__(self) -> None:
        self.failures = 2
        self.taken_up: list[int] = []

    async def take_up(self, lease: ShardLease, slots: list[int]) -> None:
        if self.failures:
            self.failures -= 1
            raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")
        self.taken_up += slots

    async def let_go(self, lease: ShardLease, slots: list[int]) -> None:
        raise AssertionError("nobody else wants any")

    def sample(self, slots: list[int], count: int) -> list[int]:
        raise AssertionError("nobody else wants any")


async def test_slots_whose_runs_could_not_be_read_at_once_are_taken_up_later(store: ShardStore) -> None:
    lease = ShardLease(store, "a", lambda: "127.0.0.1:1", seconds=60.0)
    await lease.open()
    user = ReluctantUser()
    keeper = LeaseKeeper(lease, user=user, give_up=lambda why: None)
    while user.failures:
        with pytest.raises(asyncpg.InternalClientError):
            await keeper.balance()
    await keeper.balance()
    assert user.taken_up == SLOTS
    await keeper.stop()


async def test_slots_are_looked_after_again_when_the_connection_that_listens_was_cut(store: ShardStore) -> None:
    lease = ShardLease(store, "a", lambda: "127.0.0.1:1", seconds=60.0)
    await lease.open()
    user = ReluctantUser()
    user.failures = 0
    keeper = LeaseKeeper(lease, user=user, give_up=lambda why: None)
    await keeper.balance()
    listening, cut = keeper._listening, asyncio.Event()
    assert listening is not None
    listening.add_termination_listener(lambda *_: cut.set())
    pid = await listening.fetchval("SELECT pg_backend_pid()")
    await store.pool.execute("SELECT pg_terminate_backend($1)", pid)
    await cut.wait()
    await lease.release(SLOTS)
    await keeper.balance()
    assert user.taken_up == SLOTS * 2
    assert keeper._listening not in (None, listening)
    await keeper.stop()


async def test_slots_are_taken_up_although_the_answer_to_their_claim_was_lost(store: ShardStore) -> None:
    lease = ShardLease(store, "a", lambda: "127.0.0.1:1", seconds=60.0)
    await lease.open()
    await store.claim_slots(lease.lease_id, "a", 10)
    await lease.renew()
    assert await lease.claim() == SLOTS[:10]
    assert await lease.claim() == SLOTS[10:]
    assert set(lease.epochs.values()) == {1}


async def test_a_past_owner_writes_nothing(store: ShardStore) -> None:
    past = await owner(store, "a")
    await past.end()
    await owner(store, "b")
    changes = Changes()
    new_run().accept([b"x"], Graph(chain(1)), changes, 1)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await commit(store, past, changes, 1)
    assert refused.value.sqlstate == SLOT_LOST
    assert await store.get_run(UUID(int=7 << 100)) is None


async def test_an_attempt_that_is_not_the_next_is_refused_whole(store: ShardStore) -> None:
    lease = await owner(store, "a")
    run, graph = new_run(), Graph(fanout(3))
    changes = Changes()
    run.accept([b"x"], graph, changes, 1)
    (group,) = changes.demands
    await commit(store, lease, changes, 1)
    changes = Changes()
    grant = Grant(grant_id="g", group_id=group.group_id, count=1, host="h", epoch=1, valid_until=1e12)
    run.attempts.start(group, grant, changes, 2)
    await commit(store, lease, changes, 2)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await commit(store, lease, changes, 3)  # the same start again
    assert refused.value.sqlstate == CONFLICT
    assert not await store.commit_exists(lease.lease_id, 3)
    assert [row["attempt"] for row in await store.load_nodes(run.header.run_id)] == [1]


async def test_an_attempt_may_end_and_the_next_one_start_and_end_in_one_commit(store: ShardStore) -> None:
    lease = await owner(store, "a")
    run = new_run()
    changes = Changes()
    run.accept([b"x"], Graph(fanout(1, attempts=3)), changes, 1)
    (group,) = changes.demands
    grant = Grant(grant_id="g", group_id=group.group_id, count=1, host="h", epoch=1, valid_until=1e12)
    run.attempts.start(group, grant, changes, 1)
    await commit(store, lease, changes, 1)
    changes = Changes()
    for attempt in (1, 2):
        key = action_pb2.AttemptKey(run_id=str(run.header.run_id), node=0, attempt=attempt)
        run.attempts.end(fail(action_pb2.Launch(key=key)), changes, 2)
        if attempt == 1:
            run.attempts.start(group, grant, changes, 2)
    await commit(store, lease, changes, 2)
    (row,) = await store.load_nodes(run.header.run_id)
    assert (row["attempt"], row["state"], row["tries"]) == (2, NodeState.PENDING, 2)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await commit(store, lease, changes, 3)  # all of it again
    assert refused.value.sqlstate == CONFLICT


async def test_runs_end_although_their_connections_are_cut_again_and_again(world: World) -> None:
    admin = await asyncpg.connect(world.shards[0])
    (answer,) = await world.submit(chain(60))
    # Only ours: the cluster is shared with the tests of other processes.
    ours = [dsn.rpartition("/")[2] for dsn in (world.catalogue, *world.shards)]
    cuts = 0
    for node in range(0, 60, 4):
        await world.host.until(lambda node=node: len(world.host.launched) > node)  # type: ignore[misc]
        cuts += len(
            await admin.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = ANY($1) AND application_name = 'mwfs-orchestrator' AND pid <> pg_backend_pid()",
                ours,
            )
        )
    await admin.close()
    run = await world.wait(answer.accepted.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert cuts > 10
    assert len(world.host.launched) == 60, "nothing ran twice"
    events = await world.events_of(run.run_id)
    numbers = [batch.first_number + i for batch in events for i in range(len(batch.kind))]
    assert numbers == list(range(1, run.last_event_number + 1))


async def test_a_replica_whose_slots_were_taken_gives_up_before_anything_is_written(world: World) -> None:
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(chain(2))
    await world.host.until(lambda: len(world.host.live) == 1)
    for dsn in world.shards:
        pool = await open_pool(dsn)
        await owner(ShardStore(0, pool), "orchestrator-0")
        await pool.close()
    ((key, launch),) = world.host.live.items()
    world.host.finish(key, succeed(launch))
    await asyncio.wait_for(world.gave_up.get(), 30)
    pool = await open_pool(world.shards[0])
    states = await pool.fetch("SELECT state FROM nodes")
    await pool.close()
    assert answer.accepted.created
    assert all(row["state"] == NodeState.RUNNING for row in states)
