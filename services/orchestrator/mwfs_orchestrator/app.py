"""The composition root: settings in, parts out, by hand, top to bottom."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence

import asyncpg

from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.clock import Clock, SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.postgres import migrate, open_pool
from mwfs_chassis.telemetry import MetricsServer

from .api import OrchestratorApi
from .catalogue.store import CatalogueStore
from .catalogue.versions import Versions
from .committer import Committer
from .compiling import CompiledDags
from .engine import Engine
from .host_links import HostLinks
from .launcher import OperatorSpecs
from .reading import Reading
from .relay import Relay
from .scheduler_link import SchedulerLink
from .settings import OrchestratorSettings
from .shard.store import ShardStore
from .slots import LeaseKeeper, ShardLease
from .submissions import Intake
from .watchers import Watchers

log = logging.getLogger(__name__)

SERVICE = "mwfs_api.orchestrator.v1.OrchestratorService"


async def build() -> Sequence[Part]:
    """For `run_service`."""
    return await build_parts(OrchestratorSettings.from_env(), SystemClock())


async def build_parts(
    settings: OrchestratorSettings, clock: Clock, *, give_up: Callable[[str], None] | None = None
) -> Sequence[Part]:
    """Migrates the databases and wires everything together; nothing runs before it is started.

    `give_up` is called when memory can no longer be trusted, and must end the process.
    """
    give_up = give_up or exit_at_once
    await migrate(settings.catalogue_dsn, "mwfs_orchestrator.catalogue")
    for dsn in settings.shard_dsns:
        await migrate(dsn, "mwfs_orchestrator.shard")
    catalogue_pool = await open_pool(settings.catalogue_dsn, max_size=2, name="mwfs-orchestrator")
    shard_pools = [await open_pool(dsn, max_size=4, name="mwfs-orchestrator") for dsn in settings.shard_dsns]
    catalogue = CatalogueStore(catalogue_pool)
    stores = [ShardStore(shard, pool) for shard, pool in enumerate(shard_pools)]
    shard_of_slot = await catalogue.shards_of_slots(len(stores))
    if max(shard_of_slot) >= len(stores):
        raise RuntimeError(
            f"the slot map names shard {max(shard_of_slot)}, but only {len(stores)} shards are configured"
        )

    identity = Identity(token=settings.token, principal=settings.replica, team="platform")
    specs = OperatorSpecs()
    scheduler = SchedulerLink(
        address=settings.scheduler_address, identity=identity, replica=settings.replica, clock=clock, failed=give_up
    )
    hosts = HostLinks(identity=identity, replica=settings.replica, specs=specs, clock=clock)
    compiled = CompiledDags(identity)
    relay = Relay(stores)
    engine = Engine(
        stores=stores,
        shard_of_slot=shard_of_slot,
        clock=clock,
        scheduler=scheduler,
        hosts=hosts,
        specs=specs,
        compiled=compiled,
        watchers=Watchers(),
        give_up=give_up,
    )
    scheduler.serve(engine)
    hosts.serve(engine)
    leases = [ShardLease(store, settings.replica, clock) for store in stores]
    committers = [
        Committer(store, lease, clock, after_commit=engine.after_commit, publish=relay.publish, give_up=give_up)
        for store, lease in zip(stores, leases, strict=True)
    ]
    engine.write_through(committers)
    api = OrchestratorApi(
        intake=Intake(engine=engine, catalogue=catalogue, compiled=compiled, clock=clock),
        reading=Reading(engine=engine, hosts=hosts, compiled=compiled),
        versions=Versions(store=catalogue, hosts=hosts, identity=identity, clock=clock),
        relay=relay,
    )
    return [
        MetricsServer(listen=settings.metrics_listen, token=settings.token),
        _Pools([catalogue_pool, *shard_pools]),
        SlotOwnership(engine, leases, shard_of_slot),
        LeaseKeeper(leases, claimed=engine.take_up, give_up=give_up),
        *committers,
        hosts,
        scheduler,
        GrpcServer(
            listen=settings.listen,
            token=settings.token,
            services=[
                Registration(
                    add=orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server, servicer=api, name=SERVICE
                )
            ],
        ),
    ]


class SlotOwnership:
    """Before anything else: comes to own slots, and takes up the runs that are in them."""

    def __init__(self, engine: Engine, leases: list[ShardLease], shard_of_slot: list[int]) -> None:
        self._engine = engine
        self._leases = leases
        self._shard_of_slot = shard_of_slot

    async def start(self) -> None:
        for shard, lease in enumerate(self._leases):
            await lease.store.add_slots([slot for slot, holder in enumerate(self._shard_of_slot) if holder == shard])
            await lease.open()
            slots = await lease.claim()
            log.info("owns slots", extra={"shard": shard, "slots": len(slots), "stream": lease.stream})
            await self._engine.take_up(lease, slots)

    async def stop(self) -> None:
        """The keeper ends the leases."""


class _Pools:
    def __init__(self, pools: list[asyncpg.Pool]) -> None:
        self._pools = pools

    async def start(self) -> None:
        """They are open already."""

    async def stop(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self._pools))


def exit_at_once(why: str) -> None:
    """Ends the process at once: whoever starts it again begins from the last commit, which is always right."""
    log.critical("giving up", extra={"why": why})
    logging.shutdown()
    os._exit(70)
