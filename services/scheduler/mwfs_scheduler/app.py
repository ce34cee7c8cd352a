"""Puts the scheduler together: settings, catalogue, engine, server."""

from __future__ import annotations

from collections.abc import Sequence

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

SERVICE = "mwfs_api.scheduler.v1.SchedulerService"


async def build() -> Sequence[Part]:
    """The parts of the service, in the order in which they start."""
    settings = ServiceSettings.from_env()
    dsn = require("MWFS_CATALOGUE_DSN")
    pool = await open_pool(dsn, max_size=2, name="mwfs-scheduler")
    await migrate(dsn, "mwfs_scheduler")
    engine = Engine(Store(pool, load_queries("mwfs_scheduler")), Metrics(), knobs=knobs_from_env())
    server = GrpcServer(
        listen=settings.listen,
        token=settings.token,
        services=[
            Registration(add=add_SchedulerServiceServicer_to_server, servicer=SchedulerServicer(engine), name=SERVICE)
        ],
    )
    return [MetricsServer(listen=settings.metrics_listen, token=settings.token), engine, server]
