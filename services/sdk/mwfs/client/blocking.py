"""The client for scripts and notebooks: `Client` behind plain calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mwfs.client.async_client import Client, RunRequest
from mwfs.client.blocking_automations import BlockingAutomations
from mwfs.client.outputs import RemoteFile
from mwfs.client.quotas import BlockingQuotas
from mwfs.client.retention import BlockingRetention
from mwfs.client.run_events import RunEvent
from mwfs.client.shards import BlockingShards
from mwfs.client.submissions import RunName, Submitted
from mwfs.client.transfers import Progress
from mwfs.failure_policies import OnFailure
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1 import observability_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2, what_if_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.reruns import Code, Rerun
    from mwfs.dag import Dag
    from mwfs.reruns import PlannedNode
    from mwfs.workflows import Workflow

T = TypeVar("T")


class BlockingClient:
    """`Client`, blocking: the same methods with the same promises. May be used from any thread.

    Ctrl-C ends the waiting, never the run.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        team: str | None = None,
        principal: str | None = None,
        patience_s: float = 30.0,
    ) -> None:
        self._client = Client(home, team=team, principal=principal, patience_s=patience_s)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mwfs-client", daemon=True)
        self._thread.start()
        #: Schedules, triggers and backfills.
        self.automations = BlockingAutomations(self._client.automations, self._run, self._iterate)
        #: The databases that hold the runs.
        self.shards = BlockingShards(self._client.shards, self._run, self._iterate)
        self.retention = BlockingRetention(self._client.retention, self._run)
        self.quotas = BlockingQuotas(self._client.quotas, self._run, self._iterate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls. Runs go on. Closing twice is fine."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(
        self,
        workflow: Workflow[..., Any] | Dag,
        inputs: Mapping[str, Any] | None = None,
        *,
        request_id: str = "",
        compile_on_platform: bool = False,
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        on_failure: OnFailure | None = None,
        max_parallel: int | None = None,
        progress: Progress | None = None,
    ) -> Submitted:
        return self._run(
            self._client.submit(
                workflow,
                inputs,
                request_id=request_id,
                compile_on_platform=compile_on_platform,
                priority=priority,
                tags=tags,
                on_failure=on_failure,
                max_parallel=max_parallel,
                progress=progress,
            )
        )

    def submit_many(self, requests: Iterable[RunRequest]) -> list[Submitted]:
        return self._run(self._client.submit_many(requests))

    def rerun(
        self,
        run: RunName,
        *,
        start: Iterable[str | int] = (),
        inputs: Mapping[str, Any] | None = None,
        code: Code = "run",
        request_id: str = "",
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
        compile_on_platform: bool = False,
    ) -> Rerun:
        return self._run(
            self._client.rerun(
                run,
                start=start,
                inputs=inputs,
                code=code,
                request_id=request_id,
                priority=priority,
                tags=tags,
                dry_run=dry_run,
                compile_on_platform=compile_on_platform,
            )
        )

    def rerun_plan(self, run: RunName) -> list[PlannedNode]:
        return self._run(self._client.rerun_plan(run))

    def register(
        self, workflow: Workflow[..., Any], *, progress: Progress | None = None
    ) -> orchestrator_pb2.WorkflowVersion:
        return self._run(self._client.register(workflow, progress=progress))

    def watch(self, run: RunName, *, running_nodes: int = 0) -> Iterator[orchestrator_pb2.RunUpdate]:
        return self._iterate(self._client.watch(run, running_nodes=running_nodes))

    def events(self, run: RunName, *, first: int = 1, follow: bool = False) -> Iterator[RunEvent]:
        return self._iterate(self._client.events(run, first=first, follow=follow))

    def wait(self, run: RunName, *, timeout: float | None = None, check: bool = True) -> orchestrator_pb2.Run:
        return self._run(self._client.wait(run, timeout=timeout, check=check))

    def wait_all(self, runs: Iterable[RunName], *, timeout: float | None = None) -> list[orchestrator_pb2.Run]:
        return self._run(self._client.wait_all(runs, timeout=timeout))

    def explain_waiting(self, run: RunName) -> list[scheduler_pb2.WaitingGroup]:
        return self._run(self._client.explain_waiting(run))

    def hosts(self) -> list[scheduler_pb2.Host]:
        return self._run(self._client.hosts())

    def what_if(self, request: what_if_pb2.WhatIfRequest) -> what_if_pb2.WhatIfResponse:
        return self._run(self._client.what_if(request))

    def cancel(self, run: RunName, *, skip_cleanups: bool = False) -> orchestrator_pb2.Run:
        return self._run(self._client.cancel(run, skip_cleanups=skip_cleanups))

    def pause(self, run: RunName) -> orchestrator_pb2.Run:
        return self._run(self._client.pause(run))

    def resume(self, run: RunName) -> orchestrator_pb2.Run:
        return self._run(self._client.resume(run))

    def retry(self, run: RunName, *, request_id: str = "") -> orchestrator_pb2.Run:
        return self._run(self._client.retry(run, request_id=request_id))

    def signal(self, run: RunName, name: str, payload: Any = None, *, request_id: str = "") -> bool:
        return self._run(self._client.signal(run, name, payload, request_id=request_id))

    def signals(self, run: RunName) -> list[orchestrator_pb2.Signal]:
        return self._run(self._client.signals(run))

    def get_run(self, run: RunName) -> orchestrator_pb2.Run:
        return self._run(self._client.get_run(run))

    def outputs(self, run: RunName) -> dict[str, object]:
        return self._run(self._client.outputs(run))

    def typed_outputs(self, run: RunName) -> orchestrator_pb2.GetOutputsResponse:
        return self._run(self._client.typed_outputs(run))

    def runs(
        self,
        *,
        states: Iterable[events_pb2.RunState.ValueType] = (),
        workflow: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        text: str = "",
        archived: bool = False,
        limit: int | None = None,
    ) -> Iterator[orchestrator_pb2.Run]:
        return self._iterate(
            self._client.runs(
                states=states,
                workflow=workflow,
                created_after=created_after,
                created_before=created_before,
                tags=tags,
                text=text,
                archived=archived,
                limit=limit,
            )
        )

    def nodes(
        self,
        run: RunName,
        *,
        states: Iterable[events_pb2.NodeState.ValueType] = (),
        limit: int | None = None,
        first: int = 0,
    ) -> Iterator[orchestrator_pb2.Node]:
        return self._iterate(self._client.nodes(run, states=states, limit=limit, first=first))

    def node(self, run: RunName, number: int) -> orchestrator_pb2.Node:
        return self._run(self._client.node(run, number))

    def workflows(self) -> Iterator[orchestrator_pb2.WorkflowVersion]:
        return self._iterate(self._client.workflows())

    def version(self, workflow: str, digest: str = "") -> orchestrator_pb2.WorkflowVersion:
        return self._run(self._client.version(workflow, digest))

    def dag(self, run: RunName) -> dag_pb2.Dag:
        return self._run(self._client.dag(run))

    def node_inputs(self, run: RunName, node: int) -> orchestrator_pb2.GetNodeInputsResponse:
        return self._run(self._client.node_inputs(run, node))

    def lookup_results(self, keys: Iterable[str]) -> dict[str, orchestrator_pb2.StoredResult]:
        return self._run(self._client.lookup_results(keys))

    def list_results(self, operator: str, *, limit: int = 10) -> list[orchestrator_pb2.StoredResult]:
        return self._run(self._client.list_results(operator, limit=limit))

    def timeline(
        self, run: RunName, *, complete_to: int = 0, timeout: float = 10.0
    ) -> observability_pb2.GetTimelineResponse:
        return self._run(self._client.timeline(run, complete_to=complete_to, timeout=timeout))

    def history(self, workflow: str) -> Mapping[str, float]:
        return self._run(self._client.history(workflow))

    def logs(
        self, run: RunName, node: int, *, attempt: int = 0, follow: bool = False, tail_bytes: int = 0
    ) -> Iterator[bytes]:
        return self._iterate(self._client.logs(run, node, attempt=attempt, follow=follow, tail_bytes=tail_bytes))

    def upload(
        self, path: str | os.PathLike[str], *, encoding: str = "file", progress: Progress | None = None
    ) -> types_pb2.Artifact:
        return self._run(self._client.upload(path, encoding=encoding, progress=progress))

    def download(self, file: RemoteFile | types_pb2.Artifact, target: str | os.PathLike[str]) -> Path:
        return self._run(self._client.download(file, target))

    def download_bytes(self, file: RemoteFile | types_pb2.Artifact) -> bytes:
        return self._run(self._client.download_bytes(file))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C interrupts this thread only; the call in the other one must not linger.
            future.cancel()
            raise

    def _iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        try:
            while True:
                try:
                    item = self._run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None and not self._loop.is_closed():
                self._run(close())


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
