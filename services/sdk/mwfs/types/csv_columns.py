"""CSV files: their rows, and whether the cells of a column are what a Row declares. Memory is bounded whatever is in the file."""

from __future__ import annotations

import csv
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mwfs.types.declared_columns import Column, Problems
from mwfs_types.errors import BadValue
from mwfs_types.moments import MOMENTS

#: Characters of one row, header included.
MAX_ROW = 16 << 20
#: Rows, cells and characters that are looked at together.
_CHUNK_ROWS = 8192
_CHUNK_CELLS = 1 << 20
_CHUNK_CHARACTERS = 4 << 20

_TRUTH = {"true": True, "false": False, "1": True, "0": False}


#: What Python's reader says, in words for who wrote the file.
_WORDS = {
    "unexpected end of data": "has a quote that is never closed",
    "',' expected after '\"'": 'has text after a closing quote (inside of a cell a quote is written "")',
}


class CsvRows:
    """Row after row, the header first; a blank line is no row. Raises csv.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Read so far.
        self.characters = 0

    def __iter__(self) -> Iterator[list[str]]:
        with self._path.open(newline="", encoding="utf-8-sig") as file:
            end = MAX_ROW

            def lines() -> Iterator[str]:
                # Quoted cells go over several lines, so it is the row that is bounded.
                while line := file.readline(end - self.characters + 1):
                    self.characters += len(line)
                    if self.characters > end:
                        raise csv.Error(f"a row has more than {MAX_ROW:,} characters")
                    yield line

            number = 0
            # Not strict, an open quote would take the rest of the file for one cell.
            rows = csv.reader(lines(), strict=True)
            while True:
                try:
                    row = next(rows, None)
                except UnicodeDecodeError as error:
                    found = f"the byte 0x{error.object[error.start]:02x} in line {_line_without_utf8(self._path)} is no UTF-8"
                    raise csv.Error(found) from None
                except csv.Error as error:
                    words = _WORDS.get(str(error))
                    place = f"row {number}" if number else "the header"
                    raise csv.Error(f"{place} {words}" if words else str(error)) from None
                if row is None:
                    return
                if row:
                    yield row
                    number += 1
                end = self.characters + MAX_ROW


def _line_without_utf8(path: Path) -> int:
    """The first one; text is read further ahead than its lines are given."""
    decoder = getincrementaldecoder("utf-8")()
    number = 1
    with path.open("rb") as file:
        while line := file.readline(1 << 16):
            try:
                decoder.decode(line)
            except UnicodeDecodeError:
                break
            number += line.endswith(b"\n")
    return number


def check_cells(path: Path, width: int, places: Sequence[tuple[Column, int]], problems: Problems) -> None:
    """Adds what is wrong with the cells of the columns, which stand at these places of `width`."""
    source = CsvRows(path)
    rows = iter(source)
    next(rows, None)
    most = max(1, min(_CHUNK_ROWS, _CHUNK_CELLS // max(width, 1)))
    first, kept, start = 1, list[list[str]](), source.characters
    while not problems.full:
        row = next(rows, None)
        if row is not None and len(row) != width:
            problems.add(f"row {first + len(kept)} of {len(row)} cells under a header of {width}")
            row = None
        if row is not None:
            kept.append(row)
            if len(kept) < most and source.characters - start < _CHUNK_CHARACTERS:
                continue
        known = problems.without_known([column for column, _ in places])
        for column, place in places:
            if column in known:
                _check_column(column, [cells[place] for cells in kept], first, problems)
        if row is None:
            return
        first, kept, start = first + len(kept), [], source.characters


def _check_column(column: Column, cells: list[str], first: int, problems: Problems) -> None:
    """The quick way for whole chunks of numbers and text; cell by cell only when that does not do."""
    if column.narrow is None:
        if column.kind == "str":
            return
        if column.kind in ("int", "float") and _all_numbers(column, cells):
            return
    for row, cell in enumerate(cells, first):
        try:
            value = value_of(column, cell)
        except ValueError:
            problems.add_cell(column, row, "nothing" if cell == "" else repr(cell[:60]))
            return
        expected = column.narrow(value) if column.narrow is not None and value is not None else ""
        if expected:
            problems.add_cell(column, row, repr(cell[:60]), expected)
            return


def _all_numbers(column: Column, cells: list[str]) -> bool:
    joined = "".join(cells)
    if "_" in joined or not joined.isascii():
        return False
    try:
        values = list(map(int if column.kind == "int" else float, cells))
    except ValueError:
        return False
    return column.kind == "float" or not values or (min(values) >= -(1 << 63) and max(values) < 1 << 63)


def value_of(column: Column, cell: str) -> Any:
    """The value of a cell: None for an empty one of an optional column, a member's name for an enum. Raises ValueError."""
    if cell == "" and column.optional:
        return None
    match column.kind:
        case "str" | "enum":
            return cell
        case "bool":
            try:
                return _TRUTH[cell.strip().lower()]
            except KeyError:
                raise ValueError(cell) from None
        case "int" | "float":
            # Python reads 1_000 and the digits of every script, which nothing else does.
            if "_" in cell or not cell.isascii():
                raise ValueError(cell)
            value = int(cell) if column.kind == "int" else float(cell)
            if column.kind == "int" and not -(1 << 63) <= value < 1 << 63:
                raise ValueError(cell)
            return value
        case name:
            try:
                return MOMENTS[name].parse(cell)
            except BadValue:
                raise ValueError(cell) from None
