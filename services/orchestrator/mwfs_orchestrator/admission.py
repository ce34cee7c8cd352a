"""Whether there is room for another run. What there is no room for is refused at once, with the time after which to ask again."""

from collections.abc import Collection
from typing import Final, Protocol

from prometheus_client import Counter

from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import Overloaded
from mwfs_types.child_runs import MAX_DEPTH

from .graph import Graph

SHED = Counter("mwfs_orchestrator_submissions_shed", "Submissions refused because of load.", ("reason",))
_FULL, _BEHIND = SHED.labels("full"), SHED.labels("behind")
#: A commit that takes longer than this is one of a shard that is away or drowns.
_MAX_BEHIND_S: Final = 5.0
#: How often nodes are counted anew; meanwhile they are only added to.
_COUNT_EVERY_S: Final = 0.5
#: What a run costs besides its nodes, in nodes: 85,000 runs of three nodes were 1.5 GB.
RUN_COSTS: Final = 180


class Run(Protocol):
    """What is counted of a run."""

    @property
    def graph(self) -> Graph | None: ...


class Admission:
    """Counts the nodes of the runs that go on here. A node costs about 100 bytes."""

    def __init__(self, *, clock: Clock, max_nodes: int) -> None:
        self._clock = clock
        self._max_nodes = max_nodes
        self._nodes = 0
        self._counted_at = float("-inf")

    def admit(self, nodes: int, runs: Collection[Run], *, behind_s: float, child_depth: int = 0) -> None:
        """A run of so many nodes is to begin. runs: those that go on; behind_s: for how long its shard has written one commit.

        child_depth: how many runs are above it and wait for it. They must not take the room that it needs to end: each depth has more than the one above, twice
        as much in all. Raises Overloaded.
        """
        if behind_s > _MAX_BEHIND_S:
            _BEHIND.inc()
            raise Overloaded("The run's shard does not keep up.", "Try again in a moment.", retry_after_s=2.0)
        now = self._clock.monotonic()
        if now - self._counted_at > _COUNT_EVERY_S:
            self._counted_at = now
            self._nodes = sum(RUN_COSTS + (run.graph.size if run.graph is not None else 0) for run in runs)
        most = self._max_nodes * (MAX_DEPTH + child_depth) // MAX_DEPTH
        if self._nodes and self._nodes + (0 if child_depth else nodes) > most:
            _FULL.inc()
            raise Overloaded(
                f"The orchestrator has runs of {self._nodes:,} nodes going on, and this one has {nodes:,}; it takes {most:,} in all.",
                "Try again when some have ended.",
                retry_after_s=1.0,
            )
        self._nodes += RUN_COSTS + nodes
