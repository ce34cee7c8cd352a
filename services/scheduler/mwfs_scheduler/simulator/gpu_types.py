"""One type of GPU for each job, so that a guarantee can be of GPUs of a type (`--by-type`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import Final

from mwfs_scheduler.simulator.model import BadTrace, Job, Machine, Workload

LABEL: Final = "gpu_type"


def of_one_type(workload: Workload, seed: int) -> Workload:
    """The same work, with a resource `gpu:TYPE` for each type; who needs GPUs needs as many of one type.

    Of the types that would do for a job the seed chooses one, in proportion to the GPUs of each on hosts that are large enough.
    A job for which no type would do keeps its labels, and never starts. Raises BadTrace for a trace without types.
    """
    types = sorted({machine.labels[LABEL] for machine in workload.machines if LABEL in machine.labels})
    if not types:
        raise BadTrace(f"{workload.name} has no types of GPUs, so nothing can be promised by type.")
    gpu = workload.gpu

    def machine_of(machine: Machine) -> Machine:
        has = machine.labels.get(LABEL)
        more = tuple(machine.amounts[gpu] if has == each else 0 for each in types)
        return replace(machine, amounts=machine.amounts + more)

    kinds = _kinds(workload)

    def job_of(job: Job) -> Job:
        chosen = _chosen(workload, kinds, job, seed) if job.amounts[gpu] else None
        more = tuple(job.amounts[gpu] if each == chosen else 0 for each in types)
        selector = tuple(each for each in job.selector if chosen is None or each[0] != LABEL)
        return replace(job, amounts=job.amounts + more, selector=selector)

    return replace(
        workload,
        resources=workload.resources + tuple(f"gpu:{each}" for each in types),
        machines=[machine_of(each) for each in workload.machines],
        jobs=[job_of(each) for each in workload.jobs],
    )


#: (type, what a host has, GPUs of all such hosts).
_Kind = tuple[str, tuple[int, ...], int]


def _kinds(workload: Workload) -> Sequence[_Kind]:
    """The hosts with GPUs, those that are alike as one."""
    found: dict[tuple[str, tuple[int, ...]], int] = {}
    for machine in workload.machines:
        if LABEL in machine.labels:
            key = machine.labels[LABEL], machine.amounts
            found[key] = found.get(key, 0) + machine.amounts[workload.gpu]
    return [(*key, gpus) for key, gpus in sorted(found.items())]


def _chosen(workload: Workload, kinds: Sequence[_Kind], job: Job, seed: int) -> str | None:
    wanted = next((values for key, values in job.selector if key == LABEL), None)
    able: dict[str, int] = {}
    for kind, amounts, gpus in kinds:
        large_enough = all(need <= has for need, has in zip(job.amounts, amounts, strict=True))
        if large_enough and (wanted is None or kind in wanted):
            able[kind] = able.get(kind, 0) + gpus
    if not able:
        return None
    up_to = list(accumulate(able.values()))
    draw = Random(f"type {seed}:{job.id}").random() * up_to[-1]
    return next(kind for kind, end in zip(able, up_to, strict=True) if draw <= end)
