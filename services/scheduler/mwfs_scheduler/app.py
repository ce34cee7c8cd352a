"""Puts the scheduler together: settings, catalogue, engine, server."""

from __future__ import annotations

from collections.abc import Sequence

from mwfs_api.scheduler.v1.quotas_pb2_grpc import add_QuotaServiceServicer_to_server
from mwfs_api.scheduler.v1.scheduler_pb2_grpc import add_SchedulerServiceServicer_to_server
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.postgres import load_queries, migrate, open_pool
from mwfs_chassis.settings import ServiceSettings, require
from mwfs_chassis.telemetry import MetricsServer
from mwfs_scheduler.api import SchedulerServicer
from mwfs_scheduler.engine import Engine
from mwfs_scheduler.metrics import Metrics
from mwfs_scheduler.settings import knobs_from_env
from mwfs_scheduler.store import Store
from mwfs_scheduler.team_quotas.api import SERVICE as QUOTAS
from mwfs_scheduler.team_quotas.api import QuotaServicer
from mwfs_scheduler.team_quotas.load import load_of
from mwfs_scheduler.team_quotas.store import QuotaStore
from mwfs_scheduler.team_quotas.watch import QuotaWatch

SERVICE = "mwfs_api.scheduler.v1.SchedulerService"
#: One of them listens for changes of quotas.
_CONNECTIONS = 3


async def build() -> Sequence[Part]:
    """The parts of the service, in the order in which they start."""
    settings = ServiceSettings.from_env()
    dsn = require("MWFS_CATALOGUE_DSN")
    pool = await open_pool(dsn, max_size=_CONNECTIONS, name="mwfs-scheduler")
    await migrate(dsn, "mwfs_scheduler")
    queries = load_queries("mwfs_scheduler")
    engine = Engine(Store(pool, queries), Metrics(), knobs=knobs_from_env())
    quota_store = QuotaStore(pool, queries)
    watch = QuotaWatch(quota_store, engine.apply)
    await watch.look()  # nothing is granted by quotas that were never read
    quotas = QuotaServicer(store=quota_store, watch=watch, load=lambda: load_of(engine.ledger))
    server = GrpcServer(
        listen=settings.listen,
        token=settings.token,
        services=[
            Registration(add=add_SchedulerServiceServicer_to_server, servicer=SchedulerServicer(engine), name=SERVICE),
            Registration(add=add_QuotaServiceServicer_to_server, servicer=quotas, name=QUOTAS),
        ],
    )
    return [MetricsServer(listen=settings.metrics_listen, token=settings.token), engine, watch, server]
