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

#: From each state to each that may follow it, and what takes it there. The simulation asserts that nothing else happens, and that all of it does.
RUN_TRANSITIONS: Final[dict[RunState, dict[RunState, str]]] = {
    RunState.ACCEPTED: {RunState.COMPILING: "the platform compiles", RunState.RUNNING: "it came with its Dag"},
    RunState.COMPILING: {
        RunState.RUNNING: "compiled",
        RunState.PAUSED: "PauseRun",
        RunState.CANCELLING: "CancelRun",
        RunState.FAILED: "cannot be compiled",
    },
    RunState.RUNNING: {
        RunState.PAUSED: "PauseRun",
        RunState.CANCELLING: "CancelRun",
        RunState.SUCCEEDED: "all outputs are there",
        RunState.FAILED: "a node failed for good",
    },
    RunState.PAUSED: {
        RunState.COMPILING: "ResumeRun before it was compiled",
        RunState.RUNNING: "ResumeRun, or compiled",
        RunState.CANCELLING: "CancelRun",
        RunState.SUCCEEDED: "what ran was the last",
        RunState.FAILED: "what ran was the last",
    },
    RunState.CANCELLING: {
        RunState.CANCELLED: "nothing runs any more",
        RunState.FAILED: "a node had failed for good before",
    },
    RunState.SUCCEEDED: {},
    RunState.FAILED: {RunState.COMPILING: "RetryRun before it was compiled", RunState.RUNNING: "RetryRun"},
    RunState.CANCELLED: {RunState.COMPILING: "RetryRun before it was compiled", RunState.RUNNING: "RetryRun"},
}

#: Likewise for nodes. Out of an ended state only by a revival, which opens the next round. FINISHING is a part of RUNNING that nothing tells apart
#: so far: a node is RUNNING until its outputs are stored.
NODE_TRANSITIONS: Final[dict[NodeState, dict[NodeState, str]]] = {
    NodeState.PENDING: {
        NodeState.READY: "all that it needs is there",
        NodeState.SUCCEEDED: "its result was taken from the run that this one repeats",
        NodeState.CANCELLED: "cancelled",
        NodeState.UPSTREAM_FAILED: "what it needs has failed",
        NodeState.SKIPPED: "what it takes was given up",
    },
    NodeState.READY: {
        NodeState.RUNNING: "granted",
        NodeState.PENDING: "the run is paused",
        NodeState.WAITING: "a control node has grown the run, or waits for a signal or for time",
        NodeState.SUCCEEDED: "an earlier result was taken, or a control node has nothing to wait for",
        NodeState.FAILED: "a control node cannot be carried out",
        NodeState.CANCELLED: "cancelled",
    },
    NodeState.RUNNING: {
        NodeState.SUCCEEDED: "the outcome",
        NodeState.FAILED: "the outcome, no tries left",
        NodeState.CANCELLED: "stopped",
        NodeState.WAITING: "it is tried again later, or a dynamic operator has grown the run",
        NodeState.READY: "it is tried again at once, or has made room for others",
        NodeState.PENDING: "it is tried again once the run is resumed",
    },
    NodeState.FINISHING: {},
    NodeState.WAITING: {
        NodeState.READY: "the wait is over",
        NodeState.PENDING: "the wait is over and the run paused",
        NodeState.SUCCEEDED: "what a control node has grown has ended, or what it waits for has come",
        NodeState.FAILED: "what a control node has grown has failed, or what it waits for has not come",
        NodeState.CANCELLED: "cancelled",
    },
    NodeState.SUCCEEDED: {},
    NodeState.FAILED: {NodeState.PENDING: "RetryRun"},
    NodeState.SKIPPED: {NodeState.PENDING: "RetryRun"},
    NodeState.CANCELLED: {NodeState.PENDING: "RetryRun"},
    NodeState.UPSTREAM_FAILED: {NodeState.PENDING: "RetryRun"},
}

# States of nodes as plain numbers: an IntEnum costs ten times as much in a comparison of the hot path.
PENDING: Final = int(NodeState.PENDING)
READY: Final = int(NodeState.READY)
RUNNING: Final = int(NodeState.RUNNING)
WAITING: Final = int(NodeState.WAITING)
SUCCEEDED: Final = int(NodeState.SUCCEEDED)
FAILED: Final = int(NodeState.FAILED)
SKIPPED: Final = int(NodeState.SKIPPED)
CANCELLED: Final = int(NodeState.CANCELLED)
UPSTREAM_FAILED: Final = int(NodeState.UPSTREAM_FAILED)
STATE_COUNT: Final = max(NodeState) + 1
#: For each state of a node whether it has ended.
IS_END: Final = bytes(state in NODE_ENDED for state in range(STATE_COUNT))
