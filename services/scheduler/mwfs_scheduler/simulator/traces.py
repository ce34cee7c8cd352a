"""The trace files to a workload: every row is checked before anything runs."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final, TextIO

from mwfs_scheduler.simulator.model import PARTS, BadTrace, Job, Machine, Workload
from mwfs_scheduler.simulator.shipped import NODES, SHIPPED

#: No time, and no amount, above this is believed.
_MOST: Final = 10**10
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of a trace is run."""

    from_days: float = 0
    #: None: to the end.
    days: float | None = None
    #: Of these days the first run, but are not counted.
    warmup_days: float = 0
    #: What would still run if each job had started when it was submitted is there when the window begins, with what is left
    #: of it. It is not counted.
    carry: bool = True
    #: At most so many jobs, besides those.
    limit: int | None = None
    #: The window starts up to so many days later, by the seed.
    jitter_days: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Which machines there are."""

    #: None: those of the trace, or what `philly` is usually run with.
    gpus: int | None = None
    gpus_per_host: int = 8
    #: Synthetic teams for a trace that has none.
    teams: int = 8


def load(trace: str, size: Size, window: Window, seed: int) -> Workload:
    """The jobs of the window and the machines. The same for the same seed. Raises BadTrace."""
    if trace.startswith("openb"):
        return _openb(trace, size, window, seed)
    rows = [_row(line, row) for line, row in rows_of(trace, {"job_id", "submit_time", "duration", "gpus", "team"})]
    gpus = 640 if size.gpus is None else size.gpus
    if gpus % size.gpus_per_host:
        raise BadTrace(f"--gpus must be a multiple of {size.gpus_per_host}, the GPUs of a host; found {gpus}.")
    machines = [
        Machine(id=f"host-{at:04}", amounts=(size.gpus_per_host * PARTS,)) for at in range(gpus // size.gpus_per_host)
    ]

    def job(row: _Row, submit: int) -> Job:
        if not row.team:
            raise BadTrace(f"{row.where}: team must not be empty.")
        if row.gpu_milli <= 0:
            raise BadTrace(f"{row.where}: a job needs GPUs; found {row.gpu_milli} thousandths.")
        members, each = split(row.gpu_milli, size.gpus_per_host * 1000)
        return Job(
            id=row.id,
            team=row.team,
            submit=submit,
            duration=row.duration,
            amounts=(each * PARTS // 1000,),
            members=members,
        )

    return _workload(trace, ("gpu",), machines, rows, job, window, seed)


def split(amount: int, host: int) -> tuple[int, int]:
    """The fewest equal members that each fit a host: (members, amount of one). Thousandths of a GPU."""
    if amount <= host:
        return 1, amount
    # Wider than a host means whole GPUs: the fewest members that share them evenly.
    whole = amount // 1000
    members = next(each for each in range(math.ceil(amount / host), whole + 1) if whole % each == 0)
    return members, amount // members


# --- openb ------------------------------------------------------------------------------------------------------------


def _openb(trace: str, size: Size, window: Window, seed: int) -> Workload:
    rows = [_row(line, row) for line, row in rows_of(trace, {"job_id", "submit_time", "duration", "gpu_milli", "cpus"})]
    names = [f"synthetic-{at + 1}" for at in range(size.teams)]
    # Team k gets a pod with a chance in proportion to 1 / k.
    chances = list(accumulate(1 / (at + 1) for at in range(size.teams)))

    def job(row: _Row, submit: int) -> Job:
        draw = Random(f"{seed}:{row.id}").random() * chances[-1]
        team = next(name for name, chance in zip(names, chances, strict=True) if draw <= chance)
        types = tuple(row.gpu_type.split("|")) if row.gpu_type else ()
        return Job(
            id=row.id,
            team=team,
            submit=submit,
            duration=row.duration,
            amounts=(row.cpu_parts, row.gpu_milli * PARTS // 1000, row.mem_parts),
            selector=(("gpu_type", types),) if types else (),
        )

    return _workload(trace, ("cpu", "gpu", "mem"), _openb_machines(size, seed), rows, job, window, seed)


def _openb_machines(size: Size, seed: int) -> list[Machine]:
    """All of them; or, by the seed, as many as have so many GPUs, and the same part of those without."""
    machines = []
    for line, row in rows_of(NODES, {"node_id", "cpus", "mem_gib", "gpus", "gpu_type"}):
        amounts = [number_of(row, key, line) for key in ("cpus", "gpus", "mem_gib")]
        labels = {"gpu_type": row["gpu_type"]} if row["gpu_type"] else {}
        cpu, gpu, mem = (int(amount * PARTS) for amount in amounts)
        machines.append(Machine(id=row["node_id"], amounts=(cpu, gpu, mem), labels=labels))
    if size.gpus is None:
        return machines
    wanted, there = size.gpus * PARTS, sum(machine.amounts[1] for machine in machines)
    if wanted > there:
        raise BadTrace(f"--gpus: the cluster of openb has {there // PARTS} GPUs; found {size.gpus}.")
    Random(seed).shuffle(machines)
    chosen = [machine for machine in machines if not machine.amounts[1]]
    del chosen[len(chosen) * wanted // there :]
    for machine in machines:
        if 0 < machine.amounts[1] <= wanted:
            wanted -= machine.amounts[1]
            chosen.append(machine)
    return sorted(chosen, key=lambda machine: machine.id)


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    where: str
    id: str
    submit: int
    duration: int
    gpu_milli: int
    cpu_parts: int
    mem_parts: int
    team: str
    gpu_type: str


def _row(where: str, row: Mapping[str, str]) -> _Row:
    if not row["job_id"]:
        raise BadTrace(f"{where}: job_id must not be empty.")
    milli = number_of(row, "gpu_milli", where) if row.get("gpu_milli") else number_of(row, "gpus", where) * 1000
    if milli > 1000 and milli % 1000:
        raise BadTrace(f"{where}: more than one GPU must be whole GPUs; found {milli} thousandths.")
    return _Row(
        where=where,
        id=row["job_id"],
        submit=int(number_of(row, "submit_time", where)),
        duration=max(1, math.ceil(number_of(row, "duration", where))),
        gpu_milli=int(milli),
        cpu_parts=int(number_of(row, "cpus", where) * PARTS) if row.get("cpus") else 0,
        mem_parts=int(number_of(row, "mem_gib", where) * PARTS) if row.get("mem_gib") else 0,
        team=row.get("team") or "",
        gpu_type=row.get("gpu_type") or "",
    )


def number_of(row: Mapping[str, str], key: str, where: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        raise BadTrace(f"{where}: {key} must be a number; found {row[key]!r}.") from None
    if not 0 <= value <= _MOST:
        raise BadTrace(f"{where}: {key} must be from 0 to {_MOST:,}; found {row[key]}.")
    return value


def rows_of(trace: str, columns: set[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, row) of each line. Raises BadTrace."""
    with _opened(trace) as file:
        rows = csv.DictReader(file, strict=True)
        missing = columns - set(rows.fieldnames or ())
        if missing:
            raise BadTrace(f"{trace}: the header lacks {', '.join(sorted(missing))}.")
        width = len(rows.fieldnames or ())
        for row in rows:
            where = f"{trace}, line {rows.line_num}"
            if len(row) != width or None in row.values():
                raise BadTrace(f"{where}: expected {width} cells, as in the header.")
            yield where, row


