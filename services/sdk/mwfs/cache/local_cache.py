"""Results of pure operators in a folder of this machine: an SQLite file, and the files that results refer to."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from mwfs.artifacts import ArtifactStore, Store
from mwfs.cache.misses import Entry
from mwfs.errors import ArtifactDamaged, ArtifactMissing, MwfsError
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.cache_keys import key_of, key_parts

Value = types_pb2.Value

#: Kept results together; the least recently used go first.
MAX_BYTES = 10 * 1024**3
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY,
    operator TEXT NOT NULL,
    parts TEXT NOT NULL,
    outputs BLOB NOT NULL,
    size INTEGER NOT NULL,
    used_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS results_by_operator ON results (operator, used_us);
CREATE TABLE IF NOT EXISTS files (
    key TEXT NOT NULL REFERENCES results (key) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (key, digest)
);
CREATE TABLE IF NOT EXISTS code (
    digest TEXT PRIMARY KEY,
    parts TEXT NOT NULL
);
"""


class CacheUnreadable(MwfsError):
    """The folder holds something that is not a cache of this version."""

    exit_code = 2


class LocalCache:
    """Earlier results, by content. Safe to use from several processes; losing it costs only time.

    folder: by default `cache` in the home folder of mwfs.
    """

    def __init__(self, folder: str | Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        if folder is None:
            from mwfs.home import resolve_home

            folder = resolve_home() / "cache"
        self.folder = Path(folder)
        self._max_bytes = max_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files = ArtifactStore(self.folder / "files")
        self._path = self.folder / "results.sqlite"
        try:
            with closing(self._open()) as database, database:
                (found,) = database.execute("PRAGMA user_version").fetchone()
                if found not in (0, _FORMAT):
                    raise sqlite3.DatabaseError(f"its format is {found}")
                database.executescript(_SCHEMA)
                database.execute(f"PRAGMA user_version = {_FORMAT}")
        except sqlite3.DatabaseError as error:
            raise CacheUnreadable(
                f"{self._path} is not a cache of results of this version: {error}.", "Delete it; only time is lost."
            ) from None

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=30)
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA journal_mode = WAL")
        return database

    def lookup(
        self,
        operator: dag_pb2.Operator,
        types: Sequence[types_pb2.Type],
        arguments: Sequence[Value],
        files: Store | None = None,
    ) -> list[Value] | None:
        """The outputs of an earlier call with the same code, environment and arguments. Their files become known to `files`."""
        key = key_of(key_parts(operator, types, arguments))
        with closing(self._open()) as database, database:
            found = database.execute("SELECT outputs FROM results WHERE key = ?", (key,)).fetchone()
            if found is None:
                return None
            outputs = list(types_pb2.ListValue.FromString(found[0]).items)
            try:
                for artifact in artifacts_in(outputs):
                    path = self._files.fetch(artifact)
                    if files is not None:
                        files.paths.setdefault(artifact.digest, path)
            except (ArtifactMissing, ArtifactDamaged):
                database.execute("DELETE FROM results WHERE key = ?", (key,))
                return None
            database.execute("UPDATE results SET used_us = ? WHERE key = ?", (time.time_ns() // 1000, key))
        return outputs

    def store(
        self,
        operator: dag_pb2.Operator,
        types: Sequence[types_pb2.Type],
        arguments: Sequence[Value],
        outputs: Sequence[Value],
        files: Store,
    ) -> None:
        """Keeps the outputs of a call, with the files that they refer to."""
        parts = key_parts(operator, types, arguments)
        key, data = key_of(parts), types_pb2.ListValue(items=outputs).SerializeToString()
        artifacts = list(artifacts_in(outputs))
        for artifact in artifacts:
            self._files.put_file(files.fetch(artifact), artifact.encoding, artifact.file_name)
        name = f"{operator.module}:{operator.qualname}"
        size = len(data) + sum(artifact.size for artifact in artifacts)
        with closing(self._open()) as database, database:
            database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)",
                (key, name, json.dumps(parts), data, size, time.time_ns() // 1000),
            )
            database.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", [(key, one.digest) for one in artifacts])
            self._keep_code(database, operator)
            self._trim(database)

    def _keep_code(self, database: sqlite3.Connection, operator: dag_pb2.Operator) -> None:
        """What the code digest is made of, so that a miss can name the function that changed."""
        known = database.execute("SELECT 1 FROM code WHERE digest = ?", (operator.code_digest,)).fetchone()
        if known is None:
            from mwfs.cache.misses import code_parts

            parts = json.dumps(code_parts(operator))
            database.execute("INSERT OR IGNORE INTO code VALUES (?, ?)", (operator.code_digest, parts))

    def _trim(self, database: sqlite3.Connection) -> None:
        (total,) = database.execute("SELECT coalesce(sum(size), 0) FROM results").fetchone()
        while total > self._max_bytes:
            key, size = database.execute("SELECT key, size FROM results ORDER BY used_us LIMIT 1").fetchone()
            digests = [digest for (digest,) in database.execute("SELECT digest FROM files WHERE key = ?", (key,))]
            database.execute("DELETE FROM results WHERE key = ?", (key,))
            for digest in digests:
                if database.execute("SELECT 1 FROM files WHERE digest = ?", (digest,)).fetchone() is None:
                    hexadecimal = digest.removeprefix("sha256:")
                    (self.folder / "files" / "sha256" / hexadecimal[:2] / hexadecimal[2:]).unlink(missing_ok=True)
            total -= size

    def latest(self, operator: str, limit: int = 20) -> list[Entry]:
        """The newest results of an operator (`module:qualname`): what their keys are made of."""
        with closing(self._open()) as database:
            rows = database.execute(
                "SELECT parts FROM results WHERE operator = ? ORDER BY used_us DESC LIMIT ?", (operator, limit)
            ).fetchall()
            found = [json.loads(parts) for (parts,) in rows]
            code = {
                parts["code"]: database.execute("SELECT parts FROM code WHERE digest = ?", (parts["code"],)).fetchone()
                for parts in found
            }
        return [
            Entry(parts=parts, code=json.loads(code[parts["code"]][0]) if code[parts["code"]] else {})
            for parts in found
        ]

    def count(self) -> int:
        """How many results are kept."""
        with closing(self._open()) as database:
            (count,) = database.execute("SELECT count(*) FROM results").fetchone()
        return int(count)

    def clear(self) -> int:
        """Forgets everything; gives how many results there were."""
        count = self.count()
        with closing(self._open()) as database, database:
            for table in ("files", "results", "code"):
                database.execute(f"DELETE FROM {table}")
        import shutil

        shutil.rmtree(self.folder / "files", ignore_errors=True)
        return count


def artifacts_in(values: Sequence[Value]) -> Iterator[types_pb2.Artifact]:
    """Every artifact that values refer to."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        match value.WhichOneof("kind"):
            case "artifact":
                yield value.artifact
            case "list":
                waiting.extend(value.list.items)
            case "map":
                waiting.extend(value.map.values)
            case "record":
                waiting.extend(value.record.fields)
