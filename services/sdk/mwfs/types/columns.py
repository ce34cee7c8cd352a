"""The columns of a file of rows, whatever its encoding: names, rows, records, and the check against a declared Row."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwfs.types import arrow_columns, csv_columns
from mwfs.types.csv_columns import CsvRows
from mwfs.types.declared_columns import Column, Problems, columns_of
from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue
from mwfs_types.files import NO_FILES
from mwfs_types.rendering import describe
from mwfs_types.values import decoder_for, encoder_for

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of one file.
MAX_COLUMNS = 100_000


def check_columns(path: Path, encoding: str, type_: types_pb2.Type, name: str, also: Sequence[str] = ()) -> None:
    """Raises BadValue, naming columns and rows, unless the file has the columns of the type's row, if it has one.

    also: columns that must be there, of whatever type. Further ones may be there. name: what the file is called.
    """
    row = type_.semantic.arguments[0] if type_.semantic.arguments else types_pb2.Type()
    columns = columns_of(row)
    if encoding != "csv" and not arrow_columns.is_installed():
        raise BadValue(
            expected=describe(type_), found=f"{name}, which only pyarrow can read", fix=arrow_columns.INSTALL
        )
    problems = Problems()
    with _readable(path, encoding, name):
        names = names_of(path, encoding)
        places: dict[str, list[int]] = {}
        for place, one in enumerate(names):
            places.setdefault(one, []).append(place)
        wanted = list(dict.fromkeys([*(column.name for column in columns), *also]))
        for one in wanted:
            if problems.full:
                break
            if one not in places:
                near = _nearest(one, names[:1000])
                problems.add(f"no column `{one}`" + (f" (but `{near}`)" if near.isprintable() and near else ""))
            elif len(places[one]) > 1:
                problems.add(f"two columns `{one}`")
        present = [column for column in columns if len(places.get(column.name, ())) == 1]
        if present and encoding == "csv":
            found_at = [(column, places[column.name][0]) for column in present]
            csv_columns.check_cells(path, len(names), found_at, problems)
        elif present:
            arrow_columns.check_table(path, encoding, present, problems)
    if problems.found:
        fix = f"Correct the file, or the {'names given' if also else 'fields of the row type'}."
        if not names:
            fix = "It has no header. " + fix
        elif encoding == "csv" and len(names) == 1 and set(names[0]) & set(";\t|"):
            fix = f"Its header is one column, {names[0][:60]!r}: separate the cells by commas."
        keys = f" with {', '.join(also)}" if also else ""
        raise BadValue(
            expected=f"{describe(type_)}{keys}",
            found=f"{name or path.name} with {problems}",
            fix=fix,
        )


def _nearest(name: str, names: list[str]) -> str:
    """The column that was probably meant; empty when none looks like it."""
    for one in names:
        if one.strip().casefold() == name.casefold():
            return one
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.7)), "")


@contextmanager
def _readable(path: Path, encoding: str, name: str) -> Iterator[None]:
    """What a file that is not of its encoding raises, as BadValue. A file that cannot be opened stays an OSError."""
    words = {"csv": "a CSV in UTF-8", "parquet": "a Parquet file"}.get(encoding, "an Arrow file")
    try:
        yield
    except csv.Error as error:
        fix = "Save it as a CSV in UTF-8." if "no UTF-8" in str(error) else ""
        raise BadValue(expected=words, found=f"{name or path.name}: {_first_line(error)}", fix=fix) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise BadValue(expected=words, found=f"{name or path.name}: {_first_line(error)}") from None
    except UnicodeDecodeError as error:  # pyarrow reads names of columns when they are asked for
        raise BadValue(
            expected=words, found=f"{name or path.name}: a name that is not UTF-8 ({error.reason})"
        ) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "pyarrow":
            raise
        found = _first_line(error)
        fix = "Write it by pyarrow.feather.write_feather; a stream is none." if found == "Not an Arrow file" else ""
        raise BadValue(expected=words, found=f"{name or path.name}: {found}", fix=fix) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def names_of(path: Path, encoding: str) -> list[str]:
    """The names of the columns of a file. Raises BadValue when it is not of its encoding."""
    with _readable(path, encoding, path.name):
        if encoding == "csv":
            names = next(iter(CsvRows(path)), [])
        else:
            names = list(arrow_columns.schema_of(path, encoding).names)
    if len(names) > MAX_COLUMNS:
        raise BadValue(expected=f"at most {MAX_COLUMNS:,} columns", found=f"{path.name} with {len(names):,}")
    return names


def read_table(path: Path, encoding: str) -> pa.Table:
    """A file as a pyarrow Table. Raises MwfsError without pyarrow, BadValue when the file is not of its encoding."""
    with _readable(path, encoding, path.name):
        return arrow_columns.table_of(path, encoding)


def read_rows(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    """Row after row by column, without looking at the values. In a short row of a CSV the last ones are None."""
    with _readable(path, encoding, path.name):
        if encoding == "csv":
            rows = iter(CsvRows(path))
            names = next(rows, [])
            for cells in rows:
                yield dict(zip(names, chain(cells, repeat(None)), strict=False))
            return
        for batch in arrow_columns.batches(path, encoding):
            try:
                rows_read = batch.to_pylist()
            except arrow_columns.UNREADABLE as error:
                raise BadValue(
                    expected="values that Python can hold",
                    found=f"{path.name}: {_first_line(error)}",
                    fix="Use .table().",
                ) from None
            yield from rows_read


def read_records(path: Path, encoding: str, row: Any) -> Iterator[Any]:
    """Row after row as objects of the class `row`. Raises BadValue at a row that is not one."""
    from mwfs_types.annotations import type_of
    from mwfs_types.records import is_typed_dict, keys_left_out, record_class, record_fields

    type_ = type_of(row)
    left_out = keys_left_out(record_class(row)) if is_typed_dict(record_class(row)) else frozenset()
    columns = columns_of(type_)
    annotations = record_fields(row) or {}
    enums = {column.name: decoder_for(annotations[column.name]) for column in columns if column.kind == "enum"}
    check = encoder_for(type_.SerializeToString())
    with _readable(path, encoding, path.name):
        read = _csv_values(path, columns) if encoding == "csv" else _arrow_values(path, encoding, columns)
        for number, values in enumerate(read, 1):
            try:
                for name, decode_member in enums.items():
                    if values[name] is not None:
                        values[name] = decode_member(types_pb2.Value(member=values[name]), NO_FILES)
                record = row(**{name: one for name, one in values.items() if one is not None or name not in left_out})
                check(record, NO_FILES)
            except BadValue as error:
                raise error.under(f"{path.name} row {number}") from None
            yield record


def _csv_values(path: Path, columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    rows = iter(CsvRows(path))
    names = next(rows, [])
    places = [(column, _place(names, column)) for column in columns]
    for number, cells in enumerate(rows, 1):
        values = {}
        for column, place in places:
            try:
                values[column.name] = csv_columns.value_of(column, cells[place])
            except (ValueError, IndexError):
                found = repr(cells[place][:60]) if place < len(cells) else "a row without it"
                raise _bad_cell(column, number, found) from None
        yield values


def _arrow_values(path: Path, encoding: str, columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    there = list(arrow_columns.schema_of(path, encoding).names)
    names = [there[_place(there, column)] for column in columns]
    number = 0
    for batch in arrow_columns.batches(path, encoding, names):
        read = [arrow_columns.plain_values(column, batch.column(column.name)) for column in columns]
        for cells in zip(*read, strict=True) if read else repeat((), batch.num_rows):
            number += 1
            for column, cell in zip(columns, cells, strict=True):
                if isinstance(cell, arrow_columns.Unreadable):
                    raise _bad_cell(column, number, cell.words)
            yield dict(zip(names, cells, strict=True))


def _place(names: Sequence[str], column: Column) -> int:
    if column.name not in names:
        raise BadValue(expected=f"a column `{column.name}`", found=f"columns {', '.join(names)[:200]}")
    return names.index(column.name)


def _bad_cell(column: Column, number: int, found: str) -> BadValue:
    return BadValue(expected=column.words, found=f"column `{column.name}` row {number}: {found}")
