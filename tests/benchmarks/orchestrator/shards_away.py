"""All shards and the catalogue away under load: `python tests/benchmarks/orchestrator/shards_away.py [--seconds 60]`.

PostgreSQL is killed and kept from starting. Operators that run must survive and count, submissions must wait or be refused, and all must be as it should afterwards.
JSON on stdout.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from soak_load import Answers, Load
from soak_platform import MemoryLog, Platform, platform_up, say
from soak_workflows import sleepers

from mwfs.client.async_client import Client
from mwfs_api.events.v1 import events_pb2

sys.path.insert(0, str(Path(__file__).parents[2]))
from e2e.histories import violations_of

_GOING = "SELECT count(*) AS n FROM runs WHERE state < 6"
_KNOWN = "SELECT run_id::text AS run_id, state FROM runs WHERE principal = 'soak'"


async def away(platform: Platform, seconds: float) -> None:
    """PostgreSQL dies at once and cannot be started for so long; the supervisor tries all the time."""
    version = database_directory(platform) / "PG_VERSION"
    hidden = version.with_name("PG_VERSION.away")
    version.rename(hidden)
    try:
        os.kill(platform.pid_of("postgres"), signal.SIGKILL)
        await asyncio.sleep(seconds)
    finally:
        hidden.rename(version)


def database_directory(platform: Platform) -> Path:
    """Where PostgreSQL keeps its files, as its process says."""
    words = Path(f"/proc/{platform.pid_of('postgres')}/cmdline").read_bytes().split(b"\0")
    return Path(words[words.index(b"-D") + 1].decode())


async def is_there(platform: Platform) -> float:
    """Seconds until PostgreSQL answers."""
    begun = time.monotonic()
    while True:
        with suppress(Exception):
            await platform.ask("SELECT 1")
            return time.monotonic() - begun
        await asyncio.sleep(0.1)


async def main(seconds: float, rate: float, orchestrators: int) -> dict[str, Any]:
    options = ("--orchestrators", str(orchestrators))
    async with platform_up(*options) as platform, Client(home=platform.home, patience_s=seconds + 120) as client:
        load = await Load.prepare(client, platform.services["orchestrator"]["address"], platform.token)
        lead = 15.0
        lengths = [lead + seconds * (index + 1) / 25 for index in range(30)]
        asleep = await client.submit(sleepers, {"lengths": lengths})
        answers = Answers()
        restarts = {name: one["deaths"] for name, one in platform.services.items()}
        async with MemoryLog(platform, every_s=max(5.0, seconds / 20)) as memory:
            offering = asyncio.create_task(load.offer(rate, lead + seconds + 20, clients=8, answers=answers))
            await asyncio.sleep(lead)
            say("PostgreSQL goes")
            patient = asyncio.create_task(_later(client, seconds / 2))
            await away(platform, seconds)
            say("PostgreSQL may come back")
            back_s = await is_there(platform)
            back = time.monotonic()
            waited = await patient
            waited_s = time.monotonic() - back
            await offering
            ended = time.monotonic()
            # The load goes on for a while, then what is left drains.
            drained_s = time.monotonic() - ended + await until_drained(platform, str(asleep))
            run = await client.wait(asleep)
            memory.look()
        deaths = {name: one["deaths"] - restarts[name] for name, one in platform.services.items()}
        nodes = [node async for node in client.nodes(run.run_id)]
        attempts = Counter(node.attempt for node in nodes)
        outputs = await client.outputs(asleep)
        known = {row["run_id"]: row["state"] for row in await platform.ask(_KNOWN)}
        wrong = await violations_of(platform.home, client, run)
        for run_id in answers.run_ids[:: max(1, len(answers.run_ids) // 200)]:
            wrong += await violations_of(platform.home, client, await client.get_run(run_id))
    return {
        "away_s": seconds,
        "rate": rate,
        "postgres_back_after_s": round(back_s, 2),
        "submission_made_meanwhile_accepted_after_s": round(waited_s, 2),
        "its_run": waited,
        "drained_s": round(drained_s, 2),
        "sleepers": {"state": events_pb2.RunState.Name(run.state), "attempts": dict(attempts), "outputs": outputs},
        "answers": answers.summary(),
        "acknowledged_and_missing": sum(run_id not in known for run_id in answers.run_ids),
        "acknowledged_and_not_succeeded": sum(known.get(run_id) != 6 for run_id in answers.run_ids),
        "violations": wrong[:20],
        "restarts": deaths,
        "memory_mib": memory.rows,
    }


async def until_drained(platform: Platform, run_id: str) -> float:
    """Seconds until no run goes on but one."""
    begun = time.monotonic()
    while sum(row["n"] for row in await platform.ask(f"{_GOING} AND run_id <> $1::text::uuid", run_id)):
        if time.monotonic() - begun > 600:
            raise TimeoutError("runs go on ten minutes after the database is back")
        await asyncio.sleep(0.25)
    return time.monotonic() - begun


async def _later(client: Client, seconds: float) -> str:
    """A submission that is made while there is no database, as users make it."""
    await asyncio.sleep(seconds)
    return str(await client.submit(sleepers, {"lengths": [0.1]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="without a database")
    parser.add_argument("--rate", type=float, default=50, help="submissions of small runs a second, all the time")
    parser.add_argument("--orchestrators", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(main(given.seconds, given.rate, given.orchestrators)), indent=1))
