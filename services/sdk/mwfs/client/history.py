"""How long the operators of a workflow took in earlier runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from statistics import median

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

#: Runs that are looked at.
RUNS = 5
#: Nodes that are looked at, of all runs together: a run of a million nodes says no more than its first thousands.
MAX_NODES = 20_000

Nodes = Callable[[str, int], AsyncGenerator[orchestrator_pb2.Node, None]]


async def seconds_by_operator(runs: list[orchestrator_pb2.Run], nodes: Nodes) -> Mapping[str, float]:
    """Seconds by `module:qualname`: the median, and of control nodes the most from when their arguments were there to their end, because a run that
    takes earlier results is through them at once. nodes: (run, at most so many).
    """
    took: dict[str, list[float]] = {}
    left = MAX_NODES
    for run in runs:
        ends: dict[int, int] = {}
        if left <= 0:
            break
        async for node in nodes(run.run_id, left):
            left -= 1
            ends[node.node] = node.end_time_us
            if node.state != events_pb2.NODE_STATE_SUCCEEDED or node.HasField("origin"):
                continue
            begun = node.start_time_us
            if not begun and node.operator.startswith("mwfs:"):
                begun = max((ends.get(one, 0) for one in node.depends_on), default=0) or run.create_time_us
            if begun and node.end_time_us:
                took.setdefault(node.operator, []).append(max(node.end_time_us - begun, 0) / 1e6)
    return {name: max(seconds) if name.startswith("mwfs:") else median(seconds) for name, seconds in took.items()}
