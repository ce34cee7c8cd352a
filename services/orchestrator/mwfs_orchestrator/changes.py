"""What one commit of a shard will write, and what follows from it once it is written.

Columns instead of objects: they go to PostgreSQL as arrays. Nothing in the second half happens before the first half is committed.
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

from .model import Group, RunHeader, RunMove, StartedAttempt
from .states import NodeState, RunState

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: (run id, node, attempt)
AttemptId = tuple[UUID, int, int]


class Timer(Protocol):
    """What happens to a run when a time is over. Keeps no run in memory that has ended."""

    def __call__(self, run: "ActiveRun", /, *, changes: "Changes", now: int) -> None: ...


class Changes:
    """Collects; the committer empties."""

    def __init__(self) -> None:
        # Written in one transaction.
        self.events: dict[ActiveRun, events_pb2.RunEvents] = {}
        self.started: list[tuple[UUID, int, int, str, str]] = []
        self.ended: list[tuple[UUID, int, int, int, int, bytes | None, bytes | None]] = []
        self.new_runs: list[tuple[RunHeader, RunState, int, int, ActiveRun]] = []
        self.dag_chunks: list[tuple[UUID, int, bytes]] = []
        self.patches: list[tuple[UUID, int, int, bytes]] = []
        self.reused: list[tuple[UUID, int, bytes, bytes | None]] = []
        #: (run id, node, since, until)
        self.waiting: list[tuple[UUID, int, int, int]] = []
        #: (run id, node, round, child, its Dag)
        self.children: list[tuple[UUID, int, int, UUID, bytes]] = []
        self.signals: list[tuple[UUID, str, str, bytes, str, int]] = []
        self.settled: list[tuple[UUID, int, int, int, bytes | None]] = []
        self.moved: list[RunMove] = []
        self.revived: list[tuple[UUID, int, str]] = []
        #: (run id, node) → a serialised Checkpoint, or None when there is none any more.
        self.checkpoints: dict[tuple[UUID, int], bytes | None] = {}
        #: (run id, node) → serialised Interruptions.
        self.interruptions: dict[tuple[UUID, int], bytes] = {}
        # Done after it.
        self.launches: list[StartedAttempt] = []
        self.stops: list[tuple[str, AttemptId]] = []
        #: Nodes whose attempts have to make room.
        self.notices: list[tuple[ActiveRun, int]] = []
        #: Keys of checkpoints that are of no use any more.
        self.dropped: list[str] = []
        self.acknowledged: list[tuple[str, AttemptId]] = []
        self.releases: Counter[str] = Counter()
        #: By grant: what preempted attempts had done since their last checkpoint, in microseconds.
        self.lost_us: Counter[str] = Counter()
        self.demands: Counter[Group] = Counter()
        self.withdrawn: list[str] = []
        self.waits: list[tuple[float, ActiveRun, int]] = []
        #: After so many seconds this happens to the run, if it is still there.
        self.timers: list[tuple[float, ActiveRun, Timer]] = []
        #: (run, node, child, whether nobody has submitted it so far)
        self.child_starts: list[tuple[ActiveRun, int, UUID, bool]] = []
        #: (run, node, whether its cleanups are not to run)
        self.child_stops: list[tuple[ActiveRun, int, bool]] = []
        self.finished_runs: list[ActiveRun] = []
        self.lookups: list[tuple[ActiveRun, int]] = []
        self.results: list[tuple[ActiveRun, int]] = []
        self.contents: list[tuple[ActiveRun, types_pb2.Artifact]] = []
        #: Control nodes that are to be asked what they do next.
        self.questions: list[tuple[ActiveRun, int]] = []
        self.then: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return bool(self.events)

    def event(self, run: "ActiveRun", kind: int, now_us: int, node: int = -1, attempt: int = 0) -> events_pb2.RunEvents:
        """Appends the run's next event and returns the batch that it is the last of."""
        batch = self.events.get(run)
        if batch is None:
            batch = events_pb2.RunEvents(run_id=run.header.run_text, first_number=run.last_event + 1)
            self.events[run] = batch
        run.last_event += 1
        batch.kind.append(kind)  # type: ignore[arg-type]  # plain numbers are several times faster than enum wrappers
        batch.node.append(node)
        batch.attempt.append(attempt)
        batch.time_us.append(now_us)
        return batch

    def detail(self, batch: events_pb2.RunEvents) -> events_pb2.Detail:
        """Room for what more is known of the batch's last event."""
        return batch.details.add(index=len(batch.kind) - 1)

    def body(self, batch: events_pb2.RunEvents, host: str, outcome: action_pb2.Outcome) -> None:
        """When and where the body of an attempt ran, for the batch's last event."""
        place = f"{host}/{outcome.worker}"
        places = batch.places
        for index in range(len(places)):
            if places[index] == place:
                break
        else:
            index = len(places)
            places.append(place)
        batch.place.append(index)
        batch.body_started_us.append(outcome.body_started_us)
        batch.body_ended_us.append(outcome.body_ended_us)

    def start(self, started: StartedAttempt) -> None:
        """A node's next attempt, launched after the commit."""
        way = started.in_flight
        self.started.append((started.run.header.run_id, started.node, way.attempt, way.host, way.grant_id))
        self.launches.append(started)

    def end(
        self,
        run_id: UUID,
        node: int,
        attempt: int,
        state: NodeState,
        tries: int,
        outputs: bytes | None = None,
        failure: bytes | None = None,
    ) -> None:
        """The end of an attempt that was committed before."""
        self.ended.append((run_id, node, attempt, state, tries, outputs, failure))
