"""The composition root: settings in, parts out, by hand, top to bottom."""

import logging
import os
from collections.abc import Callable, Sequence

import asyncpg

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import (
    automations_pb2_grpc,
    orchestrator_pb2_grpc,
    retention_pb2_grpc,
    shards_pb2_grpc,
)
from mwfs_chassis.clock import Clock, SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.postgres import migrate, open_pool
from mwfs_chassis.telemetry import MetricsServer

from .admission import Admission
from .api import OrchestratorApi
from .automations.api import SERVICE as AUTOMATIONS
from .automations.assembled import build_automations
from .catalogue.durations import DurationStore
from .catalogue.results import ResultStore
from .catalogue.store import CatalogueStore
from .catalogue.versions import Versions
from .changes import Changes
from .checkpoint_dropper import CheckpointDropper
from .children import Children
from .committer import Committer
from .compiling import CompiledDags
from .contents import Contents
from .duration_keeper import DurationKeeper
from .durations import Durations
from .engine import Engine
from .gate import Gate
from .history import History
from .host_links import HostLinks
from .launcher import OperatorSpecs
from .reading import Reading
from .recent_commits import RecentCommits
from .relay import Relay
from .rerun import Reruns
from .retention.api import SERVICE as RETENTION
from .retention.api import RetentionApi
from .retention.archived_runs import ArchivedRuns
from .retention.archiver import Archiver
from .retention.commands import RetentionCommands
from .retention.store import RetentionStore
from .reuse import ResultCache
from .routing import Routing
from .scheduler_link import SchedulerLink
from .settings import OrchestratorSettings
from .shard.ends import ShardEnds
from .shard.store import ShardStore
from .sharding.api import SERVICE as SHARDS
from .sharding.api import ShardApi
from .sharding.commands import ShardCommands
from .sharding.first_start import settle_shards
from .sharding.in_use import OpenShard, Shards
from .sharding.mover import Mover
from .sharding.store import MapStore
from .signals import Signals
from .slots import LeaseKeeper, ShardLease
from .submissions import Intake
from .watchers import Watchers

log = logging.getLogger(__name__)

