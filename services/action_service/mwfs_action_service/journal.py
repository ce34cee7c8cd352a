"""Outcomes on disk until they are acknowledged, and the index of logs. One SQLite file, one writer, written in groups.

`synchronous=OFF`: a kill -9 loses nothing, a power cut may (see adr/0002).
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwfs_action_service.model import AttemptKey
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
    run TEXT, node INTEGER, attempt INTEGER, replica TEXT NOT NULL, outcome BLOB NOT NULL,
    PRIMARY KEY (run, node, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
    run TEXT, node INTEGER, attempt INTEGER,
    worker TEXT NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    dropped INTEGER NOT NULL, ended_us INTEGER NOT NULL,
    PRIMARY KEY (run, node, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
    run TEXT, node INTEGER, attempt INTEGER, replica TEXT NOT NULL, checkpoint BLOB NOT NULL,
    PRIMARY KEY (run, node, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRange:
    """Where the output of an attempt is."""

    worker: str
    number: int
    start: int
    stop: int
    dropped: int = 0


#: (key, replica, the serialised Outcome, where its output is, when it ended)
Entry = tuple[AttemptKey, str, bytes, LogRange | None, int]


class Journal:
    """Calls block for the time of one SQLite transaction: about 0.1 ms for a small group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            aside = self._path.with_suffix(".damaged")
            log.exception(
                "the journal is damaged and was set aside: its outcomes are lost", extra={"aside": str(aside)}
            )
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._path.replace(aside)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("quick_check failed")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def write(
        self, entries: Sequence[Entry], acknowledged: Iterable[AttemptKey], with_checkpoint: Iterable[AttemptKey] = ()
    ) -> None:
        """Store outcomes with their log ranges and forget acknowledged ones, in one transaction. with_checkpoint: outcomes that have what was kept."""
        execute = self._connection.executemany
        self._connection.execute("BEGIN")
        try:
            execute(
                "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?)",
                [(*key, replica, outcome) for key, replica, outcome, _, _ in entries],
            )
            execute(
                "INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (*key, place.worker, place.number, place.start, place.stop, place.dropped, ended)
                    for key, _, _, place, ended in entries
                    if place is not None
                ],
            )
            execute("DELETE FROM outcomes WHERE run = ? AND node = ? AND attempt = ?", list(acknowledged))
            execute("DELETE FROM kept WHERE run = ? AND node = ? AND attempt = ?", list(with_checkpoint))
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def keep(self, key: AttemptKey, replica: str, checkpoint: events_pb2.Checkpoint) -> None:
        """An attempt that goes on has kept this; until its outcome is written, which has it as well."""
        self._connection.execute(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?)", (*key, replica, checkpoint.SerializeToString())
        )

    def kept(self) -> list[tuple[AttemptKey, str, events_pb2.Checkpoint]]:
        """What was kept by attempts that have no outcome: after a restart, by attempts that are lost."""
        rows = self._connection.execute("SELECT run, node, attempt, replica, checkpoint FROM kept").fetchall()
        return [
            ((run, node, attempt), replica, events_pb2.Checkpoint.FromString(data))
            for run, node, attempt, replica, data in rows
        ]

    def unacknowledged(self) -> dict[AttemptKey, str]:
        """Keys of the kept outcomes, with the replica that is to hear of each."""
        rows = self._connection.execute("SELECT run, node, attempt, replica FROM outcomes")
        return {(run, node, attempt): replica for run, node, attempt, replica in rows}

    def outcomes_for(self, replica: str) -> list[action_pb2.Outcome]:
        rows = self._connection.execute("SELECT outcome FROM outcomes WHERE replica = ?", (replica,))
        return [action_pb2.Outcome.FromString(outcome) for (outcome,) in rows]

    def hand_over(self, key: AttemptKey, replica: str) -> action_pb2.Outcome | None:
        """The outcome is for this replica from now on; None when it is not stored."""
        row = self._connection.execute(
            "UPDATE outcomes SET replica = ? WHERE run = ? AND node = ? AND attempt = ? RETURNING outcome",
            (replica, *key),
        ).fetchone()
        return None if row is None else action_pb2.Outcome.FromString(row[0])

    def find_log(self, key: AttemptKey) -> LogRange | None:
        row = self._connection.execute(
            "SELECT worker, number, start, stop, dropped FROM logs WHERE run = ? AND node = ? AND attempt = ?", key
        ).fetchone()
        if row is None:
            return None
        worker, number, start, stop, dropped = row
        return LogRange(worker=worker, number=number, start=start, stop=stop, dropped=dropped)

    def prune(self, before_us: int) -> set[tuple[str, int]]:
        """Forget logs of attempts that ended before. Gives the (worker, number) of the files that are still referred to."""
        self._connection.execute("DELETE FROM logs WHERE ended_us < ?", (before_us,))
        return set(self._connection.execute("SELECT DISTINCT worker, number FROM logs"))

    def fact(self, name: str) -> int:
        """A remembered number, 0 when there is none."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def remember(self, name: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def close(self) -> None:
        self._connection.close()
