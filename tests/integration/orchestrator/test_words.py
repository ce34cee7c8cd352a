"""Runs are found by words as the simplest search finds them: whatever is rare or frequent, ended or going on, new or old."""

import json
import re
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mwfs_orchestrator.run_filter import RunFilter
from mwfs_orchestrator.shard.store import ShardStore

RUNS = 1_500
DAY_US = 86_400_000_000
LONG = "长" * 1_000
COLUMNS = ("run_id", "team", "workflow", "request_id", "principal", "tags", "state", "create_us", "failure_text")


def some_runs(random: Random) -> list[dict[str, Any]]:
    """Of two teams and of seventy days, some of them without runs, some with many; times are shared."""
    busy = {day: random.choice((0, 0, 1, 1, 5, 40)) for day in range(70)}
    runs = []
    for number in range(RUNS):
        (day,) = random.choices(list(busy), weights=list(busy.values()))
        state = random.choices((3, 6, 7, 8), weights=(1, 12, 4, 1))[0]
        old = "ancient" if day < 6 and random.random() < 0.1 else "modern"
        runs.append(
            {
                "run_id": UUID(int=random.getrandbits(128)),
                "team": random.choice(("red", "red", "blue")),
                "workflow": f"flows.f{random.randrange(5)}:train",
                "request_id": f"request-{number}",
                "principal": f"Ann-{random.randrange(40)}",
                "tags": {"env": random.choice(("prod", "test")), "age": old, "née": f'"{random.randrange(300)}"'},
                "state": state,
                "create_us": day * DAY_US + random.randrange(20) * DAY_US // 20,
                "failure_text": f"ValueError: out of_memory{random.randrange(9)} {random.choice(('', LONG))}" if state == 7 else None,
            }
        )  # fmt: skip
    return runs


def has(run: dict[str, Any], wanted: RunFilter) -> bool:
    said = [run["workflow"], run["request_id"], run["principal"], *run["tags"], *run["tags"].values()]
    words = re.findall(r"[^\W_]+", " ".join([*said, run["failure_text"] or ""]).lower())
    return (
        run["team"] == wanted.team
        and run["state"] in (wanted.states or range(1, 9))
        and wanted.workflow in ("", run["workflow"])
        and run["tags"].items() >= wanted.tags.items()
        and wanted.created_after_us <= run["create_us"] < wanted.created_before_us
        and all(any(each.startswith(word) for each in words) for word in re.findall(r"[^\W_]+", wanted.text.lower()))
    )


@pytest.fixture
async def store(databases: Callable[..., list[str]]) -> AsyncIterator[ShardStore]:
    (dsn,) = databases(1, package="mwfs_orchestrator.shard")
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        yield ShardStore(0, pool)


TEXTS = ("train", "value err", "memory3", "prod 42", "ancient", "absent", "train absent", "request-77", "ANN-7", "née", "长", "長", "out of")  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
async def test_words_find_what_the_simplest_search_finds(store: ShardStore, seed: int) -> None:
    random = Random(seed)
    runs = some_runs(random)
    await store.pool.executemany(
        f"INSERT INTO runs ({', '.join(COLUMNS)}, slot, body_digest, version_digest, bundle_digest, priority, last_event)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', '', '', 0, 1)",
        [[json.dumps(run[name]) if name == "tags" else run[name] for name in COLUMNS] for run in runs],
    )
    for _ in range(60):
        first, last = sorted(random.randrange(72) * DAY_US + random.randrange(DAY_US) for _ in range(2))
        wanted = RunFilter(
            team=random.choice(("red", "red", "red", "blue", "green")),
            text=random.choice(TEXTS),
            states=random.choice(((), (), (), (), (7,), (3,), (3, 8))),
            workflow=random.choice(("", "", "", "", "flows.f1:train")),
            tags=random.choice(({}, {}, {}, {}, {"env": "prod"}, {"née": '"7"'})),
            created_after_us=random.choice((0, 0, first)),
            created_before_us=random.choice((1 << 62, 1 << 62, last)),
        )
        expected = sorted(
            ((run["create_us"], run["run_id"]) for run in runs if has(run, wanted)),
            reverse=True,
        )
        limit = random.choice((1, 3, 10, 51))
        before, found = (wanted.created_before_us, UUID(int=0)), list[tuple[int, UUID]]()
        while page := await store.list_runs(wanted, before, limit):
            found += [(row["create_us"], row["run_id"]) for row in page]
            before = found[-1]
            if len(page) < limit or len(found) > 100:
                break
        assert found == expected[: len(found)], wanted
        assert len(found) in (len(expected), *range(101, 152)), wanted