#: Enough for 100 MB/s over a millisecond; what many clients send that is not read must not fill memory.
_READ_AHEAD_BYTES = 128 * 1024
#: Streams of callers are cut soon: another replica answers, and slots are to be handed over within a second.
_STOP_GRACE_S = 0.2
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
    catalogue_pool = await open_pool(settings.catalogue_dsn, max_size=6, name="mwfs-orchestrator")
    catalogue = CatalogueStore(catalogue_pool)
    map_store = MapStore(catalogue_pool)
    first_map = await settle_shards(map_store, settings.shard_dsns, settings.catalogue_dsn, clock)

    identity = Identity(token=settings.token, principal=settings.replica, team="platform")
    specs = OperatorSpecs()
    scheduler = SchedulerLink(
        address=settings.scheduler_address, identity=identity, replica=settings.replica, clock=clock, failed=give_up
    )
    hosts = HostLinks(identity=identity, replica=settings.replica, specs=specs, clock=clock)
    compiled = CompiledDags(identity)
    stores: dict[int, ShardStore] = {}
    recent = RecentCommits()
    history = History(stores, recent)
    shards = Shards(
        catalogue=map_store,
        first=first_map,
        dsns=settings.shard_dsns,
        catalogue_dsn=settings.catalogue_dsn,
        stores=stores,
        history=history,
    )
    relay = Relay(stores, recent)
    results = ResultCache(
        store=ResultStore(catalogue_pool), hosts=hosts, identity=identity, clock=clock, keep_days=settings.result_days
    )
    contents = Contents(hosts=hosts, identity=identity)
    reruns = Reruns(shard_of=shards.shard_of, compiled=compiled, contents=contents)
    dropper = CheckpointDropper(contents)
    durations = Durations()
    engine = Engine(
        shards=shards,
        clock=clock,
        scheduler=scheduler,
        hosts=hosts,
        specs=specs,
        compiled=compiled,
        watchers=Watchers(),
        results=results,
        contents=contents,
        reruns=reruns,
        dropper=dropper,
        durations=durations,
        give_up=give_up,
    )
    scheduler.serve(engine.grants)
    hosts.serve(engine.outcomes)
    results.serve(engine)

    def publish(commit: events_pb2.Commit, size: int) -> None:
        recent.add(commit, size)
        relay.publish()
        history.publish(commit)
        engine.event_tails.publish(commit)

    automations = build_automations(
        catalogue_pool=catalogue_pool,
        catalogue=catalogue,
        shards=shards.ends,
        look_for_shards=shards.refresh,
        address=lambda: server.address,
        token=settings.token,
        clock=clock,
        replica=settings.replica,
    )

    mover = Mover(catalogue=map_store, shards=shards, engine=engine, history=history, replica=settings.replica)

    def after_commit(changes: Changes) -> None:
        mover.committed(changes)  # before anybody is told
        engine.after_commit(changes)
        children.committed(changes)
        automations.firing.committed(changes)

    def work_on(store: ShardStore) -> OpenShard:
        lease = ShardLease(
            store,
            settings.replica,
            lambda: server.address,
            seconds=settings.lease_seconds,
            map_version=lambda: shards.map.version,
            slots_move=lambda: shards.map.moves > 0,
        )
        return OpenShard(
            store=store,
            ends=ShardEnds(store.shard, store.pool),
            lease=lease,
            keeper=LeaseKeeper(lease, user=engine, give_up=give_up),
            committer=Committer(store, lease, clock, after_commit=after_commit, publish=publish, give_up=give_up),
        )

    shards.make = work_on
    shards.prepare = automations.watches.restore
    await shards.open_all()
    retention = RetentionStore(catalogue_pool)
    archiver = Archiver(
        shards=shards,
        owner=engine,
        store=retention,
        contents=contents,
        clock=clock,
        folder=settings.home / f"archiving-{settings.replica}",
        default_days=settings.retention_days,
    )
    archived = ArchivedRuns(store=retention, contents=contents, shard_of=engine.shard_of)
    reading = Reading(engine=engine, hosts=hosts, compiled=compiled, archived=archived)
    routing = Routing(engine=engine, token=settings.token, replica=settings.replica, clock=clock)
    intake = Intake(
        engine=engine,
        routing=routing,
        catalogue=catalogue,
        compiled=compiled,
        reruns=reruns,
        admission=Admission(clock=clock, max_nodes=settings.max_active_nodes),
        gate=Gate(clock, delay_s=shards.delay_s),
        clock=clock,
    )
    children = Children(engine=engine, intake=intake, runs=automations.runs, contents=contents)
    api = OrchestratorApi(
        intake=intake,
        reading=reading,
        routing=routing,
        versions=Versions(store=catalogue, hosts=hosts, identity=identity, clock=clock),
        relay=relay,
        results=results,
        signals=Signals(engine=engine, reading=reading, clock=clock),
    )
    server = GrpcServer(
        listen=settings.listen,
        token=settings.token,
        services=[
            Registration(
                add=orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server, servicer=api, name=SERVICE
            ),
            Registration(
                add=automations_pb2_grpc.add_AutomationServiceServicer_to_server,
                servicer=automations.api,
                name=AUTOMATIONS,
            ),
            Registration(
                add=shards_pb2_grpc.add_ShardServiceServicer_to_server,
                servicer=ShardApi(
                    ShardCommands(store=map_store, shards=shards, catalogue_dsn=settings.catalogue_dsn, clock=clock)
                ),
                name=SHARDS,
            ),
            Registration(
                add=retention_pb2_grpc.add_RetentionServiceServicer_to_server,
                servicer=RetentionApi(
                    RetentionCommands(store=retention, stores=stores, default_days=settings.retention_days)
                ),
                name=RETENTION,
            ),
        ],
        stop_grace_s=_STOP_GRACE_S,
        read_ahead_bytes=_READ_AHEAD_BYTES,
    )
    return [
        MetricsServer(listen=settings.metrics_listen, token=settings.token),
        _CataloguePool(catalogue_pool),
        DurationKeeper(durations=durations, store=DurationStore(catalogue_pool)),
        shards.pools(),
        shards.leases(),
        results,
        history,
        dropper,
        shards.committers(),
        hosts,
        scheduler,
        routing,
        server,
        # What they start goes through the server, like what anybody starts.
        automations.runs,
        automations.firing,
        children,
        shards.following(),
        mover,
        archiver,
    ]


class _CataloguePool:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def start(self) -> None:
        """It is open already."""

    async def stop(self) -> None:
        await self._pool.close()


def exit_at_once(why: str) -> None:
    """Ends the process at once: whoever starts it again begins from the last commit, which is always right."""
    log.critical("giving up", extra={"why": why})
    logging.shutdown()
    os._exit(70)
