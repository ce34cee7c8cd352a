"""The table "What may be given where" of the README, row by row against the code."""

from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from builders.annotated import Box, Labelled, Pair, Setting

from mwfs.types import Dataset, File
from mwfs_types.annotations import type_of
from mwfs_types.assignability import is_assignable
from mwfs_types.constraints import Range, Unit

README = Path(__file__).parents[3] / "services/sdk/mwfs_types/README.md"


class Row(NamedTuple):
    depth: int


class Wide(NamedTuple):
    depth: float


def changed(fields: dict[str, Any]) -> Any:
    """The same record class, after somebody has edited it."""
    made = NamedTuple("Row", list(fields.items()))  # type: ignore[misc]
    made.__module__, made.__qualname__ = Row.__module__, Row.__qualname__
    return made


class Few(Enum):
    A = 1


Many = Enum("Few", {"A": 1, "B": 2}, module=Few.__module__, qualname=Few.__qualname__)


def versioned(version: int, reads: tuple[int, ...] = ()) -> type:
    return type("Point", (), {"__mwfs_semantic__": ("Point", version), "__mwfs_reads__": dict.fromkeys(reads)})


Fits = tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]
#: Source and target of a row → pairs that fit, and pairs that do not.
ROWS: dict[tuple[str, str], Fits] = {
    ("T", "T"): ([(int, int), (Row, Row), (date, date), (Dataset, Dataset)], []),
    ("`int`", "`float`"): ([(int, float)], []),
    ("`float`", "`int`"): ([], [(float, int)]),
    ("`bool`", "`int`, `float`; and back"): ([], [(bool, int), (bool, float), (int, bool), (float, bool)]),
    ("`str`", "an enum, `bytes`, a date or time; and back"): (
        [],
        [(str, Few), (Few, str), (str, bytes), (bytes, str), (str, date), (date, str), (datetime, str)],
    ),
    ("`date`", "`datetime`; and back"): ([], [(date, datetime), (datetime, date)]),
    ("`None`, T", "`T \\| None`"): ([(None, int | None), (int, int | None), (int, float | None)], []),
    ("`T \\| None`", "T"): ([], [(int | None, int)]),
    ("T", "`A \\| B`"): ([(int, int | bytes), (int, float | str)], [(bool, int | str)]),
    ("`A \\| B`", "T"): ([(int | float, float)], [(int | str, float)]),
    ("`list[T]`", "`list[U]`"): ([(list[int], list[float])], [(list[float], list[int])]),
    ("`dict[str, T]`", "`dict[str, U]`"): ([(dict[str, int], dict[str, float])], [(dict[str, str], dict[str, int])]),
    ("`tuple[T, …]`", "`tuple[U, …]`"): (
        [(tuple[int, str], tuple[float, str])],
        [(tuple[int], tuple[int, int]), (tuple[str, int], tuple[int, str]), (tuple[int, int], list[int])],
    ),
    ("record", "record"): (
        [(Row, Row), (Row, changed({"depth": float}))],
        [(Row, Wide), (Row, changed({"other": int})), (Row, changed({"depth": int, "more": int}))],
    ),
    ("`Pair[A]`, a generic record", "`Pair[B]`"): (
        [(Box[int], Box[int]), (Box[list[Row]], Box[list[Row]])],
        [(Box[int], Box[float]), (Box[int], Row), (Box[int], Pair[int, int])],
    ),
    ("`dict[str, T]`", "a TypedDict; and back"): (
        [],
        [(dict[str, str], Labelled), (Labelled, dict[str, str]), (dict[str, int], Setting)],
    ),
    ("enum", "enum"): ([(Few, Many)], [(Many, Few)]),
    ("`Dataset[A]`", "`Dataset`"): ([(Dataset[Row], Dataset)], []),
    ("`Dataset`", "`Dataset[A]`"): ([], [(Dataset, Dataset[Row])]),
    ("`Dataset[A]`", "`Dataset[B]`"): (
        [(Dataset[Row], Dataset[Row])],
        [(Dataset[Row], Dataset[Wide]), (Dataset[int], Dataset[float])],
    ),
    ("semantic type", "another name"): ([], [(File, Dataset), (Dataset, File)]),
    ("older version", "newer version"): (
        [(versioned(1), versioned(3, (1, 2))), (versioned(2), versioned(3, (1, 2)))],
        [(versioned(1), versioned(2)), (versioned(1), versioned(3, (2,)))],
    ),
    ("newer version", "older version"): ([], [(versioned(2), versioned(1)), (versioned(3, (2,)), versioned(2))]),
    ("not narrowed", "narrowed by `Annotated` or `Literal`"): (
        [(int, Annotated[int, Range(1, 3)]), (str, Literal["a"])],
        [],
    ),
    ("narrowed", "narrowed otherwise"): (
        [(Annotated[int, Range(1, 3)], Annotated[int, Range(2, 9)]), (Literal["a", "b"], Literal["b", "c"])],
        [
            (Annotated[int, Range(1, 3)], Annotated[int, Range(4, 9)]),
            (Literal["a"], Literal["b"]),
            (Annotated[float, Unit("s")], Annotated[float, Unit("ms")]),
        ],
    ),
}


def rows_of_the_readme() -> list[tuple[str, str]]:
    lines = README.read_text().splitlines()
    start = lines.index("| source | target | fits |") + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        source, target, _ = (cell.strip() for cell in line.strip("|").replace("\\|", "\0").split("|"))
        rows.append((source.replace("\0", "\\|"), target.replace("\0", "\\|")))
    return rows


def test_the_table_has_these_rows() -> None:
    assert rows_of_the_readme() == list(ROWS)


@pytest.mark.parametrize(("row", "verdict"), [(row, verdict) for row in ROWS for verdict in (True, False)])
def test_the_code_does_what_the_row_says(row: tuple[str, str], verdict: bool) -> None:
    for source, target in ROWS[row][0 if verdict else 1]:
        assert is_assignable(type_of(source), type_of(target)) is verdict, (source, target)


@pytest.mark.parametrize("make", [versioned, lambda version: versioned(version, (1,) if version > 1 else ())])
def test_a_version_fits_itself(make: Callable[[int], type]) -> None:
    for version in (1, 2, 7):
        assert is_assignable(type_of(make(version)), type_of(make(version)))
