"""Where a run, a node and an attempt can go next."""

from enum import IntEnum
from typing import Final


class RunState(IntEnum):
    """Numbers are those of `mwfs_api.events.v1.RunState` and of the column `runs.state`."""

    ACCEPTED = 1
    COMPILING = 2
    RUNNING = 3
    PAUSED = 4
    CANCELLING = 5
    SUCCEEDED = 6
    FAILED = 7
    CANCELLED = 8


class NodeState(IntEnum):
    """Numbers are those of `mwfs_api.events.v1.NodeState` and of the column `nodes.state`."""

    PENDING = 1
    READY = 2
    RUNNING = 3
    FINISHING = 4
    SUCCEEDED = 5
    FAILED = 6
    SKIPPED = 7
    CANCELLED = 8
    UPSTREAM_FAILED = 9
    WAITING = 10


class AttemptState(IntEnum):
    """How an attempt ended; numbers are those of `mwfs_api.events.v1.AttemptState`."""

    SUCCEEDED = 5
    FAILED = 6
    TIMED_OUT = 7
    LOST = 8
    PREEMPTED = 9
    CANCELLED = 10


#: A run in one of these does not move again within its round.
RUN_ENDED: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})

#: A node in one of these does not move again within its round.
NODE_ENDED: Final = frozenset(
    {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.CANCELLED, NodeState.UPSTREAM_FAILED}
)

#: Attempts that end so are the platform's fault and do not use up the user's retries.
SYSTEM_FAILURES: Final = frozenset({AttemptState.LOST, AttemptState.PREEMPTED})

RUN_TRANSITIONS: Final[dict[RunState, frozenset[RunState]]] = {
    RunState.ACCEPTED: frozenset({RunState.COMPILING, RunState.RUNNING}),
    RunState.COMPILING: frozenset({RunState.RUNNING, RunState.CANCELLING, RunState.FAILED, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {RunState.PAUSED, RunState.CANCELLING, RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.PAUSED: frozenset({RunState.RUNNING, RunState.CANCELLING}),
    RunState.CANCELLING: frozenset({RunState.CANCELLED, RunState.FAILED}),
    # Only by a revival, which opens the next round.
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset({RunState.COMPILING, RunState.RUNNING}),
    RunState.CANCELLED: frozenset({RunState.COMPILING, RunState.RUNNING}),
}

NODE_TRANSITIONS: Final[dict[NodeState, frozenset[NodeState]]] = {
    NodeState.PENDING: frozenset({NodeState.READY, NodeState.CANCELLED, NodeState.UPSTREAM_FAILED, NodeState.SKIPPED}),
    NodeState.READY: frozenset({NodeState.RUNNING, NodeState.CANCELLED}),
    NodeState.RUNNING: frozenset(
        {
            NodeState.FINISHING,
            NodeState.SUCCEEDED,
            NodeState.FAILED,
            NodeState.CANCELLED,
            NodeState.WAITING,
            NodeState.READY,
        }
    ),
    NodeState.FINISHING: frozenset({NodeState.SUCCEEDED, NodeState.FAILED}),
    NodeState.WAITING: frozenset({NodeState.READY, NodeState.CANCELLED}),
    # Only by a revival, which opens the next round.
    NodeState.SUCCEEDED: frozenset(),
    NodeState.FAILED: frozenset({NodeState.PENDING}),
    NodeState.SKIPPED: frozenset({NodeState.PENDING}),
    NodeState.CANCELLED: frozenset({NodeState.PENDING}),
    NodeState.UPSTREAM_FAILED: frozenset({NodeState.PENDING}),
}
