"""What an operator of the scheduler asks: who waits, who holds, how busy, and is anything odd."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from mwfs_scheduler.team_figures import TeamMetrics


class Metrics:
    """One set per process; tests bring a registry of their own."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.epoch = Gauge("mwfs_scheduler_epoch", "Epoch of this scheduler.", registry=registry)
        self.hosts = Gauge("mwfs_scheduler_hosts", "Hosts connected.", registry=registry)
        self.replicas = Gauge("mwfs_scheduler_replicas", "Orchestrator replicas connected.", registry=registry)
        self.nodes_waiting = Gauge("mwfs_scheduler_nodes_waiting", "Nodes that wait for a grant.", registry=registry)
        self.nodes_granted = Gauge("mwfs_scheduler_nodes_granted", "Nodes that hold a grant.", registry=registry)
        self.grants = Counter("mwfs_scheduler_grants", "Grants given.", registry=registry)
        self.granted_nodes = Counter("mwfs_scheduler_granted_nodes", "Nodes granted.", registry=registry)
        self.revoked_nodes = Counter(
            "mwfs_scheduler_revoked_nodes", "Nodes that were told to make room.", registry=registry
        )
        self.unknown_releases = Counter(
            "mwfs_scheduler_unknown_releases",
            "Releases of more than was granted, or of grants not known here; ignored.",
            registry=registry,
        )
        self.teams = TeamMetrics(registry)
        self.pass_seconds = Histogram(
            "mwfs_scheduler_pass_seconds",
            "Time of one decision pass.",
            buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1),
            registry=registry,
        )
