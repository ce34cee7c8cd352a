"""What the soaks share: a platform of their own, what its services hold in memory, and what its shards say."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from mwfs.bench.footprint import measure

_MIB = 2**20


class Platform:
    """One that runs in `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def services(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "endpoints.json").read_text())["services"])

    def pid_of(self, service: str) -> int:
        return int(self.services[service]["pid"])

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    async def mwfs(self, *arguments: str) -> str:
        """What a command prints."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "mwfs.cli", *arguments, "--home", str(self.home)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout

    async def database(self, name: str) -> asyncpg.Connection:
        password = (self.home / "postgres-password").read_text().strip()
        address = self.services["postgres"]["address"]
        return await asyncpg.connect(f"postgresql://mwfs:{password}@{address}/{name}", timeout=10)

    async def ask(self, query: str, *arguments: object, shards: Sequence[str] = ("shard_0", "shard_1")) -> list[Any]:
        """The rows of all shards."""
        found: list[Any] = []
        for shard in shards:
            connection = await self.database(shard)
            try:
                found += await connection.fetch(query, *arguments, timeout=300)
            finally:
                await connection.close()
        return found

    def cpu_seconds(self) -> float:
        """Of all services with their processes, until now."""
        pids = {name: one["pid"] for name, one in self.services.items() if one["pid"]}
        return sum(one.cpu_seconds for one in measure(pids).values())

    def memory(self) -> dict[str, float]:
        """MiB of each service with its processes; pages that several share are divided among them."""
        pids = {name: one["pid"] for name, one in self.services.items()}
        return {name: round(_with_children(pid) / _MIB, 1) for name, pid in pids.items() if pid}


def _with_children(pid: int) -> int:
    total = 0
    with suppress(psutil.Error, OSError):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with suppress(psutil.Error, OSError):
                text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


@asynccontextmanager
async def platform_up(*options: str) -> AsyncGenerator[Platform, None]:
    """A new platform, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder) / "home")
        await platform.mwfs("up", "--detach", "--cpus", "2", *options)
        try:
            yield platform
        finally:
            await platform.mwfs("down", "--purge")


class MemoryLog:
    """Memory of the services every few seconds, on stderr too."""

    def __init__(self, platform: Platform, *, every_s: float = 5.0) -> None:
        self.rows: list[dict[str, float]] = []
        self._platform = platform
        self._every_s = every_s
        self._begun = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "MemoryLog":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None, "entered before"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        with suppress(OSError, ValueError):
            row = {"s": round(time.monotonic() - self._begun, 1)} | self._platform.memory()
            self.rows.append(row)
            say(" ".join(f"{name} {value:g}" for name, value in row.items()))

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._every_s)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
