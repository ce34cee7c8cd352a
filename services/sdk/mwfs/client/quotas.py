"""Who is promised how much of the cluster, for those who run the platform."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from mwfs.client.connection import Patience
from mwfs.errors import Unavailable
from mwfs_api.scheduler.v1 import quotas_pb2 as pb

if TYPE_CHECKING:
    from mwfs.client.connection import Connection, QuotaCalls


class QuotaClient:
    """A change names the version that it was made against, and has an id by which it is safe to repeat."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _service(self) -> QuotaCalls:
        return self._connection.quotas

    async def teams(self, team: str = "") -> pb.ListTeamsResponse:
        """All teams with what they are promised and use, in one answer; or one team.

        Raises NotFound, Unavailable (also when the quotas changed while they were read).
        """
        request = pb.ListTeamsRequest(team=team)
        found = response = await self._service.call(self._service.stub.ListTeams, request)
        while response.next_page_token:
            request.page_token = response.next_page_token
            response = await self._service.call(self._service.stub.ListTeams, request)
            found.teams.extend(response.teams)
        found.next_page_token = ""
        return found

    async def change(
        self,
        base_version: int,
        *,
        set: Iterable[pb.TeamQuota] = (),
        removed: Iterable[str] = (),
        reason: str = "",
        dry_run: bool = False,
    ) -> pb.ChangeQuotasResponse:
        """All of it or nothing. Raises Rejected, and Unavailable when the quotas have another version by now."""
        request = pb.ChangeQuotasRequest(
            request_id=uuid.uuid4().hex,
            base_version=base_version,
            set=set,
            removed=removed,
            reason=reason,
            dry_run=dry_run,
        )
        return await self._service.call(self._service.stub.ChangeQuotas, request)

    async def watch(self, team: str = "") -> AsyncGenerator[pb.WatchTeamsResponse, None]:
        """How each team stands now, then each change of its figures, for ever; with a team its alone. Survives a restart of the platform: then all is told anew."""
        service, patience = self._service, Patience(self._service)
        while True:
            try:
                async with aclosing(service.read(service.stub.WatchTeams, pb.WatchTeamsRequest(team=team))) as found:
                    async for response in found:
                        patience.reset()
                        yield response
            except Unavailable:
                if not await patience.wait():
                    raise

    async def history(self, team: str = "", *, limit: int = 20) -> list[pb.QuotaRevision]:
        """The newest changes, newest first; with a team those that concerned it."""
        found: list[pb.QuotaRevision] = []
        request = pb.ListQuotaRevisionsRequest(team=team)
        while len(found) < limit:
            request.page_size = min(limit - len(found), 100)
            response = await self._service.call(self._service.stub.ListQuotaRevisions, request)
            found.extend(response.revisions)
            request.page_token = response.next_page_token
            if not request.page_token:
                break
        return found


class BlockingQuotas:
    """The same methods with the same promises."""

    def __init__(
        self,
        quotas: QuotaClient,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        iterate: Callable[[AsyncIterator[Any]], Iterator[Any]],
    ) -> None:
        self._quotas = quotas
        self._run = run
        self._iterate = iterate

    def teams(self, team: str = "") -> pb.ListTeamsResponse:
        found: pb.ListTeamsResponse = self._run(self._quotas.teams(team))
        return found

    def change(
        self,
        base_version: int,
        *,
        set: Iterable[pb.TeamQuota] = (),
        removed: Iterable[str] = (),
        reason: str = "",
        dry_run: bool = False,
    ) -> pb.ChangeQuotasResponse:
        found: pb.ChangeQuotasResponse = self._run(
            self._quotas.change(base_version, set=set, removed=removed, reason=reason, dry_run=dry_run)
        )
        return found

    def watch(self, team: str = "") -> Iterator[pb.WatchTeamsResponse]:
        return self._iterate(self._quotas.watch(team))

    def history(self, team: str = "", *, limit: int = 20) -> list[pb.QuotaRevision]:
        found: list[pb.QuotaRevision] = self._run(self._quotas.history(team, limit=limit))
        return found
