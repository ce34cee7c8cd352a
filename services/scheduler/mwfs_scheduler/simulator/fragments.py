"""How much of what is free is of no use to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from mwfs_scheduler.fair_share.model import Host, Selector
from mwfs_scheduler.simulator.model import Amounts, Workload

#: Of the shapes of a trace so many of the most common are tried.
MOST_SHAPES: Final = 256


class Fragments:
    """Looks at the hosts now and then.

    `unusable` is the part of the free GPUs that a job drawn from the trace could not use where they are (after the measure
    of Weng et al., USENIX ATC 2023). `partial` is the part of the free GPUs on hosts that are not wholly free.
    """

    def __init__(self, workload: Workload) -> None:
        self._gpu = workload.gpu
        counts: Counter[tuple[Amounts, Selector]] = Counter(
            (job.amounts, job.selector) for job in workload.jobs if job.amounts[workload.gpu]
        )
        self._shapes = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_SHAPES]
        self._unusable: list[float] = []
        self._partial: list[float] = []

    def look(self, hosts: Iterable[Host]) -> None:
        """One sample; none when no GPU is free."""
        there = [host for host in hosts if host.capacity[self._gpu]]
        free = np.array([host.free for host in there], dtype=np.int64)
        gpus = free[:, self._gpu] if there else free
        all_ = int(gpus.sum())
        if all_ <= 0:
            return
        whole = np.array([host.free[self._gpu] == host.capacity[self._gpu] for host in there])
        self._partial.append(1 - int(gpus[whole].sum()) / all_)
        labelled: dict[Selector, Any] = {}
        usable = weights = 0.0
        for (amounts, selector), count in self._shapes:
            if selector not in labelled:
                labelled[selector] = np.array(
                    [all(host.labels.get(key) in values for key, values in selector) for host in there]
                )
            fits = (free >= np.array(amounts, dtype=np.int64)).all(axis=1) & labelled[selector]
            usable += count * int(gpus[fits].sum())
            weights += count
        if weights:
            self._unusable.append(1 - usable / weights / all_)

    def means(self) -> dict[str, float | None]:
        """Over all samples; None when no GPU was ever free."""
        return {"unusable": _mean(self._unusable), "partial": _mean(self._partial)}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
