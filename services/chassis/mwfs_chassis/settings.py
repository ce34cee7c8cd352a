"""What a service is told through its environment."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mwfs_chassis.errors import FailedPrecondition


def require(name: str) -> str:
    """The value of an environment variable that must be there."""
    value = os.environ.get(name, "")
    if not value:
        raise FailedPrecondition(
            f"The environment variable {name} is not set.",
            "`mwfs up` sets it; set it yourself when you start a service alone.",
        )
    return value


def optional(name: str, default: str) -> str:
    """The value of an environment variable; an empty one counts as absent."""
    return os.environ.get(name, "") or default


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What every service needs; each service's own `settings.py` adds to it."""

    home: Path
    #: `host:port` of the gRPC server.
    listen: str
    #: `host:port` of the metrics page.
    metrics_listen: str
    token: str = field(repr=False)

    @classmethod
    def from_env(cls) -> Self:
        """Read MWFS_HOME, MWFS_LISTEN, MWFS_METRICS_LISTEN and MWFS_TOKEN."""
        return cls(
            home=Path(require("MWFS_HOME")),
            listen=require("MWFS_LISTEN"),
            metrics_listen=require("MWFS_METRICS_LISTEN"),
            token=require("MWFS_TOKEN"),
        )
