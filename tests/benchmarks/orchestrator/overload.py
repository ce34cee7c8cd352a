"""Ten times the submissions that the platform takes: `python tests/benchmarks/orchestrator/overload.py [--seconds 60]`.

Goodput against its peak, memory of each service, what callers are told, and how soon a fresh submission is as fast as before. JSON on stdout.
"""

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

from soak_load import Load
from soak_platform import MemoryLog, Platform, platform_up, say

from mwfs.bench import workflows
from mwfs.client.async_client import Client, RunRequest

_ENDED = "SELECT count(*) AS n FROM runs WHERE state = 6 AND end_us BETWEEN $1 AND $2"
_GOING = "SELECT count(*) AS n FROM runs WHERE state < 6"


async def going(platform: Platform) -> int:
    return sum(row["n"] for row in await platform.ask(_GOING))


async def drained(platform: Platform, patience_s: float = 600) -> float:
    """Seconds until no run goes on."""
    begun = time.monotonic()
    while await going(platform):
        if time.monotonic() - begun > patience_s:
            raise TimeoutError(f"{await going(platform)} runs go on after {patience_s:g} s")
        await asyncio.sleep(0.5)
    return time.monotonic() - begun


async def round_of(platform: Platform, load: Load, rate: float, seconds: float) -> dict[str, Any]:
    """Goodput: runs that ended well in the last three quarters of the time."""
    begun = time.time()
    offering = asyncio.create_task(load.offer(rate, seconds))
    await asyncio.sleep(seconds / 4)
    first, cpu_s = time.time(), platform.cpu_seconds()
    await asyncio.sleep(begun + seconds - 0.1 - first)
    last, cpu_s = time.time(), platform.cpu_seconds() - cpu_s
    answers = await offering
    good = sum(row["n"] for row in await platform.ask(_ENDED, int(first * 1e6), int(last * 1e6)))
    found = {
        "rate": round(rate),
        "goodput": round(good / (last - first), 1),
        # On a machine with other tenants this says more: what a run costs, whatever there is to be had.
        "cpu_ms_per_run": round(1000 * cpu_s / max(good, 1), 2),
        "cores_used": round(cpu_s / (last - first), 2),
    } | answers.summary()
    say(json.dumps(found))
    return found


async def probe(client: Client, times: int) -> list[tuple[float, float, float]]:
    """(when, seconds to accepted, seconds to the end) of one run after the other."""
    found = []
    for number in range(times):
        begun = time.monotonic()
        one = await client.submit(workflows.small, {"seed": 1_000 + number})
        accepted = time.monotonic()
        await client.wait(one)
        found.append((begun, accepted - begun, time.monotonic() - begun))
    return found


async def burst(client: Client, runs: int = 1_000) -> float:
    """Workflows a second when so many are submitted at once."""
    begun = time.monotonic()
    submitted = await client.submit_many(
        RunRequest(workflow=workflows.small, inputs={"seed": seed}) for seed in range(runs)
    )
    await client.wait_all(submitted)
    return runs / (time.monotonic() - begun)


async def pair(platform: Platform, client: Client, load: Load, seconds: float, times: float) -> dict[str, Any]:
    """What it takes, then so many times that, and how it is afterwards."""
    about = await burst(client)
    before = await probe(client, 20)
    peaks = []
    for share in (0.9, 1.1):
        peaks.append(await round_of(platform, load, about * share, 10))
        await drained(platform)
    peak = max(one["goodput"] for one in peaks)
    over = await round_of(platform, load, peak * times, seconds)
    ended = time.monotonic()
    backlog = await going(platform)
    usual = [statistics.median(took[at] for took in before) for at in (1, 2)]
    after: list[tuple[float, float, float]] = []
    while time.monotonic() - ended < 60:
        after += await probe(client, 1)
        if len(after) >= 20 and all(one[2] < 3 * usual[1] for one in after[-20:]):
            break
    slow = [begun + took - ended for begun, _, took in after if took >= 3 * usual[1]]
    drain_s = time.monotonic() - ended + await drained(platform)
    found = {
        "burst": round(about, 1),
        "peaks": peaks,
        "overload": over,
        "goodput_share": round(over["goodput"] / peak, 3),
        "goodput_share_per_cpu": round(min(one["cpu_ms_per_run"] for one in peaks) / over["cpu_ms_per_run"], 3),
        "backlog_runs": backlog,
        "recovered_s": round(max(slow, default=0.0), 2),
        "drained_s": round(drain_s, 2),
        "probe_ms_before": [round(1000 * one, 1) for one in usual],
        "probe_ms_after": [round(1000 * statistics.median(one[at] for one in after), 1) for at in (1, 2)],
    }
    say(json.dumps({name: value for name, value in found.items() if name not in ("peaks", "overload")}))
    return found


async def main(seconds: float, times: float, repeat: int) -> dict[str, Any]:
    async with platform_up() as platform, Client(home=platform.home, patience_s=120) as client:
        load = await Load.prepare(client, platform.services["orchestrator"]["address"], platform.token)
        await burst(client)
        async with MemoryLog(platform) as memory:
            pairs = [await pair(platform, client, load, seconds, times) for _ in range(repeat)]
            memory.look()
    return {
        "goodput_share": statistics.median(one["goodput_share"] for one in pairs),
        "goodput_share_per_cpu": statistics.median(one["goodput_share_per_cpu"] for one in pairs),
        "recovered_s": statistics.median(one["recovered_s"] for one in pairs),
        "pairs": pairs,
        "memory_mib": memory.rows,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of overload, each time")
    parser.add_argument("--times", type=float, default=10, help="how many times what it takes")
    parser.add_argument(
        "--repeat", type=int, default=3, help="how many pairs of peak and overload; shares are their medians"
    )
    given = parser.parse_args()
    print(json.dumps(asyncio.run(main(given.seconds, given.times, given.repeat)), indent=1))
