"""What the service knows of one attempt. Mutable and slotted: there is one per launch on the hot path."""

from dataclasses import dataclass

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

#: (run id, node, attempt)
AttemptKey = tuple[str, int, int]

#: An attempt, and the epoch of its run's slot under which a replica claims it.
Adoption = tuple[AttemptKey, int]

#: (bundle digest, GPU indices): workers of one pool may take each other's attempts, workers of two pools never.
PoolKey = tuple[str, tuple[int, ...]]

#: How long the work that is queued on one worker should take; so that little is recalled when one attempt runs long.
QUEUE_TARGET_US = 20_000
MAX_QUEUE = 32


def key_of(key: action_pb2.AttemptKey) -> AttemptKey:
    return key.run_id, key.node, key.attempt


def key_proto(key: AttemptKey) -> action_pb2.AttemptKey:
    return action_pb2.AttemptKey(run_id=key[0], node=key[1], attempt=key[2])


@dataclass(slots=True, kw_only=True)
class OperatorEntry:
    """One operator as launched here, with how long its body takes."""

    bundle_digest: str
    #: The part of a WorkerLaunch that all attempts of this operator share, serialised.
    packet_prefix: bytes
    #: Seconds; 0 means none.
    timeout: float
    #: Seconds from receipt to the beginning of the body; 0 means none.
    start_timeout: float = 0.0
    #: Seconds that the body may be silent; 0 means none.
    heartbeat_timeout: float = 0.0
    #: Smoothed duration of the body in microseconds; -1 while unknown.
    duration_us: float = -1.0

    def learn(self, duration_us: int) -> None:
        """Go up at once, come down slowly: a queue behind a long attempt costs more than a short queue."""
        known = self.duration_us
        self.duration_us = duration_us if duration_us > known else known + (duration_us - known) * 0.125

    @property
    def queue_depth(self) -> int:
        """How many attempts of this operator one worker may hold, the running one included."""
        if self.duration_us < 0:
            return 1
        return max(1, min(MAX_QUEUE, int(QUEUE_TARGET_US / (self.duration_us + 1))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why an attempt is ended from outside."""

    state: "events_pb2.AttemptState.ValueType"
    kind: "events_pb2.FailureKind.ValueType"
    message: str
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An attempt has to make room."""

    #: By the monotonic clock; then it is killed.
    deadline: float
    #: For whom.
    reason: str


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """A launch from receipt to outcome."""

    key: AttemptKey
    ticket: int
    #: Who is told of it, and the epoch of the slot by which that is so.
    replica: str
    epoch: int
    entry: OperatorEntry
    packet: bytes
    gpu_count: int
    #: Monotonic seconds.
    received: float
    gpus: tuple[int, ...] = ()
    #: Set when it is to end early: what to report once its worker is gone.
    verdict: Verdict | None = None
    #: Whether the replica was told that the body runs.
    reported_started: bool = False
    #: The file that holds the launch when it is too large for a packet.
    spool: str = ""
    #: Set when it is asked to make room.
    notice: Notice | None = None
    #: The last that it has kept.
    checkpoint: events_pb2.Checkpoint | None = None
    #: Of its checkpoints: the number of the last one that the replica was told of, and when that was.
    told_checkpoint: int = 0
    told_at: float = 0.0
