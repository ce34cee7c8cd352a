"""Puts the scheduler together: settings, catalogue, engine, lead, server."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from mwfs_api.scheduler.v1 import (
    leader_pb2_grpc,
    quotas_pb2,
    quotas_pb2_grpc,
    scheduler_pb2,
    scheduler_pb2_grpc,
    what_if_pb2,
    what_if_pb2_grpc,
)
from mwfs_chassis.clock import SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.ids import new_id
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.postgres import load_queries, migrate, open_pool
from mwfs_chassis.settings import ServiceSettings, optional, require
from mwfs_chassis.telemetry import MetricsServer
from mwfs_scheduler.api import SchedulerServicer
from mwfs_scheduler.engine import Engine
from mwfs_scheduler.leading.gate import Gate, LeaderServicer
from mwfs_scheduler.leading.leadership import Leadership
from mwfs_scheduler.leading.store import LeaderStore
from mwfs_scheduler.metrics import Metrics
from mwfs_scheduler.settings import knobs_from_env
from mwfs_scheduler.store import Store
from mwfs_scheduler.team_quotas.api import SERVICE as QUOTAS
from mwfs_scheduler.team_quotas.api import QuotaServicer
from mwfs_scheduler.team_quotas.load import load_of
from mwfs_scheduler.team_quotas.store import QuotaStore
from mwfs_scheduler.team_quotas.watch import QuotaWatch
from mwfs_scheduler.what_if.api import SERVICE as WHAT_IF
from mwfs_scheduler.what_if.api import WhatIfServicer

log = logging.getLogger(__name__)

SERVICE = "mwfs_api.scheduler.v1.SchedulerService"
LEADER = "mwfs_api.scheduler.v1.LeaderService"
#: One of them listens for changes of quotas.
_CONNECTIONS = 3
#: Streams of callers are cut soon: another scheduler takes over.
_STOP_GRACE_S = 0.2


async def build() -> Sequence[Part]:
    """The parts of the service, in the order in which they start. Reads also MWFS_CATALOGUE_DSN, MWFS_SCHEDULER and MWFS_SCHEDULER_…"""
    settings = ServiceSettings.from_env()
    dsn = require("MWFS_CATALOGUE_DSN")
    pool = await open_pool(dsn, max_size=_CONNECTIONS, name="mwfs-scheduler")
    await migrate(dsn, "mwfs_scheduler")
    queries = load_queries("mwfs_scheduler")
    engine = Engine(Store(pool, queries), Metrics(), knobs=knobs_from_env(), may_decide=lambda: leadership.holds)
    leadership = Leadership(
        LeaderStore(pool, queries),
        dsn=dsn,
        queries=queries,
        # Named, a process that is started again need not wait for the end of its own lease. No two may have one name.
        instance=optional("MWFS_SCHEDULER", new_id()),
        address=lambda: server.address or ("" if settings.listen.endswith(":0") else settings.listen),
        begin=engine.lead,
        renewed=engine.wake,
        give_up=_exit_at_once,
    )
    quota_store = QuotaStore(pool, queries)
    watch = QuotaWatch(quota_store, engine.apply)
    await watch.look()  # nothing is granted by quotas that were never read
    quotas = QuotaServicer(
        store=quota_store,
        watch=watch,
        load=lambda: load_of(engine.ledger),
        team_figures=lambda: (engine.epoch, engine.team_figures()),
        clock=SystemClock(),
    )
    scheduler_gate = Gate(
        SchedulerServicer(engine),
        service=scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"],
        stub=scheduler_pb2_grpc.SchedulerServiceStub,
        leadership=leadership,
        token=settings.token,
    )
    quota_gate = Gate(
        quotas,
        service=quotas_pb2.DESCRIPTOR.services_by_name["QuotaService"],
        stub=quotas_pb2_grpc.QuotaServiceStub,
        leadership=leadership,
        token=settings.token,
    )
    what_if_gate = Gate(
        WhatIfServicer(lambda: engine.ledger),
        service=what_if_pb2.DESCRIPTOR.services_by_name["WhatIfService"],
        stub=what_if_pb2_grpc.WhatIfServiceStub,
        leadership=leadership,
        token=settings.token,
    )
    server = GrpcServer(
        listen=settings.listen,
        token=settings.token,
        services=[
            Registration(
                add=scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, servicer=scheduler_gate, name=SERVICE
            ),
            Registration(add=quotas_pb2_grpc.add_QuotaServiceServicer_to_server, servicer=quota_gate, name=QUOTAS),
            Registration(add=what_if_pb2_grpc.add_WhatIfServiceServicer_to_server, servicer=what_if_gate, name=WHAT_IF),
            Registration(
                add=leader_pb2_grpc.add_LeaderServiceServicer_to_server,
                servicer=LeaderServicer(leadership),
                name=LEADER,
            ),
        ],
        stop_grace_s=_STOP_GRACE_S,
    )
    metrics = MetricsServer(listen=settings.metrics_listen, token=settings.token)
    return [metrics, engine, watch, leadership, scheduler_gate, quota_gate, what_if_gate, server]


def _exit_at_once(why: str) -> None:
    """Ends the process: whoever starts it again begins with nothing, and asks those who hold grants."""
    log.critical("giving up", extra={"why": why})
    logging.shutdown()
    os._exit(70)
