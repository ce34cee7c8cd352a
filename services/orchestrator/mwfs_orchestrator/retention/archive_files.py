"""Rows of ended runs as Parquet files, one file for each table. Needs the extra `arrow`, which is loaded when it is first used."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from uuid import UUID

FORMAT: Final = "1"
_TYPES: Final = {
    "bool": "bool_",
    "bytea": "binary",
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "jsonb": "string",
    "text": "string",
    "uuid": "string",
}


def trouble() -> str:
    """Why there can be no archive; empty when there can."""
    return "" if find_spec("pyarrow") else "pyarrow is not installed: install mwfs[arrow] where the orchestrator runs"


class ArchiveFile:
    """A file that is being written. All methods block."""

    def __init__(self, path: Path, columns: Sequence[tuple[str, str]], metadata: Mapping[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        fields = [pyarrow.field(name, getattr(pyarrow, _TYPES[kind])()) for name, kind in columns]
        self.path = path
        self._schema = pyarrow.schema(fields, metadata={"mwfs.format": FORMAT, **metadata})
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        #: Row groups so far.
        self.groups = 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """As one row group."""
        import pyarrow

        columns = [
            pyarrow.array([str(value) if isinstance(value, UUID) else value for value in column], type=field.type)
            for column, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema), row_group_size=len(rows))
        self.groups += 1

    def close(self) -> None:
        self._writer.close()


def read_row(data: bytes, group: int) -> dict[str, Any]:
    """The one row of a row group. Raises ValueError when the bytes are no such file."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data))
        (row,) = file.read_row_group(group).to_pylist()
    except (pyarrow.ArrowException, OSError, IndexError) as error:
        raise ValueError(str(error)) from error
    found: dict[str, Any] = row
    return found
