"""Parquet and Arrow files, read by pyarrow: their columns, and whether these are what a Row declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwfs.errors import MwfsError
from mwfs.types.declared_columns import Column, Problems
from mwfs_types.errors import BadValue, show
from mwfs_types.moments import MOMENTS

if TYPE_CHECKING:
    import pyarrow as pa

INSTALL = "Install it: pip install 'mwfs[arrow]'."
#: What pyarrow and Python raise for a value that Python has no object for, such as the year 20000.
UNREADABLE = (ValueError, OverflowError)


def is_installed() -> bool:
    try:
        return find_spec("pyarrow") is not None
    except ValueError:  # named in sys.modules, but not there
        return False


def pyarrow() -> Any:
    """The library. Raises MwfsError where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise MwfsError("Parquet and Arrow files need pyarrow.", INSTALL) from None
    return pyarrow


def schema_of(path: Path, encoding: str) -> pa.Schema:
    arrow = pyarrow()
    if encoding == "parquet":
        from pyarrow import parquet

        return parquet.read_schema(path)
    with arrow.OSFile(str(path)) as file:
        return arrow.ipc.open_file(file).schema


def batches(path: Path, encoding: str, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Batch after batch with (at least) these columns. What a batch claims of itself is true: a hostile file could crash its reader."""
    arrow = pyarrow()
    if encoding == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=names):
                batch.validate(full=True)
                yield batch
        return
    fields = None if names is None else [schema_of(path, encoding).get_field_index(name) for name in names]
    options = arrow.ipc.IpcReadOptions(included_fields=fields)
    with arrow.memory_map(str(path)) as source:
        reader = arrow.ipc.open_file(source, options=options)
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            batch.validate(full=True)
            yield batch


def table_of(path: Path, encoding: str) -> pa.Table:
    """The whole file; CSV by the rules of pyarrow."""
    arrow = pyarrow()
    if encoding == "csv":
        from pyarrow import csv

        return csv.read_csv(path)
    if encoding == "parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
    else:
        with arrow.OSFile(str(path)) as file:
            table = arrow.ipc.open_file(file).read_all()
    table.validate(full=True)
    return table


def check_table(path: Path, encoding: str, columns: Sequence[Column], problems: Problems) -> None:
    """Adds what is wrong with the columns, by their types and by their values. All are read, so that damage is found here."""
    schema = schema_of(path, encoding)
    fitting = []
    for column in columns:
        kind = schema.field(column.name).type
        if not _holds(kind, column):
            words = str(kind)
            problems.add(
                f"column `{column.name}` of type {words[:60]}{'…' * (len(words) > 60)}, which is not {column.words}"
            )
        else:
            fitting.append(column)
    first = 1
    if not fitting:
        return
    for batch in batches(path, encoding, [column.name for column in fitting]):
        for column in problems.without_known(fitting):
            _check_array(column, batch.column(column.name), first, problems)
        first += batch.num_rows
        if problems.full:
            return


def _check_array(column: Column, values: Any, first: int, problems: Problems) -> None:
    if not column.optional and values.null_count:
        problems.add_cell(column, first + values.is_null().index(True).as_py(), "nothing")
        return
    if column.narrow is None and _needs_no_look(column, values):
        return
    for row, value in enumerate(plain_values(column, values), first):
        if isinstance(value, Unreadable):
            problems.add_cell(column, row, value.words)
            return
        if value is None:
            if column.optional:
                continue
            problems.add_cell(column, row, "nothing")
            return
        expected = column.narrow(value) if column.narrow is not None else ""
        if expected:
            problems.add_cell(column, row, show(value), expected)
            return


def _needs_no_look(column: Column, values: Any) -> bool:
    """Whether the type of the array, or its smallest and largest value, tell that all values are fine."""
    import pyarrow.types as kinds
    from pyarrow import compute

    if kinds.is_dictionary(values.type):
        # Nothing may be one of its entries.
        return column.kind in ("str", "float", "bool") and not values.dictionary.null_count
    if column.kind in ("Date", "Timestamp", "Duration"):
        extremes = compute.min_max(_of_python(values))
        try:
            extremes["min"].as_py(), extremes["max"].as_py()
        except UNREADABLE:
            return False
        return True
    return column.kind in ("str", "float", "bool") or (column.kind == "int" and not kinds.is_uint64(values.type))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that is not one of the column's kind, in words."""

    words: str


def plain_values(column: Column, values: Any) -> list[Any]:
    """Each value as Python's; None, or an Unreadable. Members of enums stay text."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(values.type):
        # Not spelled out: one large entry may stand in a million rows.
        entries = plain_values(column, values.dictionary)
        return [None if index is None else entries[index] for index in values.indices.to_pylist()]
    if kinds.is_null(values.type):
        return [None] * len(values)
    values = _of_python(values)
    try:
        plain = values.to_pylist()
    except UNREADABLE:
        plain = [_read_one(value) for value in values]
    if column.kind == "float":
        return [None if value is None else float(value) for value in plain]
    if column.kind == "int":
        return [Unreadable(show(value)) if value is not None and value >= 1 << 63 else value for value in plain]
    if column.kind == "DatePartition":
        return [None if value is None else _read_partition(value) for value in plain]
    return plain  # type: ignore[no-any-return]


def _of_python(values: Any) -> Any:
    """Times and durations as finely as Python has them, times in UTC."""
    arrow = pyarrow()
    kind = values.type
    if arrow.types.is_timestamp(kind):
        return values.cast(arrow.timestamp("us" if kind.unit == "ns" else kind.unit, "UTC"), safe=False)
    if arrow.types.is_duration(kind) and kind.unit == "ns":
        return values.cast(arrow.duration("us"), safe=False)
    return values


def _read_one(value: Any) -> Any:
    try:
        return value.as_py()
    except UNREADABLE as error:
        return Unreadable(f"a {value.type} that Python cannot hold ({str(error)[:60]})")


def _read_partition(text: str) -> Any:
    try:
        return MOMENTS["DatePartition"].parse(text)
    except BadValue as error:
        return Unreadable(error.found)


def _holds(kind: Any, column: Column) -> bool:
    """Whether every value of an Arrow type is one of the column's kind."""
    import pyarrow.types as kinds

    if kinds.is_null(kind):
        return column.optional
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    match column.kind:
        case "bool":
            return bool(kinds.is_boolean(kind))
        case "int":
            return bool(kinds.is_integer(kind))
        case "float":
            return bool(kinds.is_floating(kind) or kinds.is_integer(kind))
        case "Date":
            return bool(kinds.is_date(kind))
        case "Timestamp":
            return bool(kinds.is_timestamp(kind)) and kind.tz is not None
        case "Duration":
            return bool(kinds.is_duration(kind))
    # Text: also enums by their members' names, and partitions.
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))
