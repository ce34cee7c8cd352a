"""From timestamps to figures: percentiles, hops, and where the time of an attempt went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mwfs_api.observability.v1 import observability_pb2


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, p90, p99 and maximum (nearest rank); empty for no values."""
    if not values:
        return {}
    ranked = sorted(values)

    def at(share: float) -> float:
        return ranked[min(int(share * len(ranked)), len(ranked) - 1)]

    return {"median": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": ranked[-1]}


def hops_ms(end_times_us: Iterable[int]) -> list[float]:
    """Milliseconds between the ends of successive nodes of a chain."""
    ends = sorted(each for each in end_times_us if each)
    return [(later - earlier) / 1000 for earlier, later in pairwise(ends)]


def breakdown_ms(spans: Iterable[observability_pb2.AttemptSpan]) -> dict[str, dict[str, float]]:
    """Where attempts spent their time: waiting for a grant, being launched, running, and having their outcome stored."""
    grant, launch, body, store = [], [], [], []
    for span in spans:
        if not (span.ready_time_us and span.commit_time_us and span.body_start_time_us and span.end_time_us):
            continue
        grant.append((span.commit_time_us - span.ready_time_us) / 1000)
        launch.append((span.body_start_time_us - span.commit_time_us) / 1000)
        body.append((span.body_end_time_us - span.body_start_time_us) / 1000)
        store.append((span.end_time_us - span.body_end_time_us) / 1000)
    named = {"ready_to_granted": grant, "granted_to_body": launch, "body": body, "body_to_stored": store}
    return {name: percentiles(values) for name, values in named.items() if values}
