"""The parts of the automations put together."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import asyncpg

from mwfs_chassis.clock import Clock
from mwfs_chassis.ids import RandomIds
from mwfs_orchestrator.catalogue.store import CatalogueStore
from mwfs_orchestrator.shard.ends import ShardEnds

from .api import AutomationApi
from .backfills import Backfills
from .commands import Commands
from .ends import Ends
from .firing import Firing
from .platform_runs import PlatformRuns
from .schedules import Schedules
from .store import AutomationStore
from .upkeep import Upkeep
from .watches import Watches


@dataclass(frozen=True, slots=True, kw_only=True)
class Automations:
    """What the composition root needs of them."""

    firing: Firing
    api: AutomationApi
    watches: Watches
    runs: PlatformRuns


def build_automations(
    *,
    catalogue_pool: asyncpg.Pool,
    catalogue: CatalogueStore,
    shards: Mapping[int, ShardEnds],
    look_for_shards: Callable[[], Awaitable[None]],
    token: str,
    address: Callable[[], str],
    clock: Clock,
    replica: str,
) -> Automations:
    """Nothing runs before the firing is started."""
    runs = PlatformRuns(address=address, token=token)
    store = AutomationStore(catalogue_pool)
    watches = Watches(store=store, shards=shards, look_for_shards=look_for_shards)
    firing = Firing(
        store=store,
        schedules=Schedules(store=store, versions=catalogue, clock=clock),
        ends=Ends(store=store, versions=catalogue, shards=shards, clock=clock),
        backfills=Backfills(store=store, versions=catalogue, runs=runs, watches=watches),
        commands=Commands(store=store, runs=runs, clock=clock),
        watches=watches,
        clock=clock,
        replica=replica,
    )
    upkeep = Upkeep(store=store, versions=catalogue, watches=watches, changed=firing.wake, clock=clock, ids=RandomIds())
    return Automations(firing=firing, api=AutomationApi(upkeep=upkeep, store=store), watches=watches, runs=runs)
