"""Dataset[Row] against real CSV, Parquet and Arrow files: what is taken, what is refused, and what the error says."""

import csv
import enum
import sys
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

import mwfs
from mwfs import Dataset
from mwfs.errors import InvalidInput, MwfsError, RunFailed
from mwfs.types import csv_columns
from mwfs_types.annotations import type_of
from mwfs_types.constraints import Range
from mwfs_types.errors import BadValue

FORMATS = ["csv", "parquet", "arrow"]


class Kind(enum.Enum):
    CAT = 1
    DOG = 2


class Pet(NamedTuple):
    name: str
    age: Annotated[int, Range(0, 40)]
    weight: float | None
    kind: Kind
    born: date
    tame: bool


@dataclass(frozen=True)
class Visit:
    at: datetime
    day: mwfs.DatePartition
    cost: float = 0.0


class Nested(NamedTuple):
    names: list[str]


PETS = [Pet("Tom", 3, 4.5, Kind.CAT, date(2023, 1, 2), True), Pet("Rex", 11, None, Kind.DOG, date(2015, 5, 6), False)]


def plain(pet: Pet) -> dict[str, Any]:
    return {**pet._asdict(), "kind": pet.kind.name}


def write(folder: Path, form: str, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
    path = folder / f"pets.{form}"
    if form == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif form == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    else:
        feather.write_feather(pa.Table.from_pylist(rows, schema=schema), path, compression="uncompressed")
    return path


def problem(path: Path, annotation: Any = Dataset[Pet]) -> str:
    """What is wrong with a file, or nothing."""
    try:
        Dataset(path).__mwfs_check__(type_of(annotation))
    except BadValue as error:
        return f"expected {error.expected}, found {error.found}"
    return ""


@mwfs.operator
def oldest(pets: Dataset[Pet]) -> str:
    return max(pets.records(), key=lambda pet: pet.age).name


@mwfs.operator
def cleaned(raw: Dataset) -> Dataset[Pet]:
    return raw


@mwfs.workflow
def of_file(pets: Dataset[Pet]) -> str:
    return oldest(pets)


@mwfs.workflow
def of_raw(raw: Dataset) -> str:
    return oldest(cleaned(raw))


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_with_the_declared_columns_is_taken_and_read_as_records(form: str, tmp_path: Path) -> None:
    path = write(tmp_path, form, [{"extra": 1, **plain(pet)} for pet in PETS])
    assert problem(path) == ""
    assert of_file.run_local(pets=path) == "Rex"
    assert of_raw.run_local(raw=path) == "Rex"
    dataset: Dataset[Pet] = Dataset(path)
    dataset.__mwfs_declared__(Dataset[Pet])
    assert list(dataset.records()) == PETS
    assert dataset.columns == ["extra", *Pet._fields]
    assert dataset.table().num_rows == len(dataset.read()) == len(list(dataset.rows())) == 2


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": 41}, "column `age` row 2: "),
        ({"age": -1}, "column `age` row 2: "),
        ({"kind": "COW"}, "column `kind` row 2: 'COW'"),
        ({"name": None}, None),
        ({"age": None}, "column `age` row 2: nothing is not Annotated[int, Range(minimum=0, maximum=40)]"),
        ({"born": None}, "column `born` row 2: nothing is not Date"),
    ],
)
def test_a_bad_cell_is_named_by_its_column_and_row(
    form: str, change: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    rows = [plain(PETS[0]), plain(PETS[1]) | change]
    found = problem(write(tmp_path, form, rows))
    # In a CSV an empty text is a text.
    message = message if message is not None else "" if form == "csv" else "column `name` row 2: nothing is not str"
    assert message in found
    assert bool(found) == bool(message)


@pytest.mark.parametrize("form", FORMATS)
def test_columns_that_are_missing_or_of_another_type_are_named_together(form: str, tmp_path: Path) -> None:
    rows = [{"nam": "Tom", "age": 1.5, "weight": "heavy", "kind": "CAT", "born": date(2020, 1, 1), "tame": True}]
    found = problem(write(tmp_path, form, rows))
    assert found.startswith(f"expected Dataset[Pet], found pets.{form} with no column `name` (but `nam`); column `age`")
    assert "column `weight`" in found


def test_whole_numbers_are_floats_but_not_the_other_way_and_times_have_a_zone(tmp_path: Path) -> None:
    schema = pa.schema(
        [("at", pa.timestamp("us", "UTC")), ("day", pa.dictionary(pa.int8(), pa.string())), ("cost", pa.int16())]
    )
    rows: list[dict[str, Any]] = [{"at": datetime(2026, 1, 1, tzinfo=UTC), "day": "2026-W01", "cost": 3}]
    path = write(tmp_path, "parquet", rows, schema)
    assert problem(path, Dataset[Visit]) == ""
    dataset: Dataset[Visit] = Dataset(path)
    dataset.__mwfs_declared__(Dataset[Visit])
    (visit,) = dataset.records()
    assert visit == Visit(datetime(2026, 1, 1, tzinfo=UTC), mwfs.DatePartition.parse("2026-W01"), 3.0)
    naive = write(tmp_path, "arrow", rows, schema.set(0, pa.field("at", pa.timestamp("us"))))
    assert "column `at` of type timestamp[us], which is not Timestamp" in problem(naive, Dataset[Visit])


def test_unsigned_numbers_beyond_64_bits_are_refused(tmp_path: Path) -> None:
    class Count(NamedTuple):
        n: int

    schema = pa.schema([("n", pa.uint64())])
    assert problem(write(tmp_path, "parquet", [{"n": 2**63 - 1}], schema), Dataset[Count]) == ""
    assert "column `n` row 1: 9223372036854775808" in problem(
        write(tmp_path, "parquet", [{"n": 2**63}], schema), Dataset[Count]
    )
    assert "column `n` row 1" in problem(write(tmp_path, "csv", [{"n": 2**63}]), Dataset[Count])


class Pair(NamedTuple):
    a: int
    b: float


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", ""),
        (b"\xef\xbb\xbfa,b\r\n1,2e3\r\n\r\n", ""),
        (b"a,b\n", ""),
        (b"", "no column `a`; no column `b`"),
        (b"a, b\n1,2\n", "no column `b` (but ` b`)"),
        (b"a,b\n1\n", "row 1 of 1 cells under a header of 2"),
        (b"a,b\n1,2,3\n", "row 1 of 3 cells under a header of 2"),
        (b"a,b,a\n1,2,3\n", "two columns `a`"),
        (b"a,b\n1_0,2\n", "column `a` row 1: '1_0' is not int"),
        (b"a,b\n1,\n", "column `b` row 1: nothing is not float"),
        (b"a,b\n1.0,2\n", "column `a` row 1: '1.0' is not int"),
        (b"a,b\n1,\xff\n", "data.csv: the byte 0xff in line 2 is no UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "the byte 0xff in line 1 is no UTF-8"),
        (b"a,b,c\n1,2,3\n" * 5000 + b"1,2,\xe9\n", "the byte 0xe9 in line 10001 is no UTF-8"),
        (b'a,b\n1,2\n1,"2\n1,2\n', "row 2 has a quote that is never closed"),
        (b'a,"b\n1,2\n', "the header has a quote that is never closed"),
        (b'a,b\n"1"0,2\n', "row 1 has text after a closing quote"),
        (b'a,b\n"1,2\n' + b"x" * 200_000, "expected a CSV in UTF-8"),
        (b"a,b\n1,2\0\n", "b"),
        (b"a" * (17 << 20), "a row has more than 16,777,216 characters"),
        (b"a,b\n" + b'"\n",' * 4_500_000, "a row has more than 16,777,216 characters"),
        (b"a,b\n" + b"," * 4_000_000 + b"\n", "row 1 of 4000001 cells under a header of 2"),
        (b"a,b" + b"," * 100_000, "expected at most 100,000 columns, found data.csv with 100,002"),
        (b"\0\x01\x02\xfe\xff" * 1000, "expected a CSV in UTF-8"),
        ("a,b\n٣,2\n".encode(), "column `a` row 1: '٣' is not int"),
        (b"A,b\n1,2\n", "no column `a` (but `A`)"),
        (b"a\tb\n1\t2\n", "no column `a`; no column `b`"),
    ],
)
def test_csv_files_of_all_kinds(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    found = problem(path, Dataset[Pair])
    assert message in found
    assert bool(found) == bool(message)


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (b"", "It has no header. Correct the file"),
        (b"a;b\n1;2\n", "Its header is one column, 'a;b': separate the cells by commas."),
        (b"a,b\n1,\xe9\n", "Save it as a CSV in UTF-8."),
    ],
)
def test_what_to_do_about_a_csv(content: bytes, fix: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(BadValue) as refused:
        Dataset(path).__mwfs_check__(type_of(Dataset[Pair]))
    assert fix in refused.value.fix


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"ARROW1\0\0", b"PAR1" + b"\xff" * 100 + b"PAR1", b"a,b\n1,2\n"])
def test_files_that_are_not_what_their_name_says(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(content)
    words = {"parquet": "a Parquet file", "arrow": "an Arrow file"}[suffix]
    assert f"expected {words}, found data.{suffix}: " in problem(path, Dataset[Pair])


def test_an_arrow_stream_is_no_file_and_the_error_says_what_is(tmp_path: Path) -> None:
    table = pa.table({"a": [1], "b": [1.0]})
    path = tmp_path / "data.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(BadValue, match=r"data\.arrow: Not an Arrow file\. Write it by pyarrow\.feather\.write_feather"):
        Dataset(path).__mwfs_check__(type_of(Dataset[Pair]))


class Texts(NamedTuple):
    text: str
    more: str | None = None


def arrow_of(path: Path, batch: pa.RecordBatch) -> Path:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return path


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_text_that_is_no_utf8_is_refused_in_every_format(form: str, tmp_path: Path) -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    bad = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    table = pa.table({"text": ["a", "b"], "more": bad})
    path = tmp_path / f"bad.{form}"
    if form == "parquet":
        parquet.write_table(table, path)
    else:
        arrow_of(path, table.to_batches()[0])
    assert "Invalid UTF8 sequence" in problem(path, Dataset[Texts])


def test_an_arrow_file_that_points_outside_of_itself_is_refused(tmp_path: Path) -> None:
    path = arrow_of(tmp_path / "data.arrow", pa.record_batch({"text": ["a", "b"], "more": ["c", "d"]}))
    content = path.read_bytes()
    offsets = b"\0\0\0\0\1\0\0\0\2\0\0\0"
    assert content.count(offsets) == 2
    path.write_bytes(content.replace(offsets, offsets[:-4] + b"\xff\xff\xff\x7f"))
    assert "expected an Arrow file, found data.arrow: " in problem(path, Dataset[Texts])
    dataset: Dataset[Texts] = Dataset(path)
    dataset.__mwfs_declared__(Dataset[Texts])
    for read in (dataset.records, dataset.rows, dataset.table):
        with pytest.raises(BadValue, match="expected an Arrow file"):
            list(read())


def test_nothing_inside_a_dictionary_is_nothing(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["x", None]))
    path = arrow_of(tmp_path / "data.arrow", pa.record_batch({"text": texts, "more": texts}))
    assert "found data.arrow with column `text` row 2: nothing is not str." in problem(path, Dataset[Texts]) + "."


