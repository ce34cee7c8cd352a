"""Named statements come from `.sql` files."""

from pathlib import Path

import pytest

from mwfs_chassis.postgres import load_queries


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A package with an empty folder of queries."""
    name = f"room_{request.node.name}"
    queries = tmp_path / name / "sql" / "queries"
    queries.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return name, queries


def test_statements_are_found_by_name_across_files(room: tuple[str, Path]) -> None:
    name, queries = room
    (queries / "runs.sql").write_text(
        "-- Runs.\n\n-- name: find_run\n-- One row or none.\nSELECT 1;\n\n-- name: all_runs\nSELECT 2;\n"
    )
    (queries / "nodes.sql").write_text("-- name: find_node\nSELECT 3\n")
    found = load_queries(name)
    assert dict(found) == {
        "find_run": "-- One row or none.\nSELECT 1;",
        "all_runs": "SELECT 2;",
        "find_node": "SELECT 3",
    }


def test_a_name_used_twice_is_refused(room: tuple[str, Path]) -> None:
    name, queries = room
    (queries / "a.sql").write_text("-- name: x\nSELECT 1")
    (queries / "b.sql").write_text("-- name: x\nSELECT 2")
    with pytest.raises(ValueError, match=r"b\.sql: the query 'x' is there twice"):
        load_queries(name)


def test_sql_without_a_name_is_refused(room: tuple[str, Path]) -> None:
    name, queries = room
    (queries / "a.sql").write_text("SELECT 1;\n-- name: x\nSELECT 2")
    with pytest.raises(ValueError, match="SQL before the first"):
        load_queries(name)
