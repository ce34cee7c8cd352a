"""What an operator of the platform asks for: how long runs stay, and for whom."""

from collections.abc import Mapping

from mwfs_chassis.errors import NotFound
from mwfs_orchestrator.shard.ended import EndedRuns
from mwfs_orchestrator.shard.store import ShardStore

from .model import Retention, Terms, check_days, check_team
from .store import RetentionStore


class RetentionCommands:
    """Settings in the catalogue. The archiver reads them each time it looks."""

    def __init__(self, *, store: RetentionStore, stores: Mapping[int, ShardStore], default_days: int) -> None:
        self._store = store
        self._stores = stores
        self._default_days = default_days

    async def show(self, team: str) -> list[Retention]:
        """What counts for all, and for each team with a setting; or for one team. Raises InvalidArgument, NotFound."""
        if team:
            return [await self._of(team)]
        settings = await self._store.settings()
        found = [Retention(team="", days=self._default_days, own=False)]
        for name, days in settings.items():
            found.append(Retention(team=name, days=days, own=True, archived_runs=await self._store.count(name)))
        return found

    async def set(self, team: str, days: int | None) -> Retention:
        """None: what counts for all. Raises InvalidArgument, NotFound."""
        if days is not None:
            check_days(days)
        await self._check(team)
        if days is None:
            await self._store.forget(team)
        else:
            await self._store.set(team, days)
        return await self._of(team)

    async def _of(self, team: str) -> Retention:
        await self._check(team)
        terms = Terms(default=self._default_days, of_team=await self._store.settings())
        return Retention(
            team=team,
            days=terms.days(team),
            own=team in terms.of_team,
            archived_runs=await self._store.count(team),
        )

    async def _check(self, team: str) -> None:
        check_team(team)
        if await self._store.knows_team(team):
            return
        for store in list(self._stores.values()):
            if await EndedRuns(store.pool).has_team(team):
                return
        raise NotFound(
            f"There is no team {team}: it has no workflow and no run.",
            "Check its name; a team is there from its first workflow or run on.",
        )