class When(NamedTuple):
    day: date | None
    at: datetime | None
    part: mwfs.DatePartition | None


def test_dates_that_python_cannot_hold_are_named(tmp_path: Path) -> None:
    late = pa.table(
        {
            "day": pa.array([0, 9_000_000], pa.int32()).cast(pa.date32()),
            "at": pa.array([0, 1 << 50], pa.int64()).cast(pa.timestamp("s", "UTC")),
            "part": ["2026-W01", "2026-W99"],
        }
    )
    parquet.write_table(late, tmp_path / "late.parquet")
    found = problem(tmp_path / "late.parquet", Dataset[When])
    assert "column `day` row 2: a date32[day] that Python cannot hold" in found
    assert "column `at` row 2: a timestamp[" in found
    assert "column `part` row 2: '2026-W99'" in found


def test_times_are_read_in_utc_to_the_microsecond(tmp_path: Path) -> None:
    nanoseconds = pa.array([1_001, None], pa.int64()).cast(pa.timestamp("ns", "Asia/Tokyo"))
    table = pa.table({"day": [date(2026, 1, 1), None], "at": nanoseconds, "part": ["2026-W01", None]})
    parquet.write_table(table, tmp_path / "fine.parquet")
    dataset: Dataset[When] = Dataset(tmp_path / "fine.parquet")
    assert problem(dataset.path, Dataset[When]) == ""
    dataset.__mwfs_declared__(Dataset[When])
    at = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert list(dataset.records()) == [
        When(date(2026, 1, 1), at, mwfs.DatePartition.parse("2026-W01")),
        When(None, None, None),
    ]


