"""What the platform's processes use, read from /proc: CPU time and peak memory, children included."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """One service with the processes below it."""

    pid: int
    processes: int
    cpu_seconds: float
    #: VmHWM of the service's own process.
    peak_memory_bytes: int
    #: Sum over the processes below it; pages that they share are counted in each.
    children_peak_memory_bytes: int


def measure(pids: Mapping[str, int]) -> dict[str, Footprint]:
    """The footprint of each service that is alive."""
    found = {}
    for name, pid in pids.items():
        with suppress(psutil.Error):
            top = psutil.Process(pid)
            # Another service below this one (all are children of `mwfs up`) has a row of its own.
            below = [each for each in top.children(recursive=True) if not _belongs_elsewhere(each, pid, pids)]
            found[name] = Footprint(
                pid=pid,
                processes=1 + len(below),
                cpu_seconds=sum(_cpu_seconds(each) for each in (top, *below)),
                peak_memory_bytes=_peak_memory(pid),
                children_peak_memory_bytes=sum(_peak_memory(each.pid) for each in below),
            )
    return found


def reset_peaks(pids: Mapping[str, int]) -> None:
    """Lets peak memory count from now, where the system allows it."""
    for pid in pids.values():
        with suppress(psutil.Error):
            top = psutil.Process(pid)
            for each in (top, *top.children(recursive=True)):
                with suppress(OSError):
                    Path(f"/proc/{each.pid}/clear_refs").write_text("5")


def _belongs_elsewhere(process: psutil.Process, pid: int, pids: Mapping[str, int]) -> bool:
    others = set(pids.values()) - {pid}
    with suppress(psutil.Error):
        while process.pid != pid:
            if process.pid in others:
                return True
            parent = process.parent()
            if parent is None:
                break
            process = parent
    return False


def _cpu_seconds(process: psutil.Process) -> float:
    """Its own time, and that of children that have ended."""
    with suppress(psutil.Error):
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    return 0.0


def _peak_memory(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
