"""When room is likely to come free, by how long the operators of a workflow took before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mwfs_api.orchestrator.v1 import orchestrator_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """A guess, and what it is made from."""

    seconds: float
    basis: str


def likely_end(running: Sequence[orchestrator_pb2.Node], seconds: Mapping[str, float], now_s: float) -> Likely | None:
    """When the first of a run's running nodes is likely to end; None when none runs whose operator is known.

    seconds: the median of earlier runs, by operator.
    """
    ends = [
        (max(seconds[node.operator] - max(now_s - node.start_time_us / 1e6, 0.0), 0.0), node.node, node.operator)
        for node in running
        if node.operator in seconds and node.start_time_us
    ]
    if not ends:
        return None
    left, node, operator = min(ends)
    took = f"{seconds[operator]:.3g} s at the median"
    return Likely(
        seconds=round(left, 1),
        basis=f"then node {node} of this run is likely to end ({operator} took {took} of earlier runs), and its room is free for who comes first.",
    )
