"""What a million finished runs cost those who submit, list and look up: `python tests/benchmarks/orchestrator/finished_runs.py [--runs 1000000]`.

Starts a platform of its own, gives it few ended runs, so that each list has a page to show, and measures it; then it fills its shards and measures
again. Beside the time of a call there is what it cost all processes of the platform, which says more on a machine that others use meanwhile.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from mwfs.bench import workflows
from mwfs.client.async_client import Client
from mwfs_api.events.v1 import events_pb2

_BATCH = 50_000
#: What is there before, of the same ninety days: each list shows a full page of them.
_FEW = 4_000
#: Runs of ninety days, of twenty workflows, one in ten failed, each with three tags.
FILL = """
WITH here AS (SELECT array_agg(slot) AS slots FROM slots WHERE place = 1),
made AS (
    SELECT (lpad(to_hex(slots[1 + i % cardinality(slots)]), 3, '0') || substr(md5($3 || '/' || i), 4))::uuid AS run_id,
        slots[1 + i % cardinality(slots)] AS slot, i,
        (extract(epoch FROM now()) * 1e6)::bigint - (i::bigint * 90 * 86400 * 1000000 / $4) AS create_us,
        jsonb_build_object('env', CASE WHEN i % 3 = 0 THEN 'prod' ELSE 'test' END, 'owner', 'p' || i % 50, 'batch', 'b' || i / 1000) AS tags
    FROM here, generate_series($1::integer, $2::integer) AS i
), runs_made AS (
    INSERT INTO runs (run_id, slot, team, principal, request_id, body_digest, workflow, version_digest, bundle_digest, priority, tags,
            state, node_count, node_counts, create_us, start_us, end_us, last_event, failure_text)
        SELECT run_id, slot, 'default', 'p' || i % 50, $3 || '/' || i, '\\x00', 'flows.f' || i % 20 || ':train', '', '', 0, tags,
            CASE WHEN i % 10 = 0 THEN 7 ELSE 6 END, 3, '[0,0,0,0,0,3,0,0,0,0,0]', create_us, create_us, create_us + 1000000, 9,
            CASE WHEN i % 10 = 0 THEN 'ValueError: out of memory in step ' || i % 97 END
        FROM made
)
INSERT INTO run_tags (team, tag, create_us, run_id)
    SELECT 'default', tag_digest(key, value), create_us, run_id FROM made CROSS JOIN LATERAL jsonb_each_text(tags)
"""


async def fill(home: Path, runs: int) -> None:
    """Writes rows of ended runs into both shards, as the orchestrator would have left them; another number gives other runs."""
    address = json.loads((home / "endpoints.json").read_text())["services"]["postgres"]["address"]
    password = (home / "postgres-password").read_text().strip()
    for shard in ("shard_0", "shard_1"):
        connection = await asyncpg.connect(f"postgresql://mwfs:{password}@{address}/{shard}")
        for first in range(0, runs // 2, _BATCH):
            last = min(first + _BATCH, runs // 2) - 1
            await connection.execute(FILL, first, last, f"{shard}/{runs}", runs // 2, timeout=600)
            print(f"\r{shard}: {last + 1:,} of {runs // 2:,} runs", end="", file=sys.stderr, flush=True)
        await connection.execute("VACUUM ANALYZE runs", timeout=600)
        await connection.execute("VACUUM ANALYZE run_tags", timeout=600)
        await connection.close()
        print(file=sys.stderr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of calls of one kind, in milliseconds."""

    #: Sorted.
    took: list[float]
    #: Of one call, on average.
    cpu: float

    @property
    def p99(self) -> float:
        return self.took[min(len(self.took) - 1, int(len(self.took) * 0.99))]


def cpu_ms(home: Path) -> float:
    """What the processes of the platform have used so far."""
    spent = 0.0
    for one in psutil.process_iter(["cmdline"]):
        command = one.info["cmdline"] or [""]
        if "mwfs_stack" in command and str(home) in command[-1]:
            spent += sum(sum(child.cpu_times()[:2]) for child in one.children(recursive=True))
    return spent * 1000


async def measure(client: Client, home: Path, times: int, round: str) -> dict[str, Cost]:
    """What each kind of call costs."""

    async def first_page(**filters: object) -> None:
        _ = [run async for run in client.runs(limit=50, **filters)]  # type: ignore[arg-type]

    number = 0

    async def submit() -> None:
        nonlocal number
        number += 1
        last = await client.submit(workflows.small, {"seed": number}, request_id=f"{round}-{number}")
        known.append(last.run_id)

    known: list[str] = []
    await submit()
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "submit": submit,
        "show": lambda: client.get_run(known[-1]),
        "list": first_page,
        "list, failed": lambda: first_page(states=[events_pb2.RUN_STATE_FAILED]),
        "list, a workflow": lambda: first_page(workflow="flows.f7:train"),
        "list, a tag": lambda: first_page(tags={"owner": "p7"}),
        "list, words": lambda: first_page(text="memory 42"),
        "list, frequent": lambda: first_page(text="small"),
        "list, absent": lambda: first_page(text="nowhere"),
    }
    found = {}
    for name, ask in asked.items():
        took = []
        spent = cpu_ms(home)
        for _ in range(times):
            begun = time.perf_counter()
            await ask()
            took.append(1000 * (time.perf_counter() - begun))
        found[name] = Cost(took=sorted(took), cpu=(cpu_ms(home) - spent) / times)
    return found


async def main(runs: int, times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-m", "mwfs.cli"]
        await asyncio.to_thread(
            subprocess.run, [*command, "up", "--detach", "--home", str(home), "--cpus", "2"], check=True
        )
        try:
            async with Client(home=home) as client:
                await fill(home, _FEW)
                await measure(client, home, 20, "warm")
                before = await measure(client, home, times, "before")
                begun = time.perf_counter()
                await fill(home, runs)
                print(f"filled in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
                await measure(client, home, 20, "warm-again")
                after = await measure(client, home, times, "after")
        finally:
            await asyncio.to_thread(subprocess.run, [*command, "down", "--purge", "--home", str(home)], check=True)
    table = Table(
        "call", f"median ms, {_FEW:,}", f"{runs:,} runs", "p99 ms, few", "many", "ratio", "CPU ms, few", "many"
    )
    for name, one in before.items():
        full = after[name]
        medians = [statistics.median(one.took), statistics.median(full.took)]
        figures = [*medians, one.p99, full.p99, full.p99 / one.p99, one.cpu, full.cpu]
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=1000)
    given = parser.parse_args()
    asyncio.run(main(given.runs, given.times))
