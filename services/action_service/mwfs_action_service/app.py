"""The composition root: settings in, parts out, top to bottom."""

import shutil
from collections.abc import Sequence

from mwfs_action_service.api import ActionServicer
from mwfs_action_service.artifacts_api import ArtifactServicer
from mwfs_action_service.checkpoint_dropper import CheckpointDropper
from mwfs_action_service.engine import Engine
from mwfs_action_service.journal import Journal
from mwfs_action_service.leftovers import end_leftovers
from mwfs_action_service.log_sweeper import LogSweeper
from mwfs_action_service.object_store import VerifiedStore, open_store
from mwfs_action_service.offer import Offer
from mwfs_action_service.settings import ActionSettings
from mwfs_action_service.worker_process import WorkerHome
from mwfs_api.action.v1 import action_pb2_grpc
from mwfs_chassis.clock import SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.lifecycle import Part
from mwfs_chassis.telemetry import MetricsServer


async def build(settings: ActionSettings | None = None) -> Sequence[Part]:
    """All parts of the service, in the order in which they start."""
    settings = settings or ActionSettings.from_env()
    folder = settings.folder
    home = WorkerHome(
        logs=folder / "logs",
        bundles=folder / "bundles",
        cache=folder / "cache",
        scratch=folder / "scratch",
        artifacts=settings.artifacts,
        max_checkpoint_bytes=settings.max_checkpoint_bytes,
    )
    spool = folder / "spool"
    end_leftovers(home.scratch)
    for leftover in (home.scratch, home.cache, spool):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in (home.logs, home.bundles, home.cache, home.scratch, spool):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)

    store = VerifiedStore(open_store(settings.artifacts), spool=spool, max_bytes=settings.max_artifact_bytes)
    dropping = CheckpointDropper(store)
    engine = Engine(
        host=settings.host,
        limits=settings.limits,
        gpus=settings.gpus,
        journal=Journal(folder / "journal.sqlite"),
        home=home,
        spool=spool,
        drop_checkpoint=dropping.drop,
    )
    server = GrpcServer(
        listen=settings.service.listen,
        token=settings.service.token,
        services=[
            Registration(
                add=action_pb2_grpc.add_ActionServiceServicer_to_server,
                servicer=ActionServicer(engine, compile_seconds=settings.limits.compile_seconds),
                name="mwfs_api.action.v1.ActionService",
            ),
            Registration(
                add=action_pb2_grpc.add_ArtifactServiceServicer_to_server,
                servicer=ArtifactServicer(store),
                name="mwfs_api.action.v1.ArtifactService",
            ),
        ],
    )
    offer = Offer(
        scheduler_address=settings.scheduler_address,
        identity=Identity(token=settings.service.token, principal="action-service", team="system"),
        host=settings.host,
        address=lambda: server.address,
        capacity=settings.capacity,
        on_epoch=engine.see_epoch,
    )
    metrics = MetricsServer(listen=settings.service.metrics_listen, token=settings.service.token)
    sweeper = LogSweeper(engine, clock=SystemClock(), keep_days=settings.log_days)
    return [metrics, dropping, engine, server, sweeper, offer]