@contextmanager
def _opened(trace: str) -> Iterator[TextIO]:
    name = SHIPPED.get(trace, trace if trace == NODES else None)
    try:
        data = Path(trace).read_bytes() if name is None else (files(__package__) / "traces" / name).read_bytes()
        packed = data[:2] == b"\x1f\x8b"
        yield io.StringIO((gzip.decompress(data) if packed else data).decode("utf-8"), newline="")
    except (OSError, EOFError, zlib.error) as error:
        known = ", ".join(SHIPPED)
        raise BadTrace(f"{trace} cannot be read ({error}). It must be {known}, or the path of a CSV file.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTrace(f"{trace} is not CSV in UTF-8: {error}.") from None


def _workload(
    name: str,
    resources: tuple[str, ...],
    machines: Sequence[Machine],
    rows: list[_Row],
    job: Callable[[_Row, int], Job],
    window: Window,
    seed: int,
) -> Workload:
    """The rows of the window as jobs; the clock is 0 where the window begins."""
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise BadTrace(f"{row.where}: job {row.id!r} is there twice.")
        seen.add(row.id)
    begin = int((window.from_days + Random(f"window {seed}").random() * window.jitter_days) * _DAY_S)
    end = math.inf if window.days is None else begin + window.days * _DAY_S
    rows = sorted(rows, key=lambda row: (row.submit, row.id))
    running = [row for row in rows if row.submit < begin < row.submit + row.duration] if window.carry else []
    chosen = [row for row in rows if begin <= row.submit < end][: window.limit]
    jobs = [job(replace(row, duration=row.submit + row.duration - begin), 0) for row in running]
    jobs += [job(row, row.submit - begin) for row in chosen]
    counted_from = max(int(window.warmup_days * _DAY_S), 1 if running else 0)
    if not chosen or jobs[-1].submit < counted_from:
        raise BadTrace(f"{name} has no job in the window to count. Give other --from, --days or --warmup.")
    return Workload(
        name=name,
        resources=resources,
        machines=machines,
        jobs=jobs,
        counted_from=counted_from,
        until=jobs[-1].submit,
    )
