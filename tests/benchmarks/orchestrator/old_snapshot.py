"""Tables under a snapshot that somebody holds: `python tests/benchmarks/orchestrator/old_snapshot.py [--seconds 120]`.

The same load for so long before, while a transaction is left idle on every shard, and afterwards: how much each table grows, in all and for each event. JSON on stdout.
"""

import argparse
import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from soak_load import Answers, Load
from soak_platform import MemoryLog, Platform, platform_up, say

from mwfs.client.async_client import Client

_SIZES = """
SELECT relname AS name, pg_total_relation_size(relid) AS bytes, n_dead_tup AS dead FROM pg_stat_user_tables
"""
_EVENTS = "SELECT coalesce(sum(last_event), 0)::bigint AS events, count(*) AS runs FROM runs WHERE state >= 6"
_SHARDS = ("shard_0", "shard_1")


async def sizes_of(platform: Platform) -> dict[str, int]:
    """Bytes of each table with its indexes, over all shards; partitions under the name of their table."""
    sizes: dict[str, int] = {}
    for row in await platform.ask(_SIZES):
        name = row["name"].rstrip("0123456789").rstrip("_")
        sizes[name] = sizes.get(name, 0) + row["bytes"]
    return sizes


async def dead_of(platform: Platform) -> int:
    return sum(row["dead"] for row in await platform.ask(_SIZES))


async def phase(platform: Platform, load: Load, rate: float, seconds: float) -> dict[str, Any]:
    before, events = await sizes_of(platform), await _events(platform)
    answers = await load.offer(rate, seconds, clients=8, answers=Answers())
    after, done = await sizes_of(platform), await _events(platform) - events
    growth = {name: after[name] - before.get(name, 0) for name in after}
    found = {
        "events": done,
        "events_per_s": round(done / seconds),
        "grown_mib": round(sum(growth.values()) / 2**20, 1),
        "bytes_per_event": round(sum(growth.values()) / max(done, 1)),
        "by_table_bytes_per_event": {
            name: round(grown / max(done, 1), 1) for name, grown in sorted(growth.items()) if abs(grown) > done
        },
        "dead_rows": await dead_of(platform),
        "accept_ms_p99": answers.summary()["accept_ms_p99"],
        "refused": dict(answers.refused),
    }
    say(json.dumps(found))
    return found


async def _events(platform: Platform) -> int:
    return sum(row["events"] for row in await platform.ask(_EVENTS))


async def main(seconds: float, rate: float) -> dict[str, Any]:
    async with platform_up() as platform, Client(home=platform.home) as client:
        load = await Load.prepare(client, platform.services["orchestrator"]["address"], platform.token)
        await load.offer(rate, 20, clients=8)
        async with MemoryLog(platform, every_s=30) as memory:
            before = await phase(platform, load, rate, seconds)
            async with AsyncExitStack() as held:
                for shard in _SHARDS:
                    connection = await platform.database(shard)
                    held.push_async_callback(connection.close)
                    await connection.execute("SET idle_in_transaction_session_timeout = 0")
                    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                    await connection.execute("SELECT 1 FROM runs LIMIT 1")
                during = await phase(platform, load, rate, seconds)
            after = await phase(platform, load, rate, seconds)
            later = await phase(platform, load, rate, seconds)
    return {
        "seconds": seconds,
        "rate": rate,
        "before": before,
        "during": during,
        "after": after,
        "later": later,
        "memory_mib": memory.rows,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="each phase")
    parser.add_argument("--rate", type=float, default=80, help="small runs a second")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(main(given.seconds, given.rate)), indent=1))
