"""QuotaService over gRPC: unpack, read, watch or change, pack."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from typing import Any, Final

from mwfs_api.scheduler.v1 import quotas_pb2 as pb
from mwfs_api.scheduler.v1 import quotas_pb2_grpc
from mwfs_chassis.caller import current_caller
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import Aborted, InvalidArgument, NotFound
from mwfs_scheduler.quotas import Quotas
from mwfs_scheduler.team_figures import TeamFigures
from mwfs_scheduler.team_quotas.changes import MAX_REASON, changed, differences
from mwfs_scheduler.team_quotas.figures import Figures, Load
from mwfs_scheduler.team_quotas.store import QuotaStore, conflict
from mwfs_scheduler.team_quotas.watch import QuotaWatch
from mwfs_scheduler.team_quotas.wire import amounts_to, change_to, quota_from, quota_to, revision_to, team_changed_to

SERVICE: Final = "mwfs_api.scheduler.v1.QuotaService"
_MAX_PAGE: Final = 1_000
_MAX_REQUEST_ID: Final = 128


class QuotaServicer(quotas_pb2_grpc.QuotaServiceServicer):
    """Promises and codes: quotas.proto."""

    def __init__(
        self,
        *,
        store: QuotaStore,
        watch: QuotaWatch,
        load: Callable[[], Load],
        team_figures: Callable[[], tuple[int, Sequence[TeamFigures]]],
        clock: Clock,
        look_every_s: float = 1.0,
    ) -> None:
        """`team_figures`: the epoch of who leads, and how each team stands."""
        self._store = store
        self._watch = watch
        self._load = load
        self._team_figures = team_figures
        self._clock = clock
        self._look_every_s = look_every_s
        self._looked_at = -math.inf
        self._seen: tuple[int, Sequence[TeamFigures]] = (0, ())

    async def ListTeams(self, request: pb.ListTeamsRequest, context: Any) -> pb.ListTeamsResponse:
        size = _page_size(request.page_size)
        quotas = self._watch.quotas
        after = _team_after(request.page_token, quotas)
        load = self._load()
        figures = Figures(quotas, load)
        teams = figures.teams
        if request.team:
            if request.team not in teams:
                raise NotFound(
                    f"Team {request.team!r} has no quota, holds nothing and waits for nothing.",
                    "`mwfs teams list` shows the teams.",
                )
            teams = [request.team]
        teams = [team for team in teams if team > after]
        return pb.ListTeamsResponse(
            teams=[_team(figures, team) for team in teams[:size]],
            version=quotas.version,
            capacity=amounts_to(load.capacity),
            notes=figures.notes(),
            next_page_token=f"{quotas.version}:{teams[size - 1]}" if len(teams) > size else "",
        )

    async def ChangeQuotas(self, request: pb.ChangeQuotasRequest, context: Any) -> pb.ChangeQuotasResponse:
        if not 0 < len(request.request_id) <= _MAX_REQUEST_ID:
            raise InvalidArgument(f"A request id has 1 to {_MAX_REQUEST_ID} characters.", "Choose one for each change.")
        if len(request.reason) > MAX_REASON:
            raise InvalidArgument(f"A reason has at most {MAX_REASON:,} characters.", "Say it in fewer.")
        digest = sha256(request.SerializeToString(deterministic=True)).digest()
        done = None if request.dry_run else await self._store.version_of_request(request.request_id, digest)
        if done is not None:
            return await self._answer_again(done)
        old = await self._watch.look()
        if old.version != request.base_version:
            raise conflict(request.base_version)
        new = changed(old, [quota_from(quota) for quota in request.set], request.removed)
        changes = differences(old, new)
        version = old.version
        if changes and not request.dry_run:
            version = await self._store.save(
                old.version,
                changes,
                request_id=request.request_id,
                digest=digest,
                principal=current_caller().principal,
                reason=request.reason,
            )
            await self._watch.look()
        figures = Figures(new, self._load())
        return pb.ChangeQuotasResponse(
            version=version,
            changes=[change_to(change) for change in changes],
            notes=[*figures.notes(), *figures.notes_on(changes)],
        )

    async def ListQuotaRevisions(
        self, request: pb.ListQuotaRevisionsRequest, context: Any
    ) -> pb.ListQuotaRevisionsResponse:
        size = _page_size(request.page_size or 50)
        before = (1 << 63) - 1
        if request.page_token:
            if not request.page_token.isdecimal() or len(request.page_token) > 18:
                raise _bad_token()
            before = int(request.page_token)
        found = await self._store.history(before=before, team=request.team, limit=size + 1)
        return pb.ListQuotaRevisionsResponse(
            revisions=[revision_to(revision) for revision in found[:size]],
            next_page_token=str(found[size - 1].version) if len(found) > size else "",
        )

    async def WatchTeams(self, request: pb.WatchTeamsRequest, context: Any) -> AsyncIterator[pb.WatchTeamsResponse]:
        told: dict[str, TeamFigures] = {}
        while True:
            epoch, teams = self._look()
            now = {one.team: one for one in teams if request.team in ("", one.team)}
            changed = [team_changed_to(one) for one in now.values() if told.get(one.team) != one]
            changed += [pb.TeamChanged(team=team) for team in sorted(told.keys() - now.keys())]
            if changed:
                yield pb.WatchTeamsResponse(epoch=epoch, time_us=self._clock.now_us(), changed=changed)
            told = now
            await asyncio.sleep(self._look_every_s)

    def _look(self) -> tuple[int, Sequence[TeamFigures]]:
        """How the teams stand now; those who watch at the same time share a look."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= self._look_every_s / 2:
            self._looked_at, self._seen = now, self._team_figures()
        return self._seen

    async def _answer_again(self, version: int) -> pb.ChangeQuotasResponse:
        """What a request is told that comes again after it was done."""
        await self._watch.look()
        [revision] = await self._store.history(before=version + 1, team="", limit=1)
        figures = Figures(self._watch.quotas, self._load())
        return pb.ChangeQuotasResponse(
            version=version,
            changes=[change_to(change) for change in revision.changes],
            notes=[*figures.notes(), *figures.notes_on(revision.changes)],
        )


def _team(figures: Figures, team: str) -> pb.Team:
    quota = figures.quotas.get(team)
    return pb.Team(
        team=team,
        quota=None if quota is None else quota_to(quota),
        counted_guarantee=amounts_to(figures.counted(team)),
        in_use=amounts_to(figures.in_use.get(team, {})),
        waiting=figures.waiting.get(team, 0),
    )


def _page_size(asked: int) -> int:
    if asked > _MAX_PAGE:
        raise InvalidArgument(f"A page has at most {_MAX_PAGE:,} entries, not {asked:,}.", "Ask for several pages.")
    return asked or _MAX_PAGE


def _team_after(token: str, quotas: Quotas) -> str:
    """The last team of the page before. Raises InvalidArgument, and Aborted when the quotas have changed since that page."""
    if not token:
        return ""
    version, colon, team = token.partition(":")
    if not (version.isdecimal() and colon and team):
        raise _bad_token()
    if version != str(quotas.version):
        raise Aborted("The quotas have changed since the first page.", "List the teams again, from the first page.")
    return team


def _bad_token() -> InvalidArgument:
    return InvalidArgument("The page token is none of this listing.", "Send the token of the page before, or none.")
