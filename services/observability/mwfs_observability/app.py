"""Puts observability together: settings, database, follower, server."""

from __future__ import annotations

from collections.abc import Sequence

from mwfs_api.observability.v1.observability_pb2_grpc import add_ObservabilityServiceServicer_to_server
from mwfs_chassis.clock import SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.postgres import load_queries, migrate, open_pool
from mwfs_chassis.settings import ServiceSettings, require
from mwfs_chassis.telemetry import MetricsServer
from mwfs_observability.api import ObservabilityServicer
from mwfs_observability.follower import Follower
from mwfs_observability.metrics import Metrics
from mwfs_observability.store import Store

SERVICE = "mwfs_api.observability.v1.ObservabilityService"


async def build() -> Sequence[Part]:
    """The parts of the service, in the order in which they start."""
    settings = ServiceSettings.from_env()
    dsn = require("MWFS_OBSERVABILITY_DSN")
    orchestrator = require("MWFS_ORCHESTRATOR_ADDRESS")
    pool = await open_pool(dsn, max_size=4, name="mwfs-observability")
    await migrate(dsn, "mwfs_observability")
    store = Store(pool, load_queries("mwfs_observability"))
    follower = Follower(
        store,
        orchestrator=orchestrator,
        identity=Identity(token=settings.token, principal="observability", team="platform"),
        clock=SystemClock(),
        metrics=Metrics(),
    )
    server = GrpcServer(
        listen=settings.listen,
        token=settings.token,
        services=[
            Registration(
                add=add_ObservabilityServiceServicer_to_server, servicer=ObservabilityServicer(store), name=SERVICE
            )
        ],
    )
    return [MetricsServer(listen=settings.metrics_listen, token=settings.token), follower, server]
