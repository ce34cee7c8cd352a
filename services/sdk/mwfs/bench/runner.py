"""Running a workload against a platform, and measuring it: from submission to the end that the client sees."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mwfs.bench import workflows
from mwfs.bench.figures import breakdown_ms, hops_ms, percentiles
from mwfs.bench.footprint import Footprint, measure, reset_peaks
from mwfs.compiler import compile as compile_workflow
from mwfs.dag import Dag

if TYPE_CHECKING:
    from mwfs.client import Client
    from mwfs_api.observability.v1 import observability_pb2
    from mwfs_api.orchestrator.v1 import orchestrator_pb2

Report = dict[str, Any]

#: Nodes of the run that warms the workers before the clock starts.
_WARM_UP = 64


class Bench:
    """Workloads on one platform."""

    def __init__(self, client: Client, *, pids: Mapping[str, int]) -> None:
        self._client = client
        self._pids = {name: pid for name, pid in pids.items() if pid} | {"client": os.getpid()}

    async def warm_up(self) -> None:
        """Starts workers and fills caches, outside of the measured time."""
        dag = compile_workflow(workflows.fanout, n=_WARM_UP)
        await self._client.wait(await self._client.submit(dag))

    async def fanout(self, n: int) -> Report:
        """1 → n → 1: operators per second."""
        report, _ = await self._one("fanout", n, workflows.fanout)
        return report

    async def chain(self, n: int) -> Report:
        """n in a row: milliseconds a hop."""
        report, timeline = await self._one("chain", n, workflows.chain)
        hops = percentiles(hops_ms(span.end_time_us for span in timeline.attempts)) if timeline is not None else {}
        # Without a timeline, or with a single node, the mean is all there is.
        report["ms_per_hop"] = hops.get("median", report["makespan_s"] * 1000 / max(report["nodes"], 1))
        report["ms_per_hop_percentiles"] = hops
        return report

    async def swarm(self, n: int) -> Report:
        """n workflows of three nodes: workflows per second."""
        from mwfs.client.async_client import RunRequest

        begun = time.perf_counter()
        requests = [RunRequest(workflow=compile_workflow(workflows.small, seed=seed)) for seed in range(n)]
        compile_s = time.perf_counter() - begun
        await self._client.register(workflows.small)
        before = self._begin()
        begun = time.perf_counter()
        submitted = await self._client.submit_many(requests)
        accepted = time.perf_counter()
        runs = await self._client.wait_all(submitted)
        ended = time.perf_counter()
        _check(runs)
        makespan = ended - begun
        server = (max(run.end_time_us for run in runs) - min(run.create_time_us for run in runs)) / 1e6
        nodes = sum(run.node_count for run in runs)
        return {
            "bench": "swarm",
            "n": n,
            "nodes": nodes,
            "workflows_per_s": n / makespan,
            "ops_per_s": nodes / makespan,
            "makespan_s": makespan,
            "server_makespan_s": server,
            "accepted_s": accepted - begun,
            "compile_s": compile_s,
            "run_ms_percentiles": percentiles([(run.end_time_us - run.create_time_us) / 1000 for run in runs]),
            "services": self._used(before, nodes),
        }

    async def _one(
        self, name: str, n: int, workflow: Any
    ) -> tuple[Report, observability_pb2.GetTimelineResponse | None]:
        begun = time.perf_counter()
        dag: Dag = compile_workflow(workflow, n=n)
        compile_s = time.perf_counter() - begun
        await self._client.register(workflow)
        before = self._begin()
        begun = time.perf_counter()
        submitted = await self._client.submit(dag)
        accepted = time.perf_counter()
        run = await self._client.wait(submitted)
        makespan = time.perf_counter() - begun
        services = self._used(before, run.node_count)
        timeline = await self._timeline(run)
        report: Report = {
            "bench": name,
            "n": n,
            "run_id": run.run_id,
            "nodes": run.node_count,
            "ops_per_s": run.node_count / makespan,
            "makespan_s": makespan,
            "server_makespan_s": (run.end_time_us - run.create_time_us) / 1e6,
            "accepted_s": accepted - begun,
            "compile_s": compile_s,
            "attempt_ms_percentiles": breakdown_ms(timeline.attempts) if timeline is not None else {},
            "services": services,
        }
        return report, timeline

    async def _timeline(self, run: orchestrator_pb2.Run) -> observability_pb2.GetTimelineResponse | None:
        """The run's timeline; None while observability is away: the platform runs without it, and so does its bench."""
        from mwfs.errors import MwfsError

        try:
            return await self._client.timeline(run.run_id, complete_to=run.last_event_number, timeout=30.0)
        except MwfsError:
            return None

    def _begin(self) -> dict[str, Footprint]:
        reset_peaks(self._pids)
        return measure(self._pids)

    def _used(self, before: Mapping[str, Footprint], nodes: int) -> list[dict[str, Any]]:
        used = []
        for name, now in measure(self._pids).items():
            spent = max(now.cpu_seconds - before[name].cpu_seconds, 0.0) if name in before else now.cpu_seconds
            used.append(
                {
                    "name": name,
                    **asdict(now),
                    "cpu_seconds": round(spent, 3),
                    "cpu_ms_per_op": round(spent * 1000 / max(nodes, 1), 4),
                }
            )
        return used


def median_of(reports: Sequence[Report], figure: str) -> Report:
    """The report whose figure is in the middle; what was seen in the others is noted in it."""
    ranked = sorted(reports, key=lambda report: float(report[figure]))
    middle = ranked[len(ranked) // 2]
    return middle | {"repeats": [report[figure] for report in reports]} if len(reports) > 1 else middle


def _check(runs: Sequence[orchestrator_pb2.Run]) -> None:
    from mwfs.client.watching import failure_of

    for run in runs:
        failure = failure_of(run)
        if failure is not None:
            raise failure