def test_rows_are_numbered_whatever_is_looked_at_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n" + "".join(f"{number},{number}\n\n" for number in range(50)) + "x,1\n1,y\n")
    found = problem(path, Dataset[Pair])
    assert "column `a` row 51: 'x' is not int; column `b` row 52: 'y' is not float" in found
    monkeypatch.setattr(csv_columns, "_CHUNK_CELLS", 14)
    assert problem(path, Dataset[Pair]) == found
    monkeypatch.setattr(csv_columns, "_CHUNK_CHARACTERS", 5)
    assert problem(path, Dataset[Pair]) == found


def test_a_wide_csv_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("a,b" + ",c" * 1000 + "\n" + ("1,2" + ",3" * 1000 + "\n") * 8000)
    tracemalloc.start()
    try:
        assert problem(path, Dataset[Pair]) == ""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20  # all rows at once are 64 MiB of pointers alone


def test_a_thousand_missing_columns_and_a_huge_type_are_told_briefly(tmp_path: Path) -> None:
    wide: Any = NamedTuple("Wide", [(f"column_{number}", int) for number in range(1000)])  # type: ignore[misc]
    path = write(tmp_path, "csv", [{f"colum_{number}": number for number in range(2000)}])
    found = problem(path, Dataset[wide])
    assert found.count("no column") == 5
    assert "; and more" in found
    nested = pa.struct([(f"field_{number}", pa.int64()) for number in range(5000)])
    table = pa.table({"a": pa.array([], nested), "b": pa.array([], pa.float32())})
    parquet.write_table(table, tmp_path / "nested.parquet")
    found = problem(tmp_path / "nested.parquet", Dataset[Pair])
    assert len(found) < 300
    assert "…, which is not int" in found


