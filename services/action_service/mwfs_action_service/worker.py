"""The worker process: takes one launch after another from a socket, runs it, writes its outcome into a pipe.

One thread, no loop, no buffers of its own: the kernel's queues are the batch buffers (see adr/0001). Started by `worker_process.py`
as `python -m mwfs_action_service.worker JSON`. This is the only server-side process that imports `mwfs` and user code.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mwfs import heartbeats
from mwfs_action_service import logs
from mwfs_action_service.attempt_clock import AttemptClock
from mwfs_action_service.frames import write_frame
from mwfs_action_service.user_code import UserCode
from mwfs_api.action.v1 import worker_pb2
from mwfs_api.events.v1 import events_pb2

MAX_PACKET = 1 << 20

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerArguments:
    """What the service tells a new worker, as JSON on its command line."""

    name: str
    #: File descriptors: launches (socket), results (pipe), attempt clock (memory page).
    launches: int
    results: int
    clock: int
    #: The service's process id: the worker dies with it.
    service_pid: int
    logs: str
    artifacts: str
    #: Shared by the workers of the host: unpacked bundles, and artifacts that were fetched.
    bundles: str
    cache: str
    max_checkpoint_bytes: int

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


class Worker:
    """Serves launches until the service goes away."""

    def __init__(self, arguments: WorkerArguments) -> None:
        self._name = arguments.name
        self._launches = socket.socket(fileno=arguments.launches)
        self._results = arguments.results
        self._clock = AttemptClock(arguments.clock)
        self._log_folder = Path(arguments.logs)
        self._log_number = 0
        self._pid = os.getpid()
        self._flush_c = ctypes.CDLL(None).fflush
        self._code = UserCode(
            artifacts=arguments.artifacts,
            bundles=Path(arguments.bundles),
            cache=Path(arguments.cache),
            max_checkpoint_bytes=arguments.max_checkpoint_bytes,
            deadline_us=self._clock.deadline_us,
            kept=self._kept,
        )
        self._sending = threading.Lock()

    def serve(self) -> None:
        """Until the service closes the socket."""
        heartbeats.listen(self._clock.beat)
        self._send(worker_pb2.WorkerResult(ticket=0))
        while packet := self._launches.recv(MAX_PACKET):
            self._run(worker_pb2.WorkerLaunch.FromString(packet))

    def _run(self, launch: worker_pb2.WorkerLaunch) -> None:
        log_start = os.fstat(1).st_size
        self._clock.begin(launch.ticket, time.monotonic_ns() // 1000, self._log_number, log_start)
        if launch.file:
            packet = launch
            launch = worker_pb2.WorkerLaunch.FromString(Path(packet.file).read_bytes())
            launch.cuda_visible_devices = packet.cuda_visible_devices
        outcome = self._code.run(launch, self._clock.body_began)
        if os.getpid() != self._pid:
            os._exit(0)  # a child that the operator forked and that came back here
        self._flush()
        end = os.fstat(1).st_size
        dropped = 0
        if end - log_start > logs.KEEP_HEAD + logs.KEEP_TAIL:
            end, dropped = logs.trim(1, log_start, end)
        result = worker_pb2.WorkerResult(
            ticket=launch.ticket,
            outcome=outcome,
            log_number=self._log_number,
            log_start=log_start,
            log_end=end,
            log_dropped=dropped,
        )
        self._send(result)
        self._clock.end()
        if end > logs.ROTATE_AT:
            self._next_log()

    def _kept(self, ticket: int, checkpoint: events_pb2.Checkpoint) -> None:
        """The attempt has stored a checkpoint; from whichever of its threads."""
        self._send(worker_pb2.WorkerResult(ticket=ticket, checkpoint=checkpoint))

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            # The operator may have closed or replaced it.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        self._flush_c(None)

    def _next_log(self) -> None:
        self._log_number += 1
        fd = logs.open_log(logs.log_path(self._log_folder, self._name, self._log_number))
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)

    def _send(self, result: worker_pb2.WorkerResult) -> None:
        with self._sending:
            write_frame(self._results, result.SerializeToString())


def _die_with(service_pid: int) -> None:
    """Ask the kernel to kill this process when the service dies; leave when it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != service_pid:
        os._exit(0)


def main() -> None:
    """Entry of the process."""
    arguments = WorkerArguments.from_json(sys.argv[1])
    _die_with(arguments.service_pid)
    del sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    worker = Worker(arguments)
    # What exists now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    worker.serve()


if __name__ == "__main__":
    main()
