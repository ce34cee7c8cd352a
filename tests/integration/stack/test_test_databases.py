"""The databases that tests get."""

from collections.abc import Callable

import asyncpg


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
