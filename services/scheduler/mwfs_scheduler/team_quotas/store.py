"""Quotas and their history as rows of the catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import asyncpg

from mwfs_chassis.errors import Aborted, AlreadyExists
from mwfs_chassis.postgres import is_cut
from mwfs_scheduler.quotas import Quotas, TeamQuota, shown_weight
from mwfs_scheduler.team_quotas.changes import Change, Revision

CHANNEL: Final = "mwfs_quotas"


class QuotaStore:
    """Needs a pool on the catalogue with one connection more than is busy: one may listen."""

    def __init__(self, pool: asyncpg.Pool, queries: Mapping[str, str]) -> None:
        self._pool = pool
        self._queries = queries

    async def version(self) -> int:
        """The newest version."""
        found: int = await self._pool.fetchval(self._queries["quota_version"])
        return found

    async def read(self) -> Quotas:
        """All quotas as they are in the newest version."""
        rows = await self._pool.fetch(self._queries["read_quotas"])
        teams = tuple(
            TeamQuota(
                team=row["team"],
                parent=row["parent"],
                weight=Fraction(row["weight"]),
                guaranteed=_loaded(row["guaranteed"]),
                burst=_loaded(row["burst"]),
            )
            for row in rows
            if row["team"] is not None
        )
        return Quotas(version=rows[0]["version"], teams=teams)

    async def version_of_request(self, request_id: str, digest: bytes) -> int | None:
        """The version that the request made when it came before. Raises AlreadyExists when that was another request."""
        row = await self._pool.fetchrow(self._queries["revision_of_request"], request_id)
        if row is None:
            return None
        if row["request_digest"] != digest:
            raise AlreadyExists(
                f"The request {request_id!r} was another change of quotas.", "Choose an id of its own for each change."
            )
        version: int = row["version"]
        return version

    async def save(
        self, base: int, changes: Sequence[Change], *, request_id: str, digest: bytes, principal: str, reason: str
    ) -> int:
        """Writes a change that was made against the version `base`; the new version. Raises Aborted when another was first."""
        gone = [change.team for change in changes if change.new is None]
        put = [change.new for change in changes if change.new is not None]
        async with self._pool.acquire() as connection, connection.transaction():
            version: int | None = await connection.fetchval(
                self._queries["begin_revision"], base, request_id, digest, principal, reason
            )
            if version is None:
                raise conflict(base)
            await connection.execute(
                self._queries["note_changes"],
                version,
                [change.team for change in changes],
                [_document(change.old) for change in changes],
                [_document(change.new) for change in changes],
            )
            await connection.execute(self._queries["remove_quotas"], gone)
            await connection.execute(
                self._queries["put_quotas"],
                [quota.team for quota in put],
                [quota.parent for quota in put],
                [Decimal(quota.weight.numerator) / quota.weight.denominator for quota in put],
                [_dumped(quota.guaranteed) for quota in put],
                [_dumped(quota.burst) for quota in put],
            )
            await connection.execute(self._queries["tell_of_quotas"], str(version))
        return version

    async def history(self, *, before: int, team: str, limit: int) -> list[Revision]:
        """Revisions before a version, newest first; with a team those that concern it, and only what concerns it."""
        rows = await self._pool.fetch(self._queries["list_revisions"], before, team, limit)
        changes: dict[int, list[Change]] = {row["version"]: [] for row in rows}
        for row in await self._pool.fetch(self._queries["changes_of_revisions"], list(changes), team):
            changes[row["version"]].append(
                Change(team=row["team"], old=_quota(row["team"], row["old"]), new=_quota(row["team"], row["new"]))
            )
        return [
            Revision(
                version=row["version"],
                time=row["change_time"],
                principal=row["principal"],
                reason=row["reason"],
                changes=tuple(changes[row["version"]]),
            )
            for row in rows
        ]

    async def listen(self, heard: Callable[[], None]) -> asyncpg.pool.PoolConnectionProxy:
        """A connection of the pool on which `heard` is called after each change, and when it is cut. The caller gives it to `unlisten`."""
        connection = await self._pool.acquire()
        try:
            await connection.add_listener(CHANNEL, lambda *_: heard())
            connection.add_termination_listener(lambda *_: heard())
        except BaseException:
            await self.unlisten(connection)
            raise
        return connection

    async def unlisten(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        """The connection is not used again."""
        if not is_cut(connection):
            connection.terminate()
        await self._pool.release(connection)


def conflict(base: int) -> Aborted:
    """What whoever comes second is told."""
    return Aborted(
        f"The quotas have changed since version {base}, which this change was made against.",
        "Read them again (`mwfs quotas history` tells who changed what), then repeat the change.",
    )


def _loaded(text: str | None) -> dict[str, int] | None:
    return None if text is None else dict(json.loads(text))


def _dumped(amounts: Mapping[str, int] | None) -> str | None:
    return None if amounts is None else json.dumps(dict(amounts), sort_keys=True)


def _document(quota: TeamQuota | None) -> str | None:
    if quota is None:
        return None
    document: dict[str, Any] = {"weight": shown_weight(quota.weight)}
    for name in ("parent", "guaranteed", "burst"):
        if (value := getattr(quota, name)) is not None:
            document[name] = value
    return json.dumps(document, sort_keys=True)


def _quota(team: str, text: str | None) -> TeamQuota | None:
    if text is None:
        return None
    document = json.loads(text)
    return TeamQuota(
        team=team,
        parent=document.get("parent"),
        weight=Fraction(document["weight"]),
        guaranteed=document.get("guaranteed"),
        burst=document.get("burst"),
    )