class Shape(TypedDict):
    sides: Annotated[int, Range(3, 8)]
    name: NotRequired[str]


def test_rows_may_be_typed_dicts(tmp_path: Path) -> None:
    path = tmp_path / "shapes.csv"
    path.write_text("name,sides\nsquare,4\n,3\n")
    dataset: Dataset[Shape] = Dataset(path)
    assert problem(path, Dataset[Shape]) == ""
    dataset.__mwfs_declared__(Dataset[Shape])
    assert list(dataset.records()) == [{"name": "square", "sides": 4}, {"sides": 3}]
    path.write_text("name,sides\nline,2\n")
    assert "column `sides` row 1: '2' is not" in problem(path, Dataset[Shape])


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "parquet", [plain(PETS[0])])
    csv_path = write(tmp_path, "csv", [plain(PETS[0])])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"Input `pets` of workflow `of_file` .* pip install 'mwfs\[arrow\]'"):
        of_file.run_local(pets=path)
    with pytest.raises(MwfsError, match=r"need pyarrow\. Install it"):
        Dataset(path).table()
    assert of_file.run_local(pets=csv_path) == "Tom"


def test_a_file_that_is_not_there_is_said_as_for_other_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`of_file` expects a file, found .*none\.csv, which is not there"):
        of_file.run_local(pets=tmp_path / "none.csv")


