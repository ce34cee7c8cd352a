"""Writes one batch of ended runs to the object store: a file for each table that has rows of them, that of the runs last, as it names the others."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from mwfs_orchestrator.contents import Contents
from mwfs_orchestrator.shard.ended import Snapshot
from mwfs_orchestrator.shard.tables import RUN_TABLES, RunTable

from .archive_files import ArchiveFile
from .model import ArchivedRun, month_of

_RUNS: Final = next(table for table in RUN_TABLES if table.name == "runs")
#: Tags are in the rows of runs, ends are told before a run is archived, and what was kept for another attempt goes with the run.
NOT_ARCHIVED: Final = frozenset({"run_tags", "run_ends", "removed_runs", "checkpoints"})
_OTHERS: Final = tuple(table for table in RUN_TABLES if table is not _RUNS and table.name not in NOT_ARCHIVED)
#: Of one row group, about.
_GROUP_BYTES: Final = 8 * 1024 * 1024
_GROUP_ROWS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Runs as they were at one moment."""

    #: Of the table of runs: names and types of PostgreSQL.
    columns: list[tuple[str, str]]
    #: One a run.
    rows: list[tuple[Any, ...]]
    #: The rows of other tables, by their names.
    files: dict[str, Path] = field(default_factory=dict)


async def read_batch(snapshot: Snapshot, run_ids: Sequence[UUID], folder: Path) -> Batch:
    """Those of the runs that are there, with all their rows, in files."""
    batch = Batch(columns=await snapshot.columns(_RUNS), rows=[row async for row in snapshot.rows(_RUNS, run_ids)])
    for table in _OTHERS if batch.rows else ():
        path = folder / f"{table.name}.parquet"
        if await _write(snapshot, table, run_ids, path):
            batch.files[table.name] = path
    return batch


async def keep_batch(batch: Batch, *, team: str, folder: Path, contents: Contents, now_us: int) -> list[ArchivedRun]:
    """Puts a batch into the object store. Raises Unavailable."""
    if not batch.rows:
        return []
    names = [name for name, _ in batch.columns]
    runs = [dict(zip(names, row, strict=True)) for row in batch.rows]
    digests = {name: (await contents.keep_file(path)).digest for name, path in batch.files.items()}
    about = {"mwfs.team": team, "mwfs.month": month_of(runs[0]["end_us"]), "mwfs.files": json.dumps(digests)}
    path = folder / "runs.parquet"
    file = ArchiveFile(path, batch.columns, about)
    for row in batch.rows:
        await asyncio.to_thread(file.write, [row])
    await asyncio.to_thread(file.close)
    artifact = await contents.keep_file(path)
    return [
        ArchivedRun(
            run_id=run["run_id"],
            team=run["team"],
            workflow=run["workflow"],
            state=run["state"],
            create_us=run["create_us"],
            end_us=run["end_us"],
            archive_us=now_us,
            digest=artifact.digest,
            size=artifact.size,
            row_group=group,
        )
        for group, run in enumerate(runs)
    ]


async def _write(snapshot: Snapshot, table: RunTable, run_ids: Sequence[UUID], path: Path) -> bool:
    """Whether there were any rows. No more of them are in memory than a row group has."""
    file: ArchiveFile | None = None
    waiting: list[tuple[Any, ...]] = []
    size = 0
    columns = await snapshot.columns(table)

    async def write() -> ArchiveFile:
        made = file if file is not None else await asyncio.to_thread(ArchiveFile, path, columns, {})
        await asyncio.to_thread(made.write, waiting)
        waiting.clear()
        return made

    async for row in snapshot.rows(table, run_ids):
        waiting.append(row)
        size += sum(len(value) for value in row if isinstance(value, (bytes, str)))
        if size > _GROUP_BYTES or len(waiting) == _GROUP_ROWS:
            file, size = await write(), 0
    if waiting:
        file = await write()
    if file is not None:
        await asyncio.to_thread(file.close)
    return file is not None
