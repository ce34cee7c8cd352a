"""What an operator of observability asks: is it following, how far behind is it, did anything odd arrive."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class Metrics:
    """One set per process; tests bring a registry of their own."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.following = Gauge(
            "mwfs_observability_following", "1 since events arrived on the open stream.", registry=registry
        )
        self.lag = Gauge(
            "mwfs_observability_lag_seconds",
            "From the commit of the newest event of the last batch to its storage here.",
            registry=registry,
        )
        self.events = Counter("mwfs_observability_events_stored", "Events stored.", registry=registry)
        self.commits = Counter("mwfs_observability_commits_stored", "Commits stored.", registry=registry)
        self.batches = Counter("mwfs_observability_batches_stored", "Transactions.", registry=registry)
        self.duplicates = Counter(
            "mwfs_observability_duplicate_commits", "Commits that were stored before; ignored.", registry=registry
        )
        self.gaps = Counter(
            "mwfs_observability_position_gaps", "Positions that a stream skipped; must stay 0.", registry=registry
        )
        self.malformed = Counter(
            "mwfs_observability_malformed_batches",
            "Events of a run that no one could read; ignored.",
            registry=registry,
        )
        self.breaks = Counter("mwfs_observability_stream_breaks", "Times the stream broke.", registry=registry)