def test_records_of_a_file_that_does_not_fit_name_the_row(tmp_path: Path) -> None:
    for form in FORMATS:
        dataset: Dataset[Pet] = Dataset(write(tmp_path, form, [plain(PETS[0]), plain(PETS[1]) | {"age": 99}]))
        dataset.__mwfs_declared__(Dataset[Pet])
        with pytest.raises(BadValue, match=rf"pets\.{form} row 2\.age: .*found 99"):
            list(dataset.records())
        dataset.__mwfs_declared__(Dataset[Texts])
        with pytest.raises(BadValue, match="expected a column `text`"):
            list(dataset.records())


def test_a_field_that_no_column_can_hold_is_said(tmp_path: Path) -> None:
    assert "Nested.names of type list[str]" in problem(write(tmp_path, "csv", [{"names": "a"}]), Dataset[Nested])


def test_the_error_is_that_of_the_input_or_of_the_operator(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", [plain(PETS[0]) | {"age": "old"}])
    with pytest.raises(InvalidInput) as refused:
        of_file.run_local(pets=path)
    assert (
        "Input `pets` of workflow `of_file` expects Dataset[Pet], found pets.csv with column `age` row 1: 'old'"
        in str(refused.value)
    )
    with pytest.raises(RunFailed) as failed:
        of_raw.run_local(raw=path)
    assert "column `age` row 1: 'old' is not" in failed.value.failure.message


def test_records_need_to_know_their_rows(tmp_path: Path) -> None:
    with pytest.raises(MwfsError, match=r"Declare the parameter as Dataset\[Row\]"):
        Dataset(write(tmp_path, "csv", [{"a": 1}])).records()


def test_a_table_becomes_a_dataset() -> None:
    dataset = Dataset.from_table(pa.table({"a": [1], "b": [0.5]}))
    assert (dataset.encoding, dataset.columns, list(dataset.rows())) == ("parquet", ["a", "b"], [{"a": 1, "b": 0.5}])


ROWS = st.lists(
    st.builds(
        Pet,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.integers(0, 40),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(Kind),
        st.dates(date(1000, 1, 1)),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@given(st.lists(st.sampled_from(PETS), min_size=1, max_size=4))
def test_objects_of_a_row_become_a_dataset_of_it(pets: list[Pet]) -> None:
    dataset = Dataset.from_rows(pets)
    dataset.__mwfs_check__(type_of(Dataset[Pet]))
    dataset.__mwfs_declared__(Dataset[Pet])
    assert list(dataset.records()) == pets


def test_dates_and_times_of_objects_are_written_as_they_are_read() -> None:
    visits = [Visit(datetime(2026, 1, 1, tzinfo=UTC), mwfs.DatePartition.parse("2026-W01"), 0.1)]
    dataset = Dataset.from_rows(visits)
    dataset.__mwfs_check__(type_of(Dataset[Visit]))
    dataset.__mwfs_declared__(Dataset[Visit])
    assert list(dataset.records()) == visits


@pytest.mark.parametrize("form", FORMATS)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pets=ROWS)
def test_rows_come_back_equal(form: str, pets: list[Pet], tmp_path: Path) -> None:
    path = write(tmp_path, form, [plain(pet) for pet in pets], None if form == "csv" else SCHEMA)
    assert problem(path) == ""
    dataset: Dataset[Pet] = Dataset(path)
    dataset.__mwfs_declared__(Dataset[Pet])
    assert list(dataset.records()) == pets


SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("age", pa.int8()),
        ("weight", pa.float64()),
        ("kind", pa.string()),
        ("born", pa.date32()),
        ("tame", pa.bool_()),
    ]
)
