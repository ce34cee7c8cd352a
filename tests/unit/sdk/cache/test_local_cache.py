"""Earlier results are taken when nothing that matters has changed, and a miss says what did."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs.cache.local_cache import CacheUnreadable, LocalCache
from mwfs.cache.misses import Entry, code_parts, explain_miss
from mwfs_types.cache_keys import key_parts

CALLS: Counter[str] = Counter()


@mwfs.operator(pure=True)
def cleaned(data: mwfs.Dataset) -> mwfs.Dataset:
    CALLS["cleaned"] += 1
    return mwfs.Dataset.from_rows([row for row in data.rows() if row["x"]])


@mwfs.operator(pure=True)
def counted(data: mwfs.Dataset, offset: int = 0) -> int:
    CALLS["counted"] += 1
    return sum(1 for _ in data.rows()) + offset


@mwfs.operator
def written(n: int) -> int:
    CALLS["written"] += 1
    return n


@mwfs.workflow
def count_rows(data: mwfs.Dataset, offset: int = 0) -> int:
    return written(counted(cleaned(data), offset))


@pytest.fixture
def cache(tmp_path: Path) -> LocalCache:
    CALLS.clear()
    return LocalCache(tmp_path / "cache")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("x,y\n1,2\n,3\n4,5\n")
    return path


def run(cache: LocalCache, **inputs: Any) -> tuple[int, list[str]]:
    """The result, and the operators whose earlier result was taken."""
    here = mwfs.LocalRun(cache=cache)
    result = here.run(count_rows, **inputs)
    return result, [node.name for node in here.nodes if node.cached]


def test_second_run_takes_the_results_of_pure_operators_and_calls_the_others(cache: LocalCache, data: Path) -> None:
    assert run(cache, data=data) == (2, [])
    assert run(cache, data=data) == (2, ["cleaned", "counted"])
    assert CALLS == {"cleaned": 1, "counted": 1, "written": 2}


def test_same_bytes_under_another_name_are_the_same_input(cache: LocalCache, data: Path, tmp_path: Path) -> None:
    run(cache, data=data)
    other = tmp_path / "other.csv"
    other.write_bytes(data.read_bytes())
    assert run(cache, data=other)[1] == ["cleaned", "counted"]


def test_changed_input_recomputes_what_depends_on_it(cache: LocalCache, data: Path) -> None:
    run(cache, data=data)
    assert run(cache, data=data, offset=1) == (3, ["cleaned"])


def test_lost_file_is_a_miss(cache: LocalCache, data: Path) -> None:
    run(cache, data=data)
    for path in (cache.folder / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    assert run(LocalCache(cache.folder), data=data) == (2, ["counted"])


def test_oldest_results_go_when_there_are_too_many_bytes(tmp_path: Path, data: Path) -> None:
    CALLS.clear()
    small = LocalCache(tmp_path / "small", max_bytes=1)
    run(small, data=data)
    assert small.count() == 0
    assert not [path for path in (small.folder / "files").rglob("*") if path.is_file()]


def test_file_that_is_no_cache_is_said(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(CacheUnreadable, match="Delete it"):
        LocalCache(tmp_path)


def test_clear_forgets_everything(cache: LocalCache, data: Path) -> None:
    run(cache, data=data)
    assert cache.clear() == 2
    assert run(cache, data=data) == (2, [])


def test_miss_names_the_part_that_changed(cache: LocalCache, data: Path) -> None:
    run(cache, data=data)
    dag = mwfs.compile(count_rows, data=data, offset=7).proto
    row = next(operator for operator in dag.operators if operator.qualname == "counted")
    (entry,) = cache.latest(f"{__name__}:counted")
    now = replace(entry, code=code_parts(row))
    parts = dict(entry.parts)
    assert explain_miss(row, now, [entry]) == ["An earlier result is there: it would be taken now."]
    other_input = replace(now, parts=parts | {"input:offset": "sha256:0"})
    assert explain_miss(row, other_input, [entry]) == ["The input `offset` has another value."]
    earlier_code = Entry(
        parts=parts | {"code": "sha256:1"}, code=dict(entry.code) | {f"{__name__}:counted": "sha256:2"}
    )
    assert explain_miss(row, now, [earlier_code]) == [f"The code changed: `{__name__}:counted`."]
    other = Entry(parts=parts | {"environment": "sha256:3"})
    assert "environment" in explain_miss(row, now, [other])[0]
    other = replace(other, environment={"numpy": "numpy 1.26.4", "python": "3.11"})
    now = replace(now, environment={"numpy": "numpy 2.0.1", "python": "3.11"})
    assert explain_miss(row, now, [other]) == ["The declared environment changed: numpy: numpy 1.26.4 → numpy 2.0.1."]
    assert explain_miss(row, now, []) == ["There is no earlier result of this operator."]


def test_operator_that_is_not_pure_says_so(cache: LocalCache, data: Path) -> None:
    dag = mwfs.compile(count_rows, data=data).proto
    row = next(operator for operator in dag.operators if operator.qualname == "written")
    parts = key_parts(row, dag.types, [dag.constants[0]])
    assert "pure=True" in explain_miss(row, Entry(parts=parts), [])[0]
