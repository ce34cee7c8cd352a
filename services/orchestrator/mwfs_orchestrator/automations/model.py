"""What the automations speak of: their states, the occasions, and the room that there is for them."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from uuid import UUID

from mwfs_api.orchestrator.v1 import automations_pb2 as pb

ACTIVE: Final = pb.AUTOMATION_STATE_ACTIVE
PAUSED: Final = pb.AUTOMATION_STATE_PAUSED
CANCELLING: Final = pb.AUTOMATION_STATE_CANCELLING
CANCELLED: Final = pb.AUTOMATION_STATE_CANCELLED
SUCCEEDED: Final = pb.AUTOMATION_STATE_SUCCEEDED
FAILED: Final = pb.AUTOMATION_STATE_FAILED

SCHEDULE: Final = pb.AUTOMATION_KIND_SCHEDULE
TRIGGER: Final = pb.AUTOMATION_KIND_TRIGGER
BACKFILL: Final = pb.AUTOMATION_KIND_BACKFILL

#: Of one kind, in one team.
MAX_AUTOMATIONS: Final = 1_000
MAX_PARTITIONS: Final = 100_000
MAX_PARALLEL: Final = 1_000
DEFAULT_PARALLEL: Final = 8
#: Runs that trigger runs that trigger runs: how long such a chain may be, and how many runs all that begins with one run may come to.
MAX_CHAIN: Final = 16
MAX_CHAIN_RUNS: Final = 1_000

#: How the join of a backfill is called among its occasions: no partition has an empty name.
JOIN: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """A row of `automations`."""

    automation_id: UUID
    team: str
    kind: int
    name: str
    principal: str
    state: int
    #: Serialised Automation with nothing but its content.
    content: bytes
    create_us: int
    next_us: int | None = None
    skipped: int = 0
    max_parallel: int = 0
    turn: int = 1
    message: str = ""

    @property
    def message_of_content(self) -> pb.Automation:
        return pb.Automation.FromString(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """A row of `occasions`. The run id is that of the run that is, or will be, started: it follows from the request id."""

    automation_id: UUID
    occasion: str
    #: When it is due or was, in microseconds; of a partition its place.
    number: int
    state: int
    turn: int = 1
    run_id: UUID | None = None
    #: A serialised SubmitHeader, until the run is accepted.
    header: bytes | None = None
    message: str = ""
    #: How many triggers led here, and the run that the chain began with.
    depth: int = 0
    root: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A row of a shard's `run_ends`: a run whose end some automation waits for."""

    run_id: UUID
    round: int
    team: str
    workflow: str
    state: int
    tags: dict[str, str]
    end_us: int
    #: A serialised GetOutputsResponse; None unless it has succeeded and an automation reads outputs.
    outputs: bytes | None
    #: Which automations waited for it when it ended.
    automations: list[UUID] = field(default_factory=list)


def request_id_of(automation_id: UUID, occasion: str, turn: int = 1) -> str:
    """The same for ever, so that starting the run of an occasion again finds it started."""
    return f"occasion:{automation_id.hex}:{sha256(f'{turn}:{occasion}'.encode()).hexdigest()[:32]}"
