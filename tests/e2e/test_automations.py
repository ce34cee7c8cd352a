"""Schedules, triggers and backfills on a real platform whose orchestrator is killed: each occasion has one run."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from .conftest import WORKFLOWS, Mwfs
from .histories import pid_of

MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def mwfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mwfs]:
    """A platform of its own: what is killed here must not disturb the other journeys."""
    folder = tmp_path_factory.mktemp("automated")
    shutil.copytree(WORKFLOWS, folder / "project")
    command = Mwfs(home=folder / "home", folder=folder / "project")
    command("up", "--detach", "--cpus", "2", check=True)
    yield command
    command("down", "--purge", check=True)


def kill_orchestrator(home: Path) -> None:
    os.kill(pid_of(home, "orchestrator"), signal.SIGKILL)


def until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Asks until the answer is good. The commands have no stream to wait on; each of them takes a moment of its own."""
    for _ in range(200):
        answer = ask()
        if good(answer):
            return answer
    raise AssertionError(answer)


def runs_of(mwfs: Mwfs, workflow: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mwfs.json("runs", "list", "--workflow", workflow, "--limit", 100)["runs"]
    return found


def by_occasion(runs: list[dict[str, Any]], tag: str, name: str) -> dict[str, dict[str, Any]]:
    """The runs of an automation, by occasion; two of one occasion are an error."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run["tags"].get(f"mwfs.{tag}") == name:
            occasion = run["tags"]["mwfs.occasion"]
            assert occasion not in found, f"{occasion} was started twice"
            found[occasion] = run
    return found


def miss_three_minutes(home: Path) -> None:
    """As if the platform had been away: the schedules' cursors are where they were three minutes ago."""
    environment = Path(f"/proc/{pid_of(home, 'orchestrator')}/environ").read_bytes().split(b"\0")
    (dsn,) = (each.partition(b"=")[2].decode() for each in environment if each.startswith(b"MWFS_CATALOGUE_DSN="))

    async def move() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("UPDATE automations SET next_us = next_us - $1 WHERE kind = 1", 3 * MINUTE_US)
        await connection.close()

    asyncio.run(move())


def test_schedules_and_triggers_fire_once_for_each_occasion_when_the_orchestrator_is_killed(mwfs: Mwfs):
    trigger = ("triggers", "create", "check", "automated:checked", "--on", "automated:daily")
    mwfs(*trigger, "--fill", "rows=output:result", "--fill", "run=run", check=True)
    schedule = ("schedules", "create", "minutely", "automated:daily", "--cron", "* * * * *", "--catch-up", "all")
    created = mwfs.json(*schedule, "--fill", "day=day-1", "--paused")
    assert (created["state"], created["run"]["fills"]) == ("PAUSED", {"day": "day-1"})
    mwfs("schedules", "resume", "minutely", check=True)
    miss_three_minutes(mwfs.home)
    kill_orchestrator(mwfs.home)

    def history(count: int) -> list[dict[str, Any]]:
        found = until(
            lambda: mwfs.json("schedules", "history", "minutely", "--limit", 100)["occasions"],
            lambda found: len([each for each in found if each["state"] == "STARTED"]) >= count,
        )
        return [each for each in found if each["state"] == "STARTED"]

    history(1)
    kill_orchestrator(mwfs.home)
    history(3)
    mwfs("schedules", "pause", "minutely", check=True)
    kill_orchestrator(mwfs.home)
    fired = history(3)

    ended = until(
        lambda: by_occasion(runs_of(mwfs, "automated:daily"), "schedule", "minutely"),
        lambda found: len(found) >= len(fired) and all(run["state"] == "SUCCEEDED" for run in found.values()),
    )
    assert {occasion: run["run_id"] for occasion, run in ended.items()} == {
        each["occasion"]: each["run_id"] for each in fired
    }
    moments = sorted(ended)
    assert len(set(moments)) == len(moments) >= 3

    checked = until(
        lambda: by_occasion(runs_of(mwfs, "automated:checked"), "trigger", "check"),
        lambda found: len(found) >= len(ended) and all(run["state"] == "SUCCEEDED" for run in found.values()),
    )
    assert set(checked) == {f"{run['run_id']}/1" for run in ended.values()}
    some = next(iter(checked.values()))["run_id"]
    assert mwfs.json("runs", "outputs", some)["outputs"] == {"result": True}


def test_a_backfill_goes_on_when_the_orchestrator_is_killed_and_joins_what_its_partitions_gave(mwfs: Mwfs):
    backfill = (
        *("backfill", "create", "january", "automated:daily", "--partitions", "2026-01-01..2026-01-06"),
        *("--max-parallel", "2", "--join", "automated:report", "--join-fill", "days=partitions"),
        *("--join-fill", "rows=outputs:result", "--join-fill", "runs=runs"),
    )
    created = mwfs.json(*backfill)
    assert created["state"] == "ACTIVE"
    assert mwfs.json(*backfill)["id"] == created["id"], "the same name and content is the same backfill"

    def until_succeeded(count: int) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: mwfs.json("backfill", "show", "january"),
            lambda found: found["state"] != "ACTIVE" or found["counts"].get("SUCCEEDED", 0) >= count,
        )
        return found

    for succeeded in (1, 3):
        until_succeeded(succeeded)
        kill_orchestrator(mwfs.home)
    ended = until(lambda: mwfs.json("backfill", "show", "january"), lambda found: found["state"] != "ACTIVE")
    assert (ended["state"], ended["counts"], ended["message"]) == ("SUCCEEDED", {"SUCCEEDED": 6}, "")
    assert [each["occasion"] for each in ended["partitions"]] == [f"2026-01-0{day}" for day in range(1, 7)]
    runs = by_occasion(runs_of(mwfs, "automated:daily"), "backfill", "january")
    assert {occasion: run["run_id"] for occasion, run in runs.items()} == {
        each["occasion"]: each["run_id"] for each in ended["partitions"]
    }
    joined = mwfs.json("runs", "outputs", ended["join_run"]["run_id"])["outputs"]
    assert joined == {"result": "2026-01-01 to 2026-01-06: 21 rows in 6 runs"}
    assert "Deleted january" in mwfs("backfill", "delete", "january", check=True).out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("schedules", "create", "s", "automated:daily", "--cron", "61 * * * *"), "not a cron expression"),
        (("schedules", "create", "s", "automated:daily", "--cron", "0 6 * * *"), "needs the input `day`"),
        (
            ("schedules", "create", "s", "automated:daily", "--cron", "0 6 * * *", "--time-zone", "Europe/Berlni"),
            "Did you mean Europe/Berlin?",
        ),
        (
            ("schedules", "create", "s", "automated:daily", "--cron", "0 6 * * *", "--fill", "day=fortnight"),
            "nothing that an occasion knows",
        ),
        (("schedules", "show", "nothing"), "has no schedule nothing"),
        (
            ("triggers", "create", "t", "automated:checked", "--on", "automated:daily", "--state", "RUNNING"),
            "does not end in state RUNNING",
        ),
        (
            ("triggers", "create", "t", "automated:daily", "--on", "automated:daily", "--fill", "day=output:result"),
            "Input `day` is DatePartition, but is to be int",
        ),
        (("backfill", "create", "b", "automated:daily", "--partitions", "2026-01-01"), "is not FIRST..LAST"),
        (("backfill", "create", "b", "automated:daily", "--keys", "monday"), "Input `day`: expected"),
        (("backfill", "create", "b", "automated:daily"), "either --partitions or keys"),
        (("backfill", "create", "b", "automated:report", "--keys", "a"), "--partition-input"),
        (
            ("backfill", "create", "b", "automated:daily", "--partitions", "0001-01-01..9999-12-31"),
            "more than 100,000 partitions",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(mwfs: Mwfs, command: tuple[str, ...], says: str):
    refused = mwfs(*command)
    assert refused.code == 2, refused
    assert says in refused.text


def test_a_refusal_is_a_document_as_well(mwfs: Mwfs):
    refused = mwfs("backfill", "create", "b", "automated:daily", "--partitions", "2026-01-01", "--output", "json")
    assert refused.code == 2
    assert "is not FIRST..LAST" in json.loads(refused.out)["error"]["message"]
