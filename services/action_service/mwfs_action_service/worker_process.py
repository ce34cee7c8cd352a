"""One worker process as the service sees it: its queue, its results, what it runs, and its end."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mwfs_action_service import logs
from mwfs_action_service.attempt_clock import AttemptClock, Running, create_page
from mwfs_action_service.frames import FrameError, FrameReader
from mwfs_action_service.model import Attempt, PoolKey
from mwfs_api.action.v1 import worker_pb2

log = logging.getLogger(__name__)

#: A launch that is larger travels in a file: the kernel bounds a packet.
MAX_PACKET = 128 * 1024
_SEND_BUFFER = 1 << 20
_READ = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHome:
    """What all workers of a host share."""

    logs: Path
    bundles: Path
    cache: Path
    scratch: Path
    artifacts: str
    #: What one checkpoint may have.
    max_checkpoint_bytes: int


class WorkerProcess:
    """Started by `start`. Calls `on_results` with what came in, and `on_exit` once, after the last results."""

    def __init__(
        self,
        *,
        name: str,
        home: WorkerHome,
        on_results: "Callable[[WorkerProcess, list[worker_pb2.WorkerResult]], None]",
        on_exit: "Callable[[WorkerProcess], None]",
    ) -> None:
        self.name = name
        #: Attempts handed over and without outcome, in the order in which the worker takes them.
        self.outstanding: dict[int, Attempt] = {}
        #: None until its first launch: until then it may join any pool.
        self.pool: PoolKey | None = None
        self.ready = False
        #: Monotonic time since when it has nothing to do.
        self.idle_since = 0.0
        #: Set when it was told to end; it gets no more work.
        self.ending = False
        #: Set once it is gone.
        self.exit_code: int | None = None
        self.pid = 0
        self._home = home
        self._on_results = on_results
        self._on_exit = on_exit
        self._frames = FrameReader()
        self._kill_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Blocks for about a millisecond. Raises OSError when the host cannot start a process."""
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            self._send_end, self._take_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._send_end.close)
            undo.callback(self._take_end.close)
            self._send_end.setblocking(False)
            self._send_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            self._results, results = os.pipe()
            undo.callback(os.close, self._results)
            os.set_blocking(self._results, False)
            page = create_page()
            self._clock = AttemptClock(page)
            output = logs.open_log(self.log_path(0))
            self._scratch = self._home.scratch / self.name
            self._scratch.mkdir(parents=True, exist_ok=True)
            arguments = {
                "name": self.name,
                "launches": self._take_end.fileno(),
                "results": results,
                "clock": page,
                "service_pid": os.getpid(),
                "logs": str(self._home.logs),
                "artifacts": self._home.artifacts,
                "bundles": str(self._home.bundles),
                "cache": str(self._home.cache),
                "max_checkpoint_bytes": self._home.max_checkpoint_bytes,
            }
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "mwfs_action_service.worker", json.dumps(arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(self._take_end.fileno(), results, page),
                    start_new_session=True,
                    cwd=self._scratch,
                    env=_environment(self._scratch),
                )
            finally:
                for fd in (output, page, results):
                    os.close(fd)
            undo.pop_all()
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._results, self._readable)
        self._loop.add_reader(self._pidfd, self._exited)
        self.idle_since = self._loop.time()

    def log_path(self, number: int) -> Path:
        return logs.log_path(self._home.logs, self.name, number)

    def send(self, attempt: Attempt) -> bool:
        """Queue an attempt on the worker; False when its queue is full."""
        try:
            self._send_end.send(attempt.packet)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOBUFS):
                return False
            raise
        self.outstanding[attempt.ticket] = attempt
        return True

    def recall(self) -> list[Attempt]:
        """Take back what the worker has not begun. The kernel gives each packet to one reader only, so nothing runs twice."""
        back: list[Attempt] = []
        while True:
            try:
                packet = self._take_end.recv(_SEND_BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return back
            if not packet:
                return back
            attempt = self.outstanding.pop(worker_pb2.WorkerLaunch.FromString(packet).ticket, None)
            if attempt is not None:
                back.append(attempt)

    def running(self) -> Running:
        return self._clock.read()

    def ask(self, ticket: int, deadline: float) -> None:
        """The attempt has to end by then, by the monotonic clock; whether it has begun or is about to."""
        self._clock.ask(ticket, int(deadline * 1e6))

    @property
    def usable(self) -> bool:
        return self.ready and not self.ending

    def end(self, grace_seconds: float) -> None:
        """SIGTERM to the worker's whole process group, SIGKILL after the grace. `on_exit` follows."""
        self.ending = True
        if self.exit_code is None and self._kill_timer is None:
            self._signal(signal.SIGTERM if grace_seconds > 0 else signal.SIGKILL)
            self._kill_timer = self._loop.call_later(grace_seconds, self._signal, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _readable(self) -> None:
        self._deliver(once=True)

    def _deliver(self, *, once: bool) -> None:
        results: list[worker_pb2.WorkerResult] = []
        try:
            while data := os.read(self._results, _READ):
                results += map(worker_pb2.WorkerResult.FromString, self._frames.feed(data))
                if once:
                    break
            else:
                self._loop.remove_reader(self._results)
        except BlockingIOError:
            pass
        except (FrameError, ValueError) as error:  # DecodeError is a ValueError
            log.error("a worker wrote what is no result and is stopped", extra={"worker": self.name, "error": error})
            self._loop.remove_reader(self._results)
            self.end(0)
        if results:
            self._on_results(self, results)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        # What the operator left behind in its process group. Before `wait`: until then nobody else can have its number.
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self.ending = True
        self._deliver(once=False)
        self._loop.remove_reader(self._results)
        self.exit_code = code
        self._on_exit(self)
        self._close()

    def _close(self) -> None:
        self._send_end.close()
        self._take_end.close()
        os.close(self._results)
        os.close(self._pidfd)
        self._clock.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _environment(scratch: Path) -> dict[str, str]:
    """The service's environment without what belongs to the platform: user code gets no token and no database address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MWFS_")}
    environment["TMPDIR"] = str(scratch)
    return environment


def describe_exit(code: int) -> str:
    """`exit code 3` or `signal 11 (SIGSEGV)`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
