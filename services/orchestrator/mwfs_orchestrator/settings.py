"""What the orchestrator is told through its environment."""

from dataclasses import dataclass
from typing import Self

from mwfs_chassis.settings import ServiceSettings, optional, require


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings(ServiceSettings):
    catalogue_dsn: str
    shard_dsns: tuple[str, ...]
    scheduler_address: str
    #: Names this replica for ever: a restarted one takes its own slots back at once.
    replica: str

    @classmethod
    def from_env(cls) -> Self:
        """Reads MWFS_CATALOGUE_DSN, MWFS_SHARD_DSNS (space separated), MWFS_SCHEDULER_ADDRESS and MWFS_REPLICA."""
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
        )
