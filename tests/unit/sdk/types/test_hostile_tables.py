"""Files of rows that nobody meant to write: the check and the reading agree on them, and nothing but BadValue comes out."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from mwfs import Dataset
from mwfs_types.annotations import type_of
from mwfs_types.errors import BadValue


class Pair(NamedTuple):
    a: int
    b: float | None


class Many(NamedTuple):
    a: int
    b: float | None
    text: str
    day: date
    at: datetime
    kind: str
    flag: bool


TABLE = pa.table(
    {
        "a": pa.array(range(10), pa.uint64()),
        "b": pa.array([1.5, None] * 5),
        "text": [f"text {number}" for number in range(10)],
        "day": [date(2026, 1, 1)] * 10,
        "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 10, pa.timestamp("ns", "UTC")),
        "kind": pa.array(["x", "y"] * 5).dictionary_encode(),
        "flag": [True, False] * 5,
        "more": [[1, 2], None] * 5,
    }
)
SLOW = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcomes(path: Path, row: Any) -> dict[str, bool]:
    """Whether each way to use the file took it. Anything but BadValue comes through."""
    dataset: Dataset[Any] = Dataset(path)
    ways: dict[str, Callable[[], object]] = {
        "rows": lambda: list(dataset.rows()),
        "columns": lambda: dataset.columns,
        "check": lambda: dataset.__mwfs_check__(type_of(Dataset[row])),
    }
    found = {}
    for name, use in ways.items():
        found[name] = taken(use)
    dataset.__mwfs_declared__(Dataset[row])
    found["records"] = taken(lambda: list(dataset.records()))
    return found


def taken(use: Callable[[], object]) -> bool:
    try:
        use()
    except BadValue:
        return False
    return True


@SLOW
@given(body=st.binary(max_size=40) | st.text('ab,"\n\r 01.-_e٣\0\ufeff', max_size=40).map(str.encode))
@example(body=b'"')
@example(body=b"\r\r\n")
@example(body=b"1,\n")
@example(body=b'1,"')
@example(body=b"\xff")
def test_a_csv_that_the_check_takes_can_be_read(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,b\n" + body)
    found = outcomes(path, Pair)
    if found["check"]:
        assert found == dict.fromkeys(found, True)
    path.write_bytes(body)
    outcomes(path, Pair)


@pytest.fixture(scope="module", params=["parquet", "arrow", "arrow lz4", "arrow zstd"])
def table_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """Suffix and bytes of a good file."""
    suffix, _, compression = request.param.partition(" ")
    path = tmp_path_factory.mktemp("good") / f"data.{suffix}"
    if suffix == "parquet":
        parquet.write_table(TABLE, path)
    else:
        options = pa.ipc.IpcWriteOptions(compression=compression or None)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, TABLE.schema, options=options) as writer:
            writer.write_table(TABLE)
    assert outcomes(path, Many) == dict.fromkeys(("rows", "columns", "check", "records"), True)
    return suffix, path.read_bytes()


CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 8),
        st.sampled_from([b"", b"\0", b"\xff", b"\x7f", b"\xff\xff\xff\x7f", b"\0\0\0\0"]) | st.binary(max_size=8),
    ),
    min_size=1,
    max_size=6,
)


@SLOW
@given(changes=CHANGES)
def test_a_damaged_table_that_the_check_takes_can_be_read(
    table_file: tuple[str, bytes], changes: list[tuple[float, int, bytes]], tmp_path: Path
) -> None:
    suffix, content = table_file
    damaged = bytearray(content)
    for place, length, instead in changes:
        start = int(place * len(damaged))
        damaged[start : start + length] = instead
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(damaged)
    found = outcomes(path, Many)
    if found["check"]:
        assert found["records"]
        assert found["columns"]


def test_a_name_of_a_column_that_is_no_utf_8_is_bad(table_file: tuple[str, bytes], tmp_path: Path) -> None:
    suffix, content = table_file
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(content.replace(b"more", b"\x80ore"))
    assert not any(outcomes(path, Many).values())
