"""One supervised process: started, watched until it is ready, and started again whenever it dies."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import psutil

from mwfs_stack.errors import CannotStart

log = logging.getLogger(__name__)

STARTING = "STARTING"
SERVING = "SERVING"
RESTARTING = "RESTARTING"
STOPPED = "STOPPED"

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
#: Who lived this long begins again with the first delay.
_HEALTHY_S = 20.0
_READY_POLL_S = 0.05
_LOG_LIMIT_BYTES = 16 * 2**20
_SHOWN_LOG_LINES = 12


class Child:
    """Keeps one program running until `stop`. It never gives up; `state` and `deaths` tell how it fares."""

    def __init__(
        self,
        *,
        name: str,
        command: Callable[[], Sequence[str]],
        environment: Mapping[str, str],
        directory: Path,
        log_file: Path,
        is_ready: Callable[[], Awaitable[bool]],
        changed: Callable[[], None],
        stop_signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL),
        stop_timeout_s: float = 6.0,
        early_deaths: int = 3,
    ) -> None:
        self.name = name
        self.state = STARTING
        self.pid = 0
        #: When the process was made, as the kernel tells it: with the pid it names a process for ever.
        self.made_at = 0.0
        self.deaths = 0
        self.log_file = log_file
        self._command = command
        self._environment = environment
        self._directory = directory
        self._is_ready = is_ready
        self._changed = changed
        self._stop_signals = stop_signals
        self._stop_timeout_s = stop_timeout_s
        self._early_deaths = early_deaths
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ready_or_hopeless = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to keep it running; `wait_ready` waits for the first time that it is."""
        self._keeper = asyncio.create_task(self._keep_running(), name=f"keep {self.name}")

    async def wait_ready(self, timeout_s: float) -> None:
        """Raises CannotStart, with the end of its log, when it dies too often before it was ever ready, or takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready_or_hopeless.wait()
        except TimeoutError:
            raise CannotStart(f"{self._title()} was not ready within {timeout_s:g} s. {self._advice()}") from None
        if self.state != SERVING and not self._stopping.is_set():
            raise CannotStart(f"{self._title()} ends as soon as it is started. {self._advice()}")

    async def stop(self) -> None:
        """Ask it to end, insist when it does not."""
        self._stopping.set()
        process, keeper = self._process, self._keeper
        if keeper is None:
            return
        for number in self._stop_signals:
            if keeper.done():
                break
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)
            await asyncio.wait({keeper}, timeout=self._stop_timeout_s)
            if not keeper.done():
                log.warning("did not stop in time", extra={"service": self.name, "signal": number.name})
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        self._ready_or_hopeless.set()

    async def _keep_running(self) -> None:
        delay = _FIRST_DELAY_S
        while not self._stopping.is_set():
            begun = time.monotonic()
            how = await self._live_once()
            if self._stopping.is_set():
                break
            self.deaths += 1
            if time.monotonic() - begun > _HEALTHY_S:
                delay = _FIRST_DELAY_S
            log.warning("died; starting it again", extra={"service": self.name, "how": how, "after_s": delay})
            self._move(RESTARTING)
            if self.deaths >= self._early_deaths:
                self._ready_or_hopeless.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, _LONGEST_DELAY_S)
        self.pid = 0
        self._move(STOPPED)

    async def _live_once(self) -> str:
        _make_room(self.log_file)
        try:
            with self.log_file.open("ab") as output:
                # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops all in order.
                process = await asyncio.create_subprocess_exec(
                    *self._command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(self._environment),
                    cwd=self._directory,
                    start_new_session=True,
                )
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        self._process = process
        self.pid = process.pid
        with contextlib.suppress(psutil.Error):
            self.made_at = psutil.Process(process.pid).create_time()
        self._changed()
        watcher = asyncio.create_task(self._watch_readiness(), name=f"watch {self.name}")
        try:
            code = await process.wait()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    async def _watch_readiness(self) -> None:
        while not await self._is_ready():  # noqa: ASYNC110 (another process becomes ready)
            await asyncio.sleep(_READY_POLL_S)
        self._move(SERVING)
        self._ready_or_hopeless.set()

    def _move(self, state: str) -> None:
        self.state = state
        self._changed()

    def _title(self) -> str:
        return "PostgreSQL" if self.name == "postgres" else f"The {self.name.replace('_', ' ')}"

    def _advice(self) -> str:
        lines = last_lines(self.log_file, _SHOWN_LOG_LINES)
        said = "Its log is empty." if not lines else "The end of its log:\n" + "\n".join(f"  {line}" for line in lines)
        return f"{said}\nCorrect what it says, then run `mwfs up` again. The whole log: {self.log_file}"


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines of a log; none when there is no such file."""
    try:
        with file.open("rb") as log_bytes:
            log_bytes.seek(max(0, os.fstat(log_bytes.fileno()).st_size - 16_384))
            return log_bytes.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _make_room(file: Path) -> None:
    with contextlib.suppress(OSError):
        if file.stat().st_size > _LOG_LIMIT_BYTES:
            file.rename(file.with_name(file.name + ".1"))
