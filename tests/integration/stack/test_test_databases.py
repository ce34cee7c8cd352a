"""The databases that tests get, and where their files are."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from fixtures import memory


async def test_each_test_gets_databases_of_its_own(databases: Callable[[int], list[str]]) -> None:
    first, second = databases(2)
    connection = await asyncpg.connect(first)
    await connection.execute("CREATE TABLE only_in_first ()")
    await connection.close()
    connection = await asyncpg.connect(second)
    assert await connection.fetchval("SELECT to_regclass('only_in_first')") is None
    await connection.close()


async def test_a_database_left_in_use_is_dropped_all_the_same(database: str) -> None:
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT 1") == 1
    connection.terminate()


@pytest.fixture
def memory_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A machine on which nobody has chosen a place, with so much room in memory."""

    def having(room_bytes: int, flags: int = 0) -> None:
        there = SimpleNamespace(f_flag=flags, f_bavail=room_bytes // 4096, f_frsize=4096)
        monkeypatch.setattr(os, "statvfs", lambda path: there)

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(memory, "MEMORY", tmp_path)
    return having


def test_files_are_kept_in_memory_in_a_folder_that_the_database_user_can_enter(
    memory_of: Callable[..., None], tmp_path: Path
):
    memory_of(8 << 30)
    folder = memory.folder_in_memory()
    assert folder is not None
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o711


def test_files_are_kept_elsewhere_where_memory_is_small_or_no_program_may_run_there_or_a_place_is_chosen(
    memory_of: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    memory_of(64 << 20)
    assert memory.folder_in_memory() is None
    memory_of(8 << 30, os.ST_NOEXEC)
    assert memory.folder_in_memory() is None
    memory_of(8 << 30)
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert memory.folder_in_memory() is None
