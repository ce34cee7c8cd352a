"""What nodes took is known to the next run, to the next start, and to other replicas; and nothing waits for it."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_chassis.postgres import open_pool
from mwfs_orchestrator.catalogue.durations import DurationStore
from mwfs_orchestrator.duration_keeper import DurationKeeper
from mwfs_orchestrator.durations import Durations

from .conftest import World
from .dags import chain

NAME = ("red", "w:w", "m:f")


@pytest.fixture
async def pool(databases: Callable[..., list[str]]) -> AsyncIterator[asyncpg.Pool]:
    (dsn,) = databases(1, package="mwfs_orchestrator.catalogue")
    made = await open_pool(dsn, max_size=2, name="test")
    yield made
    await made.close()


def keeper(pool: asyncpg.Pool) -> tuple[Durations, DurationKeeper]:
    durations = Durations()
    return durations, DurationKeeper(durations=durations, store=DurationStore(pool), every_s=3600)


async def test_the_scheduler_is_told_in_the_next_run_and_after_another_start(world: World) -> None:
    assert (await world.run(chain(2), "first")).state == ev.RUN_STATE_SUCCEEDED
    assert world.scheduler.expected[0] == 0, "nothing was known of the operator"
    world.scheduler.expected.clear()
    await world.run(chain(2), "second")
    assert set(world.scheduler.expected) == {1}, "less than a second is one"
    await world.stop_orchestrator()
    world.scheduler.expected.clear()
    await world.start_orchestrator()
    await world.run(chain(2), "third")
    assert set(world.scheduler.expected) == {1}


async def test_replicas_hear_of_what_others_have_seen(pool: asyncpg.Pool) -> None:
    (here, keeps), (there, hears) = keeper(pool), keeper(pool)
    for seconds in (5, 7):
        here.of(NAME).add(seconds * 1_000_000)
    await keeps.exchange()
    await hears.exchange()
    assert (there.expected_s(NAME), list(there.of(NAME).seconds)) == (7, [5.0, 7.0])
    there.of(NAME).add(40_000_000)
    await hears.exchange()
    await keeps.exchange()
    assert list(here.of(NAME).seconds) == [5.0, 7.0, 40.0]
    assert list(here.fresh()) == []


async def test_what_could_not_be_written_is_written_later(pool: asyncpg.Pool) -> None:
    durations, keeps = keeper(pool)
    await pool.execute("ALTER TABLE operator_durations RENAME TO elsewhere")
    await keeps.start()
    durations.of(NAME).add(5_000_000)
    with pytest.raises(asyncpg.UndefinedTableError):
        await keeps.exchange()
    await pool.execute("ALTER TABLE elsewhere RENAME TO operator_durations")
    await keeps.stop()
    other, hears = keeper(pool)
    await hears.exchange()
    assert other.expected_s(NAME) == 5


async def test_what_nobody_has_run_for_long_is_forgotten(pool: asyncpg.Pool) -> None:
    durations, keeps = keeper(pool)
    store = DurationStore(pool)
    durations.of(NAME).add(5_000_000)
    durations.of(("red", "w:w", "")).add(1_000_000)
    await keeps.exchange()
    await pool.execute("UPDATE operator_durations SET update_us = update_us - 5000000 WHERE operator = ''")
    await store.trim(5_000_000)
    assert [name for name, _, _ in await store.newer(0, 10)] == [NAME]


async def test_many_are_found_by_the_index(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO operator_durations SELECT 't', 'w', 'm:f' || n, '{1}', n FROM generate_series(1, 20000) AS n"
    )
    await pool.execute("ANALYZE operator_durations")
    query = DurationStore(pool)._sql["newer_durations"]
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {query}", 19_000, 20_000))
    assert "operator_durations_by_time" in plan
    assert len(await DurationStore(pool).newer(19_991, 20_000)) == 10
    assert [at for _, _, at in await DurationStore(pool).newer(0, 3)] == [19_998, 19_999, 20_000]
