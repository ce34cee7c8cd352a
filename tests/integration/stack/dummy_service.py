"""A service that does nothing but serve health, run as the real ones are: `python dummy_service.py NAME`."""

import sys
from collections.abc import Sequence

from mwfs_chassis.grpc_server import GrpcServer
from mwfs_chassis.lifecycle import Part, run_service
from mwfs_chassis.settings import ServiceSettings
from mwfs_chassis.telemetry import MetricsServer


async def build() -> Sequence[Part]:
    settings = ServiceSettings.from_env()
    return [
        MetricsServer(listen=settings.metrics_listen, token=settings.token),
        GrpcServer(listen=settings.listen, token=settings.token, services=[]),
    ]


if __name__ == "__main__":
    run_service(sys.argv[1], build)
