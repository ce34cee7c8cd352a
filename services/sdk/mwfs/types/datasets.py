"""Rows with named columns."""

from __future__ import annotations

import csv
import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, cast, get_args

from mwfs.errors import MwfsError
from mwfs.types import columns
from mwfs.types.file_like import FileLike
from mwfs_api.types.v1 import types_pb2
from mwfs_types.moments import MOMENTS_BY_CLASS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from typing_extensions import TypeVar

    # A default, so that a bare `Dataset` is a complete annotation under strict type checking too.
    Row = TypeVar("Row", default=Any)
else:
    from typing import TypeVar

    Row = TypeVar("Row")

#: Encoding of a file by its suffix; everything else is CSV.
_ENCODINGS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}


class Dataset(FileLike, Generic[Row]):
    """Rows with named columns: a CSV with a header, a Parquet file or an Arrow file.

    `Dataset[Row]`, where Row is a dataclass or NamedTuple, has at least the columns that are its fields, and each value is of the
    field's type. That is checked when an operator returns it and when it is given as an input.
    """

    __mwfs_semantic__ = ("Dataset", 1)
    #: The annotation of the rows, when it came as a `Dataset[Row]`.
    _row: Any = None
    #: The serialised types that the file is known to be of.
    _checked: frozenset[bytes] = frozenset()

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any] | Row], columns: Iterable[str] | None = None) -> Self:
        """A dataset of these rows, which are mappings or objects of a Row, as CSV.

        The columns are those of the first row unless they are named. A CSV does not tell None from an empty text.
        """
        listed = [_cells_of(row) for row in rows]
        names = list(columns) if columns is not None else list(listed[0]) if listed else []
        made = cls("")
        made._path = made._scratch() / "dataset.csv"
        with made._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(listed)
        return made

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """A dataset of a pandas DataFrame, without its index, as CSV."""
        made = cls("")
        made._path = made._scratch() / "dataset.csv"
        frame.to_csv(made._path, index=False)
        return made

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """A dataset of a pyarrow Table, as Parquet."""
        from pyarrow import parquet

        made = cls("")
        made._path = made._scratch() / "dataset.parquet"
        parquet.write_table(table, made._path)
        return made

    @property
    def encoding(self) -> str:
        """ "csv", "parquet" or "arrow"."""
        if self._artifact is not None:
            return self._artifact.encoding
        assert self._path is not None
        return _ENCODINGS.get(self._path.suffix.lower(), "csv")

    def read(self) -> pd.DataFrame:
        """The whole dataset as a pandas DataFrame (needs pandas: `pip install mwfs[examples]`)."""
        try:
            import pandas as pd
        except ImportError:
            raise MwfsError(
                "Dataset.read() needs pandas.", "Install it (`pip install 'mwfs[examples]'`) or use Dataset.rows()."
            ) from None
        return pd.read_csv(self.path) if self.encoding == "csv" else cast("pd.DataFrame", self.table().to_pandas())

    def table(self) -> pa.Table:
        """The whole dataset as a pyarrow Table (needs pyarrow: `pip install mwfs[arrow]`)."""
        return columns.read_table(self.path, self.encoding)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Row after row by column: text for CSV, which needs no library; values as they are for Parquet and Arrow."""
        # A generator of this object's own: it keeps the file that it reads.
        yield from columns.read_rows(self.path, self.encoding)

    def records(self) -> Iterator[Row]:
        """Row after row as objects of the declared Row, for a Dataset that an operator was given as a `Dataset[Row]`."""
        if self._row is None:
            raise MwfsError(
                "This Dataset does not know its rows.", "Declare the parameter as Dataset[Row], or use Dataset.rows()."
            )
        return self._records(self._row)

    def _records(self, row: Any) -> Iterator[Row]:
        yield from columns.read_records(self.path, self.encoding, row)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return columns.names_of(self.path, self.encoding)

    def __mwfs_declared__(self, annotation: Any) -> None:
        """The value was read as this type, which its producer has checked."""
        from mwfs_types.annotations import type_of
        from mwfs_types.records import record_fields

        arguments = get_args(annotation)
        if arguments and record_fields(arguments[0]) is not None:
            self._row = arguments[0]
            self._checked |= {type_of(self._row).SerializeToString()}

    def __mwfs_check__(self, type_: types_pb2.Type) -> None:
        """Raises BadValue unless the file has the columns that the type names."""
        (row,) = type_.semantic.arguments or [types_pb2.Type()]
        if row.WhichOneof("kind") != "record" or row.SerializeToString() in self._checked:
            return
        columns.check_columns(self._readable(), self.encoding, type_, self.name)
        self._checked |= {row.SerializeToString()}

    def __mwfs_write__(self, folder: Path) -> tuple[Path, str]:
        return self._readable(), self.encoding


def _cells_of(row: Any) -> dict[str, Any]:
    """A row as what its cells will hold."""
    if is_dataclass(row):
        row = {field.name: getattr(row, field.name) for field in fields(row)}
    elif hasattr(row, "_asdict"):
        row = row._asdict()
    return {name: _cell_of(value) for name, value in row.items()}


def _cell_of(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    moment = MOMENTS_BY_CLASS.get(type(value))
    if moment is None or (isinstance(value, datetime) and value.utcoffset() is None):
        return value
    return moment.write(value)
