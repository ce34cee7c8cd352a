"""What the orchestrator is told through its environment."""

from dataclasses import dataclass
from typing import Self

from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.settings import ServiceSettings, optional, require

from .retention.model import MAX_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings(ServiceSettings):
    catalogue_dsn: str
    shard_dsns: tuple[str, ...]
    scheduler_address: str
    #: Names this replica for ever: a restarted one takes its own slots back at once.
    replica: str
    #: How long a replica that has died keeps its slots. Much shorter, and one that was merely slow loses them.
    lease_seconds: float = 4.0
    #: Results of cached operators that nobody has taken for so long are removed.
    result_days: float = 30.0
    #: Ended runs of teams without a setting of their own go to the archive after so many days; 0: never.
    retention_days: int = 90
    #: Nodes of all runs that go on in this replica: what would be more is refused, with the time after which to ask again.
    max_active_nodes: int = 20_000_000

    @classmethod
    def from_env(cls) -> Self:
        """Reads MWFS_CATALOGUE_DSN, MWFS_SHARD_DSNS (space separated), MWFS_SCHEDULER_ADDRESS, MWFS_REPLICA, MWFS_LEASE_SECONDS, MWFS_RESULT_DAYS, MWFS_RETENTION_DAYS and MWFS_MAX_ACTIVE_NODES."""
        base = ServiceSettings.from_env()
        return cls(
            home=base.home,
            listen=base.listen,
            metrics_listen=base.metrics_listen,
            token=base.token,
            catalogue_dsn=require("MWFS_CATALOGUE_DSN"),
            shard_dsns=tuple(require("MWFS_SHARD_DSNS").split()),
            scheduler_address=require("MWFS_SCHEDULER_ADDRESS"),
            replica=optional("MWFS_REPLICA", "orchestrator-0"),
            lease_seconds=float(optional("MWFS_LEASE_SECONDS", "4")),
            result_days=float(optional("MWFS_RESULT_DAYS", "30")),
            retention_days=_retention_days(),
            max_active_nodes=int(optional("MWFS_MAX_ACTIVE_NODES", "20000000")),
        )


def _retention_days() -> int:
    text = optional("MWFS_RETENTION_DAYS", "90")
    if not text.isdecimal() or int(text) > MAX_DAYS:
        raise FailedPrecondition(
            f"MWFS_RETENTION_DAYS is {text!r}, which is no number of days up to {MAX_DAYS:,}.",
            "Give 0 to keep runs for ever.",
        )
    return int(text)
