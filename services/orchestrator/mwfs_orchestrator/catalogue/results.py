"""What cached operators gave in earlier runs, as rows of the catalogue."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from mwfs_chassis.postgres import load_queries

_PREFIX: Final = "sha256:"
#: (team, key); a key is "sha256:…".
ResultKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One entry."""

    team: str
    key: str
    #: `module:qualname`.
    operator: str
    parts: Mapping[str, str]
    #: A serialised ListValue.
    outputs: bytes
    #: Digests of the artifacts among the outputs.
    artifacts: Sequence[str]
    run_id: UUID
    node: int
    create_us: int
    used_us: int


class ResultStore:
    """Needs a pool on the catalogue database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load_queries(__package__)

    async def keep(self, results: Sequence[Result], now_us: int) -> None:
        """Writes entries; those whose key is known are left out."""
        unique = {(result.team, result.key): result for result in results}.values()
        await self._pool.execute(
            self._sql["keep_results"],
            [result.team for result in unique],
            [_packed(result.key) for result in unique],
            [result.operator for result in unique],
            [json.dumps(dict(result.parts)) for result in unique],
            [result.outputs for result in unique],
            [json.dumps(list(result.artifacts)) for result in unique],
            [result.run_id for result in unique],
            [result.node for result in unique],
            now_us,
        )

    async def find(self, keys: Sequence[ResultKey]) -> dict[ResultKey, Result]:
        """The entries that there are."""
        unique = list(dict.fromkeys(keys))
        rows = await self._pool.fetch(
            self._sql["find_results"], [team for team, _ in unique], [_packed(key) for _, key in unique]
        )
        return {(result.team, result.key): result for result in map(_result, rows)}

    async def use(self, keys: Sequence[ResultKey], now_us: int) -> None:
        await self._pool.execute(
            self._sql["use_results"], [team for team, _ in keys], [_packed(key) for _, key in keys], now_us
        )

    async def forget(self, results: Sequence[Result]) -> None:
        """Removes these very entries."""
        await self._pool.execute(
            self._sql["forget_results"],
            [result.team for result in results],
            [_packed(result.key) for result in results],
            [result.create_us for result in results],
        )

    async def newest(self, team: str, operator: str, limit: int) -> list[Result]:
        """Without outputs."""
        return [_result(row) for row in await self._pool.fetch(self._sql["list_results"], team, operator, limit)]

    async def trim(self, before_us: int, limit: int) -> int:
        """Removes up to `limit` entries that were last used before; how many."""
        status: str = await self._pool.execute(self._sql["trim_results"], before_us, limit)
        return int(status.rpartition(" ")[2])


def _packed(key: str) -> bytes:
    return bytes.fromhex(key.removeprefix(_PREFIX))


def _result(row: Mapping[str, Any]) -> Result:
    known = dict(row)
    return Result(**{**known, "key": _PREFIX + row["key"].hex(), "parts": json.loads(row["parts"])})
