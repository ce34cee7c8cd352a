"""Following runs, and what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from mwfs.client.connection import Connection
from mwfs.client.run_events import RunEvent, watch_events
from mwfs.client.submissions import RunName
from mwfs.client.watching import MAX_IDS, failure_of, has_ended, watch_runs
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2, what_if_pb2


class Following:
    """A part of `Client`."""

    connection: Connection

    async def watch(self, run: RunName, *, running_nodes: int = 0) -> AsyncGenerator[orchestrator_pb2.RunUpdate, None]:
        """The run as it is now, then each change, until it has ended. `running_nodes`: also send up to so many of them."""
        async with aclosing(
            watch_runs(self.connection.orchestrator, [str(run)], running_nodes=running_nodes)
        ) as updates:
            async for update in updates:
                yield update

    async def events(self, run: RunName, *, first: int = 1, follow: bool = False) -> AsyncGenerator[RunEvent, None]:
        """What happened to the run from event `first` on, each event once and in order, as it is committed; until the run has
        ended. `follow`: go on after that, as the run may be retried. Survives restarts of the platform.
        """
        async with aclosing(watch_events(self.connection.orchestrator, str(run), first, follow=follow)) as found:
            async for event in found:
                yield event

    async def wait(self, run: RunName, *, timeout: float | None = None, check: bool = True) -> orchestrator_pb2.Run:
        """Waits until the run has ended. Raises RunFailed when it has not succeeded (unless `check` is False), TimeoutError."""
        ended = (await self.wait_all([run], timeout=timeout))[0]
        failure = failure_of(ended) if check else None
        if failure is not None:
            raise failure
        return ended

    async def wait_all(self, runs: Iterable[RunName], *, timeout: float | None = None) -> list[orchestrator_pb2.Run]:
        """Waits until all have ended, however they end; in the order given."""
        ids = [str(run) for run in runs]
        unique = list(dict.fromkeys(ids))
        ended: dict[str, orchestrator_pb2.Run] = {}

        async def follow(part: list[str]) -> None:
            async with aclosing(watch_runs(self.connection.orchestrator, part)) as updates:
                async for update in updates:
                    if has_ended(update.run):
                        ended[update.run.run_id] = update.run

        try:
            async with asyncio.timeout(timeout):
                for start in range(0, len(unique), MAX_IDS):
                    await follow(unique[start : start + MAX_IDS])
        except TimeoutError:
            going = len(unique) - len(ended)
            raise TimeoutError(
                f"{going} of {len(unique)} runs have not ended within {timeout:g} s; they go on."
            ) from None
        return [ended[run_id] for run_id in ids]

    async def explain_waiting(self, run: RunName) -> list[scheduler_pb2.WaitingGroup]:
        """Why nodes of the run that could start do not."""
        service = self.connection.scheduler
        request = scheduler_pb2.ExplainWaitingRequest(run_id=str(run))
        return list((await service.call(service.stub.ExplainWaiting, request)).groups)

    async def hosts(self) -> list[scheduler_pb2.Host]:
        """The hosts that are connected, by name: what they have, labels included, and what is in use."""
        service = self.connection.scheduler
        return list((await service.call(service.stub.ListHosts, scheduler_pb2.ListHostsRequest())).hosts)

    async def what_if(self, request: what_if_pb2.WhatIfRequest) -> what_if_pb2.WhatIfResponse:
        """What would become of the waiting nodes of a run if something were different. Raises NotFound, Rejected."""
        service = self.connection.what_if
        return await service.call(service.stub.WhatIf, request)
