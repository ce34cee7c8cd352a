"""What the orchestrator speaks of: runs, groups of ready nodes, grants and attempts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_chassis.errors import Unavailable

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: How many slots there are, for ever.
SLOT_COUNT: Final = 4096


def run_id_of(team: str, request_id: str) -> UUID:
    """The id that this submission always has, so that repeating it finds its run."""
    return UUID(bytes=sha256(f"{team}\0{request_id}".encode()).digest()[:16])


def slot_of(run_id: UUID) -> int:
    """The slot of a run, for ever: the first 12 bits of its id."""
    return run_id.int >> 116


class NotOwner(Unavailable):
    """The run's slot belongs to another replica, or is on its way to one."""

    def __init__(self) -> None:
        super().__init__("The run is moving to another replica.", "Try again in a moment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What never changes about a run."""

    run_id: UUID
    team: str
    principal: str
    request_id: str
    #: sha256 of the whole submission.
    body_digest: bytes
    workflow: str
    version_digest: str
    bundle_digest: str
    priority: int
    tags: dict[str, str]
    #: A serialised CompileJob when the platform compiles.
    compile_job: bytes | None
    create_us: int
    #: What the submission says; the workflow's are in its Dag.
    options: dag_pb2.RunOptions = field(default_factory=dag_pb2.RunOptions)
    #: `run_id` as it is written, made once.
    run_text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run_text", str(self.run_id))

    @property
    def slot(self) -> int:
        return slot_of(self.run_id)


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """Ready nodes of one run that are alike, asked of the scheduler together."""

    group_id: str
    run: "ActiveRun"
    resources: dag_pb2.Resources
    priority: int
    rank_band: int
    preemptible: bool = True
    #: How often each of its nodes was preempted.
    preemptions: int = 0
    #: Heap of ready nodes, first by rank and then by index: `(MAX_RANK - rank) << 32 | node`.
    ready: list[int] = field(default_factory=list)
    #: Nodes in `ready` that wait for room no more.
    gone: set[int] = field(default_factory=set)
    #: How many nodes the scheduler has been asked for and has not granted.
    asked: int = 0
    #: For how long a node will probably hold its room; 0: not known.
    expected_s: int = 0
    #: Of which rows of the Dag the nodes in `ready` are; -1 is compiling.
    operators: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The scheduler's leave to run nodes of a group on a host."""

    grant_id: str
    group_id: str
    count: int
    host: str
    #: Of the scheduler that gave it; void once a later one is known.
    epoch: int
    #: By our monotonic clock.
    valid_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a node gives without running."""

    #: A serialised ListValue of its outputs.
    outputs: bytes
    origin: events_pb2.ResultOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenResults:
    """What a run that repeats another one takes from it."""

    nodes: Mapping[int, Taken]
    #: Why each node is taken or runs, when whoever planned it said so.
    why: events_pb2.RerunFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """An attempt that is committed and has no outcome yet."""

    attempt: int
    host: str
    grant_id: str
    resources: dag_pb2.Resources
    #: Since when its room under the grant has been in use, by this node and those before it in its group.
    held_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAttempt:
    """An attempt to launch once it is committed."""

    run: "ActiveRun"
    node: int
    in_flight: InFlight
    #: None: it goes on in the room of the node before it, under a grant that is in use.
    grant: Grant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMove:
    """A change of a run's row; None leaves a column as it is."""

    run_id: UUID
    state: int
    start_us: int | None = None
    end_us: int | None = None
    failure: bytes | None = None
    outputs: bytes | None = None
    node_counts: list[int] | None = None
    node_count: int | None = None
